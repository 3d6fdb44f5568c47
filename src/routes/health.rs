//! Health, readiness, metrics.

use poem::endpoint::make_sync;
use poem::http::StatusCode;
use poem::http::header::CONTENT_TYPE;
use poem::{Endpoint, Response, Route, endpoint::make, get};
use serde_json::json;

use super::Surface;
use crate::platform::bus::BusState;
use crate::platform::ctx::Ctx;

/// The process is alive.
pub fn alive() -> impl Endpoint<Output = Response> + 'static {
    make_sync(|_| json_response(StatusCode::OK, &json!({ "status": "ok" })))
}

/// Each dependency by its name; 503 when one that is needed does not answer.
pub fn ready(app: &Surface) -> impl Endpoint<Output = Response> + 'static {
    let ctx = app.ctx.clone();
    make(move |_| {
        let ctx = ctx.clone();
        async move { Ok::<_, poem::Error>(readiness(&ctx).await) }
    })
}

async fn readiness(ctx: &Ctx) -> Response {
    let database = match ctx.db.reader().await {
        Ok(mut conn) => sqlx::query("SELECT 1").execute(&mut *conn).await.is_ok(),
        Err(_) => false,
    };
    // The shop works without the kv tier, only slower, and events wait for the bus: both are named, and a node
    // without them is still ready.
    let kv = ctx.kv.get("readyz").await.is_ok();
    // A node that has not got its first queues is not ready yet.
    let bus = ctx.bus.state();
    let (status, is) = match (database, bus) {
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
