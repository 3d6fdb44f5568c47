//! Orders as staff looks for them, newest first, fast however many there are.
//!
//! A search is one or several walks, each along an index that is in the order of the list, so that a page costs
//! what is on it; what several walks find is merged. Ids begin with the time, so a span of time is a range of
//! them on any of these indexes. What has no index of its own (the name of goods; a filter on top of a walk that
//! may find little) is looked for in a bounded span of time.

mod sql;
#[cfg(test)]
mod tests;

use super::{Fulfilment, Order, OrderLine, OrderStatus};
use crate::identity;
use crate::kernel::{
    Cursor, Failure, Id, Limit, Millis, OrderId, Page, ProductId, Result, SkuId, StoreId, UserId, day_ms,
    earliest_of, hour_ms,
};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::staff::StoreScope;
use sql::{OfPhone, Rest, Way};

/// How far back a search looks that has no index of its own, unless it is told.
const SPAN_MS: Millis = day_ms(92);
/// The same for the name of goods, and how much it looks at in any case.
const GOODS_SPAN_MS: Millis = day_ms(31);
const GOODS_SPAN_MAX_MS: Millis = day_ms(92);
/// A clock that was set back gives ids that are ahead of the time.
const SLACK_MS: Millis = hour_ms(1);
/// Stores that are walked one by one; with more, all orders are walked.
const STORES_WALKED_MAX: usize = 20;
/// People with one phone number.
const USERS_OF_PHONE_MAX: i64 = 20;

/// What staff narrows the list to; everything that is given has to fit.
#[derive(Debug, Default)]
pub struct Filter {
    /// The stores that the reader is there for.
    pub scope: StoreScope,
    /// These orders only.
    pub ids: Option<Vec<OrderId>>,
    pub status: Option<OrderStatus>,
    pub fulfilment: Option<Fulfilment>,
    pub store: Option<StoreId>,
    pub user: Option<UserId>,
    /// The whole number, of the recipient or of the customer; it is looked up by its keyed hash.
    pub phone: Option<String>,
    /// What the customer shows in the store.
    pub pickup_code: Option<String>,
    pub sku: Option<SkuId>,
    pub product: Option<ProductId>,
    /// A part of the name that goods had when they were ordered.
    pub goods: Option<String>,
    pub placed_from_ms: Option<Millis>,
    pub placed_until_ms: Option<Millis>,
}

impl Filter {
    /// Finds so little that nothing else matters.
    fn is_narrow(&self) -> bool {
        self.ids.is_some() || self.user.is_some() || self.phone.is_some() || self.pickup_code.is_some()
    }

    /// The stores to look in; `None`: all.
    fn stores(&self) -> Option<Vec<&StoreId>> {
        match (&self.store, self.scope.stores()) {
            (Some(store), _) => Some(self.scope.has(store).then_some(store).into_iter().collect()),
            (None, Some(stores)) => Some(stores.iter().collect()),
            (None, None) => None,
        }
    }

    /// May a walk pass by many orders before it finds one that fits?
    fn looks_far(&self) -> bool {
        let by_store = self.stores().is_some();
        let by_goods = self.sku.is_some() || self.product.is_some();
        let narrowed = self.status.is_some() || self.fulfilment.is_some() || by_store;
        !self.is_narrow() && ((by_goods && narrowed) || (by_store && self.fulfilment.is_some()))
    }

    /// The span of time that is looked at.
    fn span(&self, now_ms: Millis) -> Result<(Option<Millis>, Option<Millis>)> {
        let (from_ms, until_ms) = (self.placed_from_ms, self.placed_until_ms);
        let end_ms = until_ms.unwrap_or(now_ms);
        if self.goods.is_some() && !self.is_narrow() {
            let from_ms = from_ms.unwrap_or(end_ms - GOODS_SPAN_MS);
            if end_ms - from_ms > GOODS_SPAN_MAX_MS {
                let why = "is too early: the name of goods is looked for in at most 92 days at once";
                return Err(Failure::invalid("placed_from", why));
            }
            return Ok((Some(from_ms), until_ms));
        }
        let from_ms = from_ms.or_else(|| self.looks_far().then_some(end_ms - SPAN_MS));
        Ok((from_ms, until_ms))
    }
}

