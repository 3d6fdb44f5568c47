//! Applying a file: looked at once more as a whole, then shipped parcel by parcel in the background.

use serde_json::{Value, json};

use super::check::{Check, Checked};
use super::file::Row;
use super::{Batch, BatchOutcome, BatchRow, BatchState, RowCode, RowState, applied_by, sql};
use crate::kernel::{Actor, Failure, Millis, OrderId, Result, ShippingBatchId, StaffId, minute_ms};
use crate::orders::{self, ShipLine};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Work};
use crate::platform::idempotency::{Done, Key};
use crate::platform::{alerts, audit};
use crate::shipping::ship::ship_in;
use crate::shipping::{
    BATCH_APPLIED, BATCH_FAILED, BATCH_HAS_ERRORS, BATCH_NOT_FOUND, Carrier, NewParcel, Tracking, carriers,
};
use crate::staff::StoreScope;
use crate::telemetry::with_request_id;
use crate::wechat::mini::Mini;

/// Files that one round works on, and rows of each.
const BATCHES: i64 = 4;
const ROWS: i64 = 100;
/// How long a file is left to the one who works on it.
const LEASE_MS: Millis = minute_ms(1);
/// Pauses after trouble that passes: doubled from the first.
const FIRST_PAUSE_MS: Millis = 1_000;
const DOUBLED_MAX: i64 = 9;
/// Trouble that does not pass: the rows that meet it fail.
const TRIES_MAX: i64 = 20;
/// Rows that a refusal names.
const ROWS_NAMED_MAX: usize = 100;
const DETAIL_CHARS_MAX: usize = 300;

/// Ships every parcel of a file, if every row of it can be shipped now; in the background, one after another.
///
/// # Errors
/// `shipping_batch_not_found`, `shipping_batch_has_errors` with the rows, `shipping_batch_applied`.
pub async fn apply_batch(
    ctx: &Ctx,
    mini: &Mini,
    staff: &StaffId,
    key: &Key,
    id: &ShippingBatchId,
    scope: &StoreScope,
) -> Result<Done<BatchOutcome>> {
    if let Some(done) = key.remembered(ctx).await? {
        return Ok(done);
    }
    let carriers = carriers(ctx, mini).await;
    {
        let conn = &mut *ctx.db.reader().await?;
        let found = sql::find(conn, id).await?;
        // Who sees some stores only has the files that they brought themselves.
        let found = found.filter(|batch| scope.is_all() || batch.staff_id == *staff);
        let batch = found.ok_or_else(|| Failure::new(&BATCH_NOT_FOUND))?;
        if batch.applied_ms.is_some() {
            return Err(Failure::new(&BATCH_APPLIED));
        }
        refuse_wrong_rows(conn, id, &Check { ctx, carriers: &carriers, scope }).await?;
    }
    key.run(ctx, |tx| {
        Box::pin(async move {
            if !sql::begin(tx, id, staff, ctx.clock.now_ms()).await? {
                return Err(Failure::new(&BATCH_APPLIED));
            }
            tx.wake(Work::Shipping);
            let actor = &Actor::Staff(staff.clone());
            let entry = audit::Entry {
                actor,
                operation: "applyShippingBatch",
                object: id.as_str(),
                before: Some(json!({ "state": "CHECKED" })),
                after: Some(json!({ "state": "APPLYING" })),
            };
            audit::record(tx, ctx, entry).await?;
            Ok(BatchOutcome { batch_id: id.clone() })
        })
    })
    .await
}

/// Looks at every row again: orders move between looking and applying.
async fn refuse_wrong_rows(conn: &mut Conn, id: &ShippingBatchId, check: &Check<'_>) -> Result<()> {
    let stored = sql::rows(conn, id).await?;
    let malformed = |row: &BatchRow| row.code == Some(RowCode::RowMalformed);
    let as_read = |row: BatchRow| Row {
        line: row.file_line,
        malformed: malformed(&row).then(|| row.detail.unwrap_or_default()),
        order: row.order_text,
        carrier: row.carrier_text,
        tracking_no: row.tracking_no,
        item: row.item_text,
        quantity: row.quantity_text,
    };
    let checked = check.rows(conn, stored.into_iter().map(as_read).collect()).await?;
    let wrong: Vec<&Checked> = checked.iter().filter(|row| row.state == RowState::Wrong).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let named = wrong.iter().take(ROWS_NAMED_MAX).map(
        |row| json!({ "line": row.row.line, "order": row.row.order, "code": row.code, "detail": row.detail }),
    );
    let named: Vec<Value> = named.collect();
    let detail = format!("{} of {} rows can't be shipped. Nothing was shipped.", wrong.len(), checked.len());
    Err(Failure::new(&BATCH_HAS_ERRORS).detail(detail).with("rows", named.into()))
}

/// When the next file is due.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    sql::next_due(conn).await
}

