//! A session that ended before its time is forgotten everywhere.

use super::{Sessions, sessions, sql};
use crate::events::Event;
use crate::kernel::Result;
use crate::platform::bus::{self, Delivery, Handled, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// In the transaction that ends the sessions: the broadcast that also survives a crash.
pub(super) async fn stage(tx: &mut Tx<'_>, ctx: &Ctx, ended: &[sql::Ended]) -> Result<()> {
    for session in ended {
        let event = Event::SessionRevoked { session_id: session.id.clone() };
        bus::stage(tx, ctx, &event, Staged::Now).await?;
    }
    Ok(())
}

/// After the commit: kv and every node at once, without waiting for the outbox.
pub(super) async fn announce(ctx: &Ctx, ended: &[sql::Ended]) {
    for session in ended {
        sessions::bury(ctx, session).await;
        ctx.bus.broadcast(ctx, Event::SessionRevoked { session_id: session.id.clone() }).await;
    }
}

/// The broadcast's handler on every node.
///
/// # Errors
/// None.
pub async fn on_session_revoked(sessions: &Sessions, delivery: &Delivery) -> Result<Handled> {
    match &delivery.event {
        Event::SessionRevoked { session_id } => {
            sessions.forget(session_id).await;
            Ok(Handled::Done)
        }
        other => Ok(Handled::Park(format!("{} is no end of a session", other.name()))),
    }
}
