//! SQL of files of parcels.

use super::check::Checked;
use super::{Batch, BatchRow, BatchState, RowCode, RowCounts, RowState};
use crate::kernel::{Millis, ParcelId, Result, ShippingBatchId, StaffId};
use crate::platform::db::{Conn, changed};
use crate::telemetry;

macro_rules! batch_columns {
    () => {
        "id, staff_id, state, row_count, created_ms, applied_ms, applied_by, request_id, ended_ms, tries, next_ms"
    };
}

macro_rules! row_columns {
    () => {
        "file_line, parcel_line, state, order_text, carrier_text, tracking_no, item_text, quantity_text, order_id, \
         carrier, carrier_name, line_id, quantity, parcel_id, code, detail"
    };
}

pub async fn insert(
    conn: &mut Conn,
    id: &ShippingBatchId,
    staff: &StaffId,
    rows: i64,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO shipping_batches (id, staff_id, state, row_count, created_ms, request_id, tries) \
         VALUES (?, ?, 'CHECKED', ?, ?, ?, 0)",
    )
    .bind(id)
    .bind(staff)
    .bind(rows)
    .bind(now_ms)
    .bind(telemetry::request_id())
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_row(conn: &mut Conn, batch: &ShippingBatchId, checked: &Checked) -> Result<()> {
    let carrier = checked.carrier.as_ref();
    sqlx::query(concat!(
        "INSERT INTO shipping_batch_rows (batch_id, ",
        row_columns!(),
        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ))
    .bind(batch)
    .bind(checked.row.line)
    .bind(checked.parcel_line)
    .bind(checked.state)
    .bind(&checked.row.order)
    .bind(&checked.row.carrier)
    .bind(&checked.row.tracking_no)
    .bind(&checked.row.item)
    .bind(&checked.row.quantity)
    .bind(&checked.order_id)
    .bind(carrier.map_or("", |carrier| &carrier.id))
    .bind(carrier.map_or("", |carrier| &carrier.name))
    .bind(&checked.line_id)
    .bind(checked.quantity)
    .bind(None::<String>)
    .bind(checked.code)
    .bind(&checked.detail)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find(conn: &mut Conn, id: &ShippingBatchId) -> Result<Option<Batch>> {
    Ok(sqlx::query_as(concat!("SELECT ", batch_columns!(), " FROM shipping_batches WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

pub async fn list(
    conn: &mut Conn,
    staff: Option<&StaffId>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Batch>> {
    let before = before.unwrap_or("~");
    let found = match staff {
        Some(staff) => {
            sqlx::query_as(concat!(
                "SELECT ",
                batch_columns!(),
                " FROM shipping_batches WHERE staff_id = ? AND id < ? ORDER BY id DESC LIMIT ?"
            ))
            .bind(staff)
            .bind(before)
            .bind(limit)
            .fetch_all(conn)
            .await
        }
        None => {
            sqlx::query_as(concat!(
                "SELECT ",
                batch_columns!(),
                " FROM shipping_batches WHERE id < ? ORDER BY id DESC LIMIT ?"
            ))
            .bind(before)
            .bind(limit)
            .fetch_all(conn)
            .await
        }
    };
    Ok(found?)
}

pub async fn rows(conn: &mut Conn, batch: &ShippingBatchId) -> Result<Vec<BatchRow>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        row_columns!(),
        " FROM shipping_batch_rows WHERE batch_id = ? ORDER BY file_line"
    ))
    .bind(batch)
    .fetch_all(conn)
    .await?)
}

/// The next rows that are to be shipped, rows of one parcel together.
pub async fn ready_rows(conn: &mut Conn, batch: &ShippingBatchId, limit: i64) -> Result<Vec<BatchRow>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        row_columns!(),
        " FROM shipping_batch_rows WHERE batch_id = ? AND state = 'READY' ORDER BY parcel_line, file_line LIMIT ?"
    ))
    .bind(batch)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn counts(conn: &mut Conn, batch: &ShippingBatchId) -> Result<RowCounts> {
    let found: Vec<(RowState, i64)> =
        sqlx::query_as("SELECT state, COUNT(*) FROM shipping_batch_rows WHERE batch_id = ? GROUP BY state")
            .bind(batch)
            .fetch_all(conn)
            .await?;
    let of = |state| found.iter().find(|(found, _)| *found == state).map_or(0, |(_, count)| *count);
    Ok(RowCounts {
        ready: of(RowState::Ready),
        wrong: of(RowState::Wrong),
        shipped: of(RowState::Shipped),
        failed: of(RowState::Failed),
    })
}

