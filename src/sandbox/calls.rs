//! The last raw calls, both ways, as they were on the wire: for the page, for tests, and for people who
//! debug signatures.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use poem_openapi::Object;

use crate::kernel::Millis;

const CALLS_MAX: usize = 500;
/// Longer bodies are cut in the log.
const BODY_MAX: usize = 16 * 1024;

/// A header as it was sent.
#[derive(Debug, Clone, Object)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// One call and its answer.
#[derive(Debug, Clone, Object)]
pub struct RawCall {
    /// Grows by one with each call.
    pub id: u64,
    /// When it was answered, by the sandbox's clock.
    pub at_ms: Millis,
    /// `in`: the shop called the sandbox. `out`: the sandbox notified the shop.
    pub direction: String,
    pub method: String,
    /// Path and query, or the whole URL when it went out.
    pub target: String,
    pub request_headers: Vec<Header>,
    pub request_body: String,
    /// 0: no answer.
    pub status: u16,
    pub response_headers: Vec<Header>,
    pub response_body: String,
}

#[derive(Default)]
pub struct Calls(Mutex<(u64, VecDeque<RawCall>)>);

impl Calls {
    pub fn record(&self, mut call: RawCall) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.0 += 1;
        call.id = log.0;
        log.1.push_front(call);
        log.1.truncate(CALLS_MAX);
    }

    /// Newest first.
    pub fn newest(&self, limit: usize) -> Vec<RawCall> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.1.iter().take(limit).cloned().collect()
    }
}

pub fn headers(map: &poem::http::HeaderMap) -> Vec<Header> {
    map.iter()
        .map(|(name, value)| Header {
            name: name.to_string(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        })
        .collect()
}

/// A body as text; an image as its length.
pub fn body_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= BODY_MAX => text.to_owned(),
        Ok(text) => text.chars().take(BODY_MAX).collect(),
        Err(_) => format!("({} bytes)", bytes.len()),
    }
}
