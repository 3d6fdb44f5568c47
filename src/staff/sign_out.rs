//! Signing out of this device.

use serde_json::json;

use super::{EndReason, StaffMember, sql};
use crate::kernel::Result;
use crate::platform::audit;
use crate::platform::ctx::Ctx;

/// Ends the session of the request. Once more changes nothing.
///
/// # Errors
/// The database.
pub async fn sign_out(ctx: &Ctx, member: &StaffMember) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !sql::sessions::end(tx, &member.id, &member.session_id, EndReason::SignedOut, now_ms)
                    .await?
                {
                    return Ok(());
                }
                let entry = audit::Entry {
                    actor: &member.actor(),
                    operation: "signOutStaff",
                    object: member.id.as_str(),
                    before: Some(json!({ "session_id": member.session_id })),
                    after: None::<()>,
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await
}
