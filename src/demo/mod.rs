//! Demo data: a small shop in Hangzhou, with the ids that the examples of the API name.
//!
//! Every area seeds itself in one transaction, and does nothing when its first row is there. Of several nodes that
//! start on an empty database one seeds an area; the others meet its rows, look again, and find them.

mod coupons;
mod products;
mod stores;
#[cfg(test)]
mod tests;

use crate::kernel::{Actor, Id, Result};
use crate::platform::ctx::Ctx;

const ACTOR: Actor = Actor::System("demo");

/// Seeds what is not there yet. False: everything was there.
///
/// # Errors
/// The database.
pub async fn seed(ctx: &Ctx) -> Result<bool> {
    let stores = match stores::seed(ctx).await {
        Err(_) => stores::seed(ctx).await?,
        Ok(seeded) => seeded,
    };
    let products = match products::seed(ctx).await {
        Err(_) => products::seed(ctx).await?,
        Ok(seeded) => seeded,
    };
    let coupons = coupons::seed(ctx).await?;
    Ok(stores || products || coupons)
}

/// The id of the n-th thing of its kind.
fn id<T: Id>(n: usize) -> T {
    T::from_tail(&format!("{n:0>26}"))
}
