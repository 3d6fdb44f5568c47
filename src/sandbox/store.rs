//! The sandbox's own SQLite file. One connection, so its transactions never interleave; WAL, so what was
//! committed outlives a kill of the process.

use std::str::FromStr;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{FromRow, SqliteConnection, SqlitePool};

use crate::kernel::{Failure, Millis, Result};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS users (
    openid TEXT PRIMARY KEY, name TEXT NOT NULL, phone TEXT, session_key TEXT, created_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
    code TEXT PRIMARY KEY, family TEXT NOT NULL, openid TEXT NOT NULL, phone TEXT, expires_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, family TEXT NOT NULL, forced INTEGER NOT NULL, issued_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS tokens_by_time ON tokens (family, issued_ms);
CREATE TABLE IF NOT EXISTS grants (
    openid TEXT NOT NULL, template_id TEXT NOT NULL, credits INTEGER NOT NULL,
    PRIMARY KEY (openid, template_id));
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, openid TEXT NOT NULL, template_id TEXT NOT NULL, page TEXT, data TEXT NOT NULL,
    sent_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS messages_by_openid ON messages (openid, id);
CREATE TABLE IF NOT EXISTS payments (
    out_trade_no TEXT PRIMARY KEY, prepay_id TEXT, prepay_ms INTEGER, request TEXT NOT NULL,
    notify_url TEXT NOT NULL, openid TEXT NOT NULL, total INTEGER NOT NULL, description TEXT NOT NULL,
    attach TEXT, device_id TEXT, expire_ms INTEGER NOT NULL, signing TEXT NOT NULL, state TEXT NOT NULL,
    transaction_id TEXT, bank_type TEXT, coupon INTEGER NOT NULL, success_ms INTEGER, remind_ms INTEGER,
    created_ms INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS payments_by_prepay ON payments (prepay_id);
CREATE UNIQUE INDEX IF NOT EXISTS payments_by_transaction ON payments (transaction_id);
CREATE INDEX IF NOT EXISTS payments_by_time ON payments (created_ms);
CREATE INDEX IF NOT EXISTS payments_to_remind ON payments (remind_ms) WHERE remind_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS refunds (
    out_refund_no TEXT PRIMARY KEY, refund_id TEXT NOT NULL, out_trade_no TEXT NOT NULL, request TEXT NOT NULL,
    notify_url TEXT, amount INTEGER NOT NULL, discount INTEGER NOT NULL, signing TEXT NOT NULL,
    state TEXT NOT NULL, outcome TEXT NOT NULL, due_ms INTEGER, success_ms INTEGER, created_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS refunds_by_payment ON refunds (out_trade_no, created_ms);
CREATE INDEX IF NOT EXISTS refunds_by_time ON refunds (created_ms);
CREATE INDEX IF NOT EXISTS refunds_due ON refunds (due_ms) WHERE due_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS shipments (
    out_trade_no TEXT PRIMARY KEY, logistics_type INTEGER NOT NULL, delivery_mode INTEGER NOT NULL,
    parcels TEXT NOT NULL, finish_count INTEGER NOT NULL, upload_ms INTEGER NOT NULL, shipped_ms INTEGER,
    confirm_due_ms INTEGER, confirmed_ms INTEGER, confirm_method INTEGER, told_ms INTEGER);
CREATE INDEX IF NOT EXISTS shipments_due ON shipments (confirm_due_ms) WHERE confirm_due_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS outgoing (
    id INTEGER PRIMARY KEY, notice_id TEXT NOT NULL, kind TEXT NOT NULL, url TEXT NOT NULL,
    event_type TEXT NOT NULL, body TEXT NOT NULL, signing TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL, due_ms INTEGER, last_answer TEXT NOT NULL, created_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS outgoing_due ON outgoing (due_ms) WHERE due_ms IS NOT NULL;
";

/// Opens (and creates) the file; `:memory:` keeps everything in memory.
pub async fn open(database: &str) -> Result<SqlitePool> {
    let memory = database == ":memory:";
    let options = if memory {
        SqliteConnectOptions::from_str("sqlite::memory:")
            .map_err(|error| Failure::internal("naming a database in memory", error))?
    } else {
        SqliteConnectOptions::new().filename(database)
    };
    let options = options
        .create_if_missing(true)
        .journal_mode(if memory { SqliteJournalMode::Memory } else { SqliteJournalMode::Wal })
        .synchronous(SqliteSynchronous::Normal);
    // A pool in memory must never close its connection: the data would go with it.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|error| Failure::internal("opening the sandbox's database", error))?;
    sqlx::raw_sql(SCHEMA)
        .execute(&pool)
        .await
        .map_err(|error| Failure::internal("making the sandbox's tables", error))?;
    Ok(pool)
}

/// What the channel knows of one out_trade_no. `total` and `coupon` are fen.
#[derive(Debug, Clone, FromRow)]
pub struct Payment {
    pub out_trade_no: String,
    /// None: the number was closed before it was ever used.
    pub prepay_id: Option<String>,
    pub prepay_ms: Option<Millis>,
    /// The prepay request, which an identical replay is held against.
    pub request: String,
    pub notify_url: String,
    pub openid: String,
    pub total: i64,
    pub description: String,
    pub attach: Option<String>,
    pub device_id: Option<String>,
    pub expire_ms: Millis,
    /// The kind of key that signs its notifications: `public_key` or `certificate`.
    pub signing: String,
    /// NOTPAY, SUCCESS, REFUND or CLOSED.
    pub state: String,
    pub transaction_id: Option<String>,
    pub bank_type: Option<String>,
    /// The part of the total that one of WeChat's own coupons paid.
    pub coupon: i64,
    pub success_ms: Option<Millis>,
    pub created_ms: Millis,
}

impl Payment {
    pub fn is_paid(&self) -> bool {
        self.success_ms.is_some()
    }
}

/// One refund. `amount` and `discount` (the coupon's share of it) are fen.
#[derive(Debug, Clone, FromRow)]
pub struct Refund {
    pub out_refund_no: String,
    pub refund_id: String,
    pub out_trade_no: String,
    pub request: String,
    pub notify_url: Option<String>,
    pub amount: i64,
    pub discount: i64,
    pub signing: String,
    /// PROCESSING, SUCCESS, ABNORMAL or CLOSED.
    pub state: String,
    /// What PROCESSING becomes at `due_ms`; PENDING stays until somebody decides.
    pub outcome: String,
    pub success_ms: Option<Millis>,
    pub created_ms: Millis,
}

pub enum By<'a> {
    Number(&'a str),
    Transaction(&'a str),
    Prepay(&'a str),
}

/// The columns of a payment, and then `$rest`.
macro_rules! select_payment {
    ($rest:literal) => {
        concat!(
            "SELECT out_trade_no, prepay_id, prepay_ms, request, notify_url, openid, total, description, attach, \
             device_id, expire_ms, signing, state, transaction_id, bank_type, coupon, success_ms, created_ms \
             FROM payments ",
            $rest
        )
    };
}

/// The columns of a refund, and then `$rest`.
macro_rules! select_refund {
    ($rest:literal) => {
        concat!(
            "SELECT out_refund_no, refund_id, out_trade_no, request, notify_url, amount, discount, signing, state, \
             outcome, success_ms, created_ms FROM refunds ",
            $rest
        )
    };
}
pub(super) use select_refund;

pub async fn payment(db: &mut SqliteConnection, by: By<'_>) -> sqlx::Result<Option<Payment>> {
    let (sql, key) = match by {
        By::Number(key) => (select_payment!("WHERE out_trade_no = ?"), key),
        By::Transaction(key) => (select_payment!("WHERE transaction_id = ?"), key),
        By::Prepay(key) => (select_payment!("WHERE prepay_id = ?"), key),
    };
    sqlx::query_as(sql).bind(key).fetch_optional(db).await
}

/// The newest payments.
pub async fn payments(db: &SqlitePool, limit: i64) -> sqlx::Result<Vec<Payment>> {
    sqlx::query_as(select_payment!(
        "WHERE prepay_id IS NOT NULL ORDER BY created_ms DESC, rowid DESC LIMIT ?"
    ))
    .bind(limit)
    .fetch_all(db)
    .await
}

pub async fn refund(db: &mut SqliteConnection, out_refund_no: &str) -> sqlx::Result<Option<Refund>> {
    sqlx::query_as(select_refund!("WHERE out_refund_no = ?")).bind(out_refund_no).fetch_optional(db).await
}

/// The newest refunds.
pub async fn refunds(db: &SqlitePool, limit: i64) -> sqlx::Result<Vec<Refund>> {
    sqlx::query_as(select_refund!("ORDER BY created_ms DESC, rowid DESC LIMIT ?"))
        .bind(limit)
        .fetch_all(db)
        .await
}

/// What was taken and given back in all; amounts are fen.
#[derive(Debug, FromRow)]
pub struct Books {
    pub payments: i64,
    pub paid: i64,
    pub refunds: i64,
    pub refunded: i64,
}

pub async fn books(db: &SqlitePool) -> sqlx::Result<Books> {
    // One statement: both sides are of the same moment.
    sqlx::query_as(
        "SELECT p.payments, p.paid, r.refunds, r.refunded \
         FROM (SELECT COUNT(*) payments, COALESCE(SUM(total), 0) paid FROM payments \
               WHERE success_ms IS NOT NULL) p, \
              (SELECT COUNT(*) refunds, COALESCE(SUM(amount), 0) refunded FROM refunds \
               WHERE state = 'SUCCESS') r",
    )
    .fetch_one(db)
    .await
}

/// Every refund of a payment, oldest first.
pub async fn refunds_of(db: &mut SqliteConnection, out_trade_no: &str) -> sqlx::Result<Vec<Refund>> {
    sqlx::query_as(select_refund!("WHERE out_trade_no = ? ORDER BY created_ms, rowid LIMIT 200"))
        .bind(out_trade_no)
        .fetch_all(db)
        .await
}

/// Makes the user known, with a name for the page.
pub async fn remember_user(
    db: &mut SqliteConnection,
    openid: &str,
    name: &str,
    now_ms: Millis,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO users (openid, name, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(openid)
        .bind(name)
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn user_exists(db: &mut SqliteConnection, openid: &str) -> sqlx::Result<bool> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM users WHERE openid = ?").bind(openid).fetch_optional(db).await?;
    Ok(found.is_some())
}
