//! An HTTP client whose answers are easy to look at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// POSTs that only look something up.
const LOOKS: &[&str] = &["/admin/v1/pickups/verify"];

/// A write to store management that succeeded: what it was, and its request id.
#[derive(Debug, Clone)]
pub struct StaffWrite {
    pub what: String,
    pub request_id: String,
}

/// The writes to store management that succeeded.
pub type StaffWrites = Arc<Mutex<Vec<StaffWrite>>>;

/// A client with, once signed in, a token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    pub token: Option<String>,
    writes: StaffWrites,
}

/// A status, headers, and the body as JSON (null when it is none).
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub body: Value,
}

/// An idempotency key that was never used.
pub fn fresh_key() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("key-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Client {
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, base: base.to_owned(), token: None, writes: StaffWrites::default() }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Notes its writes there: each of them must have left an audit row at the end of the test.
    pub fn noting(self, writes: &StaffWrites) -> Self {
        Self { writes: writes.clone(), ..self }
    }

    /// For a write to store management that succeeds and changes nothing, so that no audit row is due.
    pub fn changing_nothing(&self) -> Self {
        self.clone().noting(&StaffWrites::default())
    }

    /// A request of any shape.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.expect("the server answers");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await.expect("a body").to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = Answer { status, headers, bytes, body };
        let is_new = (200..300).contains(&status) && answer.header("idempotent-replayed").is_none();
        let is_write = method != Method::GET && !LOOKS.contains(&path.as_str());
        if is_new && is_write && path.starts_with("/admin/v1/") {
            let request_id = answer.header("x-request-id").unwrap_or_default().to_owned();
            let write = StaffWrite { what: format!("{method} {path}"), request_id };
            self.writes.lock().expect("no panic elsewhere").push(write);
        }
        answer
    }

    async fn write(&self, method: Method, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut request = self.request(method, path);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let request = request.header("Content-Type", "application/json").body(body.to_string());
        self.send(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).header("Idempotency-Key", fresh_key())).await
    }

    /// POST with a fresh idempotency key.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.write(Method::POST, path, Some(&fresh_key()), body).await
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.write(Method::POST, path, Some(key), body).await
    }

    pub async fn post_without_key(&self, path: &str, body: &Value) -> Answer {
        self.write(Method::POST, path, None, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.write(Method::PUT, path, Some(&fresh_key()), body).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.write(Method::PATCH, path, Some(&fresh_key()), body).await
    }
}

impl Answer {
    /// A 2xx, or the test fails and shows the answer.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            String::from_utf8_lossy(&self.bytes)
        );
        self.body
    }

    /// A refusal with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let shown = String::from_utf8_lossy(&self.bytes);
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{shown}");
        let kind = self.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        assert_eq!(kind, Some("application/problem+json"));
        self.body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
