//! The app's operations on coupons. No rule lives here.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{
    BenefitKind, Claimable, CouponDetail, CouponStatus, Issue, Reason, Source, Template, Unusable, Usable,
    Validity, Wanted,
};
use crate::identity::UserAuth;
use crate::kernel::{
    CouponId, CouponTemplateId, Currency, Cursor, Id, Limit, Money, OrderId, Result, SkuId, StoreId, rfc3339,
};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Body, Created, List, Reply, Tag};
use crate::pricing::Benefit;

/// What a coupon takes off.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct CouponBenefit {
    pub kind: BenefitKind,
    /// AMOUNT: this much.
    pub amount: Option<Money>,
    /// PERCENT: this part, in 1/10000 (1200 is 12 % off).
    #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
    pub off_basis_points: Option<i64>,
    /// PERCENT: at most this much.
    pub cap: Option<Money>,
}

impl CouponBenefit {
    pub fn of(benefit: Benefit, currency: Currency) -> Self {
        match benefit {
            Benefit::Amount { minor } => Self {
                kind: BenefitKind::Amount,
                amount: Some(Money::new(minor, currency)),
                off_basis_points: None,
                cap: None,
            },
            Benefit::Percent { off_basis_points, cap_minor } => Self {
                kind: BenefitKind::Percent,
                amount: None,
                off_basis_points: Some(off_basis_points),
                cap: cap_minor.map(|minor| Money::new(minor, currency)),
            },
        }
    }
}

/// When coupons of a template are valid: `days` from the grant, or from `first_day` through `last_day`. Days
/// are those of Asia/Shanghai, and the last one ends at its midnight.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct CouponValidity {
    /// So many days after the day of the grant.
    #[oai(validator(minimum(value = "1"), maximum(value = "3650")))]
    pub days: Option<i64>,
    /// A date: 2026-11-11.
    #[oai(validator(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    pub first_day: Option<String>,
    #[oai(validator(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    pub last_day: Option<String>,
}

impl CouponValidity {
    /// # Errors
    /// None for a time within the calendar.
    pub fn of(validity: Validity) -> Result<Self> {
        Ok(match validity {
            Validity::Days { days } => Self { days: Some(days), first_day: None, last_day: None },
            Validity::Window { from_ms, until_ms } => {
                let (first_day, last_day) = Validity::days_of_window(from_ms, until_ms)?;
                Self { days: None, first_day: Some(first_day), last_day: Some(last_day) }
            }
        })
    }
}

/// A coupon of a user.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct CouponView {
    pub id: CouponId,
    pub template_id: CouponTemplateId,
    pub name: String,
    pub description: String,
    pub benefit: CouponBenefit,
    /// What the goods that it is for must reach; 0: nothing.
    pub threshold: Money,
    /// The goods that it is for; absent: all.
    pub sku_ids: Option<Vec<SkuId>>,
    /// The stores where it counts; absent: all.
    pub store_ids: Option<Vec<StoreId>>,
    /// It goes with no other coupon.
    pub exclusive: bool,
    pub status: CouponStatus,
    /// The order that holds or used it.
    pub order_id: Option<OrderId>,
    /// It is used, and will be void when its order gives it back.
    pub void_when_back: bool,
    pub valid_from: String,
    /// The first moment at which it is not valid any more.
    pub valid_until: String,
    pub source: Source,
    pub created_at: String,
}

impl CouponView {
    pub fn of(detail: CouponDetail, now_ms: i64) -> Self {
        let CouponDetail { coupon, template } = detail;
        let terms = &template.terms;
        Self {
            status: coupon.status_at(now_ms),
            name: terms.name.clone(),
            description: terms.description.clone(),
            benefit: CouponBenefit::of(terms.benefit, terms.currency),
            threshold: Money::new(terms.threshold_minor, terms.currency),
            sku_ids: terms.sku_ids.as_ref().map(|ids| ids.iter().cloned().collect()),
            store_ids: terms.store_ids.as_ref().map(|ids| ids.iter().cloned().collect()),
            exclusive: terms.exclusive,
            void_when_back: coupon.void_when_back_ms.is_some() && coupon.order_id.is_some(),
            valid_from: rfc3339(coupon.valid_from_ms),
            valid_until: rfc3339(coupon.valid_until_ms),
            created_at: rfc3339(coupon.created_ms),
            id: coupon.id,
            template_id: coupon.template_id,
            order_id: coupon.order_id,
            source: coupon.source,
        }
    }
}

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
    fn of(sorted: Usable, now_ms: i64) -> Self {
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

/// A template as the staff sees it.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct CouponTemplateView {
    pub id: CouponTemplateId,
    pub name: String,
    pub description: String,
    pub benefit: CouponBenefit,
    pub threshold: Money,
    pub sku_ids: Option<Vec<SkuId>>,
    pub store_ids: Option<Vec<StoreId>>,
    pub issue: Issue,
    /// How many can be claimed in all, and how many are left.
    pub total: i64,
    pub remaining: i64,
    pub limit_per_user: i64,
    pub validity: CouponValidity,
    pub stack_group: String,
    pub exclusive: bool,
    /// No coupon is handed out.
    pub paused: bool,
    pub created_at: String,
}

impl CouponTemplateView {
    /// # Errors
    /// None for a validity within the calendar.
    pub fn of(template: Template) -> Result<Self> {
        let Template { id, terms, remaining, created_ms, paused_ms } = template;
        Ok(Self {
            id,
            benefit: CouponBenefit::of(terms.benefit, terms.currency),
            threshold: Money::new(terms.threshold_minor, terms.currency),
            sku_ids: terms.sku_ids.map(|ids| ids.into_iter().collect()),
            store_ids: terms.store_ids.map(|ids| ids.into_iter().collect()),
            validity: CouponValidity::of(terms.validity)?,
            name: terms.name,
            description: terms.description,
            issue: terms.issue,
            total: terms.total,
            remaining,
            limit_per_user: terms.limit_per_user,
            stack_group: terms.stack_group,
            exclusive: terms.exclusive,
            paused: paused_ms.is_some(),
            created_at: rfc3339(created_ms),
        })
    }
}
