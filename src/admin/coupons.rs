//! Coupon templates, and the coupons of a user.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::coupons::{
    self, BenefitKind, CouponBenefit, CouponStatus, CouponTemplateView, CouponValidity, CouponView, Issue,
    NewTemplate, TemplateEdit, Validity,
};
use crate::kernel::{
    CouponId, CouponTemplateId, Currency, Cursor, Failure, Id, Limit, Money, Result, SkuId, StoreId, UserId,
};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, List, Reply, Tag};
use crate::pricing::Benefit;
use crate::staff::StaffAuth;

/// A coupon template that is to be made. What its coupons are worth can't be changed later.
#[derive(Object)]
#[oai(example)]
pub struct NewCouponTemplate {
    #[oai(validator(min_length = 1, max_length = 64))]
    pub name: String,
    #[oai(validator(max_length = 500))]
    pub description: Option<String>,
    pub benefit: CouponBenefit,
    /// What the goods that it is for must reach; its currency is that of the coupon. 0: nothing.
    pub threshold: Money,
    /// The goods that it is for; absent: all.
    #[oai(validator(min_items = 1, max_items = 500))]
    pub sku_ids: Option<Vec<SkuId>>,
    /// The stores where it counts; absent: all of its currency.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub store_ids: Option<Vec<StoreId>>,
    /// CLAIM: people claim it. GRANT: only the system and the staff give it.
    pub issue: Issue,
    /// CLAIM: how many there are.
    #[oai(validator(minimum(value = "1"), maximum(value = "100000000")))]
    pub total: Option<i64>,
    /// CLAIM: how many one person can claim; 1 unless told.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub limit_per_user: Option<i64>,
    /// Either `days`, or `first_day` and `last_day`.
    pub validity: CouponValidity,
    /// Of one group only one coupon goes with an order; `default` unless told.
    #[oai(validator(min_length = 1, max_length = 32))]
    pub stack_group: Option<String>,
    /// Goes with no other coupon; false unless told.
    pub exclusive: Option<bool>,
}

impl Example for NewCouponTemplate {
    fn example() -> Self {
        Self {
            name: "满128减20".to_owned(),
            description: Some("全场通用".to_owned()),
            benefit: CouponBenefit::of(Benefit::Amount { minor: 2_000 }, Currency::Cny),
            threshold: Money::cny(12_800),
            sku_ids: None,
            store_ids: None,
            issue: Issue::Claim,
            total: Some(1_000),
            limit_per_user: Some(2),
            validity: CouponValidity { days: Some(30), first_day: None, last_day: None },
            stack_group: None,
            exclusive: None,
        }
    }
}

impl NewCouponTemplate {
    fn parse(self) -> Result<NewTemplate> {
        let currency = self.threshold.currency;
        let claimed = self.issue == Issue::Claim;
        Ok(NewTemplate {
            name: self.name,
            description: self.description.unwrap_or_default(),
            benefit: benefit(&self.benefit, currency)?,
            threshold_minor: self.threshold.amount,
            currency,
            sku_ids: self.sku_ids.map(|ids| ids.into_iter().collect()),
            store_ids: self.store_ids.map(|ids| ids.into_iter().collect()),
            issue: self.issue,
            total: self.total.unwrap_or_default(),
            limit_per_user: self.limit_per_user.unwrap_or(i64::from(claimed)),
            validity: validity(&self.validity)?,
            stack_group: self.stack_group.unwrap_or_else(|| "default".to_owned()),
            exclusive: self.exclusive.unwrap_or_default(),
        })
    }
}

