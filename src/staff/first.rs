//! The first start makes one owner.

use std::fmt;

use serde_json::json;

use super::sql::{self, NewStaff};
use super::{Role, StoreScope, normal_user_name, password};
use crate::kernel::{Actor, Failure, Result, StaffId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;

/// The account that was made. `password` is there when it was made up: print it once, never log it.
pub struct FirstAccount {
    pub user_name: String,
    pub password: Option<String>,
}

impl fmt::Debug for FirstAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstAccount").field("user_name", &self.user_name).finish_non_exhaustive()
    }
}

/// Makes the owner account of `admin.*` when there is no staff at all; otherwise nothing.
///
/// # Errors
/// A configured password that is weak, a user name that is no user name, or the database.
pub async fn ensure_first(ctx: &Ctx) -> Result<Option<FirstAccount>> {
    if sql::any_staff(&mut *ctx.db.reader().await?).await? {
        return Ok(None);
    }
    let user_name = normal_user_name(&ctx.config.admin.initial_user_name);
    if !(1..=64).contains(&user_name.chars().count()) {
        let why = "admin.initial_user_name must have 1 to 64 characters";
        return Err(Failure::internal("making the first account", why));
    }
    let configured = &ctx.config.admin.initial_password;
    let made_up = configured.is_empty().then(password::made_up);
    let password = made_up.as_deref().unwrap_or(configured);
    password::check(&user_name, password)
        .map_err(|weak| Failure::internal("reading admin.initial_password", weak))?;
    let row = NewStaff {
        id: ctx.new_id::<StaffId>(),
        user_name: user_name.clone(),
        name: user_name.clone(),
        password_hash: password::hash(password).await?,
        role: Role::Owner,
        scope: StoreScope::All,
        created_ms: ctx.clock.now_ms(),
    };
    let row = &row;
    let made = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                // Another node may have been first; the unique user name decides.
                if sql::any_staff(tx).await? || !sql::insert(tx, row).await? {
                    return Ok(false);
                }
                let entry = audit::Entry {
                    actor: &Actor::System("first-start"),
                    operation: "ensureFirstStaff",
                    object: row.id.as_str(),
                    before: None::<()>,
                    after: Some(json!({ "user_name": row.user_name, "role": row.role })),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(true)
            })
        })
        .await?;
    Ok(made.then_some(FirstAccount { user_name, password: made_up }))
}
