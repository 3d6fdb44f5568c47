//! When a store is open: weekly ranges of local time, and dates that differ. Pure.
//!
//! A range belongs to the day on which it begins. One that ends at or before its beginning runs past
//! midnight into the next day, whatever is said of that day; `00:00` to `00:00` is the whole day.
//! A time that a clock change skips is the moment after the gap, one that comes twice is the first.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use poem_openapi::Object;
use serde::{Deserialize, Serialize};

use crate::kernel::{Failure, Millis, Result, day_ms, text_enum, text_type};

/// How far ahead the next change is looked for, days.
const HORIZON_DAYS: i64 = 60;
const DAY_MINUTES: i16 = 24 * 60;

/// A time of day in minutes since midnight, `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(i16);

impl TimeOfDay {
    /// `None` from 24:00 on.
    pub const fn new(hour: u8, minute: u8) -> Option<Self> {
        if hour < 24 && minute < 60 { Some(Self(hour as i16 * 60 + minute as i16)) } else { None }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl FromStr for TimeOfDay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |part: &str| (part.len() == 2).then(|| part.parse::<u8>().ok()).flatten();
        text.split_once(':')
            .filter(|_| text.bytes().all(|b| b.is_ascii_digit() || b == b':'))
            .and_then(|(hour, minute)| Self::new(digits(hour)?, digits(minute)?))
            .ok_or_else(|| "expected a time of day from 00:00 to 23:59".to_owned())
    }
}

text_type!(TimeOfDay, "TimeOfDay", {
    let mut schema = poem_openapi::registry::MetaSchema::new("string");
    schema.pattern = Some("^([01][0-9]|2[0-3]):[0-5][0-9]$".to_owned());
    schema
});

/// A date of the calendar, `YYYY-MM-DD`, in the store's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shaped = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date = shaped.then(|| Date::strptime("%Y-%m-%d", text).ok()).flatten();
        date.filter(|date| (2000..=2999).contains(&date.year()))
            .map(Self)
            .ok_or_else(|| "expected a date like 2026-10-01".to_owned())
    }
}

text_type!(Day, "Day", {
    let mut schema = poem_openapi::registry::MetaSchema::new_with_format("string", "date");
    schema.pattern = Some("^2[0-9]{3}-[01][0-9]-[0-3][0-9]$".to_owned());
    schema
});

text_enum! {
    pub enum Weekday {
        Monday = "MONDAY",
        Tuesday = "TUESDAY",
        Wednesday = "WEDNESDAY",
        Thursday = "THURSDAY",
        Friday = "FRIDAY",
        Saturday = "SATURDAY",
        Sunday = "SUNDAY",
    }
}

impl Weekday {
    fn of(date: Date) -> Self {
        Self::ALL[date.weekday().to_monday_zero_offset() as usize]
    }
}

/// Open from `from` to `to`; past midnight when `to` is not after `from`.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct OpenRange {
    pub from: TimeOfDay,
    pub to: TimeOfDay,
}

/// Open on every such weekday from `from` to `to`; past midnight when `to` is not after `from`.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct WeeklyRange {
    pub weekday: Weekday,
    pub from: TimeOfDay,
    pub to: TimeOfDay,
}

/// A date with ranges of its own instead of its weekday's; without ranges it is closed.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct OpenException {
    pub date: Day,
    #[oai(validator(max_items = 4))]
    pub ranges: Vec<OpenRange>,
}

/// Weekly hours and the dates that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct OpenHours {
    #[oai(validator(max_items = 28))]
    pub weekly: Vec<WeeklyRange>,
    #[oai(validator(max_items = 60))]
    pub exceptions: Vec<OpenException>,
}

/// Open or closed at some moment, and when that changes; no time when it doesn't within 60 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenState {
    pub open: bool,
    pub changes_ms: Option<Millis>,
}

impl OpenHours {
    /// The same ranges on every day of the week.
    pub fn every_day(ranges: &[OpenRange]) -> Self {
        let weekly = Weekday::ALL.iter().flat_map(|weekday| {
            ranges.iter().map(|range| WeeklyRange { weekday: *weekday, from: range.from, to: range.to })
        });
        Self { weekly: weekly.collect(), exceptions: Vec::new() }
    }

