//! Clients for what WeChat runs: the mini-program server API ([`mini`]), WeChat Pay v3 ([`pay`]) and the
//! message push that WeChat sends to us ([`push`]). They own no table and no event: each call is one
//! bounded exchange, and what an answer means for an order is decided by the features that call.

mod http;
pub mod mini;
pub mod pay;
pub mod push;
#[cfg(test)]
mod test_server;

/// Why there is no usable answer. The other side may have done the work all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error("no answer in time")]
    Timeout,
    /// No connection was made, so nothing was sent. The text never carries the URL.
    #[error("no connection: {0}")]
    Connect(String),
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// An HTTP status that is neither a success nor an answer of the service itself.
    #[error("HTTP status {0}")]
    Status(u16),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer is not understood: {0}")]
    Unreadable(&'static str),
    #[error("the answer is not signed as it must be: {0}")]
    Unverified(pay::VerifyError),
}

/// `Debug` for a type with secrets or personal data: only the named fields are shown.
macro_rules! guarded_debug {
    ($type:ident: $($field:ident),*) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use guarded_debug;

/// The first `max` characters.
fn first_chars(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

/// RFC 3339 in +08:00, which is how WeChat writes times; `fraction` asks for milliseconds.
fn china_time(ms: crate::kernel::Millis, fraction: bool) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let format = if fraction { "%Y-%m-%dT%H:%M:%S.%3f%:z" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    at.to_zoned(zone).strftime(format).to_string()
}
