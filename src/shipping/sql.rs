//! SQL of parcels and uploads.

use sqlx::{AssertSqlSafe, FromRow};

use super::{Parcel, ParcelLine, Tracking, UploadState};
use crate::kernel::{Millis, OrderId, OrderLineId, ParcelId, Result, StoreId};
use crate::platform::db::{Conn, changed, ids_for};
use crate::staff::StoreScope;

/// What is to be told to WeChat about an order.
#[derive(Debug, Clone, FromRow)]
pub struct Upload {
    pub order_id: OrderId,
    pub state: UploadState,
    pub paid_ms: Millis,
    pub wanted: i64,
    pub split: i64,
    /// 1: WeChat has accepted that everything is on its way.
    pub all_delivered: i64,
    /// Tries since there was something new to say.
    pub step: i64,
    pub next_ms: Option<Millis>,
    pub error: Option<String>,
    pub accepted_ms: Option<Millis>,
    /// Since when the one chance to upload again is used.
    pub corrected_ms: Option<Millis>,
    /// Since when it fails.
    pub failed_ms: Option<Millis>,
    pub settled_ms: Option<Millis>,
    pub settle_check_ms: Option<Millis>,
    pub settle_checks: i64,
}

macro_rules! parcel_columns {
    () => {
        "id, order_id, carrier, carrier_name, tracking_no, shipped_ms"
    };
}

pub async fn insert(conn: &mut Conn, parcel: &Parcel) -> Result<()> {
    sqlx::query(concat!("INSERT INTO parcels (", parcel_columns!(), ") VALUES (?, ?, ?, ?, ?, ?)"))
        .bind(&parcel.id)
        .bind(&parcel.order_id)
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
    Ok(sqlx::query_as(concat!("SELECT ", parcel_columns!(), " FROM parcels WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

pub async fn of_order(conn: &mut Conn, order: &OrderId) -> Result<Vec<Parcel>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        parcel_columns!(),
        " FROM parcels WHERE order_id = ? ORDER BY shipped_ms, id LIMIT 1000"
    ))
    .bind(order)
    .fetch_all(conn)
    .await?)
}

/// The orders that something of this number went to.
///
/// # Errors
/// The database.
pub async fn orders_of_tracking(conn: &mut Conn, tracking_no: &str, limit: i64) -> Result<Vec<OrderId>> {
    let rows: Vec<(OrderId,)> =
        sqlx::query_as("SELECT DISTINCT order_id FROM parcels WHERE tracking_no = ? LIMIT ?")
            .bind(tracking_no)
            .bind(limit)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Corrects whom a parcel was given to; false when it was corrected meanwhile.
pub async fn correct(conn: &mut Conn, was: &Parcel, carrier_name: &str, tracking: &Tracking) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE parcels SET carrier = ?, carrier_name = ?, tracking_no = ? \
             WHERE id = ? AND carrier = ? AND tracking_no = ?",
        )
        .bind(&tracking.carrier)
        .bind(carrier_name)
        .bind(&tracking.tracking_no)
        .bind(&was.id)
        .bind(&was.carrier)
        .bind(&was.tracking_no)
        .execute(conn)
        .await,
    )
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
        "order_id, state, paid_ms, wanted, split, all_delivered, step, next_ms, error, accepted_ms, \
         corrected_ms, failed_ms, settled_ms, settle_check_ms, settle_checks"
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
    store: &StoreId,
    paid_ms: Millis,
    split: bool,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO shipping_uploads (order_id, store_id, state, paid_ms, wanted, split, all_delivered, step, \
         next_ms) VALUES (?, ?, 'PENDING', ?, 1, ?, 0, 0, ?)",
    )
    .bind(order)
    .bind(store)
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

/// When the next upload, or question about its money, is due.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let (upload,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(next_ms) FROM shipping_uploads WHERE next_ms IS NOT NULL")
            .fetch_one(&mut *conn)
            .await?;
    let (settlement,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(settle_check_ms) FROM shipping_uploads WHERE settle_check_ms IS NOT NULL")
            .fetch_one(conn)
            .await?;
    Ok([upload, settlement].into_iter().flatten().min())
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

/// How an upload ended.
pub struct Ending<'a> {
    pub state: UploadState,
    pub all_delivered: bool,
    pub error: Option<&'a str>,
    pub now_ms: Millis,
    /// When WeChat is asked whether it has settled the money.
    pub settle_check_ms: Option<Millis>,
}