fn benefit(asked: &CouponBenefit, currency: Currency) -> Result<Benefit> {
    let minor = |field: &str, money: Option<Money>| match money {
        Some(money) if money.currency != currency => {
            Err(Failure::invalid(format!("{field}/currency"), "must be the currency of the threshold"))
        }
        money => Ok(money.map(|money| money.amount)),
    };
    let amount = minor("/benefit/amount", asked.amount)?;
    let cap_minor = minor("/benefit/cap", asked.cap)?;
    match (asked.kind, amount, asked.off_basis_points) {
        (BenefitKind::Amount, Some(minor), None) if cap_minor.is_none() => Ok(Benefit::Amount { minor }),
        (BenefitKind::Amount, None, _) => Err(Failure::invalid("/benefit/amount", "is required for AMOUNT")),
        (BenefitKind::Percent, None, Some(off_basis_points)) => {
            Ok(Benefit::Percent { off_basis_points, cap_minor })
        }
        (BenefitKind::Percent, None, None) => {
            Err(Failure::invalid("/benefit/off_basis_points", "is required for PERCENT"))
        }
        _ => Err(Failure::invalid("/benefit", "AMOUNT takes amount; PERCENT takes off_basis_points and cap")),
    }
}

fn validity(asked: &CouponValidity) -> Result<Validity> {
    match (asked.days, &asked.first_day, &asked.last_day) {
        (Some(days), None, None) => Ok(Validity::Days { days }),
        (None, Some(first), Some(last)) => Validity::window(first, last),
        _ => Err(Failure::invalid("/validity", "takes either days, or first_day and last_day")),
    }
}

/// A change of a template; what is absent stays.
#[derive(Object)]
#[oai(example)]
pub struct CouponTemplateChange {
    #[oai(validator(min_length = 1, max_length = 64))]
    pub name: Option<String>,
    #[oai(validator(max_length = 500))]
    pub description: Option<String>,
    /// True: no more coupons are handed out; those that people have stay good.
    pub paused: Option<bool>,
    /// Not below what is claimed already.
    #[oai(validator(minimum(value = "1"), maximum(value = "100000000")))]
    pub total: Option<i64>,
    /// Can only be raised.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub limit_per_user: Option<i64>,
}

impl Example for CouponTemplateChange {
    fn example() -> Self {
        Self { name: None, description: None, paused: Some(false), total: Some(2_000), limit_per_user: None }
    }
}

/// A coupon for a user.
#[derive(Object)]
#[oai(example)]
pub struct GrantCoupon {
    pub template_id: CouponTemplateId,
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for GrantCoupon {
    fn example() -> Self {
        let template_id = CouponTemplateId::from_tail("00000000000000000000000003");
        Self { template_id, reason: "包裹晚到三天，致歉".to_owned() }
    }
}

/// Why a coupon is taken away.
#[derive(Object)]
#[oai(example)]
pub struct VoidCoupon {
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for VoidCoupon {
    fn example() -> Self {
        Self { reason: "误发".to_owned() }
    }
}

fn example_template() -> CouponTemplateId {
    CouponTemplateId::from_tail("00000000000000000000000002")
}

pub struct AdminCouponsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Coupons")]
impl AdminCouponsApi {
    /// Make a coupon template
    ///
    /// Stores the template and an audit row. With `issue` CLAIM people see it at once.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/coupon-templates", method = "post", operation_id = "createCouponTemplate")]
    async fn create(
        &self,
        auth: StaffAuth,
        body: Body<NewCouponTemplate>,
    ) -> Reply<Created<CouponTemplateView>> {
        let id = self.ctx.new_id::<CouponTemplateId>();
        coupons::create_template(&self.ctx, &auth.actor(), &id, &body.into_inner().parse()?).await?;
        let template = coupons::find_template(&self.ctx, &id).await?;
        Ok(Created::new(CouponTemplateView::of(template)?))
    }

    /// Coupon templates
    ///
    /// Newest first. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/coupon-templates", method = "get", operation_id = "listCouponTemplates")]
    async fn list(
        &self,
        _auth: StaffAuth,
        /// 1 to 100; 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<CouponTemplateView>>> {
        let page = coupons::list_templates(&self.ctx, cursor.0.as_ref(), Limit::parse(limit.0)?).await?;
        let items = page.items.into_iter().map(CouponTemplateView::of).collect::<Result<Vec<_>>>()?;
        Ok(Json(List { items, next_cursor: page.next }))
    }

