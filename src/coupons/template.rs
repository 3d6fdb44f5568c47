//! Templates: what a coupon of this kind is worth, for whom, and how many there are.

use std::collections::BTreeSet;

use super::{
    LIMIT_LOWERED, SOLD_OUT, TEMPLATE_ENDED, TEMPLATE_NOT_FOUND, TEMPLATE_PAUSED, TOTAL_TOO_SMALL, Validity,
    sql,
};
use crate::kernel::{
    Actor, Code, CouponTemplateId, Currency, Cursor, Failure, Limit, Millis, Page, Result, SkuId, StoreId,
    UserId, text_enum,
};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::pricing::{Benefit, CouponTerms};

text_enum! {
    /// Who hands coupons of a template out.
    pub enum Issue {
        /// People claim them, the staff may give them too.
        Claim = "CLAIM",
        /// Only the system and the staff give them.
        Grant = "GRANT",
    }
}

/// A template. What a coupon is worth never changes, since coupons of it may be in people's hands.
#[derive(Debug, Clone)]
pub struct Template {
    pub id: CouponTemplateId,
    pub terms: TemplateTerms,
    /// How many are left to claim.
    pub remaining: i64,
    pub created_ms: Millis,
    pub paused_ms: Option<Millis>,
}

/// What a template says.
#[derive(Debug, Clone)]
pub struct TemplateTerms {
    /// 1 to 64 characters.
    pub name: String,
    /// Up to 500 characters.
    pub description: String,
    pub benefit: Benefit,
    /// Minor units; 0: no threshold.
    pub threshold_minor: i64,
    pub currency: Currency,
    /// `None`: every SKU. At most 500.
    pub sku_ids: Option<BTreeSet<SkuId>>,
    /// `None`: every store. At most 100.
    pub store_ids: Option<BTreeSet<StoreId>>,
    pub issue: Issue,
    /// How many can be claimed; 0 where nobody claims.
    pub total: i64,
    /// How many one person can claim; 0 where nobody claims.
    pub limit_per_user: i64,
    pub validity: Validity,
    /// Of one group only one coupon is taken with an order.
    pub stack_group: String,
    pub exclusive: bool,
}

/// A template that is about to be made.
pub type NewTemplate = TemplateTerms;

/// What can be changed of a template; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct TemplateEdit {
    pub name: Option<String>,
    pub description: Option<String>,
    pub paused: Option<bool>,
    /// Not below what is claimed.
    pub total: Option<i64>,
    /// Not below what it is.
    pub limit_per_user: Option<i64>,
}

/// A template as one user sees it.
#[derive(Debug)]
pub struct Claimable {
    pub template: Template,
    /// How many this user has claimed.
    pub claimed: i64,
    /// Why this user can't claim one now.
    pub refused: Option<&'static Code>,
}

const TOTAL_MAX: i64 = 100_000_000;
const LIMIT_MAX: i64 = 100;
const AMOUNT_MAX: i64 = 100_000_000;
const DAYS_MAX: i64 = 3_650;

impl TemplateTerms {
    fn check(&self, now_ms: Millis) -> Result<()> {
        let claimed = self.issue == Issue::Claim;
        let rules = [
            ("/name", "must have 1 to 64 characters", (1..=64).contains(&self.name.chars().count())),
            ("/description", "must have at most 500 characters", self.description.chars().count() <= 500),
            ("/threshold", "must be from 0 to 100000000", (0..=AMOUNT_MAX).contains(&self.threshold_minor)),
            ("/sku_ids", "must have 1 to 500 items", fits(self.sku_ids.as_ref(), 500)),
            ("/store_ids", "must have 1 to 100 items", fits(self.store_ids.as_ref(), 100)),
            (
                "/total",
                "must be from 1 to 100000000 for a coupon to claim, otherwise 0",
                if claimed { (1..=TOTAL_MAX).contains(&self.total) } else { self.total == 0 },
            ),
            (
                "/limit_per_user",
                "must be from 1 to 100 for a coupon to claim, otherwise 0",
                if claimed {
                    (1..=LIMIT_MAX).contains(&self.limit_per_user)
                } else {
                    self.limit_per_user == 0
                },
            ),
            (
                "/stack_group",
                "must have 1 to 32 characters",
                (1..=32).contains(&self.stack_group.chars().count()),
            ),
            ("/validity/last_day", "is over already", !self.validity.has_ended(now_ms)),
            (
                "/validity/days",
                "must be from 1 to 3650",
                !matches!(self.validity, Validity::Days { days } if !(1..=DAYS_MAX).contains(&days)),
            ),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(Failure::invalid(field, rule)),
            None => self.check_benefit(),
        }
    }

