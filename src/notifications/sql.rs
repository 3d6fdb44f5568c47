//! SQL of notifications.

use sqlx::FromRow;

use super::{MessageState, NoticeKind};
use crate::kernel::{EventId, Millis, NoticeId, OrderId, Result, UserId};
use crate::platform::db::{Conn, changed, execute_for, inserted};

const SHOWN: i64 = 20;
/// Nobody gives more permissions than this before one is used.
const CREDITS_MAX: i64 = 100;

/// A notice in the app.
#[derive(Debug, Clone, FromRow)]
pub struct Notice {
    pub id: NoticeId,
    pub kind: NoticeKind,
    pub title: String,
    pub body: String,
    pub order_id: OrderId,
    pub created_ms: Millis,
    pub read_ms: Option<Millis>,
}

pub struct NewNotice<'a> {
    pub id: &'a NoticeId,
    pub user: &'a UserId,
    pub event: &'a EventId,
    pub kind: NoticeKind,
    pub title: &'a str,
    pub body: &'a str,
    pub order: &'a OrderId,
    pub now_ms: Millis,
}

/// A message that is to be sent.
#[derive(Debug, Clone, FromRow)]
pub struct Message {
    pub notice_id: NoticeId,
    pub user_id: UserId,
    pub order_id: OrderId,
    pub kind: NoticeKind,
    pub template_id: String,
    /// JSON list of keys and values.
    pub message_values: String,
    pub credit_spent: i64,
    pub step: i64,
    pub next_ms: Option<Millis>,
}

/// False: the person has a notice of this event.
pub async fn insert_notice(conn: &mut Conn, notice: &NewNotice<'_>) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO notices (id, user_id, event_id, kind, title, body, order_id, created_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(notice.id)
        .bind(notice.user)
        .bind(notice.event)
        .bind(notice.kind)
        .bind(notice.title)
        .bind(notice.body)
        .bind(notice.order)
        .bind(notice.now_ms)
        .execute(conn)
        .await,
    )
}

/// The position behind all messages of an order.
pub async fn next_position(conn: &mut Conn, order: &OrderId) -> Result<i64> {
    let (last,): (Option<i64>,) = sqlx::query_as("SELECT MAX(position) FROM messages WHERE order_id = ?")
        .bind(order)
        .fetch_one(conn)
        .await?;
    Ok(last.unwrap_or(0) + 1)
}

/// A message that is due now; false: its position is taken.
pub async fn insert_message(
    conn: &mut Conn,
    notice: &NewNotice<'_>,
    position: i64,
    template: &str,
    values: &str,
) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO messages (notice_id, user_id, order_id, position, kind, template_id, message_values, \
             state, credit_spent, step, next_ms, created_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?, 'PENDING', 0, 0, ?, ?)",
        )
        .bind(notice.id)
        .bind(notice.user)
        .bind(notice.order)
        .bind(position)
        .bind(notice.kind)
        .bind(template)
        .bind(values)
        .bind(notice.now_ms)
        .bind(notice.now_ms)
        .execute(conn)
        .await,
    )
}

pub async fn list(
    conn: &mut Conn,
    user: &UserId,
    unread_only: bool,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Notice>> {
    macro_rules! of_user {
        ($and:literal) => {
            concat!(
                "SELECT id, kind, title, body, order_id, created_ms, read_ms FROM notices \
                 WHERE user_id = ? AND id < ?",
                $and,
                " ORDER BY id DESC LIMIT ?"
            )
        };
    }
    let query = if unread_only { of_user!(" AND read_ms IS NULL") } else { of_user!("") };
    Ok(sqlx::query_as(query).bind(user).bind(before.unwrap_or("~")).bind(limit).fetch_all(conn).await?)
}

pub async fn mark_read(conn: &mut Conn, user: &UserId, id: &NoticeId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query("UPDATE notices SET read_ms = ? WHERE id = ? AND user_id = ? AND read_ms IS NULL")
            .bind(now_ms)
            .bind(id)
            .bind(user)
            .execute(conn)
            .await,
    )
}

pub async fn exists(conn: &mut Conn, user: &UserId, id: &NoticeId) -> Result<bool> {
    let row: Option<(NoticeId,)> = sqlx::query_as("SELECT id FROM notices WHERE id = ? AND user_id = ?")
        .bind(id)
        .bind(user)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// One more permission, up to a bound.
pub async fn add_credit(conn: &mut Conn, user: &UserId, template: &str, now_ms: Millis) -> Result<()> {
    let raised = raise_credits(conn, user, template, now_ms).await?;
    let fresh = !raised
        && inserted(
            sqlx::query(
                "INSERT INTO subscribe_credits (user_id, template_id, credits, updated_ms) VALUES (?, ?, 1, ?)",
            )
            .bind(user)
            .bind(template)
            .bind(now_ms)
            .execute(&mut *conn)
            .await,
        )?;
    if !raised && !fresh {
        // Somebody else made the row meanwhile, or the bound is reached.
        raise_credits(conn, user, template, now_ms).await?;
    }
    Ok(())
}

async fn raise_credits(conn: &mut Conn, user: &UserId, template: &str, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE subscribe_credits SET credits = credits + 1, updated_ms = ? \
             WHERE user_id = ? AND template_id = ? AND credits < ?",
        )
        .bind(now_ms)
        .bind(user)
        .bind(template)
        .bind(CREDITS_MAX)
        .execute(conn)
        .await,
    )
}

