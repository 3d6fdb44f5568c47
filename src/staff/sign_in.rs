//! Signing in with user name and password.

use serde_json::json;

use super::sql::{self, NewSession};
use super::{Attempts, SIGN_IN_FAILED, StaffMember, normal_user_name, password};
use crate::kernel::{Failure, Millis, Result, StaffSessionId, minute_ms};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::secrets::new_token;

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
pub async fn sign_in(ctx: &Ctx, attempts: &Attempts, user_name: &str, password: &str) -> Result<SignedIn> {
    let user_name = normal_user_name(user_name);
    attempts.admit(&user_name, ctx.clock.now_ms()).await?;
    let known = sql::by_user_name(&mut *ctx.db.reader().await?, &user_name).await?;
    let right = password::verify(password, known.as_ref().map(|staff| staff.password_hash.as_str())).await?;
    let Some(staff) = known.filter(|_| right) else {
        return Err(Failure::new(&SIGN_IN_FAILED));
    };
    attempts.succeeded(&user_name).await;

    let (token, token_hash) = new_token();
    let now_ms = ctx.clock.now_ms();
    let session = NewSession {
        id: ctx.new_id::<StaffSessionId>(),
        staff_id: staff.id.clone(),
        token_hash,
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
                sql::forget_expired(tx, &member_ref.id, now_ms).await?;
                sql::insert_session(tx, session).await?;
                let entry = audit::Entry {
                    actor: &member_ref.actor(),
                    operation: "signInStaff",
                    object: member_ref.id.as_str(),
                    before: None::<()>,
                    after: Some(json!({ "session_id": session.id })),
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await?;
    Ok(SignedIn { token, expires_ms: session.expires_ms, member })
}
