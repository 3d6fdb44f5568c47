//! What a store sells at which price.

use serde::{Deserialize, Serialize};

use super::{PRICE_MAX_MINOR, sku_not_found, sql, store_not_found};
use crate::kernel::{Actor, Currency, Failure, Money, ProductId, Result, SkuId, StoreId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::stores::{self, VERSION_CONFLICT};

/// A SKU as one store sells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    pub image: Option<String>,
    pub price_minor: i64,
    /// The store's.
    pub currency: Currency,
    /// False: not to be bought now.
    pub on_sale: bool,
    /// Staff says that there is none, whatever the stock says.
    pub sold_out: bool,
    /// How many the stock has.
    pub available: i64,
}

impl Offer {
    /// How many can be ordered to be sent or fetched.
    pub fn orderable(&self) -> i64 {
        if self.sold_out { 0 } else { self.available }
    }
}

/// Price and sale of a SKU in a store, as staff sees and sets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSku {
    pub store_id: StoreId,
    pub sku_id: SkuId,
    pub price: Money,
    pub on_sale: bool,
    /// See [`super::set_sold_out`].
    pub sold_out: bool,
    /// Of price and sale; 1 at first.
    pub version: i64,
}

/// What staff decides about a SKU in a store.
#[derive(Debug, Clone, Copy)]
pub struct OfferTerms {
    pub price: Money,
    pub on_sale: bool,
    /// The version that was seen; 0 when the store did not sell it yet.
    pub version: i64,
}

/// The offers of these SKUs in a store, in any order. A SKU without one is not sold there.
///
/// # Errors
/// The database.
pub async fn offers(conn: &mut Conn, store: &StoreId, skus: &[SkuId]) -> Result<Vec<Offer>> {
    if skus.is_empty() {
        return Ok(Vec::new());
    }
    let Some(store) = stores::find(conn, store).await? else { return Ok(Vec::new()) };
    let rows = sql::offers(conn, &store.id, skus).await?;
    Ok(rows.into_iter().map(|row| row.offer(store.currency)).collect())
}

/// Sets the price of a SKU in a store, and whether it is on sale. Orders that were placed keep theirs.
///
/// # Errors
/// `store_not_found`, `sku_not_found`, `version_conflict`, a price that can't be.
pub async fn set_offer(
    ctx: &Ctx,
    actor: &Actor,
    store: &StoreId,
    sku: &SkuId,
    terms: OfferTerms,
) -> Result<StoreSku> {
    ctx.db.write(|tx| Box::pin(async move { write_offer(tx, ctx, actor, store, sku, terms).await })).await
}

/// The row and its audit row.
///
/// # Errors
/// As [`set_offer`].
pub async fn write_offer(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    store: &StoreId,
    sku: &SkuId,
    terms: OfferTerms,
) -> Result<StoreSku> {
    if !(1..=PRICE_MAX_MINOR).contains(&terms.price.amount) {
        return Err(Failure::invalid("/price/amount", format!("must be from 1 to {PRICE_MAX_MINOR}")));
    }
    let currency = stores::find(tx, store).await?.ok_or_else(|| store_not_found(store))?.currency;
    if terms.price.currency != currency {
        return Err(Failure::invalid("/price/currency", format!("this store's prices are in {currency}")));
    }
    if sql::sku(tx, sku).await?.is_none() {
        return Err(sku_not_found(sku));
    }
    let before = sql::store_sku(tx, store, sku).await?;
    let before = before.map(|row| row.store_sku(store, sku, currency));
    let there = before.as_ref().map_or(0, |row| row.version);
    let after = StoreSku {
        store_id: store.clone(),
        sku_id: sku.clone(),
        price: terms.price,
        on_sale: terms.on_sale,
        sold_out: before.as_ref().is_some_and(|row| row.sold_out),
        version: there + 1,
    };
    let now_ms = ctx.clock.now_ms();
    let written = there == terms.version
        && match &before {
            None => sql::insert_store_sku(tx, &after, now_ms).await?,
            Some(_) => sql::update_store_sku(tx, &after, terms.version, now_ms).await?,
        };
    if !written {
        return Err(Failure::new(&VERSION_CONFLICT).with("version", there.into()));
    }
    let object = format!("{store}/{sku}");
    let entry = audit::Entry { actor, operation: "setOffer", object: &object, before, after: Some(&after) };
    audit::record(tx, ctx, entry).await?;
    Ok(after)
}
