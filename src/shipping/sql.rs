//! SQL of shipping.

use sqlx::FromRow;

use super::{Parcel, ParcelLine, UploadState};
use crate::kernel::{Millis, OrderId, OrderLineId, ParcelId, Result};
use crate::platform::db::{Conn, changed};

/// What is to be told to WeChat about an order.
#[derive(Debug, Clone, FromRow)]
pub struct Upload {
    pub order_id: OrderId,
    pub state: UploadState,
    pub paid_ms: Millis,
    pub wanted: i64,
    pub split: i64,
    /// Tries since there was something new to say.
    pub step: i64,
    pub next_ms: Option<Millis>,
    pub error: Option<String>,
    pub accepted_ms: Option<Millis>,
}

pub async fn insert(conn: &mut Conn, order: &OrderId, parcel: &Parcel) -> Result<()> {
    sqlx::query(
        "INSERT INTO parcels (id, order_id, carrier, carrier_name, tracking_no, shipped_ms) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&parcel.id)
    .bind(order)
    .bind(&parcel.carrier)
    .bind(&parcel.carrier_name)
    .bind(&parcel.tracking_no)
    .bind(parcel.shipped_ms)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_line(
    conn: &mut Conn,
    parcel: &ParcelId,
    line: &OrderLineId,
    quantity: i64,
) -> Result<()> {
    sqlx::query("INSERT INTO parcel_lines (parcel_id, line_id, quantity) VALUES (?, ?, ?)")
        .bind(parcel)
        .bind(line)
        .bind(quantity)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn find(conn: &mut Conn, id: &ParcelId) -> Result<Option<Parcel>> {
    Ok(sqlx::query_as("SELECT id, carrier, carrier_name, tracking_no, shipped_ms FROM parcels WHERE id = ?")
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

pub async fn of_order(conn: &mut Conn, order: &OrderId) -> Result<Vec<Parcel>> {
    Ok(sqlx::query_as(
        "SELECT id, carrier, carrier_name, tracking_no, shipped_ms FROM parcels \
         WHERE order_id = ? ORDER BY shipped_ms, id LIMIT 1000",
    )
    .bind(order)
    .fetch_all(conn)
    .await?)
}

pub async fn lines_of_order(conn: &mut Conn, order: &OrderId) -> Result<Vec<ParcelLine>> {
    Ok(sqlx::query_as(
        "SELECT l.parcel_id, l.line_id, l.quantity FROM parcel_lines l JOIN parcels p ON p.id = l.parcel_id \
         WHERE p.order_id = ? ORDER BY l.parcel_id, l.line_id",
    )
    .bind(order)
    .fetch_all(conn)
    .await?)
}

macro_rules! upload_columns {
    () => {
        "order_id, state, paid_ms, wanted, split, step, next_ms, error, accepted_ms"
    };
}

pub async fn upload_of(conn: &mut Conn, order: &OrderId) -> Result<Option<Upload>> {
    Ok(sqlx::query_as(concat!("SELECT ", upload_columns!(), " FROM shipping_uploads WHERE order_id = ?"))
        .bind(order)
        .fetch_optional(conn)
        .await?)
}

/// There is something new to say about an order whose upload has a row; false: it has none.
pub async fn want_again(conn: &mut Conn, order: &OrderId, split: bool, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET state = 'PENDING', wanted = wanted + 1, \
             split = CASE WHEN split > ? THEN split ELSE ? END, step = 0, next_ms = ? WHERE order_id = ?",
        )
        .bind(i64::from(split))
        .bind(i64::from(split))
        .bind(now_ms)
        .bind(order)
        .execute(conn)
        .await,
    )
}

pub async fn insert_upload(
    conn: &mut Conn,
    order: &OrderId,
    paid_ms: Millis,
    split: bool,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO shipping_uploads (order_id, state, paid_ms, wanted, split, all_delivered, step, next_ms) \
         VALUES (?, 'PENDING', ?, 1, ?, 0, 0, ?)",
    )
    .bind(order)
    .bind(paid_ms)
    .bind(i64::from(split))
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn due(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<Upload>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        upload_columns!(),
        " FROM shipping_uploads WHERE next_ms <= ? ORDER BY next_ms, order_id LIMIT ?"
    ))
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let (next,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(next_ms) FROM shipping_uploads WHERE next_ms IS NOT NULL")
            .fetch_one(conn)
            .await?;
    Ok(next)
}

/// Takes a due upload until `until_ms`; false when somebody else has it, or there is something new to say.
pub async fn claim(conn: &mut Conn, upload: &Upload, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET next_ms = ? WHERE order_id = ? AND next_ms = ? AND wanted = ?",
        )
        .bind(until_ms)
        .bind(&upload.order_id)
        .bind(upload.next_ms)
        .bind(upload.wanted)
        .execute(conn)
        .await,
    )
}

/// The upload is over; false when there is something new to say meanwhile.
pub async fn end(
    conn: &mut Conn,
    upload: &Upload,
    state: UploadState,
    all_delivered: bool,
    error: Option<&str>,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET state = ?, all_delivered = ?, next_ms = NULL, error = ?, \
             accepted_ms = ? WHERE order_id = ? AND wanted = ?",
        )
        .bind(state)
        .bind(i64::from(all_delivered))
        .bind(error)
        .bind((state == UploadState::Accepted).then_some(now_ms))
        .bind(&upload.order_id)
        .bind(upload.wanted)
        .execute(conn)
        .await,
    )
}

/// It is tried again at `next_ms`, or when there is something new to say; false when there is.
pub async fn again(
    conn: &mut Conn,
    upload: &Upload,
    step: i64,
    next_ms: Option<Millis>,
    error: Option<&str>,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET step = ?, next_ms = ?, error = ? WHERE order_id = ? AND wanted = ?",
        )
        .bind(step)
        .bind(next_ms)
        .bind(error)
        .bind(&upload.order_id)
        .bind(upload.wanted)
        .execute(conn)
        .await,
    )
}
