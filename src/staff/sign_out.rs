//! Signing out of this device.

use serde_json::json;

use super::{StaffMember, sql};
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
                if !sql::end_session(tx, &member.session_id, now_ms).await? {
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
