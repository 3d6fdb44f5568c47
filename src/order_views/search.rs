//! What staff types into one field, and the orders that it means.

use super::detail::{StaffOrder, staff_order};
use crate::identity::Phone;
use crate::kernel::{Cursor, Limit, OrderId, Page, ProductId, RefundId, Result, SkuId, StaffId, UserId};
use crate::orders::{self, Filter};
use crate::payments;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::refunds;
use crate::shipping;

/// Orders that one number may mean.
const NUMBERED_MAX: i64 = 100;
/// The shortest number of anything, and of a code that is shown in the store.
const NUMBER_CHARS_MIN: usize = 6;
const CODE_CHARS: std::ops::RangeInclusive<usize> = 6..=16;

/// What a text in one field means, by its shape alone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Order(OrderId),
    User(UserId),
    Sku(SkuId),
    Product(ProductId),
    Refund(RefundId),
    Phone(Phone),
    /// Digits that may be a code of the store, or a number of a payment, or of a parcel.
    Digits(String),
    /// A number of a payment or of a parcel.
    Number(String),
    Goods(String),
}

fn meaning(text: &str) -> Meaning {
    if let Ok(id) = text.parse() {
        return Meaning::Order(id);
    }
    if let Ok(id) = text.parse() {
        return Meaning::User(id);
    }
    if let Ok(id) = text.parse() {
        return Meaning::Sku(id);
    }
    if let Ok(id) = text.parse() {
        return Meaning::Product(id);
    }
    if let Ok(id) = text.parse() {
        return Meaning::Refund(id);
    }
    if let Ok(phone) = Phone::parse(text) {
        return Meaning::Phone(phone);
    }
    let is_number = text.len() >= NUMBER_CHARS_MIN
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match is_number {
        true if CODE_CHARS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) => {
            Meaning::Digits(text.to_owned())
        }
        true => Meaning::Number(text.to_owned()),
        false => Meaning::Goods(text.to_owned()),
    }
}

/// What staff looks for: a filter, and texts that mean one more thing that has to fit.
#[derive(Debug, Default)]
pub struct Wanted {
    pub filter: Filter,
    /// Whatever somebody typed.
    pub q: Option<String>,
    /// An order id, an out_trade_no, a transaction id of the channel, or the number of a parcel; exact.
    pub number: Option<String>,
    /// Who looks, where they may hand goods over; for others no order has a code.
    pub code_seeker: Option<StaffId>,
}

