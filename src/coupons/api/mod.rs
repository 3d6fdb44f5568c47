//! The app's operations on coupons. No rule lives here.

mod views;

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

pub use views::{CouponBenefit, CouponTemplateView, CouponValidity, CouponView};

use super::{Claimable, CouponStatus, Reason, Template, Unusable, Usable, Wanted};
use crate::identity::UserAuth;
use crate::kernel::{CouponTemplateId, Cursor, Id, Limit, Millis, Money, Result, SkuId, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Body, Created, List, Reply, Tag};

/// A coupon that people can claim.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct ClaimableView {
    pub template_id: CouponTemplateId,
    pub name: String,
    pub description: String,
    pub benefit: CouponBenefit,
    pub threshold: Money,
    pub sku_ids: Option<Vec<SkuId>>,
    pub store_ids: Option<Vec<StoreId>>,
    pub exclusive: bool,
    pub validity: CouponValidity,
    /// How many are left for everybody.
    pub remaining: i64,
    /// How many one person can claim, and how many you have claimed.
    pub limit_per_user: i64,
    pub claimed: i64,
    pub can_claim: bool,
    /// When `can_claim` is false: the code that claiming would answer.
    pub reason: Option<String>,
}

impl ClaimableView {
    fn of(claimable: Claimable) -> Result<Self> {
        let Template { id, terms, remaining, .. } = claimable.template;
        Ok(Self {
            template_id: id,
            benefit: CouponBenefit::of(terms.benefit, terms.currency),
            threshold: Money::new(terms.threshold_minor, terms.currency),
            sku_ids: terms.sku_ids.map(|ids| ids.into_iter().collect()),
            store_ids: terms.store_ids.map(|ids| ids.into_iter().collect()),
            exclusive: terms.exclusive,
            validity: CouponValidity::of(terms.validity)?,
            name: terms.name,
            description: terms.description,
            remaining,
            limit_per_user: terms.limit_per_user,
            claimed: claimable.claimed,
            can_claim: claimable.refused.is_none(),
            reason: claimable.refused.map(|code| code.code.to_owned()),
        })
    }
}

/// A SKU and how many of it.
#[derive(Object)]
pub struct BasketLine {
    pub sku_id: SkuId,
    #[oai(validator(minimum(value = "1"), maximum(value = "999")))]
    pub quantity: i64,
}

/// A basket, to see which coupons fit it.
#[derive(Object)]
#[oai(example)]
pub struct CouponBasket {
    pub store_id: StoreId,
    /// Each SKU once.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub lines: Vec<BasketLine>,
}

impl Example for CouponBasket {
    fn example() -> Self {
        let line = BasketLine { sku_id: SkuId::from_tail("00000000000000000000000001"), quantity: 2 };
        Self { store_id: StoreId::from_tail("00000000000000000000000001"), lines: vec![line] }
    }
}

/// A coupon that fits the basket.
#[derive(Object)]
pub struct UsableCoupon {
    pub coupon: CouponView,
    /// What it takes off as the only coupon.
    pub discount: Money,
}

/// A coupon that does not fit the basket.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct UnusableCoupon {
    pub coupon: CouponView,
    pub reason: Reason,
    /// What is missing to its threshold.
    pub missing: Option<Money>,
}

/// Your coupons, sorted for a basket.
#[derive(Object)]
pub struct CouponsForBasket {
    /// The largest discount first.
    pub usable: Vec<UsableCoupon>,
    pub unusable: Vec<UnusableCoupon>,
}

impl CouponsForBasket {
    fn of(sorted: Usable, now_ms: Millis) -> Self {
        let currency = sorted.currency;
        let usable = |(detail, minor)| UsableCoupon {
            coupon: CouponView::of(detail, now_ms),
            discount: Money::new(minor, currency),
        };
        let unusable = |unusable: Unusable| UnusableCoupon {
            coupon: CouponView::of(unusable.detail, now_ms),
            reason: unusable.reason,
            missing: unusable.missing_minor.map(|minor| Money::new(minor, currency)),
        };
        Self {
            usable: sorted.usable.into_iter().map(usable).collect(),
            unusable: sorted.unusable.into_iter().map(unusable).collect(),
        }
    }
}

