//! All SQL of staff.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, FromRow};

use super::{Role, StaffMember, StoreScope};
use crate::kernel::{Millis, Result, StaffId, StaffSessionId, StoreId};
use crate::platform::db::{Conn, changed, inserted};

pub struct NewStaff {
    pub id: StaffId,
    pub user_name: String,
    pub name: String,
    pub password_hash: String,
    pub role: Role,
    pub created_ms: Millis,
}

pub struct NewSession {
    pub id: StaffSessionId,
    pub staff_id: StaffId,
    pub token_hash: String,
    pub created_ms: Millis,
    pub expires_ms: Millis,
}

/// A member who may sign in.
pub struct Credentials {
    pub id: StaffId,
    pub user_name: String,
    pub name: String,
    pub password_hash: String,
    pub role: Role,
    pub scope: StoreScope,
}

#[derive(FromRow)]
struct CredentialsRow {
    id: StaffId,
    user_name: String,
    name: String,
    password_hash: String,
    role: Role,
}

#[derive(FromRow)]
struct MemberRow {
    id: StaffId,
    user_name: String,
    name: String,
    role: Role,
    session_id: StaffSessionId,
}

pub async fn any_staff(conn: &mut Conn) -> Result<bool> {
    let row: Option<(String,)> = sqlx::query_as("SELECT id FROM staff LIMIT 1").fetch_optional(conn).await?;
    Ok(row.is_some())
}

/// False: the user name is taken.
pub async fn insert(conn: &mut Conn, staff: &NewStaff) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO staff (id, user_name, name, password_hash, role, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&staff.id)
        .bind(&staff.user_name)
        .bind(&staff.name)
        .bind(&staff.password_hash)
        .bind(staff.role)
        .bind(staff.created_ms)
        .execute(conn)
        .await,
    )
}

/// The stores of a member; no rows: all of them. An owner's are never limited.
async fn scope_of(conn: &mut Conn, staff: &StaffId, role: Role) -> Result<StoreScope> {
    if role == Role::Owner {
        return Ok(StoreScope::All);
    }
    let rows: Vec<(StoreId,)> =
        sqlx::query_as("SELECT store_id FROM staff_stores WHERE staff_id = ? ORDER BY store_id")
            .bind(staff)
            .fetch_all(conn)
            .await?;
    if rows.is_empty() {
        return Ok(StoreScope::All);
    }
    Ok(StoreScope::Only(rows.into_iter().map(|(store,)| store).collect()))
}

pub async fn by_user_name(conn: &mut Conn, user_name: &str) -> Result<Option<Credentials>> {
    let row: Option<CredentialsRow> = sqlx::query_as(
        "SELECT id, user_name, name, password_hash, role FROM staff \
         WHERE user_name = ? AND disabled_ms IS NULL",
    )
    .bind(user_name)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Credentials {
        scope: scope_of(conn, &row.id, row.role).await?,
        id: row.id,
        user_name: row.user_name,
        name: row.name,
        password_hash: row.password_hash,
        role: row.role,
    }))
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

/// Notes a sign-in, if the account is open and still has this password.
pub async fn touch(conn: &mut Conn, id: &StaffId, password_hash: &str, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE staff SET signed_in_ms = ? WHERE id = ? AND password_hash = ? AND disabled_ms IS NULL",
        )
        .bind(now_ms)
        .bind(id)
        .bind(password_hash)
        .execute(conn)
        .await,
    )
}

pub async fn set_password(conn: &mut Conn, id: &StaffId, old_hash: &str, new_hash: &str) -> Result<bool> {
    changed(
        sqlx::query("UPDATE staff SET password_hash = ? WHERE id = ? AND password_hash = ?")
            .bind(new_hash)
            .bind(id)
            .bind(old_hash)
            .execute(conn)
            .await,
    )
}

pub async fn insert_session(conn: &mut Conn, session: &NewSession) -> Result<()> {
    sqlx::query(
        "INSERT INTO staff_sessions (id, staff_id, token_hash, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&session.id)
    .bind(&session.staff_id)
    .bind(&session.token_hash)
    .bind(session.created_ms)
    .bind(session.expires_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops the member's sessions that no token opens any more, so that the table stays small.
pub async fn forget_expired(conn: &mut Conn, staff: &StaffId, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "DELETE FROM staff_sessions WHERE staff_id = ? AND (expires_ms <= ? OR ended_ms IS NOT NULL)",
    )
    .bind(staff)
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn end_session(conn: &mut Conn, id: &StaffSessionId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query("UPDATE staff_sessions SET ended_ms = ? WHERE id = ? AND ended_ms IS NULL")
            .bind(now_ms)
            .bind(id)
            .execute(conn)
            .await,
    )
}

pub async fn end_other_sessions(
    conn: &mut Conn,
    staff: &StaffId,
    keep: &StaffSessionId,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query("UPDATE staff_sessions SET ended_ms = ? WHERE staff_id = ? AND id <> ? AND ended_ms IS NULL")
        .bind(now_ms)
        .bind(staff)
        .bind(keep)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn sessions_without_member(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT staff_sessions.id FROM staff_sessions LEFT JOIN staff ON staff.id = staff_sessions.staff_id \
         WHERE staff.id IS NULL LIMIT 20",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What these members are called, also those who have left.
///
/// # Errors
/// The database.
pub async fn names(conn: &mut Conn, staff: &[StaffId]) -> Result<HashMap<StaffId, String>> {
    if staff.is_empty() {
        return Ok(HashMap::new());
    }
    let query = format!("SELECT id, name FROM staff WHERE id IN ({})", vec!["?"; staff.len()].join(", "));
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for id in staff {
        query = query.bind(id);
    }
    let rows: Vec<(StaffId, String)> = query.fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}
