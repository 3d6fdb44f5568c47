//! When a coupon is valid. Its days begin and end at midnight of one zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::kernel::{Failure, Millis, Result};

/// The zone in which a coupon's days begin and end.
const ZONE: &str = "Asia/Shanghai";

/// The rule of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// So many days from the grant, which the day of the grant does not count among.
    Days { days: i64 },
    /// The same time for everybody.
    Window { from_ms: Millis, until_ms: Millis },
}

impl Validity {
    /// From midnight before `first` to midnight after `last`, both `YYYY-MM-DD`.
    ///
    /// # Errors
    /// Names the one that is no date, or comes too early.
    pub fn window(first: &str, last: &str) -> Result<Self> {
        let date = |field: &str, text: &str| {
            text.parse::<Date>().map_err(|_| Failure::invalid(field, "must be a date like 2026-11-30"))
        };
        let first_day = date("/validity/first_day", first)?;
        let last_day = date("/validity/last_day", last)?;
        if last_day < first_day {
            return Err(Failure::invalid("/validity/last_day", "must not be before first_day"));
        }
        Ok(Self::Window { from_ms: start_of(first_day)?, until_ms: end_of(last_day)? })
    }

    /// From when until when a coupon that is made now is valid.
    ///
    /// # Errors
    /// None for a time within the calendar.
    pub fn from_now(self, now_ms: Millis) -> Result<(Millis, Millis)> {
        match self {
            Self::Days { days } => Ok((now_ms, end_after_days(now_ms, days)?)),
            Self::Window { from_ms, until_ms } => Ok((from_ms, until_ms)),
        }
    }

    /// Would a coupon that is made now be expired?
    pub fn has_ended(self, now_ms: Millis) -> bool {
        matches!(self, Self::Window { until_ms, .. } if until_ms <= now_ms)
    }

    /// First and last day of a window.
    ///
    /// # Errors
    /// None for a time within the calendar.
    pub fn days_of_window(from_ms: Millis, until_ms: Millis) -> Result<(String, String)> {
        Ok((day_of(from_ms)?.to_string(), day_of(until_ms - 1)?.to_string()))
    }
}

/// The end of the day that is so many days after now.
pub(super) fn end_after_days(now_ms: Millis, days: i64) -> Result<Millis> {
    let span = Span::new().try_days(days).map_err(calendar)?;
    end_of(day_of(now_ms)?.checked_add(span).map_err(calendar)?)
}

fn day_of(at_ms: Millis) -> Result<Date> {
    let at = Timestamp::from_millisecond(at_ms).map_err(calendar)?;
    Ok(at.to_zoned(zone()?).date())
}

fn start_of(day: Date) -> Result<Millis> {
    Ok(day.to_zoned(zone()?).map_err(calendar)?.timestamp().as_millisecond())
}

fn end_of(day: Date) -> Result<Millis> {
    start_of(day.tomorrow().map_err(calendar)?)
}

fn zone() -> Result<TimeZone> {
    TimeZone::get(ZONE).map_err(calendar)
}

fn calendar(error: jiff::Error) -> Failure {
    Failure::internal("computing a coupon's days", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Millis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn the_last_day_ends_at_the_next_midnight_of_the_zone() {
        // 23:30 on the 10th in Shanghai: one day means until the end of the 11th.
        let granted = ms("2026-11-10T23:30:00+08:00");
        let (from, until) = Validity::Days { days: 1 }.from_now(granted).unwrap();
        assert_eq!((from, until), (granted, ms("2026-11-12T00:00:00+08:00")));
    }

    #[test]
    fn a_window_has_both_of_its_days() {
        let window = Validity::window("2026-11-11", "2026-11-11").unwrap();
        let (from_ms, until_ms) = (ms("2026-11-11T00:00:00+08:00"), ms("2026-11-12T00:00:00+08:00"));
        assert_eq!(window, Validity::Window { from_ms, until_ms });
        assert!(!window.has_ended(until_ms - 1) && window.has_ended(until_ms));
        let days = Validity::days_of_window(from_ms, until_ms).unwrap();
        assert_eq!(days, ("2026-11-11".to_owned(), "2026-11-11".to_owned()));
    }

    #[test]
    fn a_window_that_ends_before_it_begins_or_is_no_date_is_refused() {
        assert!(Validity::window("2026-11-12", "2026-11-11").is_err());
        assert!(Validity::window("2026-02-30", "2026-03-01").is_err());
    }
}
