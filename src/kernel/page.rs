//! Lists: a bounded page and an opaque cursor to the next one.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use super::{Failure, Result, text_type};

/// How many rows a page has: 1 to 100, 20 unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u32);

impl Limit {
    pub const DEFAULT: u32 = 20;
    pub const MAX: u32 = 100;

    pub fn parse(asked: Option<u32>) -> Result<Self> {
        match asked.unwrap_or(Self::DEFAULT) {
            n @ 1..=Self::MAX => Ok(Self(n)),
            _ => Err(Failure::invalid("limit", "must be from 1 to 100")),
        }
    }

    /// One row more than the page holds: whether there is a next page is seen by that row.
    pub fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

/// Where the last page ended: the sort key of its last row, opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    pub fn after(key: impl fmt::Display) -> Self {
        Self(key.to_string())
    }

    pub fn key(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(self.0.as_bytes()))
    }
}

impl FromStr for Cursor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|key| !key.is_empty() && key.len() <= 128 && !key.contains('\0'))
            .map(Self)
            .ok_or_else(|| "not a cursor that this API gave".to_owned())
    }
}

text_type!(Cursor, "Cursor", {
    let mut schema = poem_openapi::registry::MetaSchema::new("string");
    // 128 bytes in base64.
    schema.max_length = Some(171);
    schema.pattern = Some("^[A-Za-z0-9_-]+$".to_owned());
    schema
});

/// Rows of a list and where the next page begins.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Cuts the row that was read beyond the limit; `key` is the sort key of a row.
    pub fn cut(mut items: Vec<T>, limit: Limit, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit.0 as usize;
        items.truncate(limit.0 as usize);
        let next = items.last().filter(|_| more).map(|last| Cursor::after(key(last)));
        Self { items, next }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}