/// Goes on with the files that are being applied. Answers how many parcels ended.
pub async fn tick(ctx: &Ctx) -> Result<usize> {
    let due = sql::due(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCHES).await?;
    let mut worked = 0;
    for batch in &due {
        match with_request_id(batch.request_id.clone(), work_on(ctx, batch)).await {
            Ok(ended) => worked += ended,
            // The other files don't wait for it; its lease ends by itself.
            Err(failure) => {
                tracing::error!(batch.id = %batch.id, "file {} could not be worked on: {failure}", batch.id);
            }
        }
    }
    Ok(worked)
}

async fn work_on(ctx: &Ctx, batch: &Batch) -> Result<usize> {
    let until_ms = ctx.clock.now_ms() + LEASE_MS;
    if !ctx.db.write(|tx| Box::pin(sql::claim(tx, batch, until_ms))).await? {
        return Ok(0);
    }
    let actor = applied_by(batch)?;
    let rows = sql::ready_rows(&mut *ctx.db.reader().await?, &batch.id, ROWS).await?;
    let more = rows.len() as i64 == ROWS;
    let (mut ended, mut in_trouble) = (0, false);
    let mut rows = rows.as_slice();
    while let Some(first) = rows.first() {
        let (parcel, rest) = rows.split_at(rows.partition_point(|row| row.parcel_line == first.parcel_line));
        // The last parcel that was read may have further rows; it is not the only one, an order has fewer lines.
        if rest.is_empty() && more {
            break;
        }
        rows = rest;
        match ship_parcel(ctx, &actor, batch, parcel).await {
            Ok(()) => ended += 1,
            Err(failure) if is_final(&failure) || batch.tries >= TRIES_MAX => {
                fail_parcel(ctx, batch, parcel, &failure).await?;
                ended += 1;
            }
            Err(failure) => {
                tracing::error!(batch.id = %batch.id, "a parcel of {} is not shipped yet: {failure}", batch.id);
                in_trouble = true;
            }
        }
    }
    let now_ms = ctx.clock.now_ms();
    let pause_ms = if in_trouble { FIRST_PAUSE_MS << batch.tries.clamp(0, DOUBLED_MAX) } else { 0 };
    let tries = batch.tries + i64::from(in_trouble);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let failed = sql::counts(tx, &batch.id).await?.failed;
                let state = if failed == 0 { BatchState::Applied } else { BatchState::AppliedInPart };
                if !sql::end(tx, &batch.id, state, now_ms).await? {
                    sql::go_on(tx, &batch.id, now_ms + pause_ms, tries).await?;
                    tx.wake(Work::Shipping);
                } else if failed > 0 {
                    let what =
                        format!("{failed} of {} rows of this file could not be shipped", batch.row_count);
                    alerts::open(tx, ctx, BATCH_FAILED, batch.id.as_str(), &what).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(ended)
}

fn is_final(failure: &Failure) -> bool {
    failure.is_final() && !failure.is(&orders::ORDER_CHANGED)
}

/// Ships the parcel of these rows, which say so in the same transaction; nothing, if somebody was here first.
async fn ship_parcel(ctx: &Ctx, actor: &Actor, batch: &Batch, rows: &[BatchRow]) -> Result<()> {
    let first = &rows[0];
    let order: &OrderId = first
        .order_id
        .as_ref()
        .ok_or_else(|| Failure::internal("applying a file", "a row without an order"))?;
    let carrier = (!first.carrier.is_empty())
        .then(|| Carrier { id: first.carrier.clone(), name: first.carrier_name.clone() });
    let tracking = carrier
        .as_ref()
        .map(|carrier| Tracking { carrier: carrier.id.clone(), tracking_no: first.tracking_no.clone() });
    let (carrier, tracking) = (carrier.as_ref(), tracking.as_ref());
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !sql::take(tx, &batch.id, first.parcel_line).await? {
                    return Ok(());
                }
                let lines = if first.line_id.is_some() { Some(lines(tx, order, rows).await?) } else { None };
                let parcel = NewParcel { tracking: tracking.cloned(), lines };
                let shipped = ship_in(tx, ctx, actor, order, &parcel, carrier).await?;
                sql::set_parcel(tx, &batch.id, first.parcel_line, &shipped.parcel_id).await
            })
        })
        .await
}

/// The units that rows name; where one names none, all that is left of its line.
async fn lines(conn: &mut Conn, order: &OrderId, rows: &[BatchRow]) -> Result<Vec<ShipLine>> {
    let there = orders::find_lines(conn, order).await?;
    let line = |row: &BatchRow| {
        let line = there.iter().find(|line| Some(&line.id) == row.line_id.as_ref())?;
        // At least one, so that a line of which nothing is left is refused.
        let quantity = row.quantity.unwrap_or(line.shippable().max(1));
        Some(ShipLine { line_id: line.id.clone(), quantity })
    };
    Ok(rows.iter().filter_map(line).collect())
}

async fn fail_parcel(ctx: &Ctx, batch: &Batch, rows: &[BatchRow], failure: &Failure) -> Result<()> {
    let code = failure.code().code.parse().unwrap_or(RowCode::Internal);
    let detail = failure.problem("")["detail"].as_str().unwrap_or_default().to_owned();
    let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
    let (line, detail) = (rows[0].parcel_line, detail.as_str());
    ctx.db.write(|tx| Box::pin(sql::fail(tx, &batch.id, line, code, detail))).await
}