/// Orders for staff, newest first.
///
/// # Errors
/// `invalid_request` for a span of time that is too long; `pickup_tries_exceeded`; the database.
pub async fn staff_list(
    ctx: &Ctx,
    wanted: Wanted,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<StaffOrder>> {
    let Wanted { mut filter, q, number, code_seeker } = wanted;
    let (q, number) = (q.as_deref().map(str::trim), number.as_deref().map(str::trim));
    if let Some(number) = number.filter(|number| !number.is_empty()) {
        let found = match number.parse() {
            Ok(id) => vec![id],
            Err(_) => numbered(ctx, &mut *ctx.db.reader().await?, number).await?,
        };
        only(&mut filter, found);
    }
    if let Some(q) = q.filter(|q| !q.is_empty()) {
        narrow(ctx, &mut filter, meaning(q)).await?;
    }
    // A code is not to be guessed here, either.
    let seeker = code_seeker.filter(|_| filter.pickup_code.is_some());
    match &seeker {
        Some(member) => orders::begin_code_search(ctx, member).await?,
        None if filter.pickup_code.is_some() => only(&mut filter, Vec::new()),
        None => {}
    }
    let page = orders::search(ctx, &filter, after, limit).await?;
    if let Some(member) = seeker.filter(|_| !page.items.is_empty()) {
        orders::code_search_found(ctx, &member).await?;
    }
    let items = page.items.into_iter().map(|(order, lines)| staff_order(ctx, order, &lines));
    Ok(Page { items: items.collect(), next: page.next })
}

/// Narrows the filter to what is meant. What it says already stays: an order has to fit both.
async fn narrow(ctx: &Ctx, filter: &mut Filter, meaning: Meaning) -> Result<()> {
    let conn = &mut *ctx.db.reader().await?;
    match meaning {
        Meaning::Order(id) => only(filter, vec![id]),
        Meaning::User(id) => narrow_to(&mut filter.user, id, &mut filter.ids),
        Meaning::Sku(id) => narrow_to(&mut filter.sku, id, &mut filter.ids),
        Meaning::Product(id) => narrow_to(&mut filter.product, id, &mut filter.ids),
        Meaning::Phone(phone) => narrow_to(&mut filter.phone, phone.as_str().to_owned(), &mut filter.ids),
        Meaning::Goods(name) => narrow_to(&mut filter.goods, name, &mut filter.ids),
        Meaning::Refund(id) => {
            let refund = refunds::by_id(conn, &id).await?;
            only(filter, refund.map(|refund| refund.order_id).into_iter().collect());
        }
        Meaning::Number(number) => {
            let found = numbered(ctx, conn, &number).await?;
            match found.is_empty() {
                // It is no number that we know, so it may be in a name.
                true => narrow_to(&mut filter.goods, number, &mut filter.ids),
                false => only(filter, found),
            }
        }
        Meaning::Digits(digits) => {
            let found = numbered(ctx, conn, &digits).await?;
            match found.is_empty() {
                true => narrow_to(&mut filter.pickup_code, digits, &mut filter.ids),
                false => only(filter, found),
            }
        }
    }
    Ok(())
}

/// These orders, as far as the filter has not named others.
fn only(filter: &mut Filter, ids: Vec<OrderId>) {
    filter.ids = Some(match filter.ids.take() {
        Some(there) => there.into_iter().filter(|id| ids.contains(id)).collect(),
        None => ids,
    });
}

/// Sets a member of the filter; one that says something else already fits no order.
fn narrow_to<T: PartialEq>(member: &mut Option<T>, value: T, ids: &mut Option<Vec<OrderId>>) {
    match member {
        Some(there) if *there != value => *ids = Some(Vec::new()),
        _ => *member = Some(value),
    }
}

/// The orders of a number: of a payment here or at the channel, or of a parcel.
async fn numbered(ctx: &Ctx, conn: &mut Conn, number: &str) -> Result<Vec<OrderId>> {
    let mchid = &ctx.config.wechat_pay.mchid;
    let attempt = match payments::by_number(conn, mchid, number).await? {
        Some(attempt) => Some(attempt),
        None => payments::by_transaction(conn, number).await?,
    };
    match attempt {
        Some(attempt) => Ok(vec![attempt.order_id]),
        None => shipping::orders_of_tracking(conn, number, NUMBERED_MAX).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_what_its_shape_says() {
        let tail = "00000000000000000000000001";
        let prefixed = |prefix: &str| meaning(&format!("{prefix}_{tail}"));
        assert!(matches!(prefixed("ord"), Meaning::Order(_)));
        assert!(matches!(prefixed("usr"), Meaning::User(_)));
        assert!(matches!(prefixed("sku"), Meaning::Sku(_)));
        assert!(matches!(prefixed("prd"), Meaning::Product(_)));
        assert!(matches!(prefixed("rfd"), Meaning::Refund(_)));
        assert!(matches!(meaning("138 0013 8000"), Meaning::Phone(_)));
        assert_eq!(meaning("40718293"), Meaning::Digits("40718293".to_owned()));
        for number in ["mm01jd8k3v", "4200001234202603141234567890", "SF1234567890123"] {
            assert_eq!(meaning(number), Meaning::Number(number.to_owned()));
        }
        for name in ["手冲壶", "滤纸 100 张", "V60", "coffee"] {
            assert_eq!(meaning(name), Meaning::Goods(name.to_owned()));
        }
    }
}