    fn check_benefit(&self) -> Result<()> {
        let amount = |field, minor| {
            if (1..=AMOUNT_MAX).contains(&minor) {
                Ok(())
            } else {
                Err(Failure::invalid(field, "must be from 1 to 100000000"))
            }
        };
        match self.benefit {
            Benefit::Amount { minor } => amount("/benefit/amount", minor),
            Benefit::Percent { off_basis_points, .. } if !(1..=10_000).contains(&off_basis_points) => {
                Err(Failure::invalid("/benefit/off_basis_points", "must be from 1 to 10000"))
            }
            Benefit::Percent { cap_minor, .. } => cap_minor.map_or(Ok(()), |cap| amount("/benefit/cap", cap)),
        }
    }
}

fn fits<T>(set: Option<&BTreeSet<T>>, max: usize) -> bool {
    set.is_none_or(|set| (1..=max).contains(&set.len()))
}

impl Template {
    /// Why no coupon of it can be handed out now.
    pub fn refuses(&self, now_ms: Millis) -> Option<&'static Code> {
        if self.paused_ms.is_some() {
            Some(&TEMPLATE_PAUSED)
        } else if self.terms.validity.has_ended(now_ms) {
            Some(&TEMPLATE_ENDED)
        } else {
            None
        }
    }

    /// The terms of one of its coupons.
    pub(super) fn terms_of(&self, coupon: &crate::kernel::CouponId) -> CouponTerms {
        CouponTerms {
            coupon_id: coupon.clone(),
            template_id: self.id.clone(),
            name: self.terms.name.clone(),
            benefit: self.terms.benefit,
            threshold_minor: self.terms.threshold_minor,
            eligible_skus: self.terms.sku_ids.clone(),
            stack_group: self.terms.stack_group.clone(),
            exclusive: self.terms.exclusive,
        }
    }
}

/// Makes a template under this id; false when there is one already.
///
/// # Errors
/// `invalid_request` naming the field that does not fit.
pub async fn create_template(
    ctx: &Ctx,
    actor: &Actor,
    id: &CouponTemplateId,
    new: &NewTemplate,
) -> Result<bool> {
    new.check(ctx.clock.now_ms())?;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !sql::insert_template(tx, id, new, ctx.clock.now_ms()).await? {
                    return Ok(false);
                }
                let summary = serde_json::json!({
                    "name": new.name, "total": new.total, "limit_per_user": new.limit_per_user,
                });
                record(tx, ctx, actor, "createCouponTemplate", id, None, &summary).await?;
                Ok(true)
            })
        })
        .await
}

/// Changes what can be changed of a template.
///
/// # Errors
/// `coupon_template_not_found`, `coupon_total_too_small`, `coupon_limit_lowered`, `invalid_request`.
pub async fn edit_template(
    ctx: &Ctx,
    actor: &Actor,
    id: &CouponTemplateId,
    edit: &TemplateEdit,
) -> Result<Template> {
    let edited = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                // The bump locks the row: what is read behind it is what is changed.
                if !sql::bump_template(tx, id).await? {
                    return Err(Failure::new(&TEMPLATE_NOT_FOUND));
                }
                let before = sql::template(tx, id).await?.ok_or_else(|| Failure::new(&TEMPLATE_NOT_FOUND))?;
                let after = edit.applied(&before, ctx.clock.now_ms())?;
                sql::update_template(tx, &after).await?;
                let before = summary(&before);
                record(tx, ctx, actor, "updateCouponTemplate", id, Some(&before), &summary(&after)).await?;
                Ok(after)
            })
        })
        .await?;
    // There may be coupons again.
    super::claim::open_gate(ctx, id).await;
    Ok(edited)
}

