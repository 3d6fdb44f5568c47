//! Errors on the wire: `application/problem+json` (RFC 9457).

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};

use crate::kernel::Failure;
use crate::telemetry;

/// Why a request was refused.
#[derive(Object)]
#[oai(rename = "Problem")]
pub struct ProblemDocument {
    /// Where the code is explained.
    #[oai(rename = "type")]
    pub kind: String,
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable: what a client matches on.
    pub code: String,
    /// For people.
    pub detail: String,
    /// JSON pointer into the body, or the name of the parameter, that is wrong.
    pub field: Option<String>,
    /// Quote it when you ask for help.
    pub request_id: String,
}

/// A failure on its way to the client.
#[derive(Debug)]
pub struct Problem(pub Failure);

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let failure = self.0;
        let code = failure.code();
        if code.status >= 500 {
            tracing::error!("{failure}");
        }
        let mut response = Response::builder()
            .status(StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            .header(header::CONTENT_TYPE, "application/problem+json")
            .header(header::CACHE_CONTROL, "no-store");
        if let Some(seconds) = failure.retry_after() {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        if failure.is_again() {
            response = response.header("Idempotent-Replayed", "true");
        }
        if code.status == 401 {
            response = response.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.body(failure.problem(&telemetry::request_id()).to_string())
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        poem::Error::from_response(problem.into_response())
    }
}

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Refused: `code` says why, `field` where. 429 and 503 carry `Retry-After`.",
                status: None,
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: "application/problem+json",
                    schema: ProblemDocument::schema_ref(),
                }],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        ProblemDocument::register(registry);
    }
}
