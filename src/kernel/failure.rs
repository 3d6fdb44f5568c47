//! The one error type of the program. A feature declares its codes in one table; a failure is one of
//! those codes with what happened this time. The tables are also the catalogue in the docs.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value};

pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A kind of failure: stable for clients, with the HTTP status that it answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    pub status: u16,
    /// Stable, snake case: what clients match on.
    pub code: &'static str,
    /// For people: what it means and what to do.
    pub detail: &'static str,
}

/// Declares a feature's codes: `NAME: 404 "code" "detail";` and the list `CODES` for the catalogue.
macro_rules! codes {
    ($($name:ident: $status:literal $code:literal $detail:literal;)+) => {
        $(pub const $name: $crate::kernel::Code =
            $crate::kernel::Code { status: $status, code: $code, detail: $detail };)+
        /// Every code of this feature, for the catalogue.
        pub const CODES: &[&$crate::kernel::Code] = &[$(&$name),+];
    };
}
pub(crate) use codes;

/// Codes that no feature owns.
pub mod common {
    codes! {
        INTERNAL: 500 "internal" "Something went wrong on our side. Repeating the request with the same Idempotency-Key is safe.";
        UNAVAILABLE: 503 "unavailable" "A part that this needs does not answer. Try again in a moment.";
        INVALID: 400 "invalid_request" "The request does not fit the schema. `field` names the first place that does not.";
        MALFORMED: 400 "malformed_json" "The body is not valid JSON.";
        TOO_LARGE: 413 "body_too_large" "The body is larger than this operation takes.";
        MEDIA_TYPE: 415 "unsupported_media_type" "Send `Content-Type: application/json`.";
        UNAUTHENTICATED: 401 "unauthenticated" "The bearer token is missing, unknown or expired. Sign in again, or refresh.";
        FORBIDDEN: 403 "forbidden" "Your role does not allow this.";
        NOT_FOUND: 404 "not_found" "There is nothing at this address.";
        METHOD: 405 "method_not_allowed" "This address does not take that method.";
        RATE_LIMITED: 429 "rate_limited" "Too many requests. Wait for `Retry-After` seconds.";
        IDEMPOTENCY_KEY_REQUIRED: 400 "idempotency_key_required" "Send a fresh `Idempotency-Key` header, and the same one when you repeat the request.";
        IDEMPOTENCY_KEY_REUSED: 409 "idempotency_key_reused" "This Idempotency-Key was used for a request with another body.";
        IDEMPOTENCY_IN_PROGRESS: 409 "idempotency_in_progress" "A request with this Idempotency-Key is still being worked on. Repeat it in a moment.";
    }
}

/// A code with what happened this time. The cause is for logs only and never reaches a client.
pub struct Failure(Box<Inner>);

struct Inner {
    code: &'static Code,
    detail: Option<String>,
    field: Option<String>,
    extra: Map<String, Value>,
    retry_after_s: Option<u32>,
    again: bool,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub fn new(code: &'static Code) -> Self {
        Self(Box::new(Inner {
            code,
            detail: None,
            field: None,
            extra: Map::new(),
            retry_after_s: None,
            again: false,
            cause: None,
        }))
    }

    /// Our own fault: what we were doing, and why it failed.
    pub fn internal(doing: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(&common::INTERNAL).detail(doing).cause(cause)
    }

    /// Bad input: the JSON pointer of the field and what is wrong with it.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(&common::INVALID).field(field).detail(detail)
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>) -> Self {
        self.0.field = Some(pointer.into());
        self
    }

    /// A further member of the problem document.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.extra.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub fn cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Marks a refusal that was remembered from an earlier request.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.0.again = true;
        self
    }

    pub fn is_again(&self) -> bool {
        self.0.again
    }

    pub fn code(&self) -> &'static Code {
        self.0.code
    }

    pub fn is(&self, code: &Code) -> bool {
        self.0.code == code
    }

    /// Would the same request fail again? Then the refusal may be remembered under its idempotency key.
    pub fn is_final(&self) -> bool {
        let passing = [401, 408, 429];
        (400..500).contains(&self.0.code.status) && !passing.contains(&self.0.code.status)
    }

    pub fn retry_after(&self) -> Option<u32> {
        self.0.retry_after_s
    }

    pub fn source_as<T: Error + 'static>(&self) -> Option<&T> {
        self.0.cause.as_deref().and_then(|cause| cause.downcast_ref())
    }

    /// The problem document of RFC 9457. A 5xx tells a client nothing about our insides.
    pub fn problem(&self, request_id: &str) -> Value {
        let code = self.0.code;
        let detail = match &self.0.detail {
            Some(detail) if code.status < 500 => detail,
            _ => code.detail,
        };
        let mut body = Map::new();
        body.insert("type".into(), format!("/docs/errors#{}", code.code).into());
        body.insert("title".into(), code.code.replace('_', " ").into());
        body.insert("status".into(), code.status.into());
        body.insert("code".into(), code.code.into());
        body.insert("detail".into(), detail.into());
        if let Some(field) = &self.0.field {
            body.insert("field".into(), field.as_str().into());
        }
        body.insert("request_id".into(), request_id.into());
        body.extend(self.0.extra.clone());
        Value::Object(body)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = match &self.0.detail {
            Some(detail) if self.0.code == &common::INTERNAL => detail.clone(),
            Some(detail) => format!("{}: {detail}", self.0.code.code),
            None => self.0.code.code.to_owned(),
        };
        let mut cause: Option<&dyn Error> = self.0.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(error) = cause {
            // Some errors say what their own cause says.
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}
