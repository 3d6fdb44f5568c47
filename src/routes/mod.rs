//! The HTTP surface: the two OpenAPI services, callbacks, operations, docs, and the order of middleware.

mod docs;
mod health;
mod methods;
mod openapi;

use std::sync::Arc;

use poem::endpoint::make;
use poem::http::Method;
use poem::http::header::ORIGIN;
use poem::middleware::Cors;
use poem::{Endpoint, EndpointExt, IntoResponse, Middleware, Request, Response, Route, get, post};

pub use health::{Leaving, metrics_route};
pub use openapi::{Documents, documents};

use crate::feed::Feed;
use crate::identity::Sessions;
use crate::payments::{self, Channel};
use crate::platform::caches::Caches;
use crate::platform::ctx::Ctx;
use crate::platform::web::RequestScope;
use crate::shipping;
use crate::stores::Stores;
use crate::wechat::mini::Mini;
use crate::wechat::push::Push;

/// What the HTTP surface is made of.
#[derive(Clone)]
pub struct Surface {
    pub ctx: Ctx,
    pub mini: Mini,
    pub push: Push,
    pub channel: Channel,
    pub sessions: Sessions,
    pub stores: Stores,
    pub feed: Feed,
    pub caches: Caches,
    pub leaving: Leaving,
    /// Origin of the page that plays the phone; none: no other origin may call.
    pub phone_origin: Option<String>,
}

/// Everything that this server answers.
pub fn routes(app: &Surface) -> impl Endpoint<Output = Response> + 'static {
    let documents = openapi::documents(app);
    let mut route = Route::new()
        .nest_no_strip("/api/v1", openapi::app_service(app))
        .nest_no_strip("/admin/v1", openapi::admin_service(app))
        .at("/callbacks/wechat-pay/payments", post(pay_callback(app)))
        .at("/callbacks/wechat-pay/refunds", post(pay_callback(app)))
        .at("/callbacks/wechat/messages", get(push_check(app)).post(push_callback(app)))
        .at("/healthz", get(health::alive()))
        .at("/readyz", get(health::ready(app)))
        .nest("/", docs::routes(app, &documents));
    if app.ctx.config.server.metrics_listen.is_empty() {
        route = route.at("/metrics", get(health::metrics(app)));
    }
    let scope = RequestScope(app.ctx.clone());
    let route = methods::said(route).data(app.sessions.clone()).data(openapi::gate());
    let route = match &app.phone_origin {
        Some(origin) => with_phone(route, origin).with(scope).boxed(),
        None => route.with(scope).boxed(),
    };
    let (route, leaving) = (Arc::new(route), app.leaving.clone());
    make(move |request: Request| leaving.clone().answer(route.clone(), request))
}

/// The sandbox's page plays the phone from a port of its own. Everybody else is served as without it: the
/// docs send an `Origin` of ours, under whatever name the browser knows this server.
fn with_phone(
    route: impl Endpoint<Output = Response> + 'static,
    origin: &str,
) -> impl Endpoint<Output = Response> + 'static {
    let route = Arc::new(route);
    let for_phone = Arc::new(phone(origin).transform(route.clone()));
    let origin: Arc<str> = origin.into();
    make(move |request: Request| {
        let (route, for_phone, origin) = (route.clone(), for_phone.clone(), origin.clone());
        async move {
            match request.header(ORIGIN) {
                Some(from) if from == &*origin => {
                    for_phone.call(request).await.map(IntoResponse::into_response)
                }
                _ => route.call(request).await,
            }
        }
    })
}

fn phone(origin: &str) -> Cors {
    Cors::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(["authorization", "content-type", "idempotency-key", "x-request-id"])
        .expose_headers(["x-request-id", "idempotent-replayed", "retry-after"])
}

fn pay_callback(app: &Surface) -> impl Endpoint<Output = Response> + 'static {
    let (ctx, channel) = (app.ctx.clone(), app.channel.clone());
    make(move |request: Request| {
        let (ctx, channel) = (ctx.clone(), channel.clone());
        async move {
            let (request, mut body) = request.split();
            Ok::<_, poem::Error>(payments::receive(&ctx, &channel, &request, &mut body).await)
        }
    })
}

fn push_check(app: &Surface) -> impl Endpoint<Output = Response> + 'static {
    let push = app.push.clone();
    make(move |request: Request| {
        let push = push.clone();
        async move { Ok::<_, poem::Error>(shipping::verify_push(&push, &request)) }
    })
}

fn push_callback(app: &Surface) -> impl Endpoint<Output = Response> + 'static {
    let (ctx, push) = (app.ctx.clone(), app.push.clone());
    make(move |request: Request| {
        let (ctx, push) = (ctx.clone(), push.clone());
        async move {
            let (request, mut body) = request.split();
            Ok::<_, poem::Error>(shipping::receive_push(&ctx, &push, &request, &mut body).await)
        }
    })
}
