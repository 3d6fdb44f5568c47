//! Stock of a SKU in a store. Numbers move by conditional updates only, several SKUs always in the order
//! of their ids, each in the transaction of the order that moves them.
//!
//! `available + locked + sold = supplied`. An order line has one lock row: LOCK → FINISH (paid) or CANCEL.
//! A finished row stays and counts what was put back (`restocked`).

mod invariants;
mod levels;
mod sql;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use invariants::invariants;
pub use levels::{Discrepancy, Move, ShelfStock, StockQuery, discrepancies, level, moves, stock_of_store};

use super::{OUT_OF_STOCK, STOCK_TOO_LOW};
use crate::kernel::{Actor, Failure, OrderId, OrderLineId, Result, SkuId, StoreId, SupplyMoveId, text_enum};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// The largest quantity of one move.
pub const QUANTITY_MAX: i64 = 1_000_000;

text_enum! {
    /// Where the lock row of an order line stands.
    pub enum LockState {
        Lock = "LOCK",
        Finish = "FINISH",
        Cancel = "CANCEL",
    }
}

text_enum! {
    /// Why the supply changed.
    pub enum SupplyKind {
        /// Goods came in.
        Supply = "SUPPLY",
        /// Counted again: found, lost, broken.
        Adjust = "ADJUST",
        /// Sold in the store although the stock said none.
        Discrepancy = "DISCREPANCY",
    }
}

/// The stock of a SKU in a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct StockLevel {
    /// Can be bought.
    pub available: i64,
    /// In orders that are not paid.
    pub locked: i64,
    /// In paid orders, less what was put back.
    pub sold: i64,
    /// Everything that ever came in, less what was lost.
    pub supplied: i64,
}

/// What an order line takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockLine {
    pub line_id: OrderLineId,
    pub sku_id: SkuId,
    /// At least 1.
    pub quantity: i64,
}

/// A supply move to make.
#[derive(Debug, Clone, Copy)]
pub struct Supply<'a> {
    pub store: &'a StoreId,
    pub sku: &'a SkuId,
    /// Not 0; negative takes away.
    pub quantity: i64,
    pub kind: SupplyKind,
    pub reason: &'a str,
}

/// Takes the stock of an order that is being placed.
///
/// # Errors
/// `out_of_stock` for the first SKU, in the order of ids, that has not enough.
pub async fn lock(tx: &mut Tx<'_>, order: &OrderId, store: &StoreId, lines: &[LockLine]) -> Result<()> {
    for line in in_order(lines) {
        lock_line(tx, order, store, line).await?;
    }
    Ok(())
}

/// Takes the stock of an order whose goods are in the customer's hand: what the stock does not know of is
/// supplied first, by a move of exactly the shortfall that names the line. It stays when the order is paid, and
/// when it is refunded later: the goods were there. Nothing speaks for them when nobody pays, see [`cancel`].
///
/// # Errors
/// The database.
pub async fn lock_in_hand(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    order: &OrderId,
    store: &StoreId,
    lines: &[LockLine],
) -> Result<()> {
    for line in in_order(lines) {
        let missing = line.quantity - held_available(tx, store, &line.sku_id).await?;
        if missing > 0 {
            let (kind, reason) = (SupplyKind::Discrepancy, IN_HAND);
            let supply = Supply { store, sku: &line.sku_id, quantity: missing, kind, reason };
            supply_for(tx, ctx, actor, &supply, Some(&line.line_id)).await?;
        }
        lock_line(tx, order, store, line).await?;
    }
    Ok(())
}

/// Why a discrepancy was supplied, for the list of moves.
const IN_HAND: &str = "店内扫码购：商品在顾客手中，库存不足";
/// And why it was taken back.
const NOT_PAID: &str = "店内扫码购：未付款，撤回补充的库存";

/// What is available of a stock row that is held from now on: nobody takes of it before the commit.
async fn held_available(tx: &mut Tx<'_>, store: &StoreId, sku: &SkuId) -> Result<i64> {
    if !sql::hold(tx, store, sku).await? {
        sql::insert_stock(tx, store, sku, 0).await?;
        sql::hold(tx, store, sku).await?;
    }
    Ok(sql::level(tx, store, sku).await?.unwrap_or_default().available)
}

/// Several SKUs are always taken in the order of their ids.
fn in_order(lines: &[LockLine]) -> Vec<&LockLine> {
    let mut lines: Vec<&LockLine> = lines.iter().collect();
    lines.sort_by(|a, b| (&a.sku_id, &a.line_id).cmp(&(&b.sku_id, &b.line_id)));
    lines
}

async fn lock_line(tx: &mut Tx<'_>, order: &OrderId, store: &StoreId, line: &LockLine) -> Result<()> {
    if !(1..=QUANTITY_MAX).contains(&line.quantity) {
        return Err(Failure::internal("locking stock", format!("a quantity of {}", line.quantity)));
    }
    if !sql::lock(tx, store, &line.sku_id, line.quantity).await? {
        let available = sql::level(tx, store, &line.sku_id).await?.unwrap_or_default().available;
        return Err(Failure::new(&OUT_OF_STOCK)
            .with("sku_id", line.sku_id.as_str().into())
            .with("available", available.into()));
    }
    sql::insert_lock(tx, order, store, line).await
}

