//! SQL of templates.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, FromRow};

use super::places;
use crate::coupons::template::TemplateTerms;
use crate::coupons::{BenefitKind, Issue, Stacking, Template, Validity};
use crate::kernel::{CouponTemplateId, Currency, Failure, Millis, Result};
use crate::platform::db::{Conn, changed, inserted};
use crate::pricing::Benefit;

const TEMPLATE: &str = "SELECT id, name, description, benefit, amount_minor, off_basis_points, cap_minor, \
     threshold_minor, currency, sku_ids, store_ids, issue, total, remaining, limit_per_user, valid_days, \
     valid_from_ms, valid_until_ms, stack_group, stacking, created_ms, paused_ms FROM coupon_templates";

#[derive(FromRow)]
struct TemplateRow {
    id: CouponTemplateId,
    name: String,
    description: String,
    benefit: BenefitKind,
    amount_minor: Option<i64>,
    off_basis_points: Option<i64>,
    cap_minor: Option<i64>,
    threshold_minor: i64,
    currency: Currency,
    sku_ids: Option<String>,
    store_ids: Option<String>,
    issue: Issue,
    total: i64,
    remaining: i64,
    limit_per_user: i64,
    valid_days: Option<i64>,
    valid_from_ms: Option<Millis>,
    valid_until_ms: Option<Millis>,
    stack_group: String,
    stacking: Stacking,
    created_ms: Millis,
    paused_ms: Option<Millis>,
}

impl TemplateRow {
    fn parse(self) -> Result<Template> {
        let broken = || Failure::internal(format!("reading template {}", self.id), "a column is missing");
        let benefit = match self.benefit {
            BenefitKind::Amount => Benefit::Amount { minor: self.amount_minor.ok_or_else(broken)? },
            BenefitKind::Percent => Benefit::Percent {
                off_basis_points: self.off_basis_points.ok_or_else(broken)?,
                cap_minor: self.cap_minor,
            },
        };
        let validity = match (self.valid_days, self.valid_from_ms, self.valid_until_ms) {
            (Some(days), _, _) => Validity::Days { days },
            (None, Some(from_ms), Some(until_ms)) => Validity::Window { from_ms, until_ms },
            _ => return Err(broken()),
        };
        Ok(Template {
            id: self.id,
            terms: TemplateTerms {
                name: self.name,
                description: self.description,
                benefit,
                threshold_minor: self.threshold_minor,
                currency: self.currency,
                sku_ids: ids_of(self.sku_ids.as_deref())?,
                store_ids: ids_of(self.store_ids.as_deref())?,
                issue: self.issue,
                total: self.total,
                limit_per_user: self.limit_per_user,
                validity,
                stack_group: self.stack_group,
                exclusive: self.stacking == Stacking::Exclusive,
            },
            remaining: self.remaining,
            created_ms: self.created_ms,
            paused_ms: self.paused_ms,
        })
    }
}

fn ids_of<T: DeserializeOwned + Ord>(json: Option<&str>) -> Result<Option<BTreeSet<T>>> {
    json.map(serde_json::from_str).transpose().map_err(|e| Failure::internal("reading a template's ids", e))
}

fn json_of<T: Serialize>(ids: Option<&BTreeSet<T>>) -> Result<Option<String>> {
    ids.map(serde_json::to_string).transpose().map_err(|e| Failure::internal("writing a template's ids", e))
}