impl TemplateEdit {
    fn applied(&self, before: &Template, now_ms: Millis) -> Result<Template> {
        let mut after = before.clone();
        let claimed = before.terms.total - before.remaining;
        if let Some(name) = &self.name {
            after.terms.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            after.terms.description.clone_from(description);
        }
        if let Some(paused) = self.paused {
            after.paused_ms = paused.then(|| before.paused_ms.unwrap_or(now_ms));
        }
        if let Some(total) = self.total {
            if total < claimed {
                return Err(Failure::new(&TOTAL_TOO_SMALL));
            }
            after.terms.total = total;
            after.remaining = total - claimed;
        }
        if let Some(limit) = self.limit_per_user {
            if limit < before.terms.limit_per_user {
                return Err(Failure::new(&LIMIT_LOWERED));
            }
            after.terms.limit_per_user = limit;
        }
        // A template that has ended can still be renamed or paused.
        after.terms.check(now_ms.min(before.created_ms))?;
        Ok(after)
    }
}

fn summary(template: &Template) -> serde_json::Value {
    serde_json::json!({
        "name": template.terms.name,
        "description": template.terms.description,
        "paused": template.paused_ms.is_some(),
        "total": template.terms.total,
        "limit_per_user": template.terms.limit_per_user,
    })
}

async fn record(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    operation: &str,
    id: &CouponTemplateId,
    before: Option<&serde_json::Value>,
    after: &serde_json::Value,
) -> Result<()> {
    audit::record(tx, ctx, audit::Entry { actor, operation, object: id.as_str(), before, after: Some(after) })
        .await
}

/// A template, whatever its state.
///
/// # Errors
/// `coupon_template_not_found`.
pub async fn find_template(ctx: &Ctx, id: &CouponTemplateId) -> Result<Template> {
    let found = sql::template(&mut *ctx.db.reader().await?, id).await?;
    found.ok_or_else(|| Failure::new(&TEMPLATE_NOT_FOUND))
}

/// All templates, newest first.
///
/// # Errors
/// The database.
pub async fn list_templates(ctx: &Ctx, after: Option<&Cursor>, limit: Limit) -> Result<Page<Template>> {
    let mut conn = ctx.db.reader().await?;
    let rows = sql::list_templates(&mut conn, after.map(Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |template| template.id.to_string()))
}

/// What people can claim, newest first, as this user sees it. Paused and ended templates are left out.
///
/// # Errors
/// The database.
pub async fn claimable(
    ctx: &Ctx,
    user: &UserId,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Claimable>> {
    let now_ms = ctx.clock.now_ms();
    let mut conn = ctx.db.reader().await?;
    let rows = sql::claimable_templates(&mut conn, now_ms, after.map(Cursor::key), limit.and_one()).await?;
    let ids: Vec<CouponTemplateId> = rows.iter().map(|template| template.id.clone()).collect();
    let claimed = sql::claimed_by(&mut conn, user, &ids).await?;
    let page = Page::cut(rows, limit, |template| template.id.to_string());
    Ok(page.map(|template| {
        let claimed = claimed.get(&template.id).copied().unwrap_or_default();
        let refused = if claimed >= template.terms.limit_per_user {
            Some(&super::LIMIT_REACHED)
        } else if template.remaining == 0 {
            Some(&SOLD_OUT)
        } else {
            None
        };
        Claimable { template, claimed, refused }
    }))
}
