//! What the app and the admin show of coupons and templates.

use poem_openapi::Object;

use crate::coupons::{BenefitKind, CouponDetail, CouponStatus, Issue, Source, Template, Validity};
use crate::kernel::{
    CouponId, CouponTemplateId, Currency, Millis, Money, OrderId, Result, SkuId, StoreId, rfc3339,
};
use crate::pricing::Benefit;
use crate::staff::StoreScope;

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
    /// As staff sees it: which order has it is not told to members whose stores are limited, since that order
    /// may be of another store.
    pub fn for_staff(detail: CouponDetail, scope: &StoreScope, now_ms: Millis) -> Self {
        let mut view = Self::of(detail, now_ms);
        view.order_id = view.order_id.filter(|_| scope.is_all());
        view
    }

    pub fn of(detail: CouponDetail, now_ms: Millis) -> Self {
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
