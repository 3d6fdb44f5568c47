//! Open hours across midnight, exceptions and clock changes.

use super::*;

fn time(text: &str) -> TimeOfDay {
    text.parse().unwrap()
}

fn range(from: &str, to: &str) -> OpenRange {
    OpenRange { from: time(from), to: time(to) }
}

fn ms(text: &str) -> Millis {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// Open or closed at `at`, and when it changes, as text.
fn state(hours: &OpenHours, zone_name: &str, at: &str) -> (bool, Option<String>) {
    let state = hours.state_at(&zone(zone_name), ms(at));
    (state.open, state.changes_ms.map(|ms| jiff::Timestamp::from_millisecond(ms).unwrap().to_string()))
}

fn until(text: &str) -> Option<String> {
    Some(text.to_owned())
}

const SHANGHAI: &str = "Asia/Shanghai";

#[test]
fn a_day_opens_at_its_first_minute_and_closes_at_its_last() {
    let hours = OpenHours::every_day(&[range("09:00", "22:00")]);
    assert_eq!(state(&hours, SHANGHAI, "2026-03-02T00:59:59Z"), (false, until("2026-03-02T01:00:00Z")));
    assert_eq!(state(&hours, SHANGHAI, "2026-03-02T01:00:00Z"), (true, until("2026-03-02T14:00:00Z")));
    assert_eq!(state(&hours, SHANGHAI, "2026-03-02T14:00:00Z"), (false, until("2026-03-03T01:00:00Z")));
}

#[test]
fn a_lunch_break_closes_and_ranges_that_touch_do_not() {
    let hours =
        OpenHours::every_day(&[range("09:00", "12:00"), range("14:00", "18:00"), range("18:00", "20:00")]);
    assert_eq!(state(&hours, SHANGHAI, "2026-03-02T05:00:00Z"), (false, until("2026-03-02T06:00:00Z")));
    assert_eq!(state(&hours, SHANGHAI, "2026-03-02T09:30:00Z"), (true, until("2026-03-02T12:00:00Z")));
}

#[test]
fn a_night_runs_past_midnight_even_into_a_closed_day() {
    let friday = WeeklyRange { weekday: Weekday::Friday, from: time("18:00"), to: time("02:00") };
    let mut hours = OpenHours { weekly: vec![friday], exceptions: vec![] };
    // 2026-03-06 is a Friday; 17:30Z is 01:30 on Saturday in Shanghai.
    assert_eq!(state(&hours, SHANGHAI, "2026-03-06T17:30:00Z"), (true, until("2026-03-06T18:00:00Z")));
    assert_eq!(state(&hours, SHANGHAI, "2026-03-06T18:00:00Z"), (false, until("2026-03-13T10:00:00Z")));
    hours.exceptions = vec![OpenException { date: "2026-03-07".parse().unwrap(), ranges: vec![] }];
    assert!(state(&hours, SHANGHAI, "2026-03-06T17:30:00Z").0);
}

#[test]
fn round_the_clock_never_changes_and_no_hours_never_open() {
    let always = OpenHours::every_day(&[range("00:00", "00:00")]);
    assert_eq!(state(&always, SHANGHAI, "2026-03-02T16:00:00Z"), (true, None));
    assert_eq!(state(&OpenHours::default(), SHANGHAI, "2026-03-02T16:00:00Z"), (false, None));
}

#[test]
fn the_last_range_before_a_long_pause_still_says_when_it_ends() {
    let date = "2026-03-02".parse().unwrap();
    let once = OpenHours {
        weekly: vec![],
        exceptions: vec![OpenException { date, ranges: vec![range("10:00", "12:00")] }],
    };
    assert_eq!(state(&once, SHANGHAI, "2026-03-02T03:00:00Z"), (true, until("2026-03-02T04:00:00Z")));
    assert_eq!(state(&once, SHANGHAI, "2026-03-02T05:00:00Z"), (false, None));
}

#[test]
fn an_exception_replaces_its_weekday() {
    let mut hours = OpenHours::every_day(&[range("09:00", "22:00")]);
    hours.exceptions = vec![
        OpenException { date: "2026-10-01".parse().unwrap(), ranges: vec![] },
        OpenException { date: "2026-10-02".parse().unwrap(), ranges: vec![range("12:00", "15:00")] },
    ];
    assert_eq!(state(&hours, SHANGHAI, "2026-10-01T04:00:00Z"), (false, until("2026-10-02T04:00:00Z")));
    assert_eq!(state(&hours, SHANGHAI, "2026-10-02T04:30:00Z"), (true, until("2026-10-02T07:00:00Z")));
    assert_eq!(state(&hours, SHANGHAI, "2026-10-02T08:00:00Z"), (false, until("2026-10-03T01:00:00Z")));
}

#[test]
fn clock_changes_shorten_and_lengthen_a_night() {
    let berlin = "Europe/Berlin";
    let hours = OpenHours::every_day(&[range("22:00", "06:00")]);
    // In the night to 2026-03-29 clocks go from 02:00 to 03:00: seven hours.
    let (open, closes) = state(&hours, berlin, "2026-03-28T21:00:00Z");
    assert!(open);
    assert_eq!(closes, until("2026-03-29T04:00:00Z"));
    // In the night to 2026-10-25 clocks go from 03:00 to 02:00: nine hours.
    assert_eq!(state(&hours, berlin, "2026-10-24T20:00:00Z"), (true, until("2026-10-25T05:00:00Z")));
}

#[test]
fn times_inside_of_a_clock_change_have_one_meaning() {
    let new_york = "America/New_York";
    let gap = OpenHours::every_day(&[range("02:30", "05:00")]);
    // 2026-03-08: 02:30 does not exist and means 03:30 EDT.
    assert_eq!(state(&gap, new_york, "2026-03-08T07:15:00Z"), (false, until("2026-03-08T07:30:00Z")));
    let inside = OpenHours::every_day(&[range("02:10", "03:05")]);
    // 02:10 would be 03:10, after the end: that day has none.
    assert_eq!(state(&inside, new_york, "2026-03-08T07:04:00Z"), (false, until("2026-03-09T06:10:00Z")));
    let twice = OpenHours::every_day(&[range("01:30", "04:00")]);
    // 2026-11-01: 01:30 comes twice, the first (EDT, 05:30Z) opens.
    assert_eq!(state(&twice, new_york, "2026-11-01T05:40:00Z"), (true, until("2026-11-01T09:00:00Z")));
}

#[test]
fn overlapping_ranges_and_doubled_dates_are_refused() {
    let overlapping = OpenHours::every_day(&[range("09:00", "12:00"), range("11:59", "13:00")]);
    assert!(overlapping.check().is_err());
    let night_first = OpenHours::every_day(&[range("20:00", "02:00"), range("21:00", "22:00")]);
    assert!(night_first.check().is_err());
    let fine = OpenHours::every_day(&[range("09:00", "12:00"), range("12:00", "03:00")]);
    assert!(fine.check().is_ok());
    let closed = || OpenException { date: "2026-10-01".parse().unwrap(), ranges: vec![] };
    let doubled = OpenHours { weekly: vec![], exceptions: vec![closed(), closed()] };
    assert!(doubled.check().is_err());
}

#[test]
fn times_and_dates_have_one_spelling() {
    for wrong in ["24:00", "9:00", "09:60", "0900", "09:00:00", "+9:00", ""] {
        assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
    }
    for wrong in ["2026-02-30", "2026-1-01", "20260101", "0999-01-01", ""] {
        assert!(wrong.parse::<Day>().is_err(), "{wrong}");
    }
    assert_eq!("07:05".parse::<TimeOfDay>().unwrap().to_string(), "07:05");
    assert_eq!("2028-02-29".parse::<Day>().unwrap().to_string(), "2028-02-29");
}