    /// A coupon template
    ///
    /// With what is left of it. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `coupon_template_not_found`.
    #[oai(path = "/coupon-templates/:template_id", method = "get", operation_id = "getCouponTemplate")]
    async fn get(
        &self,
        _auth: StaffAuth,
        #[oai(example = "example_template")] template_id: Path<CouponTemplateId>,
    ) -> Reply<Json<CouponTemplateView>> {
        let template = coupons::find_template(&self.ctx, &template_id).await?;
        Ok(Json(CouponTemplateView::of(template)?))
    }

    /// Change or pause a coupon template
    ///
    /// Name, description, pause, total and limit, with an audit row. What its coupons are worth stays, since
    /// people have some.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `coupon_template_not_found`, `coupon_total_too_small`,
    /// `coupon_limit_lowered`.
    #[oai(path = "/coupon-templates/:template_id", method = "patch", operation_id = "updateCouponTemplate")]
    async fn update(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_template")] template_id: Path<CouponTemplateId>,
        body: Body<CouponTemplateChange>,
    ) -> Reply<Json<CouponTemplateView>> {
        let CouponTemplateChange { name, description, paused, total, limit_per_user } = body.into_inner();
        let edit = TemplateEdit { name, description, paused, total, limit_per_user };
        let template = coupons::edit_template(&self.ctx, &auth.actor(), &template_id, &edit).await?;
        Ok(Json(CouponTemplateView::of(template)?))
    }

    /// Give a user a coupon
    ///
    /// Makes one coupon, valid from now by the template's rule, with an audit row that has the reason. Takes
    /// nothing from what can be claimed. The same `Idempotency-Key` again answers the same coupon.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `idempotency_key_required`, `idempotency_key_reused`,
    /// `user_not_found`, `user_deleted`, `coupon_template_not_found`, `coupon_template_paused`,
    /// `coupon_template_ended`.
    #[oai(path = "/users/:user_id/coupons", method = "post", operation_id = "grantCoupon")]
    async fn grant(
        &self,
        auth: StaffAuth,
        user_id: Path<UserId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<GrantCoupon>,
    ) -> Reply<Created<CouponView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "grantCoupon", &key, &(&user_id.0, body.raw()))?;
        let (template, reason) = (&body.template_id, body.reason.as_str());
        let done = coupons::grant_by_staff(&self.ctx, &actor, &user_id, template, reason, &key).await?;
        let detail = coupons::find(&self.ctx, &done.value, None).await?;
        Ok(Created::of(CouponView::of(detail, self.ctx.clock.now_ms()), &done))
    }

    /// A user's coupons
    ///
    /// Newest first; which order has a coupon is told to members of all stores only. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `user_not_found`.
    #[oai(path = "/users/:user_id/coupons", method = "get", operation_id = "listUserCoupons")]
    async fn list_of_user(
        &self,
        auth: StaffAuth,
        user_id: Path<UserId>,
        /// Only coupons that stand there now.
        status: Query<Option<CouponStatus>>,
        /// 1 to 100; 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<CouponView>>> {
        let limit = Limit::parse(limit.0)?;
        let page = coupons::list(&self.ctx, &user_id, status.0, cursor.0.as_ref(), limit).await?;
        let now_ms = self.ctx.clock.now_ms();
        Ok(List::from_page(page, |detail| CouponView::for_staff(detail, auth.scope(), now_ms)))
    }

    /// Take a coupon away
    ///
    /// An unused or expired one is VOID at once; one that an order holds or used is marked, and becomes VOID
    /// when the order gives it back. Writes an audit row with the reason.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `idempotency_key_required`, `idempotency_key_reused`,
    /// `coupon_not_found`, `coupon_void_already`.
    #[oai(path = "/coupons/:coupon_id/void", method = "post", operation_id = "voidCoupon")]
    async fn void(
        &self,
        auth: StaffAuth,
        coupon_id: Path<CouponId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<VoidCoupon>,
    ) -> Reply<Answer<CouponView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "voidCoupon", &key, &(&coupon_id.0, body.raw()))?;
        let done = coupons::void(&self.ctx, &actor, &coupon_id, &body.reason, &key).await?;
        let detail = coupons::find(&self.ctx, &done.value, None).await?;
        Ok(Answer::of(CouponView::of(detail, self.ctx.clock.now_ms()), &done))
    }
}
