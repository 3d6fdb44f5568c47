//! A member changes their own password.

use super::attempts::Counted;
use super::{CURRENT_PASSWORD_WRONG, EndReason, PASSWORD_WEAK, StaffMember, password, sql};
use crate::kernel::{Failure, Result};
use crate::platform::audit;
use crate::platform::ctx::Ctx;

/// Sets a new password and ends the member's other sessions.
///
/// # Errors
/// `current_password_wrong`, `password_weak`, `sign_in_too_often`.
pub async fn change_password(ctx: &Ctx, member: &StaffMember, current: &str, new: &str) -> Result<()> {
    password::check(&member.user_name, new).map_err(|weak| weak.field("/new_password"))?;
    if current == new {
        let same = "The new password must differ from the current one.";
        return Err(Failure::new(&PASSWORD_WEAK).detail(same).field("/new_password"));
    }
    let wrong = || Failure::new(&CURRENT_PASSWORD_WRONG).field("/current_password");
    let counted = &Counted::of_password_change(ctx, &member.id);
    counted.look(ctx).await?;
    let turn = password::Turn::wait().await?;
    counted.admit(ctx).await?;
    let known = sql::by_user_name(&mut *ctx.db.reader().await?, &member.user_name).await?;
    let old_hash = known.map(|staff| staff.password_hash);
    if !password::verify(turn, current, old_hash.as_deref()).await? {
        return Err(wrong());
    }

    let new_hash = password::hash(new).await?;
    let (old_hash, new_hash) = (old_hash.as_deref().unwrap_or_default(), &new_hash);
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                // No row: the same person changed it on another device in this moment.
                if !sql::set_password(tx, &member.id, old_hash, new_hash).await? {
                    return Err(wrong());
                }
                counted.succeeded(tx).await?;
                let keep = Some(&member.session_id);
                sql::sessions::end_all(tx, &member.id, keep, EndReason::Password, now_ms).await?;
                let entry = audit::Entry {
                    actor: &member.actor(),
                    operation: "changeStaffPassword",
                    object: member.id.as_str(),
                    before: None::<()>,
                    after: None::<()>,
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await
}
