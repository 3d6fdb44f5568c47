//! Signing in with user name and password.

use serde_json::json;

use super::attempts::Counted;
use super::sql::{self, sessions::NewSession};
use super::{SIGN_IN_FAILED, StaffMember, normal_user_name, password};
use crate::kernel::{Failure, Millis, Result, StaffSessionId, day_ms, minute_ms};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::secrets::new_token;

/// How long a session that is over is kept, so that its device is known.
const DEVICE_KNOWN_MS: Millis = day_ms(30);
/// What a device says of itself is cut to this.
const AGENT_CHARS_MAX: usize = 200;

/// The device from which somebody signs in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Device<'a> {
    /// What it says of itself.
    pub agent: Option<&'a str>,
    /// A token that it had for this user name before, over or not.
    pub known_token: Option<&'a str>,
}

/// A fresh session. The token is told once.
pub struct SignedIn {
    pub token: String,
    pub expires_ms: Millis,
    pub member: StaffMember,
}

/// Opens a session. An unknown user name costs the same work and gets the same answer as a wrong password.
///
/// # Errors
/// `sign_in_failed`, `sign_in_too_often`, `unavailable` when too many people sign in at once.
pub async fn sign_in(ctx: &Ctx, user_name: &str, password: &str, device: Device<'_>) -> Result<SignedIn> {
    let user_name = normal_user_name(user_name);
    let counted = &Counted::of_sign_in(ctx, &user_name, device.known_token).await?;
    counted.look(ctx).await?;
    // Counted only with leave to hash: so the counts grow no faster than passwords are hashed.
    let turn = password::Turn::wait().await?;
    counted.admit(ctx).await?;
    let known = sql::by_user_name(&mut *ctx.db.reader().await?, &user_name).await?;
    let hash = known.as_ref().map(|staff| staff.password_hash.as_str());
    let right = password::verify(turn, password, hash).await?;
    let Some(staff) = known.filter(|_| right) else {
        return Err(Failure::new(&SIGN_IN_FAILED));
    };

    let (token, token_hash) = new_token();
    let now_ms = ctx.clock.now_ms();
    let session = NewSession {
        id: ctx.new_id::<StaffSessionId>(),
        staff_id: staff.id.clone(),
        token_hash,
        agent: device.agent.map(|agent| agent.chars().take(AGENT_CHARS_MAX).collect()),
        created_ms: now_ms,
        expires_ms: now_ms + minute_ms(ctx.config.session.staff_token_minutes),
    };
    let member = StaffMember {
        id: staff.id,
        user_name: staff.user_name,
        name: staff.name,
        role: staff.role,
        scope: staff.scope,
        session_id: session.id.clone(),
    };
    let (session, member_ref, password_hash) = (&session, &member, &staff.password_hash);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                // The password that was verified may have been changed, or the account closed, meanwhile.
                if !sql::touch(tx, &member_ref.id, password_hash, now_ms).await? {
                    return Err(Failure::new(&SIGN_IN_FAILED));
                }
                counted.succeeded(tx).await?;
                sql::sessions::forget_old(tx, &member_ref.id, now_ms, now_ms - DEVICE_KNOWN_MS).await?;
                sql::sessions::insert(tx, session).await?;
                let entry = audit::Entry {
                    actor: &member_ref.actor(),
                    operation: "signInStaff",
                    object: member_ref.id.as_str(),
                    before: None::<()>,
                    after: Some(json!({ "session_id": session.id, "agent": session.agent })),
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await?;
    Ok(SignedIn { token, expires_ms: session.expires_ms, member })
}