/// Spends one credit for a message, which remembers it; false: there is none.
pub async fn spend_credit(conn: &mut Conn, message: &Message, now_ms: Millis) -> Result<bool> {
    let spent = changed(
        sqlx::query(
            "UPDATE subscribe_credits SET credits = credits - 1, updated_ms = ? \
             WHERE user_id = ? AND template_id = ? AND credits > 0",
        )
        .bind(now_ms)
        .bind(&message.user_id)
        .bind(&message.template_id)
        .execute(&mut *conn)
        .await,
    )?;
    if spent {
        sqlx::query("UPDATE messages SET credit_spent = 1 WHERE notice_id = ?")
            .bind(&message.notice_id)
            .execute(conn)
            .await?;
    }
    Ok(spent)
}

/// WeChat says that the person allows none.
pub async fn clear_credits(conn: &mut Conn, message: &Message, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "UPDATE subscribe_credits SET credits = 0, updated_ms = ? WHERE user_id = ? AND template_id = ?",
    )
    .bind(now_ms)
    .bind(&message.user_id)
    .bind(&message.template_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Due messages, of each order only the first that waits.
pub async fn due(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<Message>> {
    Ok(sqlx::query_as(
        "SELECT m.notice_id, m.user_id, m.order_id, m.kind, m.template_id, m.message_values, m.credit_spent, \
         m.step, m.next_ms FROM messages m WHERE m.next_ms <= ? AND NOT EXISTS (\
         SELECT 1 FROM messages e WHERE e.order_id = m.order_id AND e.position < m.position \
         AND e.state = 'PENDING') ORDER BY m.next_ms, m.notice_id LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let (next,): (Option<i64>,) = sqlx::query_as(
        "SELECT MIN(m.next_ms) FROM messages m WHERE m.next_ms IS NOT NULL AND NOT EXISTS (\
         SELECT 1 FROM messages e WHERE e.order_id = m.order_id AND e.position < m.position \
         AND e.state = 'PENDING')",
    )
    .fetch_one(conn)
    .await?;
    Ok(next)
}

/// Takes a due message until `until_ms`; false when somebody else has it.
pub async fn claim(conn: &mut Conn, message: &Message, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE messages SET next_ms = ? WHERE notice_id = ? AND next_ms = ? AND state = 'PENDING'",
        )
        .bind(until_ms)
        .bind(&message.notice_id)
        .bind(message.next_ms)
        .execute(conn)
        .await,
    )
}

/// False: it ended before.
pub async fn end(
    conn: &mut Conn,
    message: &Message,
    state: MessageState,
    errcode: Option<i64>,
    error: Option<&str>,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE messages SET state = ?, next_ms = NULL, errcode = ?, error = ?, ended_ms = ? \
             WHERE notice_id = ? AND state = 'PENDING'",
        )
        .bind(state)
        .bind(errcode)
        .bind(error)
        .bind(now_ms)
        .bind(&message.notice_id)
        .execute(conn)
        .await,
    )
}

pub async fn again(
    conn: &mut Conn,
    message: &Message,
    step: i64,
    next_ms: Millis,
    errcode: Option<i64>,
    error: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "UPDATE messages SET step = ?, next_ms = ?, errcode = ?, error = ? \
         WHERE notice_id = ? AND state = 'PENDING'",
    )
    .bind(step)
    .bind(next_ms)
    .bind(errcode)
    .bind(error)
    .bind(&message.notice_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notices, messages and permissions of a person, whose orders these are.
pub async fn delete_all(conn: &mut Conn, user: &UserId, orders: &[OrderId]) -> Result<()> {
    execute_for(conn, "DELETE FROM messages WHERE order_id IN ({})", orders).await?;
    for statement in
        ["DELETE FROM notices WHERE user_id = ?", "DELETE FROM subscribe_credits WHERE user_id = ?"]
    {
        sqlx::query(statement).bind(user).execute(&mut *conn).await?;
    }
    Ok(())
}

pub async fn negative_credits(conn: &mut Conn) -> Result<Vec<String>> {
    ids(conn, "SELECT user_id FROM subscribe_credits WHERE credits < 0 LIMIT ?", None).await
}

pub async fn ended_and_due(conn: &mut Conn) -> Result<Vec<String>> {
    let query = "SELECT notice_id FROM messages WHERE (state = 'PENDING' AND next_ms IS NULL) \
                 OR (state <> 'PENDING' AND next_ms IS NOT NULL) LIMIT ?";
    ids(conn, query, None).await
}

pub async fn overdue(conn: &mut Conn, before_ms: Millis) -> Result<Vec<String>> {
    let query = "SELECT m.notice_id FROM messages m WHERE m.next_ms < ? AND NOT EXISTS (\
                 SELECT 1 FROM messages e WHERE e.order_id = m.order_id AND e.position < m.position \
                 AND e.state = 'PENDING') LIMIT ?";
    ids(conn, query, Some(before_ms)).await
}

async fn ids(conn: &mut Conn, query: &'static str, before_ms: Option<Millis>) -> Result<Vec<String>> {
    let mut query = sqlx::query_as::<_, (String,)>(query);
    if let Some(before_ms) = before_ms {
        query = query.bind(before_ms);
    }
    let rows = query.bind(SHOWN).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
