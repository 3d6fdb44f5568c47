//! Carts: what a user means to buy in a store. A cart reserves nothing and promises no price; a line that
//! can't be bought any more is flagged, not dropped.
//!
//! Tables: `carts`, `cart_lines`. Events: none. A cart has at most 100 lines of 1 to 999 pieces.

mod api;
mod change;
mod sql;
mod view;

pub use api::CartApi;
pub use change::{clear, put, remove_line};
pub use view::{Cart, Flag, ShownLine, view};

use sqlx::FromRow;

use crate::kernel::{Millis, Result, SkuId, StoreId, UserId, codes};
use crate::platform::db::{Conn, Tx};

codes! {
    CART_FULL: 409 "cart_full" "A cart holds at most 100 different SKUs. Order or remove some.";
}

/// Lines that a cart may have.
pub const LINES_MAX: i64 = 100;
/// Pieces that a line may have.
pub const QUANTITY_MAX: i64 = 999;

/// A line of a cart.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct CartLine {
    pub sku_id: SkuId,
    /// 1 to 999.
    pub quantity: i64,
    /// The unit price when the line was last set, minor units.
    pub seen_price_minor: i64,
    pub added_ms: Millis,
}

/// The lines of a cart, the oldest first.
///
/// # Errors
/// The database.
pub async fn lines(conn: &mut Conn, user: &UserId, store: &StoreId) -> Result<Vec<CartLine>> {
    sql::lines(conn, user, store).await
}

/// Forgets the carts of a person whose row is held.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, user: &UserId) -> Result<()> {
    sql::delete_carts(tx, user).await
}

/// Takes these SKUs out of a cart; what is not in it stays out.
///
/// # Errors
/// The database.
pub async fn remove(tx: &mut Tx<'_>, user: &UserId, store: &StoreId, skus: &[SkuId]) -> Result<()> {
    for sku in skus {
        sql::delete(tx, user, store, sku).await?;
    }
    Ok(())
}
