//! The devices on which members are signed in: shown, and signed out from afar. A session is looked up in the
//! database by each request, so what ends here ends on every node at once.

use serde_json::json;
use sqlx::FromRow;

use super::{SESSION_NOT_FOUND, STAFF_NOT_FOUND, StaffMember, sql};
use crate::kernel::{
    Actor, Cursor, Failure, Limit, Millis, Page, Result, StaffId, StaffSessionId, text_enum,
};
use crate::platform::audit;
use crate::platform::ctx::Ctx;

text_enum! {
    /// Why a session ended before its time.
    pub enum EndReason {
        SignedOut = "SIGNED_OUT",
        /// By its member from another device, or by an owner.
        Revoked = "REVOKED",
        /// The password was changed.
        Password = "PASSWORD",
        /// The member may not sign in any more.
        Disabled = "DISABLED",
    }
}

/// A device that is signed in.
#[derive(Debug, Clone, FromRow)]
pub struct Session {
    pub id: StaffSessionId,
    /// What the device said of itself.
    pub agent: Option<String>,
    pub created_ms: Millis,
    pub expires_ms: Millis,
}

/// A member's devices that are signed in, newest first.
///
/// # Errors
/// `staff_not_found`.
pub async fn sessions(
    ctx: &Ctx,
    staff: &StaffId,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Session>> {
    let conn = &mut *ctx.db.reader().await?;
    if sql::find(conn, staff).await?.is_none() {
        return Err(Failure::new(&STAFF_NOT_FOUND));
    }
    let before = after.map_or("~", Cursor::key);
    let rows = sql::sessions::live(conn, staff, ctx.clock.now_ms(), before, limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |session| session.id.to_string()))
}

/// A member signs one of their own devices out.
///
/// # Errors
/// `staff_session_not_found`.
pub async fn end_own_session(ctx: &Ctx, member: &StaffMember, id: &StaffSessionId) -> Result<()> {
    end_one(ctx, &member.actor(), "endMyStaffSession", &member.id, id).await
}

/// An owner signs one device of a member out.
///
/// # Errors
/// `staff_session_not_found`.
pub async fn end_session(ctx: &Ctx, actor: &Actor, staff: &StaffId, id: &StaffSessionId) -> Result<()> {
    end_one(ctx, actor, "endStaffSession", staff, id).await
}

async fn end_one(
    ctx: &Ctx,
    actor: &Actor,
    operation: &str,
    staff: &StaffId,
    id: &StaffSessionId,
) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !sql::sessions::end(tx, staff, id, EndReason::Revoked, now_ms).await? {
                    return Err(Failure::new(&SESSION_NOT_FOUND));
                }
                let entry = audit::Entry {
                    actor,
                    operation,
                    object: staff.as_str(),
                    before: Some(json!({ "session_id": id })),
                    after: None::<()>,
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await
}

/// An owner signs a member out everywhere. Answers how many devices were signed in.
///
/// # Errors
/// `staff_not_found`.
pub async fn end_sessions(ctx: &Ctx, actor: &Actor, staff: &StaffId) -> Result<u64> {
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if sql::find(tx, staff).await?.is_none() {
                    return Err(Failure::new(&STAFF_NOT_FOUND));
                }
                let ended = sql::sessions::end_all(tx, staff, None, EndReason::Revoked, now_ms).await?;
                let entry = audit::Entry {
                    actor,
                    operation: "endStaffSessions",
                    object: staff.as_str(),
                    before: Some(json!({ "sessions": ended })),
                    after: Some(json!({ "sessions": 0 })),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(ended)
            })
        })
        .await
}
