//! Coupons with their templates, as the lists show them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{COUPON_NOT_FOUND, Coupon, CouponStatus, Template, sql};
use crate::kernel::{CouponId, Cursor, Failure, Limit, Page, Result, UserId};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;

/// A coupon and what it is worth.
#[derive(Debug, Clone)]
pub struct CouponDetail {
    pub coupon: Coupon,
    pub template: Arc<Template>,
}

/// A user's coupons, newest first; with `status` only those that stand there now.
///
/// # Errors
/// The database.
pub async fn list(
    ctx: &Ctx,
    user: &UserId,
    status: Option<CouponStatus>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<CouponDetail>> {
    let mut conn = ctx.db.reader().await?;
    let after = after.map(Cursor::key);
    let coupons =
        sql::coupons_of(&mut conn, user, status, ctx.clock.now_ms(), after, limit.and_one()).await?;
    let page = Page::cut(coupons, limit, |coupon| coupon.id.to_string());
    Ok(Page { items: with_templates(&mut conn, page.items).await?, next: page.next })
}

/// One coupon; with `owner` only if it is that user's.
///
/// # Errors
/// `coupon_not_found`.
pub async fn find(ctx: &Ctx, id: &CouponId, owner: Option<&UserId>) -> Result<CouponDetail> {
    let mut conn = ctx.db.reader().await?;
    let coupon = sql::coupon(&mut conn, id).await?;
    let coupon = coupon.filter(|coupon| owner.is_none_or(|owner| coupon.user_id == *owner));
    let coupon = coupon.ok_or_else(|| Failure::new(&COUPON_NOT_FOUND))?;
    let mut found = with_templates(&mut conn, vec![coupon]).await?;
    found.pop().ok_or_else(|| Failure::new(&COUPON_NOT_FOUND))
}

/// Each coupon with its template, in the same order.
pub(super) async fn with_templates(conn: &mut Conn, coupons: Vec<Coupon>) -> Result<Vec<CouponDetail>> {
    let mut ids: Vec<_> = coupons.iter().map(|coupon| coupon.template_id.clone()).collect();
    ids.sort();
    ids.dedup();
    let templates: HashMap<_, _> = sql::templates(conn, &ids)
        .await?
        .into_iter()
        .map(|template| (template.id.clone(), Arc::new(template)))
        .collect();
    coupons
        .into_iter()
        .map(|coupon| match templates.get(&coupon.template_id) {
            Some(template) => Ok(CouponDetail { template: template.clone(), coupon }),
            None => Err(Failure::internal(format!("reading coupon {}", coupon.id), "its template is gone")),
        })
        .collect()
}
