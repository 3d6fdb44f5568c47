//! Which of a user's coupons can be used for a basket, and why not the others.

use std::collections::{BTreeSet, HashMap};

use super::view::with_templates;
use super::{COUPON_NOT_FOUND, CouponDetail, CouponStatus, Reason, not_usable, reason_of, sql};
use crate::catalog;
use crate::kernel::{CouponId, Currency, Failure, Millis, OrderId, Result, SkuId, StoreId, UserId, day_ms};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::pricing::{CouponTerms, FreightTerms, LineIn, Unmet, price};
use crate::stores::{self, Store};

/// Coupons that one order may name.
const NAMED_MAX: usize = 10;
/// Coupons that are looked at for one basket: the unused ones first, the soonest to expire in front.
const LOOKED_AT_MAX: i64 = 200;
/// How long an expired coupon is still shown, so that people see where it went.
const SHOWN_AFTER_MS: Millis = day_ms(30);

/// A line of the basket that is asked about.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub sku_id: SkuId,
    pub quantity: i64,
}

/// A coupon that can't be used, why, and what is missing to its threshold.
#[derive(Debug)]
pub struct Unusable {
    pub detail: CouponDetail,
    pub reason: Reason,
    pub missing_minor: Option<i64>,
}

/// A user's coupons for one basket.
#[derive(Debug)]
pub struct Usable {
    pub currency: Currency,
    /// With what each would take off if it were the only one; the largest discount first.
    pub usable: Vec<(CouponDetail, i64)>,
    pub unusable: Vec<Unusable>,
}

/// The terms of these coupons, in their order, for an order of this user at this store.
///
/// # Errors
/// `coupon_not_found`; `coupon_not_usable` with the reason when one is not the user's to use there and now.
pub async fn terms(
    conn: &mut Conn,
    ctx: &Ctx,
    user: &UserId,
    store: &StoreId,
    ids: &[CouponId],
) -> Result<Vec<CouponTerms>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    if ids.len() > NAMED_MAX || ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return Err(Failure::invalid("/coupon_ids", "must name each coupon once, and at most 10"));
    }
    let store = stores::find(conn, store).await?.ok_or_else(|| Failure::new(&stores::STORE_NOT_FOUND))?;
    let coupons = sql::coupons_among(conn, user, ids).await?;
    let details = with_templates(conn, coupons).await?;
    let mut by_id: HashMap<_, _> =
        details.into_iter().map(|detail| (detail.coupon.id.clone(), detail)).collect();
    ids.iter()
        .map(|id| {
            let detail = by_id.remove(id).ok_or_else(|| Failure::new(&COUPON_NOT_FOUND))?;
            match detail.why_not_at(&store, ctx.clock.now_ms()) {
                Some(reason) => Err(not_usable(id, reason)),
                None => Ok(detail.template.terms_of(id)),
            }
        })
        .collect()
}

/// The terms of the coupons that a paid order has used.
///
/// # Errors
/// The database.
pub async fn used_by(conn: &mut Conn, order: &OrderId) -> Result<Vec<CouponTerms>> {
    let coupons = sql::held_by(conn, order, CouponStatus::Used).await?;
    let details = with_templates(conn, coupons).await?;
    Ok(details.iter().map(|detail| detail.template.terms_of(&detail.coupon.id)).collect())
}

/// Sorts a user's coupons for a basket, at the prices of now. Nothing is reserved.
///
/// # Errors
/// `store_not_found`; `invalid_request` naming a line whose SKU the store does not sell.
pub async fn usable(ctx: &Ctx, user: &UserId, store: &StoreId, wanted: &[Wanted]) -> Result<Usable> {
    let now_ms = ctx.clock.now_ms();
    let mut conn = ctx.db.reader().await?;
    let store =
        stores::find(&mut conn, store).await?.ok_or_else(|| Failure::new(&stores::STORE_NOT_FOUND))?;
    let lines = priced_lines(&mut conn, &store, wanted).await?;
    let coupons = sql::coupons_for_basket(&mut conn, user, now_ms - SHOWN_AFTER_MS, LOOKED_AT_MAX).await?;
    let mut sorted = Usable { currency: store.currency, usable: Vec::new(), unusable: Vec::new() };
    for detail in with_templates(&mut conn, coupons).await? {
        let verdict =
            detail.why_not_at(&store, now_ms).map_or_else(|| detail.worth(&lines), |r| Err((r, None)));
        match verdict {
            Ok(discount_minor) => sorted.usable.push((detail, discount_minor)),
            Err((reason, missing_minor)) => sorted.unusable.push(Unusable { detail, reason, missing_minor }),
        }
    }
    sorted.usable.sort_by_key(|(detail, minor)| (-minor, detail.coupon.valid_until_ms));
    Ok(sorted)
}

async fn priced_lines(conn: &mut Conn, store: &Store, wanted: &[Wanted]) -> Result<Vec<LineIn>> {
    let skus: Vec<SkuId> = wanted.iter().map(|line| line.sku_id.clone()).collect();
    if skus.iter().collect::<BTreeSet<_>>().len() < skus.len() {
        return Err(Failure::invalid("/lines", "must name each SKU once"));
    }
    let offers = catalog::offers(conn, &store.id, &skus).await?;
    let price_of: HashMap<_, _> = offers
        .into_iter()
        .filter(|offer| offer.on_sale)
        .map(|offer| (offer.sku_id, offer.price_minor))
        .collect();
    wanted
        .iter()
        .enumerate()
        .map(|(at, line)| match price_of.get(&line.sku_id) {
            Some(price_minor) => Ok(LineIn {
                sku_id: line.sku_id.clone(),
                unit_price_minor: *price_minor,
                quantity: line.quantity,
            }),
            None => Err(Failure::invalid(format!("/lines/{at}/sku_id"), "is not sold in this store")),
        })
        .collect()
}

impl CouponDetail {
    /// Why it can't be used in this store now, whatever the basket.
    fn why_not_at(&self, store: &Store, now_ms: Millis) -> Option<Reason> {
        let terms = &self.template.terms;
        if let Some(reason) = self.coupon.why_not(now_ms) {
            Some(reason)
        } else if terms.store_ids.as_ref().is_some_and(|stores| !stores.contains(&store.id)) {
            Some(Reason::OtherStore)
        } else if terms.currency != store.currency {
            Some(Reason::OtherCurrency)
        } else {
            None
        }
    }

    /// What it takes off these lines as the only coupon, or why nothing.
    fn worth(&self, lines: &[LineIn]) -> Result<i64, (Reason, Option<i64>)> {
        let terms = self.template.terms_of(&self.coupon.id);
        price(lines, &[terms], FreightTerms::NONE).map(|priced| priced.discount_minor).map_err(|unmet| {
            let reason = reason_of(&unmet).map_or(Reason::NoEffect, |(_, reason)| reason);
            match unmet {
                Unmet::Threshold { missing_minor, .. } => (reason, Some(missing_minor)),
                _ => (reason, None),
            }
        })
    }
}
