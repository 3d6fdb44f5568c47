//! SQL of coupons and their moves.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;

use super::places;
use crate::coupons::grant::NewCoupon;
use crate::coupons::{Coupon, CouponStatus, Move};
use crate::kernel::{CouponId, CouponTemplateId, Millis, OrderId, Result, UserId};
use crate::platform::db::{Conn, changed, inserted};

const COUPON: &str = "SELECT id, template_id, user_id, status, seq, source, source_id, order_id, \
     valid_from_ms, valid_until_ms, void_when_back_ms, created_ms FROM coupons";

/// The highest seq that this user has of the template; 0: none.
pub async fn last_seq(conn: &mut Conn, template: &CouponTemplateId, user: &UserId) -> Result<i64> {
    let (seq,): (Option<i64>,) =
        sqlx::query_as("SELECT MAX(seq) FROM coupons WHERE template_id = ? AND user_id = ?")
            .bind(template)
            .bind(user)
            .fetch_one(conn)
            .await?;
    Ok(seq.unwrap_or_default())
}

/// How many of each template this user has claimed.
pub async fn claimed_by(
    conn: &mut Conn,
    user: &UserId,
    templates: &[CouponTemplateId],
) -> Result<HashMap<CouponTemplateId, i64>> {
    if templates.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!(
        "SELECT template_id, COUNT(seq) FROM coupons WHERE user_id = ? AND template_id IN ({}) \
         GROUP BY template_id",
        places(templates.len())
    );
    let mut query = sqlx::query_as::<_, (CouponTemplateId, i64)>(AssertSqlSafe(text)).bind(user);
    for template in templates {
        query = query.bind(template);
    }
    Ok(query.fetch_all(conn).await?.into_iter().collect())
}

/// False when the cause, or the user's seq of the template, exists.
pub async fn insert_coupon(
    conn: &mut Conn,
    new: &NewCoupon<'_>,
    (from_ms, until_ms): (Millis, Millis),
    now_ms: Millis,
) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO coupons (id, template_id, user_id, status, seq, source, source_id, valid_from_ms, \
             valid_until_ms, created_ms) VALUES (?, ?, ?, 'UNUSED', ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id)
        .bind(&new.template.id)
        .bind(new.user)
        .bind(new.seq)
        .bind(new.source)
        .bind(new.source_id)
        .bind(from_ms)
        .bind(until_ms)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

