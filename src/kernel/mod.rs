//! What every module speaks: ids, money, time, actors, failures and pages. Pure values, no I/O.

mod actor;
mod clock;
mod failure;
mod id;
mod money;
mod page;
pub mod qr;
mod text;

pub use actor::Actor;
pub use clock::{Clock, Millis, Moment, day_ms, hour_ms, minute_ms, rfc3339};
pub(crate) use failure::codes;
pub use failure::{Code, Failure, Result, common};
pub use id::*;
pub use money::{Currency, Money, split_by};
pub use page::{Cursor, Limit, Page};
pub(crate) use text::{text_enum, text_type};
