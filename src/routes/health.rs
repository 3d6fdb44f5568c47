//! Health, readiness, metrics, and how a server takes its leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use poem::endpoint::make_sync;
use poem::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use poem::http::{StatusCode, Version};
use poem::{Endpoint, IntoResponse, Request, Response, Route, endpoint::make, get};
use serde_json::json;
use tokio::time::timeout;

use super::Surface;
use crate::kernel::Failure;
use crate::platform::bus::BusState;
use crate::platform::ctx::Ctx;

/// A database that has not answered by then is none to serve with.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Is this server about to stop? It still answers everything, says at `/readyz` that it is to get nothing more, and ends
/// each connection with its answer, so that nobody sends into one that is being closed.
#[derive(Clone, Default)]
pub struct Leaving(Arc<AtomicBool>);

impl Leaving {
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The answer of an endpoint, as the last one of its connection if the server leaves.
    pub async fn answer<E: Endpoint>(self, endpoint: Arc<E>, request: Request) -> poem::Result<Response> {
        // Later versions end their connections by themselves.
        let can_say = request.version() <= Version::HTTP_11;
        let mut response = endpoint.call(request).await?.into_response();
        if can_say && self.has_begun() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// The process is alive.
pub fn alive() -> impl Endpoint<Output = Response> + 'static {
    make_sync(|_| json_response(StatusCode::OK, &json!({ "status": "ok" })))
}

/// Each dependency by its name; 503 when one that is needed does not answer.
pub fn ready(app: &Surface) -> impl Endpoint<Output = Response> + 'static {
    let (ctx, leaving) = (app.ctx.clone(), app.leaving.clone());
    make(move |_| {
        let (ctx, leaving) = (ctx.clone(), leaving.clone());
        async move { Ok::<_, poem::Error>(readiness(&ctx, &leaving).await) }
    })
}

async fn readiness(ctx: &Ctx, leaving: &Leaving) -> Response {
    let database = timeout(ANSWERS_WITHIN, async {
        let mut conn = ctx.db.reader().await?;
        sqlx::query("SELECT 1").execute(&mut *conn).await?;
        Ok::<_, Failure>(())
    });
    let database = matches!(database.await, Ok(Ok(())));
    // The shop works without the kv tier, only slower, and events wait for the bus: both are named, and a node
    // without them is still ready.
    let kv = ctx.kv.get("readyz").await.is_ok();
    // A node that has not got its first queues is not ready yet.
    let bus = ctx.bus.state();
    let (status, is) = match (database, bus) {
        _ if leaving.has_begun() => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        (true, BusState::Starting) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        (true, BusState::Up) if kv => (StatusCode::OK, "ok"),
        (true, _) => (StatusCode::OK, "degraded"),
    };
    let word = |up: bool| if up { "ok" } else { "down" };
    let bus = match bus {
        BusState::Up => "ok",
        BusState::Starting => "starting",
        BusState::Down => "down",
    };
    json_response(
        status,
        &json!({
            "status": is,
            "dependencies": { "database": word(database), "kv": word(kv), "bus": bus },
        }),
    )
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    Response::builder().status(status).header(CONTENT_TYPE, "application/json").body(body.to_string())
}

/// Prometheus text.
pub fn metrics(app: &Surface) -> impl Endpoint<Output = Response> + 'static {
    let metrics = app.ctx.metrics.clone();
    make_sync(move |_| {
        Response::builder()
            .header(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(metrics.text())
    })
}

/// What a server says of itself, for an address of its own; a worker has no other.
pub fn metrics_route(app: &Surface) -> Route {
    Route::new().at("/metrics", get(metrics(app))).at("/healthz", get(alive())).at("/readyz", get(ready(app)))
}
