//! One bounded HTTP exchange: no proxy from the environment, no redirects, no silent repeats, no URL in errors.

use std::error::Error;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Url};

use super::Cause;
use crate::kernel::{Failure, Result};

/// The largest answer that is read, in bytes. The list of couriers and a large QR image stay far below.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Shorter than what servers keep an idle connection for, so that a request is not written into a closed one.
const IDLE_S: u64 = 20;
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct Http(Client);

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's text, empty when it is absent or not text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Http {
    /// `timeout` is that of a whole call: a third of it, at most 3 s, may go by until the connection stands.
    pub fn new(timeout: Duration) -> Result<Self> {
        Client::builder()
            .user_agent(concat!("minimall/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout((timeout / 3).min(CONNECT_TIMEOUT_MAX))
            .pool_idle_timeout(Duration::from_secs(IDLE_S))
            .build()
            .map(Self)
            .map_err(|error| Failure::internal("building the HTTP client for WeChat", error.without_url()))
    }

    /// Sends and reads the whole answer. The caller bounds the time.
    pub async fn send(&self, request: Request) -> Result<Answer, Cause> {
        let mut response = self.0.execute(request).await.map_err(cause)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(cause)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Cause::TooLarge(ANSWER_BYTES_MAX));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }
}

fn cause(error: reqwest::Error) -> Cause {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(next) = inner {
        text = format!("{text}: {next}");
        inner = next.source();
    }
    if error.is_timeout() && !error.is_connect() {
        Cause::Timeout
    } else if error.is_connect() {
        Cause::Connect(text)
    } else {
        Cause::Broken(text)
    }
}

/// A base URL of the configuration: http or https, without query; `option` names it in the failure.
pub fn base_url(text: &str, option: &str) -> Result<Url> {
    let refuse = |why: &str| Failure::invalid(format!("/{option}"), format!("{option}: {why}"));
    let url: Url = text.parse().map_err(|_| refuse("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(refuse("must begin with http:// or https://"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(refuse("must be scheme, host, port and path only"));
    }
    Ok(url)
}

/// The base with further path segments, each percent-encoded where a path needs it.
pub fn join<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// The total time of a call, at least 1 ms and at most 60 s.
pub fn timeout(ms: u64, option: &str) -> Result<Duration> {
    if !(1..=60_000).contains(&ms) {
        return Err(Failure::invalid(format!("/{option}"), format!("{option}: must be 1 to 60000 ms")));
    }
    Ok(Duration::from_millis(ms))
}
