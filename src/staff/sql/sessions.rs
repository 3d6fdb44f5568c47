//! SQL of the staff's sessions.

use sqlx::FromRow;

use super::scope_of;
use crate::kernel::{Millis, Result, StaffId, StaffSessionId};
use crate::platform::db::{Conn, changed};
use crate::staff::{EndReason, Role, Session, StaffMember};

pub struct NewSession {
    pub id: StaffSessionId,
    pub staff_id: StaffId,
    pub token_hash: String,
    pub agent: Option<String>,
    pub created_ms: Millis,
    pub expires_ms: Millis,
}

#[derive(FromRow)]
struct MemberRow {
    id: StaffId,
    user_name: String,
    name: String,
    role: Role,
    session_id: StaffSessionId,
}

macro_rules! signed_in {
    ($by:literal) => {
        concat!(
            "SELECT staff.id AS id, staff.user_name AS user_name, staff.name AS name, staff.role AS role, \
             staff_sessions.id AS session_id FROM staff_sessions \
             JOIN staff ON staff.id = staff_sessions.staff_id WHERE ",
            $by,
            " = ? AND staff_sessions.ended_ms IS NULL \
             AND staff_sessions.expires_ms > ? AND staff.disabled_ms IS NULL"
        )
    };
}

pub async fn member_of_token(
    conn: &mut Conn,
    token_hash: &str,
    now_ms: Millis,
) -> Result<Option<StaffMember>> {
    let query = sqlx::query_as(signed_in!("staff_sessions.token_hash")).bind(token_hash).bind(now_ms);
    let row: Option<MemberRow> = query.fetch_optional(&mut *conn).await?;
    match row {
        Some(row) => member(conn, row).await.map(Some),
        None => Ok(None),
    }
}

/// Whose session it is, as they stand now; `None`: it has ended.
///
/// # Errors
/// The database.
pub async fn member_of_session(
    conn: &mut Conn,
    session: &StaffSessionId,
    now_ms: Millis,
) -> Result<Option<StaffMember>> {
    let query = sqlx::query_as(signed_in!("staff_sessions.id")).bind(session).bind(now_ms);
    let row: Option<MemberRow> = query.fetch_optional(&mut *conn).await?;
    match row {
        Some(row) => member(conn, row).await.map(Some),
        None => Ok(None),
    }
}

async fn member(conn: &mut Conn, row: MemberRow) -> Result<StaffMember> {
    Ok(StaffMember {
        scope: scope_of(conn, &row.id, row.role).await?,
        id: row.id,
        user_name: row.user_name,
        name: row.name,
        role: row.role,
        session_id: row.session_id,
    })
}

/// The session that this token once opened for this user name, over or not, unless somebody took it away.
pub async fn known_device(
    conn: &mut Conn,
    user_name: &str,
    token_hash: &str,
) -> Result<Option<StaffSessionId>> {
    let row: Option<(StaffSessionId,)> = sqlx::query_as(
        "SELECT staff_sessions.id FROM staff_sessions JOIN staff ON staff.id = staff_sessions.staff_id \
         WHERE staff_sessions.token_hash = ? AND staff.user_name = ? \
         AND (staff_sessions.end_reason IS NULL OR staff_sessions.end_reason = 'SIGNED_OUT')",
    )
    .bind(token_hash)
    .bind(user_name)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(id,)| id))
}

pub async fn insert(conn: &mut Conn, session: &NewSession) -> Result<()> {
    sqlx::query(
        "INSERT INTO staff_sessions (id, staff_id, token_hash, agent, created_ms, expires_ms) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&session.id)
    .bind(&session.staff_id)
    .bind(&session.token_hash)
    .bind(&session.agent)
    .bind(session.created_ms)
    .bind(session.expires_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sessions whose token works, newest first.
pub async fn live(
    conn: &mut Conn,
    staff: &StaffId,
    now_ms: Millis,
    before: &str,
    limit: i64,
) -> Result<Vec<Session>> {
    Ok(sqlx::query_as(
        "SELECT id, agent, created_ms, expires_ms FROM staff_sessions \
         WHERE staff_id = ? AND ended_ms IS NULL AND expires_ms > ? AND id < ? ORDER BY id DESC LIMIT ?",
    )
    .bind(staff)
    .bind(now_ms)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Drops the member's sessions of before this time that no token opens any more, so that the table stays small.
pub async fn forget_old(conn: &mut Conn, staff: &StaffId, now_ms: Millis, before_ms: Millis) -> Result<()> {
    sqlx::query(
        "DELETE FROM staff_sessions WHERE staff_id = ? AND created_ms < ? \
         AND (expires_ms <= ? OR ended_ms IS NOT NULL)",
    )
    .bind(staff)
    .bind(before_ms)
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// False: it is none of this member's, or over.
pub async fn end(
    conn: &mut Conn,
    staff: &StaffId,
    id: &StaffSessionId,
    why: EndReason,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE staff_sessions SET ended_ms = ?, end_reason = ? \
             WHERE id = ? AND staff_id = ? AND ended_ms IS NULL AND expires_ms > ?",
        )
        .bind(now_ms)
        .bind(why)
        .bind(id)
        .bind(staff)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

/// Ends all of a member's sessions but this one. Answers how many were open.
pub async fn end_all(
    conn: &mut Conn,
    staff: &StaffId,
    keep: Option<&StaffSessionId>,
    why: EndReason,
    now_ms: Millis,
) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE staff_sessions SET ended_ms = ?, end_reason = ? \
         WHERE staff_id = ? AND id <> ? AND ended_ms IS NULL AND expires_ms > ?",
    )
    .bind(now_ms)
    .bind(why)
    .bind(staff)
    .bind(keep.map_or("", StaffSessionId::as_str))
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub async fn without_member(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT staff_sessions.id FROM staff_sessions LEFT JOIN staff ON staff.id = staff_sessions.staff_id \
         WHERE staff.id IS NULL LIMIT 20",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
