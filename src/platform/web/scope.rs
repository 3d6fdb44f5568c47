//! The scope of a request, around everything else: its id, its log line, its metrics, and the promise
//! that whatever goes wrong is answered as a problem document.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use poem::error::NotFoundError;
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response};
use poem_openapi::OperationId;
use poem_openapi::error::{AuthorizationError, ContentTypeError, ParseParamError, ParsePathError};

use super::Problem;
use crate::kernel::{Code, Failure, RequestId, common};
use crate::platform::ctx::Ctx;
use crate::platform::patience::within;
use crate::telemetry::{self, Stopwatch};

const HEADER: &str = "x-request-id";

/// The middleware that opens the scope.
pub struct RequestScope(pub Ctx);

impl<E: Endpoint> Middleware<E> for RequestScope {
    type Output = ScopedEndpoint<E>;
    fn transform(&self, endpoint: E) -> Self::Output {
        ScopedEndpoint { endpoint, ctx: self.0.clone() }
    }
}

pub struct ScopedEndpoint<E> {
    endpoint: E,
    ctx: Ctx,
}

impl<E: Endpoint> Endpoint for ScopedEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let id = given_id(&request).unwrap_or_else(|| self.ctx.new_id::<RequestId>().to_string());
        request.set_data(self.ctx.clone());
        let method = request.method().clone();
        let limit = Duration::from_millis(self.ctx.config.server.request_timeout_ms);
        let watch = Stopwatch::start();
        let scoped = async {
            // What panics has changed nothing: its transaction is rolled back when it is dropped.
            // On the heap: what an operation keeps is large, and each layer around it would move it over the stack.
            let answered = Box::pin(AssertUnwindSafe(self.endpoint.call(request)).catch_unwind().map(Ok));
            let mut response = match within(limit, "a request", answered).await {
                Ok(Ok(Ok(response))) => response.into_response(),
                Ok(Ok(Err(error))) => as_problem(error),
                Ok(Err(_)) => {
                    Problem(Failure::internal("answering a request", "it panicked")).into_response()
                }
                Err(too_late) => Problem(too_late).into_response(),
            };
            if let Ok(value) = HeaderValue::from_str(&telemetry::request_id()) {
                response.headers_mut().insert(HEADER, value);
            }
            let status = response.status().as_u16();
            let operation = response.data::<OperationId>().map_or("-", |operation| operation.0);
            let took = watch.elapsed();
            self.ctx.metrics.http(operation, status, took);
            tracing::debug!(
                request.id = telemetry::request_id(),
                operation,
                status,
                ms = took.as_millis() as u64,
                "{method} {operation} answered {status}",
            );
            response
        };
        Ok(telemetry::with_request_id(id, scoped).await)
    }
}

/// The id that the client gave, if it is one: 1 to 64 visible characters.
fn given_id(request: &Request) -> Option<String> {
    let id = request.headers().get(HEADER)?.to_str().ok()?;
    let fits = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| id.to_owned())
}

/// Everything that poem refuses by itself, in our words.
fn as_problem(error: poem::Error) -> Response {
    let failure = if let Some(param) = error.downcast_ref::<ParseParamError>() {
        bad_parameter(param.name, &param.reason)
    } else if let Some(param) = error.downcast_ref::<ParsePathError>() {
        // poem-openapi counts path parameters and does not know their names; the reason says which kind it is.
        bad_parameter("path", &param.reason)
    } else if error.is::<AuthorizationError>() {
        Failure::new(&common::UNAUTHENTICATED)
    } else if error.is::<ContentTypeError>() {
        Failure::new(&common::MEDIA_TYPE)
    } else if error.is::<NotFoundError>() {
        Failure::new(&common::NOT_FOUND)
    } else if error.is_from_response() {
        // Ours already.
        return error.into_response();
    } else {
        let code = by_status(error.status());
        Failure::new(code).detail(error.to_string())
    };
    Problem(failure).into_response()
}

fn bad_parameter(name: &str, reason: &str) -> Failure {
    if name == "Idempotency-Key" {
        let failure = Failure::new(&common::IDEMPOTENCY_KEY_REQUIRED).field(name);
        // One that is there and does not fit; otherwise it is missing, as the code says by itself.
        return match reason.strip_prefix("verification failed. ") {
            Some(rule) => failure.detail(format!("Idempotency-Key does not fit: {rule}.")),
            None => failure,
        };
    }
    Failure::invalid(name, format!("{name}: {}", plain(reason)))
}

/// The parser's reason without the names of our types.
fn plain(reason: &str) -> String {
    let reason = match reason.strip_prefix("failed to parse \"").and_then(|rest| rest.split_once("\": ")) {
        Some((_, why)) => why,
        None => reason,
    };
    let reason = reason.split(" (occurred while parsing").next().unwrap_or(reason);
    let reason = if reason.starts_with("Type \"") { "is required" } else { reason };
    let bound = |rule: &str| {
        let inner = reason.strip_prefix("verification failed. ")?.strip_prefix(rule)?;
        let inner = inner.strip_prefix('(')?;
        Some(inner.split([',', ')']).next().unwrap_or(inner).to_owned())
    };
    [
        ("maximum", "must be at most"),
        ("minimum", "must be at least"),
        ("maxLength", "must not be longer than"),
        ("minLength", "must not be shorter than"),
    ]
    .into_iter()
    .find_map(|(rule, words)| bound(rule).map(|limit| format!("{words} {limit}")))
    .unwrap_or_else(|| reason.to_owned())
}

fn by_status(status: StatusCode) -> &'static Code {
    match status.as_u16() {
        401 => &common::UNAUTHENTICATED,
        403 => &common::FORBIDDEN,
        404 => &common::NOT_FOUND,
        405 => &common::METHOD,
        413 => &common::TOO_LARGE,
        415 => &common::MEDIA_TYPE,
        400..=499 => &common::INVALID,
        _ => &common::INTERNAL,
    }
}
