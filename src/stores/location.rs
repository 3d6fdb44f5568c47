//! Where somebody stands, and how far that is. Pure.

use crate::kernel::{Failure, Result};

/// The mean radius of the Earth, metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A point on the Earth, degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    pub lat: f64,
    pub lng: f64,
}

impl Location {
    /// # Errors
    /// `lat` outside of ±90 or `lng` outside of ±180; `prefix` is put before the field's name.
    pub fn new(lat: f64, lng: f64, prefix: &str) -> Result<Self> {
        if !(-90.0..=90.0).contains(&lat) {
            return Err(Failure::invalid(format!("{prefix}lat"), "must be from -90 to 90 degrees"));
        }
        if !(-180.0..=180.0).contains(&lng) {
            return Err(Failure::invalid(format!("{prefix}lng"), "must be from -180 to 180 degrees"));
        }
        Ok(Self { lat, lng })
    }

    /// Two query parameters that come together or not at all.
    ///
    /// # Errors
    /// One without the other, or out of bounds.
    pub fn parse(lat: Option<f64>, lng: Option<f64>) -> Result<Option<Self>> {
        match (lat, lng) {
            (None, None) => Ok(None),
            (Some(lat), Some(lng)) => {
                let Self { lat, lng } = Self::new(lat, lng, "")?;
                Ok(Some(Self { lat: rounded(lat), lng: rounded(lng) }))
            }
            (Some(_), None) => Err(Failure::invalid("lng", "must be given together with lat")),
            (None, Some(_)) => Err(Failure::invalid("lat", "must be given together with lng")),
        }
    }

    /// The same as a unit vector: whoever measures to many points makes it once for each.
    pub fn point(self) -> Point {
        let (lat, lng) = (self.lat.to_radians(), self.lng.to_radians());
        Point([lat.cos() * lng.cos(), lat.cos() * lng.sin(), lat.sin()])
    }
}

/// A point on the Earth as a unit vector from its centre.
#[derive(Debug, Clone, Copy)]
pub struct Point([f64; 3]);

impl Point {
    /// Whole metres along the great circle, by the chord between the two: exact for near points, too.
    pub fn metres_to(self, other: Self) -> u32 {
        let [x, y, z] = std::array::from_fn(|axis| self.0[axis] - other.0[axis]);
        let half_chord = (x * x + y * y + z * z).sqrt() / 2.0;
        // Rounding may put it a hair above 1 for opposite points.
        (2.0 * EARTH_RADIUS_M * half_chord.min(1.0).asin()).round() as u32
    }
}

/// To a centimetre, so that a cursor that carries it stays short.
fn rounded(degrees: f64) -> f64 {
    (degrees * 1e7).round() / 1e7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_map() {
        let west_lake = Location { lat: 30.2590, lng: 120.1388 };
        let east_station = Location { lat: 30.2907, lng: 120.2127 };
        let metres = |from: Location, to: Location| from.point().metres_to(to.point());
        let apart = metres(west_lake, east_station);
        assert!((7_900..8_000).contains(&apart), "{apart}");
        assert_eq!(metres(west_lake, west_lake), 0);
        let step = Location { lat: west_lake.lat + 0.000_009, lng: west_lake.lng };
        assert_eq!(metres(west_lake, step), 1);
        let pole_to_pole = metres(Location { lat: 90.0, lng: 0.0 }, Location { lat: -90.0, lng: 77.0 });
        assert!((20_015_000..20_016_000).contains(&pole_to_pole), "{pole_to_pole}");
        // Across the date line it is short.
        let near = metres(Location { lat: 0.0, lng: 179.999 }, Location { lat: 0.0, lng: -179.999 });
        assert!(near < 300, "{near}");
    }

    #[test]
    fn a_location_is_whole_and_on_the_earth() {
        assert!(Location::parse(None, None).unwrap().is_none());
        let tiny = Location::parse(Some(1e-300), Some(120.123_456_78)).unwrap().unwrap();
        assert_eq!(tiny, Location { lat: 0.0, lng: 120.123_456_8 });
        assert!(Location::parse(Some(30.0), None).is_err());
        assert!(Location::parse(None, Some(120.0)).is_err());
        assert!(Location::parse(Some(90.1), Some(0.0)).is_err());
        assert!(Location::parse(Some(0.0), Some(-180.5)).is_err());
        assert!(Location::parse(Some(f64::NAN), Some(0.0)).is_err());
    }
}