fn example_template() -> CouponTemplateId {
    CouponTemplateId::from_tail("00000000000000000000000002")
}

pub struct CouponsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Coupons")]
impl CouponsApi {
    /// Your coupons
    ///
    /// Newest first. `status` is where a coupon stands now: one whose time is over is EXPIRED. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/coupons", method = "get", operation_id = "listCoupons")]
    async fn list_coupons(
        &self,
        auth: UserAuth,
        /// Only coupons that stand there.
        status: Query<Option<CouponStatus>>,
        /// 1 to 100; 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<CouponView>>> {
        let limit = Limit::parse(limit.0)?;
        let page = super::list(&self.ctx, &auth.0.user_id, status.0, cursor.0.as_ref(), limit).await?;
        let now_ms = self.ctx.clock.now_ms();
        Ok(List::from_page(page, |detail| CouponView::of(detail, now_ms)))
    }

    /// Coupons to claim
    ///
    /// What anybody can claim now, newest first, with what is left, how many you have, and whether you can
    /// claim one. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/coupon-templates", method = "get", operation_id = "listClaimableCoupons")]
    async fn list_claimable(
        &self,
        auth: UserAuth,
        /// 1 to 100; 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<ClaimableView>>> {
        let limit = Limit::parse(limit.0)?;
        let page = super::claimable(&self.ctx, &auth.0.user_id, cursor.0.as_ref(), limit).await?;
        let items = page.items.into_iter().map(ClaimableView::of).collect::<Result<Vec<_>>>()?;
        Ok(Json(List { items, next_cursor: page.next }))
    }

    /// Claim a coupon
    ///
    /// Takes one of what is left and makes it yours, up to the limit per person. The same `Idempotency-Key`
    /// again answers the same coupon.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `idempotency_key_required`, `idempotency_key_reused`,
    /// `coupon_template_not_found`, `coupon_template_paused`, `coupon_template_ended`, `coupon_sold_out`,
    /// `coupon_limit_reached`.
    #[oai(path = "/coupon-templates/:template_id/claims", method = "post", operation_id = "claimCoupon")]
    async fn claim(
        &self,
        auth: UserAuth,
        #[oai(example = "example_template")] template_id: Path<CouponTemplateId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Created<CouponView>> {
        let user = &auth.0.user_id;
        let key = Key::new(&auth.actor(), "claimCoupon", &key, &template_id.0)?;
        let done = super::claim(&self.ctx, user, &template_id, &key).await?;
        let detail = super::find(&self.ctx, &done.value, Some(user)).await?;
        Ok(Created::of(CouponView::of(detail, self.ctx.clock.now_ms()), &done))
    }

    /// Coupons for a basket
    ///
    /// Sorts your coupons for these lines at the store's prices of now: usable ones with what each would take
    /// off alone, and the others with the reason. Reserves nothing; the quote decides.
    ///
    /// Errors: `unauthenticated`, `invalid_request` (also for a SKU that the store does not sell),
    /// `store_not_found`.
    #[oai(path = "/coupons/usable", method = "post", operation_id = "listUsableCoupons")]
    async fn usable(&self, auth: UserAuth, body: Body<CouponBasket>) -> Reply<Json<CouponsForBasket>> {
        let wanted: Vec<Wanted> = body
            .lines
            .iter()
            .map(|line| Wanted { sku_id: line.sku_id.clone(), quantity: line.quantity })
            .collect();
        let sorted = super::usable(&self.ctx, &auth.0.user_id, &body.store_id, &wanted).await?;
        Ok(Json(CouponsForBasket::of(sorted, self.ctx.clock.now_ms())))
    }
}