    /// # Errors
    /// Two ranges of one day that overlap, or one date twice; the field is below `/hours`.
    pub fn check(&self) -> Result<()> {
        for weekday in Weekday::ALL {
            let ranges: Vec<_> = self.weekly.iter().filter(|range| range.weekday == *weekday).collect();
            if overlaps(ranges.iter().map(|range| (range.from, range.to))) {
                return Err(Failure::invalid("/hours/weekly", format!("two ranges of {weekday} overlap")));
            }
        }
        for (index, exception) in self.exceptions.iter().enumerate() {
            let field = format!("/hours/exceptions/{index}");
            if self.exceptions[..index].iter().any(|other| other.date == exception.date) {
                return Err(Failure::invalid(field, format!("{} is there twice", exception.date)));
            }
            if overlaps(exception.ranges.iter().map(|range| (range.from, range.to))) {
                return Err(Failure::invalid(field, format!("two ranges of {} overlap", exception.date)));
            }
        }
        Ok(())
    }

    pub fn is_open_at(&self, zone: &TimeZone, now_ms: Millis) -> bool {
        self.state_at(zone, now_ms).open
    }

    /// Open or closed at `now_ms`, and until when.
    pub fn state_at(&self, zone: &TimeZone, now_ms: Millis) -> OpenState {
        let closed = OpenState { open: false, changes_ms: None };
        let Ok(now) = jiff::Timestamp::from_millisecond(now_ms) else { return closed };
        let Ok(first) = now.to_zoned(zone.clone()).date().yesterday() else { return closed };
        let mut open_until: Option<Millis> = None;
        for date in first.series(jiff::Span::new().days(1)).take(HORIZON_DAYS as usize + 3) {
            for (start_ms, end_ms) in self.intervals(date, zone) {
                match open_until {
                    _ if end_ms <= now_ms => {}
                    // The longest of those that run now, and what follows without a pause.
                    None if start_ms <= now_ms => open_until = Some(end_ms),
                    Some(until_ms) if start_ms <= until_ms => open_until = Some(until_ms.max(end_ms)),
                    None => return OpenState { open: false, changes_ms: Some(start_ms) },
                    Some(until_ms) => return OpenState { open: true, changes_ms: Some(until_ms) },
                }
            }
        }
        match open_until {
            // Open up to the end of what was looked at.
            Some(until_ms) if until_ms > now_ms + day_ms(HORIZON_DAYS) => {
                OpenState { open: true, changes_ms: None }
            }
            Some(until_ms) => OpenState { open: true, changes_ms: Some(until_ms) },
            None => closed,
        }
    }

    /// The ranges that begin on `date`, as moments, in their order.
    fn intervals(&self, date: Date, zone: &TimeZone) -> Vec<(Millis, Millis)> {
        let exception = self.exceptions.iter().find(|exception| exception.date == Day(date));
        let mut ranges: Vec<(TimeOfDay, TimeOfDay)> = match exception {
            Some(exception) => exception.ranges.iter().map(|range| (range.from, range.to)).collect(),
            None => {
                let weekday = Weekday::of(date);
                let weekly = self.weekly.iter().filter(|range| range.weekday == weekday);
                weekly.map(|range| (range.from, range.to)).collect()
            }
        };
        ranges.sort_unstable();
        let moments = ranges.into_iter().filter_map(|(from, to)| {
            let end_date = if to > from { date } else { date.tomorrow().ok()? };
            Some((moment(date, from, zone)?, moment(end_date, to, zone)?))
        });
        // A range inside of a skipped hour has nothing left.
        moments.filter(|(start_ms, end_ms)| start_ms < end_ms).collect()
    }
}

fn moment(date: Date, time: TimeOfDay, zone: &TimeZone) -> Option<Millis> {
    let local = date.at((time.0 / 60) as i8, (time.0 % 60) as i8, 0, 0);
    // "Compatible": after a gap, and the first of two.
    Some(local.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
}

fn overlaps(ranges: impl Iterator<Item = (TimeOfDay, TimeOfDay)>) -> bool {
    let mut ranges: Vec<(i16, i16)> =
        ranges.map(|(from, to)| (from.0, if to > from { to.0 } else { DAY_MINUTES })).collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|pair| pair[1].0 < pair[0].1)
}

#[cfg(test)]
mod tests;
