//! A cart with what the store offers now.

use std::collections::HashMap;

use super::{CartLine, sql};
use crate::catalog::{self, Offer};
use crate::kernel::{Currency, Failure, Result, SkuId, StoreId, UserId, text_enum};
use crate::platform::ctx::Ctx;
use crate::stores;

text_enum! {
    /// What is to be seen to before the line can be ordered as it is.
    pub enum Flag {
        /// The store does not sell it (any more).
        NotSold = "not_sold",
        /// Staff says that there is none now.
        SoldOut = "sold_out",
        /// There are fewer than the cart wants; `available` says how many.
        OutOfStock = "out_of_stock",
        /// The price is another one than when the line was last set.
        Price = "price",
    }
}

/// A line with the offer of now.
#[derive(Debug)]
pub struct ShownLine {
    pub line: CartLine,
    /// Absent: the store never sold it, or its product is gone.
    pub offer: Option<Offer>,
    pub flags: Vec<Flag>,
}

/// A cart as it is shown.
#[derive(Debug)]
pub struct Cart {
    pub currency: Currency,
    pub lines: Vec<ShownLine>,
    /// What the lines that can be ordered cost now, without discounts.
    pub goods_minor: i64,
}

/// A user's cart in a store.
///
/// # Errors
/// `store_not_found`.
pub async fn view(ctx: &Ctx, user: &UserId, store: &StoreId) -> Result<Cart> {
    let mut conn = ctx.db.reader().await?;
    let found =
        stores::find(&mut conn, store).await?.ok_or_else(|| Failure::new(&stores::STORE_NOT_FOUND))?;
    let lines = sql::lines(&mut conn, user, store).await?;
    let skus: Vec<SkuId> = lines.iter().map(|line| line.sku_id.clone()).collect();
    let offers = catalog::offers(&mut conn, store, &skus).await?;
    let mut offers: HashMap<_, _> = offers.into_iter().map(|offer| (offer.sku_id.clone(), offer)).collect();
    let lines: Vec<ShownLine> = lines
        .into_iter()
        .map(|line| {
            let offer = offers.remove(&line.sku_id);
            ShownLine { flags: flags(&line, offer.as_ref()), line, offer }
        })
        .collect();
    let goods_minor = lines.iter().map(ShownLine::orderable_minor).fold(0, i64::saturating_add);
    Ok(Cart { currency: found.currency, lines, goods_minor })
}

fn flags(line: &CartLine, offer: Option<&Offer>) -> Vec<Flag> {
    let Some(offer) = offer.filter(|offer| offer.on_sale) else { return vec![Flag::NotSold] };
    let mut flags = Vec::new();
    if offer.sold_out {
        flags.push(Flag::SoldOut);
    } else if offer.available < line.quantity {
        flags.push(Flag::OutOfStock);
    }
    if offer.price_minor != line.seen_price_minor {
        flags.push(Flag::Price);
    }
    flags
}

impl ShownLine {
    /// What it costs, if it can be ordered as it is. A changed price is only news.
    fn orderable_minor(&self) -> i64 {
        match &self.offer {
            Some(offer) if self.flags.iter().all(|flag| *flag == Flag::Price) => {
                offer.price_minor.saturating_mul(self.line.quantity)
            }
            _ => 0,
        }
    }
}