/// The order is paid: what it locked is sold. Safe to repeat.
///
/// # Errors
/// The database; a stock row that does not hold what was locked.
pub async fn finish(tx: &mut Tx<'_>, order: &OrderId) -> Result<()> {
    end(tx, order, LockState::Finish).await?;
    Ok(())
}

/// The order is closed without payment: what it locked can be bought again, but for what was supplied because it
/// was said to be in a hand; that is taken back. Safe to repeat.
///
/// # Errors
/// The database; a stock row that does not hold what was locked.
pub async fn cancel(tx: &mut Tx<'_>, ctx: &Ctx, order: &OrderId) -> Result<()> {
    for row in end(tx, order, LockState::Cancel).await? {
        // At most what was just unlocked, so it is available.
        let quantity = -sql::supplied_for(tx, &row.line_id).await?;
        if quantity < 0 {
            let (store, sku) = (&row.store_id, &row.sku_id);
            let supply = Supply { store, sku, quantity, kind: SupplyKind::Discrepancy, reason: NOT_PAID };
            supply_for(tx, ctx, &Actor::System("stock"), &supply, Some(&row.line_id)).await?;
        }
    }
    Ok(())
}

/// Answers the lines whose locks ended here.
async fn end(tx: &mut Tx<'_>, order: &OrderId, to: LockState) -> Result<Vec<sql::LockRow>> {
    let mut ended = Vec::new();
    for row in sql::locked_lines(tx, order).await? {
        // No row: somebody was here first.
        if !sql::end_lock(tx, order, &row.line_id, to).await? {
            continue;
        }
        let moved = match to {
            LockState::Finish => sql::sell(tx, &row.store_id, &row.sku_id, row.quantity).await?,
            _ => sql::unlock(tx, &row.store_id, &row.sku_id, row.quantity).await?,
        };
        held(moved, &row.sku_id)?;
        ended.push(row);
    }
    Ok(ended)
}

/// Puts sold goods of a line back: `quantity` more of what its lock row sold. The caller's own conditional
/// update makes it happen once.
///
/// # Errors
/// Nothing of that line is sold, or less than `quantity` is left of it.
pub async fn restock(tx: &mut Tx<'_>, line: &OrderLineId, quantity: i64) -> Result<()> {
    let doing = || format!("restocking {quantity} of line {line}");
    if quantity < 1 || !sql::count_restocked(tx, line, quantity).await? {
        return Err(Failure::internal(doing(), "the line has not sold that many"));
    }
    let row = sql::line(tx, line).await?.ok_or_else(|| Failure::internal(doing(), "no such line"))?;
    let moved = sql::put_back(tx, &row.store_id, &row.sku_id, quantity).await?;
    held(moved, &row.sku_id)
}

/// Changes what was supplied, by a row that says why. The first supply makes the stock row.
///
/// # Errors
/// `stock_too_low` when less is available than a negative quantity takes away; a quantity of 0 or too large.
pub async fn supply(tx: &mut Tx<'_>, ctx: &Ctx, actor: &Actor, supply: &Supply<'_>) -> Result<SupplyMoveId> {
    supply_for(tx, ctx, actor, supply, None).await
}

/// The same for the line of an order, which the move then names.
async fn supply_for(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    supply: &Supply<'_>,
    line: Option<&OrderLineId>,
) -> Result<SupplyMoveId> {
    let Supply { store, sku, quantity, .. } = *supply;
    if quantity == 0 || !(-QUANTITY_MAX..=QUANTITY_MAX).contains(&quantity) {
        let why = format!("must not be 0, and be from -{QUANTITY_MAX} to {QUANTITY_MAX}");
        return Err(Failure::invalid("/quantity", why));
    }
    let moved = sql::supply(tx, store, sku, quantity).await?
        || (quantity > 0
            && (sql::insert_stock(tx, store, sku, quantity).await?
                // Somebody else made the row meanwhile.
                || sql::supply(tx, store, sku, quantity).await?));
    if !moved {
        let available = sql::level(tx, store, sku).await?.unwrap_or_default().available;
        return Err(Failure::new(&STOCK_TOO_LOW).with("available", available.into()));
    }
    let id: SupplyMoveId = ctx.new_id();
    sql::insert_move(tx, &id, actor, supply, line, ctx.clock.now_ms()).await?;
    Ok(id)
}

/// A lock row says that the stock row holds it; anything else is our own fault and stops here.
fn held(moved: bool, sku: &SkuId) -> Result<()> {
    if moved {
        return Ok(());
    }
    Err(Failure::internal(
        "moving stock",
        format!("the stock of {sku} does not hold what was locked or sold"),
    ))
}
