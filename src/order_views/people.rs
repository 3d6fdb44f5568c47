//! A customer as staff sees them: who it is, what they ordered, which coupons they have.

use poem_openapi::Object;

use super::detail::{StaffOrder, staff_order};
use crate::coupons::{self, CouponView};
use crate::identity::{self, Phone, Sought, USER_NOT_FOUND, UserSummary};
use crate::kernel::{Actor, Cursor, Failure, Limit, Page, Result, UserId, rfc3339};
use crate::orders::{self, Filter, StatusCount};
use crate::platform::ctx::Ctx;
use crate::staff::StoreScope;

/// Orders and coupons that are shown beside a customer; there are lists of all of them.
const SHOWN: u32 = 10;

/// A customer as staff's list shows them.
#[derive(Debug, Object)]
pub struct PersonView {
    pub id: UserId,
    pub nickname: String,
    #[oai(skip_serializing_if_is_none)]
    pub avatar: Option<String>,
    /// POST …/reveal-phone shows it in full.
    #[oai(skip_serializing_if_is_none)]
    pub phone_masked: Option<String>,
    pub created_at: String,
}

impl From<UserSummary> for PersonView {
    fn from(user: UserSummary) -> Self {
        Self {
            id: user.id,
            nickname: user.nickname,
            avatar: user.avatar,
            phone_masked: user.phone_masked,
            created_at: rfc3339(user.created_ms),
        }
    }
}

/// A customer with what they ordered and which coupons they have.
#[derive(Object)]
pub struct PersonDetail {
    #[oai(flatten)]
    pub person: PersonView,
    /// Orders of all stores by status; absent for members whose stores are limited.
    #[oai(skip_serializing_if_is_none)]
    pub order_counts: Option<Vec<StatusCount>>,
    /// The newest orders of the member's stores; GET /admin/v1/orders?user_id= has them all.
    pub orders: Vec<StaffOrder>,
    /// The newest coupons; GET /admin/v1/users/{user_id}/coupons has them all.
    pub coupons: Vec<CouponView>,
}

/// Customers for staff. Who is there for some stores only finds those who have ordered there, by id or number.
///
/// # Errors
/// `invalid_request` for `q`, where the member's stores are limited; the database.
pub async fn people(
    ctx: &Ctx,
    scope: &StoreScope,
    sought: &Sought,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<PersonView>> {
    if !scope.is_all() && !matches!(sought, Sought::User(_) | Sought::Phone(_)) {
        return Err(Failure::invalid(
            "q",
            "Your account is limited to some stores: give an id or a whole phone number.",
        ));
    }
    let page = identity::find_people(ctx, sought, after, limit).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for user in page.items {
        if is_known(ctx, scope, &user.id).await? {
            items.push(user.into());
        }
    }
    Ok(Page { items, next: page.next })
}

/// The phone number of a customer, in full.
///
/// # Errors
/// `user_not_found`, `phone_not_known`.
pub async fn reveal_phone(
    ctx: &Ctx,
    actor: &Actor,
    scope: &StoreScope,
    id: &UserId,
    reason: &str,
) -> Result<Phone> {
    if !is_known(ctx, scope, id).await? {
        return Err(Failure::new(&USER_NOT_FOUND));
    }
    identity::reveal_phone(ctx, actor, id, reason).await
}

/// Has this person ordered in one of these stores, where they are limited?
async fn is_known(ctx: &Ctx, scope: &StoreScope, id: &UserId) -> Result<bool> {
    if scope.is_all() {
        return Ok(true);
    }
    let filter = Filter { scope: scope.clone(), user: Some(id.clone()), ..Filter::default() };
    let found = orders::search(ctx, &filter, None, Limit::parse(Some(1))?).await?;
    Ok(!found.items.is_empty())
}

/// A customer with orders and coupons.
///
/// # Errors
/// `user_not_found`.
pub async fn person_detail(ctx: &Ctx, scope: &StoreScope, id: &UserId) -> Result<PersonDetail> {
    let user = identity::summary(&mut *ctx.db.reader().await?, id).await?;
    let user = user.ok_or_else(|| Failure::new(&USER_NOT_FOUND))?;
    let limit = Limit::parse(Some(SHOWN))?;
    let filter = Filter { scope: scope.clone(), user: Some(id.clone()), ..Filter::default() };
    let orders = orders::search(ctx, &filter, None, limit).await?;
    if !scope.is_all() && orders.items.is_empty() {
        return Err(Failure::new(&USER_NOT_FOUND));
    }
    let coupons = coupons::list(ctx, id, None, None, limit).await?;
    let order_counts = match scope.is_all() {
        true => {
            let counts = orders::counts(ctx, id).await?;
            Some(counts.into_iter().map(|(status, count)| StatusCount { status, count }).collect())
        }
        false => None,
    };
    let now_ms = ctx.clock.now_ms();
    Ok(PersonDetail {
        person: user.into(),
        order_counts,
        orders: orders
            .items
            .into_iter()
            .map(|(order, lines)| staff_order(ctx, order, &lines))
            .collect::<Result<_>>()?,
        coupons: coupons.items.into_iter().map(|coupon| CouponView::of(coupon, now_ms)).collect(),
    })
}