/// Begins to apply a file; false when somebody did before.
pub async fn begin(conn: &mut Conn, id: &ShippingBatchId, staff: &StaffId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_batches SET state = 'APPLYING', applied_ms = ?, applied_by = ?, request_id = ?, \
             next_ms = ? WHERE id = ? AND state = 'CHECKED'",
        )
        .bind(now_ms)
        .bind(staff)
        .bind(telemetry::request_id())
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let (next,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(next_ms) FROM shipping_batches WHERE next_ms IS NOT NULL")
            .fetch_one(conn)
            .await?;
    Ok(next)
}

pub async fn due(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<Batch>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        batch_columns!(),
        " FROM shipping_batches WHERE next_ms <= ? ORDER BY next_ms LIMIT ?"
    ))
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Takes a due file until `until_ms`; false when somebody else has it.
pub async fn claim(conn: &mut Conn, batch: &Batch, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query("UPDATE shipping_batches SET next_ms = ? WHERE id = ? AND next_ms = ?")
            .bind(until_ms)
            .bind(&batch.id)
            .bind(batch.next_ms)
            .execute(conn)
            .await,
    )
}

/// The rows of one parcel are shipped now; false when they were.
pub async fn take(conn: &mut Conn, batch: &ShippingBatchId, parcel_line: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_batch_rows SET state = 'SHIPPED' \
             WHERE batch_id = ? AND parcel_line = ? AND state = 'READY'",
        )
        .bind(batch)
        .bind(parcel_line)
        .execute(conn)
        .await,
    )
}

pub async fn set_parcel(
    conn: &mut Conn,
    batch: &ShippingBatchId,
    parcel_line: i64,
    parcel: &ParcelId,
) -> Result<()> {
    sqlx::query("UPDATE shipping_batch_rows SET parcel_id = ? WHERE batch_id = ? AND parcel_line = ?")
        .bind(parcel)
        .bind(batch)
        .bind(parcel_line)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn fail(
    conn: &mut Conn,
    batch: &ShippingBatchId,
    parcel_line: i64,
    code: RowCode,
    detail: &str,
) -> Result<()> {
    sqlx::query(
        "UPDATE shipping_batch_rows SET state = 'FAILED', code = ?, detail = ? \
         WHERE batch_id = ? AND parcel_line = ? AND state = 'READY'",
    )
    .bind(code)
    .bind(detail)
    .bind(batch)
    .bind(parcel_line)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a file of which no row is left; false when some are.
pub async fn end(conn: &mut Conn, id: &ShippingBatchId, state: BatchState, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_batches SET state = ?, ended_ms = ?, next_ms = NULL \
             WHERE id = ? AND state = 'APPLYING' AND NOT EXISTS \
             (SELECT 1 FROM shipping_batch_rows r WHERE r.batch_id = shipping_batches.id AND r.state = 'READY')",
        )
        .bind(state)
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

/// The rest of the rows is due at `next_ms`.
pub async fn go_on(conn: &mut Conn, id: &ShippingBatchId, next_ms: Millis, tries: i64) -> Result<()> {
    sqlx::query("UPDATE shipping_batches SET next_ms = ?, tries = ? WHERE id = ? AND state = 'APPLYING'")
        .bind(next_ms)
        .bind(tries)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}
