//! Whom an order goes to, in full: for the label of a parcel, and for nobody else. Each look leaves an audit
//! row, and one in the order's timeline.

use serde_json::json;

use super::moves::{hold, record};
use super::{NO_RECIPIENT, ORDER_NOT_FOUND, OrderMove, RECIPIENT_UNREADABLE, place};
use crate::addresses::Address;
use crate::kernel::{Actor, Failure, OrderId, Result};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::staff::StoreScope;

/// Whom an order goes to.
#[derive(Debug)]
pub struct Recipient {
    pub order_id: OrderId,
    pub address: Address,
}

/// Shows whom these orders go to, all of them or, if one can't be shown, none.
///
/// # Errors
/// `order_not_found`, `no_recipient`, `recipient_unreadable`, with the place in the request.
pub async fn reveal_recipients(
    ctx: &Ctx,
    actor: &Actor,
    scope: &StoreScope,
    orders: &[OrderId],
    reason: &str,
) -> Result<Vec<Recipient>> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut found = Vec::with_capacity(orders.len());
                for (index, id) in orders.iter().enumerate() {
                    let refused = |code| Failure::new(code).field(format!("/order_ids/{index}"));
                    let order = match hold(tx, id).await {
                        Err(failure) if failure.is(&ORDER_NOT_FOUND) => None,
                        order => Some(order?).filter(|order| scope.has(&order.store_id)),
                    };
                    let mut order = order.ok_or_else(|| refused(&ORDER_NOT_FOUND))?;
                    let unreadable = |failure: Failure| refused(&RECIPIENT_UNREADABLE).cause(failure);
                    let address = place::delivery_address(ctx, &order).map_err(unreadable)?;
                    let address = address.ok_or_else(|| refused(&NO_RECIPIENT))?;
                    let detail = json!({ "reason": reason });
                    record(tx, ctx, &mut order, OrderMove::RecipientRevealed, actor, detail).await?;
                    let entry = audit::Entry {
                        actor,
                        operation: "revealRecipients",
                        object: id.as_str(),
                        before: None::<()>,
                        after: Some(json!({ "reason": reason })),
                    };
                    audit::record(tx, ctx, entry).await?;
                    found.push(Recipient { order_id: order.id, address });
                }
                Ok(found)
            })
        })
        .await
}
