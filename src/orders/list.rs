//! A customer's own orders.

use super::{Order, OrderLine, OrderStatus, sql};
use crate::kernel::{Cursor, Limit, Page, Result, UserId};
use crate::platform::ctx::Ctx;

/// How many orders a customer has, by status.
pub type Counts = Vec<(OrderStatus, i64)>;

/// A customer's own orders with their lines, newest first.
///
/// # Errors
/// The database.
pub async fn list(
    ctx: &Ctx,
    user: &UserId,
    status: Option<OrderStatus>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<(Order, Vec<OrderLine>)>> {
    let conn = &mut *ctx.db.reader().await?;
    let found = sql::list(conn, user, status, after.map(Cursor::key), limit.and_one()).await?;
    let page = Page::cut(found, limit, |order| order.id.to_string());
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
