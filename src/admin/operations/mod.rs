//! What the people who run the shop look at: what waits for them, dead letters, alerts, the outbox, caches,
//! the audit log, and everything that happened under one request.

mod alerts;
mod audit;
mod caches;
mod dead_letters;
mod events;
mod notices;
mod payments;
mod requests;
mod todo;

use crate::platform::caches::Caches;
use crate::platform::ctx::Ctx;

/// All of them.
pub type OperationsApis = (
    todo::TodoApi,
    notices::NoticesApi,
    payments::PaymentDecisionsApi,
    dead_letters::DeadLettersApi,
    alerts::AlertsApi,
    events::EventsApi,
    audit::AuditApi,
    caches::CachesApi,
    requests::RequestsApi,
);

/// All of them over these ports.
pub fn apis(ctx: &Ctx, caches: &Caches) -> OperationsApis {
    let ctx = || ctx.clone();
    (
        todo::TodoApi { ctx: ctx() },
        notices::NoticesApi { ctx: ctx() },
        payments::PaymentDecisionsApi { ctx: ctx() },
        dead_letters::DeadLettersApi { ctx: ctx() },
        alerts::AlertsApi { ctx: ctx() },
        events::EventsApi { ctx: ctx() },
        audit::AuditApi { ctx: ctx() },
        caches::CachesApi { ctx: ctx(), caches: caches.clone() },
        requests::RequestsApi { ctx: ctx() },
    )
}