/// The upload is over; false when there is something new to say meanwhile.
pub async fn end(conn: &mut Conn, upload: &Upload, ending: &Ending<'_>) -> Result<bool> {
    let all = i64::from(ending.all_delivered);
    let failed = ending.state.is_failure();
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET state = ?, \
             all_delivered = CASE WHEN all_delivered > ? THEN all_delivered ELSE ? END, \
             next_ms = NULL, error = ?, accepted_ms = ?, \
             failed_ms = CASE WHEN ? = 0 THEN NULL ELSE COALESCE(failed_ms, ?) END, \
             settle_check_ms = CASE WHEN settled_ms IS NULL THEN ? ELSE NULL END \
             WHERE order_id = ? AND wanted = ?",
        )
        .bind(ending.state)
        .bind(all)
        .bind(all)
        .bind(ending.error)
        .bind((ending.state == UploadState::Accepted).then_some(ending.now_ms))
        .bind(i64::from(failed))
        .bind(ending.now_ms)
        .bind(ending.settle_check_ms)
        .bind(&upload.order_id)
        .bind(upload.wanted)
        .execute(conn)
        .await,
    )
}

/// Everything was accepted as on its way, and there is something new to say since: that is the one chance to
/// say it.
pub async fn accepted_before_news(conn: &mut Conn, order: &OrderId, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "UPDATE shipping_uploads SET all_delivered = 1, corrected_ms = COALESCE(corrected_ms, ?) WHERE order_id = ?",
    )
    .bind(now_ms)
    .bind(order)
    .execute(conn)
    .await?;
    Ok(())
}

/// Uses the one chance to upload again; false when it is used.
pub async fn use_correction(conn: &mut Conn, order: &OrderId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET corrected_ms = ? WHERE order_id = ? AND corrected_ms IS NULL",
        )
        .bind(now_ms)
        .bind(order)
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
    refused: Option<(&str, Millis)>,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET step = ?, next_ms = ?, error = ?, failed_ms = COALESCE(failed_ms, ?) \
             WHERE order_id = ? AND wanted = ?",
        )
        .bind(step)
        .bind(next_ms)
        .bind(refused.map(|(error, _)| error))
        .bind(refused.map(|(_, now_ms)| now_ms))
        .bind(&upload.order_id)
        .bind(upload.wanted)
        .execute(conn)
        .await,
    )
}

/// Failed uploads of these stores, newest orders first.
pub async fn failed(
    conn: &mut Conn,
    scope: &StoreScope,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Upload>> {
    let query = format!(
        concat!(
            "SELECT ",
            upload_columns!(),
            " FROM shipping_uploads WHERE failed_ms IS NOT NULL AND order_id < ?{} ORDER BY order_id DESC LIMIT ?"
        ),
        scope.condition("store_id")
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(before.unwrap_or("~"));
    for store in scope.bound() {
        query = query.bind(store);
    }
    Ok(query.bind(limit).fetch_all(conn).await?)
}

/// How many uploads of these stores have failed.
///
/// # Errors
/// The database.
pub async fn count_failed(conn: &mut Conn, scope: &StoreScope) -> Result<i64> {
    let query = format!(
        "SELECT COUNT(*) FROM shipping_uploads WHERE failed_ms IS NOT NULL{}",
        scope.condition("store_id")
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for store in scope.bound() {
        query = query.bind(store);
    }
    let (count,): (i64,) = query.fetch_one(conn).await?;
    Ok(count)
}

/// An upload that failed is due now, as if it had never been tried; false: it is none.
pub async fn hurry(conn: &mut Conn, order: &OrderId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET state = 'PENDING', step = 0, next_ms = ? \
             WHERE order_id = ? AND failed_ms IS NOT NULL",
        )
        .bind(now_ms)
        .bind(order)
        .execute(conn)
        .await,
    )
}

pub async fn due_settlements(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<Upload>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        upload_columns!(),
        " FROM shipping_uploads WHERE settle_check_ms <= ? ORDER BY settle_check_ms LIMIT ?"
    ))
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Moves the question about an order's money from when it was read to `next_ms`; false when somebody else did.
pub async fn ask_later(
    conn: &mut Conn,
    upload: &Upload,
    next_ms: Option<Millis>,
    checks: i64,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE shipping_uploads SET settle_check_ms = ?, settle_checks = ? \
             WHERE order_id = ? AND settle_check_ms = ?",
        )
        .bind(next_ms)
        .bind(checks)
        .bind(&upload.order_id)
        .bind(upload.settle_check_ms)
        .execute(conn)
        .await,
    )
}

/// WeChat has settled the money of an order, or given it back: nobody asks any more.
pub async fn set_settled(conn: &mut Conn, order: &OrderId, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "UPDATE shipping_uploads SET settled_ms = COALESCE(settled_ms, ?), settle_check_ms = NULL WHERE order_id = ?",
    )
    .bind(now_ms)
    .bind(order)
    .execute(conn)
    .await?;
    Ok(())
}

/// The orders among these of which WeChat is still to be told, at most `limit`.
///
/// # Errors
/// The database.
pub async fn unsent(conn: &mut Conn, orders: &[OrderId], limit: usize) -> Result<Vec<String>> {
    let query = "SELECT order_id FROM shipping_uploads WHERE order_id IN ({}) AND next_ms IS NOT NULL \
                 ORDER BY order_id LIMIT ?";
    ids_for(conn, query, orders, limit).await
}
