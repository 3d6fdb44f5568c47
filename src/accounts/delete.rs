//! A person deletes their account.

use serde_json::{Value, json};

use super::ACCOUNT_IN_USE;
use crate::kernel::{Actor, Failure, OrderId, Result, UserId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};
use crate::{addresses, cart, coupons, identity, notifications, orders, payments, refunds, shipping};

/// Things of one kind that are named where something is still open.
const NAMED_MAX: usize = 20;

/// Deletes an account of which nothing is open: what tells who it was is forgotten, and the ledger stays.
///
/// The person's row is held first, and then their orders'. Whatever opens something (placing, claiming, granting, a
/// refund that staff starts) takes one of those rows first, so either comes wholly before the other.
///
/// # Errors
/// `account_in_use`; `unauthenticated` when it is deleted already.
pub async fn delete(ctx: &Ctx, user: &UserId, key: &Key) -> Result<Done<()>> {
    let done = key
        .run(ctx, |tx| {
            Box::pin(async move {
                identity::hold(tx, user).await?;
                let orders = orders::hold_all(tx, user).await?;
                refuse_in_use(tx, &orders).await?;
                addresses::forget(tx, user).await?;
                cart::forget(tx, user).await?;
                coupons::forget(tx, ctx, user).await?;
                orders::forget(tx, &orders).await?;
                payments::forget(tx, &orders).await?;
                refunds::forget(tx, user, &orders).await?;
                notifications::forget(tx, user, &orders).await?;
                identity::forget(tx, ctx, user).await?;
                let entry = audit::Entry {
                    actor: &Actor::User(user.clone()),
                    operation: "deleteAccount",
                    object: user.as_str(),
                    before: None::<()>,
                    after: Some(json!({ "orders": orders.len() })),
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await?;
    if !done.replayed {
        identity::announce_deleted(ctx, user).await;
        tracing::info!(user.id = %user, "{user} has deleted the account");
    }
    Ok(done)
}

/// Is everything over, so that nobody needs to know whose it is?
async fn refuse_in_use(tx: &mut Tx<'_>, orders: &[OrderId]) -> Result<()> {
    let mut attempts = payments::unsettled(tx, orders, NAMED_MAX).await?;
    attempts.extend(refunds::unanswered_orphans(tx, orders, NAMED_MAX - attempts.len()).await?);
    let open = [
        ("orders", orders::unfinished(tx, orders, NAMED_MAX).await?),
        ("payments", attempts),
        ("refunds", refunds::unsettled(tx, orders, NAMED_MAX).await?),
        ("shipments", shipping::unsent(tx, orders, NAMED_MAX).await?),
    ];
    let mut open = open.into_iter().filter(|(_, ids)| !ids.is_empty()).peekable();
    if open.peek().is_none() {
        return Ok(());
    }
    Err(open.fold(Failure::new(&ACCOUNT_IN_USE), |failure, (what, ids)| failure.with(what, Value::from(ids))))
}
