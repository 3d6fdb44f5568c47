//! Members as owners manage them. Every change takes the one guard row first, so that two owners who act at
//! the same moment act one after the other: the second sees what the first did, and there is always an owner.

use serde::Serialize;
use serde_json::json;

use super::{EndReason, LAST_OWNER, ROLE_NOT_ALLOWED, Role, STAFF_NOT_FOUND, StoreScope, sql};
use crate::kernel::{Actor, Cursor, Failure, Limit, Millis, Page, Result, StaffId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};

/// Stores that one member can be limited to.
pub const STORES_MAX: usize = 50;

/// Somebody who manages the shop.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: StaffId,
    pub user_name: String,
    pub name: String,
    pub role: Role,
    pub scope: StoreScope,
    pub created_ms: Millis,
    pub signed_in_ms: Option<Millis>,
    /// May not sign in since then.
    pub disabled_ms: Option<Millis>,
}

/// What audit rows say of a member.
#[derive(Serialize)]
pub(super) struct Standing<'a> {
    role: Role,
    /// Null: all of them.
    store_ids: Option<Vec<&'a str>>,
    disabled: bool,
}

impl Member {
    pub(super) fn standing(&self) -> Standing<'_> {
        let stores = self.scope.stores();
        Standing {
            role: self.role,
            store_ids: stores.map(|stores| stores.iter().map(|store| store.as_str()).collect()),
            disabled: self.disabled_ms.is_some(),
        }
    }
}

/// Members in the order in which they joined.
///
/// # Errors
/// The database.
pub async fn members(conn: &mut Conn, after: Option<&Cursor>, limit: Limit) -> Result<Page<Member>> {
    let rows = sql::list(conn, after.map_or("", Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |member| member.id.to_string()))
}

/// One member.
///
/// # Errors
/// `staff_not_found`.
pub async fn member(conn: &mut Conn, id: &StaffId) -> Result<Member> {
    sql::find(conn, id).await?.ok_or_else(|| Failure::new(&STAFF_NOT_FOUND))
}

/// A role and stores that go together: an owner's are never limited, and nobody else's are limited to none.
///
/// # Errors
/// `invalid_request`.
pub(super) fn check_scope(role: Role, scope: &StoreScope) -> Result<()> {
    match scope.stores().map(std::collections::BTreeSet::len) {
        None => Ok(()),
        Some(_) if role == Role::Owner => {
            Err(Failure::invalid("/store_ids", "must be absent: an owner is there for all stores"))
        }
        Some(1..=STORES_MAX) => Ok(()),
        Some(_) => Err(Failure::invalid("/store_ids", format!("must have 1 to {STORES_MAX} stores"))),
    }
}

/// Takes the guard. Who acts must still be an owner, now that everybody before has finished.
pub(super) async fn hold(tx: &mut Tx<'_>, actor: &Actor) -> Result<()> {
    sql::take_guard(tx).await?;
    match actor {
        Actor::Staff(id) if !sql::is_active_owner(tx, id).await? => Err(Failure::new(&ROLE_NOT_ALLOWED)),
        _ => Ok(()),
    }
}

/// The member is about to be no owner any more: somebody else must be.
async fn keep_an_owner(tx: &mut Tx<'_>, member: &Member) -> Result<()> {
    let is_owner = member.role == Role::Owner && member.disabled_ms.is_none();
    if is_owner && sql::other_owners(tx, &member.id).await? == 0 {
        return Err(Failure::new(&LAST_OWNER));
    }
    Ok(())
}

/// Gives a member another role, other stores, or both; it counts from the next request on. Whom somebody has
/// invited who is no owner any more can't accept.
///
/// # Errors
/// `staff_not_found`, `last_owner`, `invalid_request`.
pub async fn change_role(
    ctx: &Ctx,
    actor: &Actor,
    id: &StaffId,
    role: Role,
    scope: &StoreScope,
) -> Result<Member> {
    check_scope(role, scope)?;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                hold(tx, actor).await?;
                let before = member(tx, id).await?;
                if role != Role::Owner {
                    keep_an_owner(tx, &before).await?;
                }
                sql::set_role(tx, id, role, scope).await?;
                if role != Role::Owner {
                    sql::invitations::end_of(tx, id, ctx.clock.now_ms()).await?;
                }
                let after = Member { role, scope: scope.clone(), ..before.clone() };
                let entry = audit::Entry {
                    actor,
                    operation: "changeStaffRole",
                    object: id.as_str(),
                    before: Some(before.standing()),
                    after: Some(after.standing()),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(after)
            })
        })
        .await
}

/// A member may not sign in any more, and is signed out everywhere at once. What the member did stays, but for
/// invitations that nobody has accepted yet.
///
/// # Errors
/// `staff_not_found`, `last_owner`.
pub async fn disable(ctx: &Ctx, actor: &Actor, id: &StaffId, reason: &str) -> Result<Member> {
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                hold(tx, actor).await?;
                let before = member(tx, id).await?;
                keep_an_owner(tx, &before).await?;
                if !sql::set_disabled(tx, id, Some(now_ms)).await? {
                    return Ok(before);
                }
                let ended = sql::sessions::end_all(tx, id, None, EndReason::Disabled, now_ms).await?;
                let taken_back = sql::invitations::end_of(tx, id, now_ms).await?;
                let entry = audit::Entry {
                    actor,
                    operation: "disableStaff",
                    object: id.as_str(),
                    before: Some(json!({ "disabled": false, "sessions": ended, "invitations": taken_back })),
                    after: Some(json!({ "disabled": true, "reason": reason })),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(Member { disabled_ms: Some(now_ms), ..before })
            })
        })
        .await
}

/// A member may sign in again, with the password from before.
///
/// # Errors
/// `staff_not_found`.
pub async fn enable(ctx: &Ctx, actor: &Actor, id: &StaffId, reason: &str) -> Result<Member> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                hold(tx, actor).await?;
                let before = member(tx, id).await?;
                if !sql::set_disabled(tx, id, None).await? {
                    return Ok(before);
                }
                let entry = audit::Entry {
                    actor,
                    operation: "enableStaff",
                    object: id.as_str(),
                    before: Some(json!({ "disabled": true })),
                    after: Some(json!({ "disabled": false, "reason": reason })),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(Member { disabled_ms: None, ..before })
            })
        })
        .await
}
