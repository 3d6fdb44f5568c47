//! For somebody at the server's console, when a member can't sign in and no owner can help.

use serde_json::json;

use super::attempts::Counted;
use super::{EndReason, STAFF_NOT_FOUND, normal_user_name, password, sql};
use crate::kernel::{Actor, Failure, Result};
use crate::platform::audit;
use crate::platform::ctx::Ctx;

/// Gives a member a made-up password, which is answered, signs them out everywhere, and forgets their failed
/// tries. Print it once, never log it.
///
/// # Errors
/// `staff_not_found`, also for a member who may not sign in.
pub async fn reset_password(ctx: &Ctx, user_name: &str) -> Result<String> {
    let user_name = normal_user_name(user_name);
    let known = sql::by_user_name(&mut *ctx.db.reader().await?, &user_name).await?;
    let known = &known.ok_or_else(|| Failure::new(&STAFF_NOT_FOUND))?;
    let counted = &Counted::of_sign_in(ctx, &user_name, None).await?;
    let password = password::made_up();
    let hash = &password::hash(&password).await?;
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !sql::set_password(tx, &known.id, &known.password_hash, hash).await? {
                    let what = "the password was changed at the same moment";
                    return Err(Failure::internal("resetting a password", what));
                }
                let ended = sql::sessions::end_all(tx, &known.id, None, EndReason::Password, now_ms).await?;
                counted.succeeded(tx).await?;
                let entry = audit::Entry {
                    actor: &Actor::System("console"),
                    operation: "resetStaffPassword",
                    object: known.id.as_str(),
                    before: Some(json!({ "sessions": ended })),
                    after: None::<()>,
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await?;
    Ok(password)
}
