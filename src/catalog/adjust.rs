//! Staff says that goods came in, were lost, or were counted again.

use serde::{Deserialize, Serialize};

use super::stock::{self, StockLevel, Supply, SupplyKind};
use super::{sku_not_found, sql, store_not_found};
use crate::kernel::{Actor, Failure, Result, SkuId, StoreId, SupplyMoveId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};
use crate::stores;

/// A change of stock by hand.
#[derive(Debug, Clone)]
pub struct Adjustment {
    pub store: StoreId,
    pub sku: SkuId,
    /// Not 0; negative takes away what is available.
    pub quantity: i64,
    /// SUPPLY adds; ADJUST adds or takes away. Nobody makes a DISCREPANCY by hand.
    pub kind: SupplyKind,
    /// 1 to 200 characters.
    pub reason: String,
}

/// The outcome of an adjustment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StockMoved {
    pub move_id: SupplyMoveId,
}

/// Moves the supply, with its audit row, once for its key.
///
/// # Errors
/// `store_not_found`, `sku_not_found`, `stock_too_low`, a field that can't be.
pub async fn adjust(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    adjustment: &Adjustment,
) -> Result<Done<StockMoved>> {
    check(adjustment)?;
    key.run(ctx, |tx| Box::pin(async move { write(tx, ctx, actor, adjustment).await })).await
}

fn check(adjustment: &Adjustment) -> Result<()> {
    let reason = adjustment.reason.trim();
    if reason.is_empty() || adjustment.reason.chars().count() > 200 {
        return Err(Failure::invalid("/reason", "must have 1 to 200 characters"));
    }
    match adjustment.kind {
        SupplyKind::Discrepancy => {
            Err(Failure::invalid("/kind", "a discrepancy is made by a sale in the store only"))
        }
        SupplyKind::Supply if adjustment.quantity < 1 => {
            Err(Failure::invalid("/quantity", "a supply is at least 1; take away with ADJUST"))
        }
        _ => Ok(()),
    }
}

async fn write(tx: &mut Tx<'_>, ctx: &Ctx, actor: &Actor, adjustment: &Adjustment) -> Result<StockMoved> {
    let Adjustment { store, sku, quantity, kind, reason } = adjustment;
    if stores::find(tx, store).await?.is_none() {
        return Err(store_not_found(store));
    }
    if sql::sku(tx, sku).await?.is_none() {
        return Err(sku_not_found(sku));
    }
    let supply = Supply { store, sku, quantity: *quantity, kind: *kind, reason };
    let move_id = stock::supply(tx, ctx, actor, &supply).await?;
    // Read behind the update, which holds the row: what it was before follows from it.
    let after = stock::level(tx, store, sku).await?;
    let before =
        StockLevel { available: after.available - quantity, supplied: after.supplied - quantity, ..after };
    let object = format!("{store}/{sku}");
    let entry = audit::Entry {
        actor,
        operation: "adjustStock",
        object: &object,
        before: Some(before),
        after: Some(after),
    };
    audit::record(tx, ctx, entry).await?;
    Ok(StockMoved { move_id })
}
