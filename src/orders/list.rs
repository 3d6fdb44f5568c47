//! Lists of orders: the customer's own, and everybody's for staff.

use super::{Order, OrderLine, OrderStatus, sql};
use crate::kernel::{Cursor, Limit, Millis, Page, Result, StoreId, UserId};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::staff::StoreScope;

/// An order with its lines.
pub type Full = (Order, Vec<OrderLine>);

/// What staff narrows the list to.
#[derive(Debug, Default)]
pub struct Filter {
    /// The stores that the reader is there for.
    pub scope: StoreScope,
    pub status: Option<OrderStatus>,
    pub store: Option<StoreId>,
    pub user: Option<UserId>,
    /// The whole number; it is looked up by its keyed hash.
    pub phone: Option<String>,
    pub placed_from_ms: Option<Millis>,
    pub placed_until_ms: Option<Millis>,
}

/// How many orders a customer has, by status.
pub type Counts = Vec<(OrderStatus, i64)>;

/// A customer's own orders, newest first.
///
/// # Errors
/// The database.
pub async fn list(
    ctx: &Ctx,
    user: &UserId,
    status: Option<OrderStatus>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Full>> {
    let filter = sql::ListFilter {
        user: Some(user),
        status,
        before: after.map(Cursor::key),
        limit: limit.and_one(),
        ..sql::ListFilter::default()
    };
    page(&mut *ctx.db.reader().await?, &filter, limit).await
}

/// Everybody's orders, newest first.
///
/// # Errors
/// The database.
pub async fn list_all(
    ctx: &Ctx,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Full>> {
    let filter = sql::ListFilter {
        user: filter.user.as_ref(),
        scope: Some(&filter.scope),
        store: filter.store.as_ref(),
        status: filter.status,
        phone_hashes: filter.phone.as_ref().map(|phone| ctx.secrets.indexes("phone", phone)),
        placed_from_ms: filter.placed_from_ms,
        placed_until_ms: filter.placed_until_ms,
        before: after.map(Cursor::key),
        limit: limit.and_one(),
    };
    page(&mut *ctx.db.reader().await?, &filter, limit).await
}

async fn page(conn: &mut Conn, filter: &sql::ListFilter<'_>, limit: Limit) -> Result<Page<Full>> {
    let page = Page::cut(sql::list(conn, filter).await?, limit, |order| order.id.to_string());
    let mut items = Vec::with_capacity(page.items.len());
    for order in page.items {
        let lines = sql::find_lines(conn, &order.id).await?;
        items.push((order, lines));
    }
    Ok(Page { items, next: page.next })
}

/// How many orders of each status a customer has.
///
/// # Errors
/// The database.
pub async fn counts(ctx: &Ctx, user: &UserId) -> Result<Counts> {
    sql::count_by_status(&mut *ctx.db.reader().await?, user).await
}