/// False when the id is taken.
pub async fn insert_template(
    conn: &mut Conn,
    id: &CouponTemplateId,
    new: &TemplateTerms,
    now_ms: Millis,
) -> Result<bool> {
    let (benefit, amount_minor, off_basis_points, cap_minor) = match new.benefit {
        Benefit::Amount { minor } => (BenefitKind::Amount, Some(minor), None, None),
        Benefit::Percent { off_basis_points, cap_minor } => {
            (BenefitKind::Percent, None, Some(off_basis_points), cap_minor)
        }
    };
    let (days, from_ms, until_ms) = match new.validity {
        Validity::Days { days } => (Some(days), None, None),
        Validity::Window { from_ms, until_ms } => (None, Some(from_ms), Some(until_ms)),
    };
    inserted(
        sqlx::query(
            "INSERT INTO coupon_templates (id, name, description, benefit, amount_minor, off_basis_points, \
             cap_minor, threshold_minor, currency, sku_ids, store_ids, issue, total, remaining, \
             limit_per_user, valid_days, valid_from_ms, valid_until_ms, stack_group, stacking, created_ms, \
             version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
        )
        .bind(id)
        .bind(&new.name)
        .bind(&new.description)
        .bind(benefit)
        .bind(amount_minor)
        .bind(off_basis_points)
        .bind(cap_minor)
        .bind(new.threshold_minor)
        .bind(new.currency)
        .bind(json_of(new.sku_ids.as_ref())?)
        .bind(json_of(new.store_ids.as_ref())?)
        .bind(new.issue)
        .bind(new.total)
        .bind(new.total)
        .bind(new.limit_per_user)
        .bind(days)
        .bind(from_ms)
        .bind(until_ms)
        .bind(&new.stack_group)
        .bind(if new.exclusive { Stacking::Exclusive } else { Stacking::OnePerGroup })
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

pub async fn bump_template(conn: &mut Conn, id: &CouponTemplateId) -> Result<bool> {
    let bumped = sqlx::query("UPDATE coupon_templates SET version = version + 1 WHERE id = ?").bind(id);
    changed(bumped.execute(conn).await)
}

/// Writes what can be changed of a template, after [`bump_template`].
pub async fn update_template(conn: &mut Conn, template: &Template) -> Result<()> {
    sqlx::query(
        "UPDATE coupon_templates SET name = ?, description = ?, paused_ms = ?, total = ?, remaining = ?, \
         limit_per_user = ? WHERE id = ?",
    )
    .bind(&template.terms.name)
    .bind(&template.terms.description)
    .bind(template.paused_ms)
    .bind(template.terms.total)
    .bind(template.remaining)
    .bind(template.terms.limit_per_user)
    .bind(&template.id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn template(conn: &mut Conn, id: &CouponTemplateId) -> Result<Option<Template>> {
    let row: Option<TemplateRow> = sqlx::query_as(AssertSqlSafe(format!("{TEMPLATE} WHERE id = ?")))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.map(TemplateRow::parse).transpose()
}

pub async fn templates(conn: &mut Conn, ids: &[CouponTemplateId]) -> Result<Vec<Template>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!("{TEMPLATE} WHERE id IN ({})", places(ids.len()));
    let mut query = sqlx::query_as::<_, TemplateRow>(AssertSqlSafe(text));
    for id in ids {
        query = query.bind(id);
    }
    query.fetch_all(conn).await?.into_iter().map(TemplateRow::parse).collect()
}

pub async fn list_templates(conn: &mut Conn, after: Option<&str>, limit: i64) -> Result<Vec<Template>> {
    let text = format!("{TEMPLATE} WHERE id < ? ORDER BY id DESC LIMIT ?");
    let rows: Vec<TemplateRow> =
        sqlx::query_as(AssertSqlSafe(text)).bind(after.unwrap_or("~")).bind(limit).fetch_all(conn).await?;
    rows.into_iter().map(TemplateRow::parse).collect()
}

pub async fn claimable_templates(
    conn: &mut Conn,
    now_ms: Millis,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Template>> {
    let text = format!(
        "{TEMPLATE} WHERE issue = 'CLAIM' AND paused_ms IS NULL \
         AND (valid_until_ms IS NULL OR valid_until_ms > ?) AND id < ? ORDER BY id DESC LIMIT ?"
    );
    let rows: Vec<TemplateRow> = sqlx::query_as(AssertSqlSafe(text))
        .bind(now_ms)
        .bind(after.unwrap_or("~"))
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(TemplateRow::parse).collect()
}

/// Takes one of what remains, while there is any.
pub async fn take_one(conn: &mut Conn, id: &CouponTemplateId) -> Result<bool> {
    let taken =
        sqlx::query("UPDATE coupon_templates SET remaining = remaining - 1 WHERE id = ? AND remaining > 0")
            .bind(id);
    changed(taken.execute(conn).await)
}
