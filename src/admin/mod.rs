//! The admin's OpenAPI: no rules, only calls to feature verbs. Every operation takes a staff member.

pub mod catalog;
pub mod coupons;
pub mod operations;
pub mod orders;
pub mod refunds;
pub mod scope;
pub mod sessions;
pub mod staff;
pub mod stores;

use crate::kernel::{Failure, Millis, Result};

/// A query parameter that is a time.
pub(crate) fn moment(name: &str, text: Option<String>) -> Result<Option<Millis>> {
    let parse = |text: String| text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond);
    text.map(parse)
        .transpose()
        .map_err(|_| Failure::invalid(name, "must be a time of RFC 3339, like 2026-03-14T02:00:00Z"))
}