/// Looks for orders, newest first.
///
/// # Errors
/// `invalid_request` for a span of time that is too long; the database.
pub async fn search(
    ctx: &Ctx,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<(Order, Vec<OrderLine>)>> {
    let conn = &mut *ctx.db.reader().await?;
    let (from_ms, until_ms) = filter.span(ctx.clock.now_ms())?;
    let phone = match &filter.phone {
        Some(phone) => {
            let hashes = ctx.secrets.indexes("phone", phone);
            let users = identity::users_of_phone(conn, &hashes, USERS_OF_PHONE_MAX).await?;
            Some(OfPhone { hashes, users })
        }
        None => None,
    };
    let stores = filter.stores();
    let ways = ways(filter, stores.as_deref(), phone.as_ref());
    let rest = Rest {
        stores,
        status: filter.status,
        fulfilment: filter.fulfilment,
        user: filter.user.as_ref(),
        phone: phone.as_ref(),
        pickup_code: filter.pickup_code.as_deref(),
        sku: filter.sku.as_ref(),
        product: filter.product.as_ref(),
        goods: filter.goods.as_deref(),
        placed_from_ms: from_ms,
        placed_until_ms: until_ms,
        first_id: from_ms.map(|from_ms| first_id_of(from_ms - SLACK_MS)),
        before_id: before(after, until_ms),
        limit: limit.and_one(),
    };
    let mut found: Vec<OrderId> = Vec::new();
    for way in &ways {
        found.extend(sql::walk(conn, way, &rest).await?);
    }
    found.sort_by(|a, b| b.cmp(a));
    found.dedup();
    let page = Page::cut(found, limit, OrderId::to_string);
    Ok(Page { items: full(conn, &page.items).await?, next: page.next })
}

fn first_id_of(ms: Millis) -> OrderId {
    OrderId::from_tail(&earliest_of(ms))
}

/// Ids below the cursor, and below those of the end of the span.
fn before(after: Option<&Cursor>, until_ms: Option<Millis>) -> String {
    let end = until_ms.map(|until_ms| first_id_of(until_ms + SLACK_MS).to_string());
    let cursor = after.map(|cursor| cursor.key().to_owned());
    [cursor, end].into_iter().flatten().min().unwrap_or_else(|| "~".to_owned())
}

/// The walks that together pass every order that fits.
fn ways<'a>(filter: &'a Filter, stores: Option<&[&'a StoreId]>, phone: Option<&'a OfPhone>) -> Vec<Way<'a>> {
    if let Some(ids) = &filter.ids {
        return vec![Way::Ids(ids)];
    }
    if let Some(OfPhone { hashes, users }) = phone {
        return hashes.iter().map(|hash| Way::Phone(hash)).chain(users.iter().map(Way::User)).collect();
    }
    if let Some(user) = &filter.user {
        return vec![Way::User(user)];
    }
    if let Some(code) = &filter.pickup_code {
        return vec![Way::PickupCode(code)];
    }
    if let Some(sku) = &filter.sku {
        return vec![Way::Sku(sku)];
    }
    if let Some(product) = &filter.product {
        return vec![Way::Product(product)];
    }
    match (stores, filter.fulfilment) {
        (Some(stores), _) if stores.len() <= STORES_WALKED_MAX => {
            stores.iter().map(|store| Way::Store(store)).collect()
        }
        (_, Some(fulfilment)) => {
            let statuses =
                OrderStatus::ALL.iter().filter(|status| filter.status.is_none_or(|s| s == **status));
            statuses.map(|status| Way::Handover(fulfilment, *status)).collect()
        }
        (_, None) => vec![filter.status.map_or(Way::All, Way::Status)],
    }
}

/// Orders with their lines, in the order of `ids`.
async fn full(conn: &mut Conn, ids: &[OrderId]) -> Result<Vec<(Order, Vec<OrderLine>)>> {
    let mut found = sql::by_ids(conn, ids).await?;
    found.sort_by(|a, b| b.id.cmp(&a.id));
    let mut items = Vec::with_capacity(found.len());
    for order in found {
        let lines = super::sql::find_lines(conn, &order.id).await?;
        items.push((order, lines));
    }
    Ok(items)
}
