//! The client's word about a payment. It is a hint and no proof: the channel is asked.

use super::sql;
use crate::cart;
use crate::kernel::{Failure, OrderId, Result, SkuId, UserId};
use crate::orders::{self, ORDER_NOT_FOUND};
use crate::platform::ctx::Ctx;
use crate::platform::db::Work;

/// What `wx.requestPayment` told the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientSays {
    Paid,
    /// Gave up, or the client failed: the order still waits.
    NotPaid,
}

/// Asks the channel at once, and clears what was bought from the cart; never marks anything paid.
///
/// # Errors
/// `order_not_found`.
pub async fn report(ctx: &Ctx, user: &UserId, id: &OrderId, says: ClientSays) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let order =
                    orders::find_owned(tx, id, user).await?.ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))?;
                if let Some(attempt) = &order.open_attempt {
                    sql::hurry(tx, attempt, ctx.clock.now_ms()).await?;
                    tx.wake(Work::Payments);
                }
                if says == ClientSays::Paid {
                    let lines = orders::find_lines(tx, id).await?;
                    let skus: Vec<SkuId> = lines.into_iter().map(|line| line.sku_id).collect();
                    cart::remove(tx, user, &order.store_id, &skus).await?;
                }
                Ok(())
            })
        })
        .await
}
