//! Discrepancies: the channel says that money went back, and no refund here can take it. A row and an alert;
//! a person has it tried again once there is room, or closes it with a note.

use serde_json::json;

use super::settle::StaffProof;
use super::sql::{self, Discrepancy};
use super::{DISCREPANCY_NOT_ADOPTABLE, DISCREPANCY_NOT_FOUND};
use crate::kernel::{Actor, DiscrepancyId, Failure, Result};
use crate::orders::{self, OrderMove};
use crate::payments::{self, Attempt, REFUND_NEWS, RefundNews};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};
use crate::platform::inbox::{self, Notice};
use crate::platform::{alerts, audit};

const ALERT: &str = "refund_discrepancy";
const ACTOR: Actor = Actor::System("external_refund");

/// The channel's news does not fit; once for each of its numbers.
pub(super) async fn record(
    ctx: &Ctx,
    notice: &Notice,
    news: &RefundNews,
    attempt: &Attempt,
    amount_minor: i64,
    why: &str,
) -> Result<()> {
    tracing::error!(inbox.id = %notice.id, "refund {} fits no refund here: {why}", news.out_refund_no);
    let body = serde_json::to_string(news).map_err(|e| Failure::internal("writing a discrepancy", e))?;
    insert(ctx, attempt, &news.out_refund_no, amount_minor, why, &body).await
}

/// Two people have proved that the money of a refund went back, and the channel was there before them.
pub(super) async fn paid_twice(ctx: &Ctx, proof: &StaffProof) -> Result<()> {
    let number = proof.number();
    let (refund, attempt) = {
        let conn = &mut *ctx.db.reader().await?;
        if sql::by_external_no(conn, &number).await?.is_some() {
            return Ok(());
        }
        let Some(refund) = sql::by_id(conn, &proof.refund_id).await? else { return Ok(()) };
        let Some(attempt) = &refund.attempt_id else { return Ok(()) };
        let Some(attempt) = payments::by_id(conn, attempt).await? else { return Ok(()) };
        (refund, attempt)
    };
    let why = format!("refund {} was {} when two people proved that it was paid", refund.id, refund.status);
    insert(ctx, &attempt, &number, refund.amount_minor, &why, "").await
}

async fn insert(
    ctx: &Ctx,
    attempt: &Attempt,
    number: &str,
    amount_minor: i64,
    why: &str,
    news: &str,
) -> Result<()> {
    let row = Discrepancy {
        id: ctx.new_id(),
        external_no: number.to_owned(),
        order_id: attempt.order_id.clone(),
        attempt_id: attempt.id.clone(),
        amount_minor,
        currency: attempt.currency,
        why: why.chars().take(300).collect(),
        news: news.to_owned(),
        tries: 0,
        found_ms: ctx.clock.now_ms(),
        ended_ms: None,
        note: None,
    };
    let row = &row;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut order = orders::hold(tx, &row.order_id).await?;
                // Another node may have adopted it meanwhile.
                if sql::by_external_no(tx, &row.external_no).await?.is_some() {
                    return Ok(());
                }
                if !sql::insert_discrepancy(tx, row).await? {
                    return Ok(());
                }
                let detail = json!({
                    "discrepancy": row.id, "number": row.external_no, "amount_minor": row.amount_minor,
                    "why": row.why,
                });
                orders::record(tx, ctx, &mut order, OrderMove::RefundDiffers, &ACTOR, detail).await?;
                alerts::open(tx, ctx, ALERT, &row.external_no, &row.why).await
            })
        })
        .await
}

/// The news was adopted after all.
pub(super) async fn adopted(tx: &mut Tx<'_>, ctx: &Ctx, number: &str) -> Result<()> {
    if sql::end_discrepancy(tx, number, "adopted", ctx.clock.now_ms()).await? {
        alerts::close(tx, ctx, ALERT, number).await?;
    }
    Ok(())
}

/// A person has made room: the channel's news is looked at again, by the inbox.
///
/// # Errors
/// `discrepancy_not_found`, `discrepancy_not_adoptable`.
pub async fn adopt_again(ctx: &Ctx, actor: &Actor, key: &Key, id: &DiscrepancyId) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let row = find_open(tx, id).await?;
            if row.news.is_empty() {
                return Err(Failure::new(&DISCREPANCY_NOT_ADOPTABLE));
            }
            if !sql::try_again(tx, id, row.tries).await? {
                return Err(Failure::new(&DISCREPANCY_NOT_FOUND));
            }
            let number = format!("{id}:{}", row.tries + 1);
            inbox::store(tx, ctx, "discrepancy", &number, REFUND_NEWS, &row.news).await?;
            audit_row(tx, ctx, actor, "adoptRefundDiscrepancy", &row, "").await
        })
    })
    .await
}

/// A person has looked into it; `note` says what was done.
///
/// # Errors
/// `discrepancy_not_found`.
pub async fn close(ctx: &Ctx, actor: &Actor, key: &Key, id: &DiscrepancyId, note: &str) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let row = find_open(tx, id).await?;
            if !sql::end_discrepancy(tx, &row.external_no, note, ctx.clock.now_ms()).await? {
                return Err(Failure::new(&DISCREPANCY_NOT_FOUND));
            }
            alerts::close(tx, ctx, ALERT, &row.external_no).await?;
            audit_row(tx, ctx, actor, "closeRefundDiscrepancy", &row, note).await
        })
    })
    .await
}

async fn find_open(tx: &mut Tx<'_>, id: &DiscrepancyId) -> Result<Discrepancy> {
    let row = sql::discrepancy(tx, id).await?;
    row.filter(|row| row.ended_ms.is_none()).ok_or_else(|| Failure::new(&DISCREPANCY_NOT_FOUND))
}

async fn audit_row(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    operation: &'static str,
    row: &Discrepancy,
    note: &str,
) -> Result<()> {
    let entry = audit::Entry {
        actor,
        operation,
        object: row.id.as_str(),
        before: Some(json!({ "number": row.external_no, "why": row.why, "tries": row.tries })),
        after: Some(json!({ "note": note })),
    };
    audit::record(tx, ctx, entry).await
}