pub async fn insert_move(conn: &mut Conn, step: &Move<'_>, cause: &str, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "INSERT INTO coupon_moves (cause, coupon_id, order_id, kind, from_status, to_status, at_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(cause)
    .bind(step.coupon)
    .bind(step.order)
    .bind(step.kind)
    .bind(step.from)
    .bind(step.to)
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn coupon(conn: &mut Conn, id: &CouponId) -> Result<Option<Coupon>> {
    let text = format!("{COUPON} WHERE id = ?");
    Ok(sqlx::query_as(AssertSqlSafe(text)).bind(id).fetch_optional(conn).await?)
}

pub async fn coupons_among(conn: &mut Conn, user: &UserId, ids: &[CouponId]) -> Result<Vec<Coupon>> {
    let text = format!("{COUPON} WHERE user_id = ? AND id IN ({})", places(ids.len()));
    let mut query = sqlx::query_as::<_, Coupon>(AssertSqlSafe(text)).bind(user);
    for id in ids {
        query = query.bind(id);
    }
    Ok(query.fetch_all(conn).await?)
}

/// A user's coupons, newest first, by the status that they have at `now_ms`.
pub async fn coupons_of(
    conn: &mut Conn,
    user: &UserId,
    status: Option<CouponStatus>,
    now_ms: Millis,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Coupon>> {
    // Each has one place for the time.
    let which = match status {
        None => "? > 0",
        Some(CouponStatus::Unused) => "status = 'UNUSED' AND valid_until_ms > ?",
        Some(CouponStatus::Expired) => "(status = 'EXPIRED' OR (status = 'UNUSED' AND valid_until_ms <= ?))",
        Some(CouponStatus::Locked) => "status = 'LOCKED' AND ? > 0",
        Some(CouponStatus::Used) => "status = 'USED' AND ? > 0",
        Some(CouponStatus::Void) => "status = 'VOID' AND ? > 0",
    };
    let text = format!("{COUPON} WHERE user_id = ? AND {which} AND id < ? ORDER BY id DESC LIMIT ?");
    Ok(sqlx::query_as(AssertSqlSafe(text))
        .bind(user)
        .bind(now_ms)
        .bind(after.unwrap_or("~"))
        .bind(limit)
        .fetch_all(conn)
        .await?)
}

/// Unused, locked and lately expired coupons; the unused ones first, the soonest to end in front.
pub async fn coupons_for_basket(
    conn: &mut Conn,
    user: &UserId,
    ended_after_ms: Millis,
    limit: i64,
) -> Result<Vec<Coupon>> {
    let text = format!(
        "{COUPON} WHERE user_id = ? AND status IN ('UNUSED', 'LOCKED', 'EXPIRED') AND valid_until_ms > ? \
         ORDER BY CASE WHEN status = 'UNUSED' THEN 0 ELSE 1 END, valid_until_ms, id LIMIT ?"
    );
    Ok(sqlx::query_as(AssertSqlSafe(text))
        .bind(user)
        .bind(ended_after_ms)
        .bind(limit)
        .fetch_all(conn)
        .await?)
}

pub async fn lock(
    conn: &mut Conn,
    user: &UserId,
    coupon: &CouponId,
    order: &OrderId,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE coupons SET status = 'LOCKED', order_id = ? WHERE id = ? AND user_id = ? \
             AND status = 'UNUSED' AND valid_from_ms <= ? AND ? < valid_until_ms",
        )
        .bind(order)
        .bind(coupon)
        .bind(user)
        .bind(now_ms)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

pub async fn held_by(conn: &mut Conn, order: &OrderId, status: CouponStatus) -> Result<Vec<Coupon>> {
    let text = format!("{COUPON} WHERE order_id = ? AND status = ? ORDER BY id");
    Ok(sqlx::query_as(AssertSqlSafe(text)).bind(order).bind(status).fetch_all(conn).await?)
}

pub async fn consume(conn: &mut Conn, coupon: &CouponId, order: &OrderId) -> Result<bool> {
    changed(
        sqlx::query("UPDATE coupons SET status = 'USED' WHERE id = ? AND status = 'LOCKED' AND order_id = ?")
            .bind(coupon)
            .bind(order)
            .execute(conn)
            .await,
    )
}

/// A coupon on its way back from its order.
pub struct Return<'a> {
    pub coupon: &'a CouponId,
    pub order: &'a OrderId,
    pub from: CouponStatus,
    pub to: CouponStatus,
    /// Only if it is (not) marked to be void.
    pub marked: bool,
    pub valid_until_ms: Millis,
}

pub async fn come_back(conn: &mut Conn, target: &Return<'_>) -> Result<bool> {
    let text = format!(
        "UPDATE coupons SET status = ?, order_id = NULL, valid_until_ms = ? \
         WHERE id = ? AND status = ? AND order_id = ? AND void_when_back_ms IS {}",
        if target.marked { "NOT NULL" } else { "NULL" }
    );
    changed(
        sqlx::query(AssertSqlSafe(text))
            .bind(target.to)
            .bind(target.valid_until_ms)
            .bind(target.coupon)
            .bind(target.from)
            .bind(target.order)
            .execute(conn)
            .await,
    )
}

pub async fn void(conn: &mut Conn, coupon: &CouponId, from: CouponStatus) -> Result<bool> {
    let voided = sqlx::query("UPDATE coupons SET status = 'VOID' WHERE id = ? AND status = ?");
    changed(voided.bind(coupon).bind(from).execute(conn).await)
}

/// Coupons of a user that can be used, or may come back.
pub async fn to_void(conn: &mut Conn, user: &UserId) -> Result<Vec<CouponId>> {
    let rows: Vec<(CouponId,)> = sqlx::query_as(
        "SELECT id FROM coupons WHERE user_id = ? AND status IN ('UNUSED', 'LOCKED', 'USED') \
         AND void_when_back_ms IS NULL ORDER BY id",
    )
    .bind(user)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn mark(conn: &mut Conn, coupon: &CouponId, status: CouponStatus, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE coupons SET void_when_back_ms = ? \
             WHERE id = ? AND status = ? AND void_when_back_ms IS NULL",
        )
        .bind(now_ms)
        .bind(coupon)
        .bind(status)
        .execute(conn)
        .await,
    )
}

pub async fn past_validity(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<CouponId>> {
    let rows: Vec<(CouponId,)> = sqlx::query_as(
        "SELECT id FROM coupons WHERE status = 'UNUSED' AND valid_until_ms <= ? \
         ORDER BY valid_until_ms LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn expire(conn: &mut Conn, coupon: &CouponId, now_ms: Millis) -> Result<bool> {
    let expired = sqlx::query(
        "UPDATE coupons SET status = 'EXPIRED' WHERE id = ? AND status = 'UNUSED' AND valid_until_ms <= ?",
    );
    changed(expired.bind(coupon).bind(now_ms).execute(conn).await)
}
