//! All SQL of staff; here that of members.

pub mod invitations;
pub mod sessions;
pub mod tries;

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, FromRow};

use super::{Member, Role, StoreScope};
use crate::kernel::{Millis, Result, StaffId, StoreId};
use crate::platform::db::{Conn, changed, inserted};

pub struct NewStaff {
    pub id: StaffId,
    pub user_name: String,
    pub name: String,
    pub password_hash: String,
    pub role: Role,
    pub scope: StoreScope,
    pub created_ms: Millis,
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
    created_ms: Millis,
    signed_in_ms: Option<Millis>,
    disabled_ms: Option<Millis>,
}

pub async fn any_staff(conn: &mut Conn) -> Result<bool> {
    let row: Option<(String,)> = sqlx::query_as("SELECT id FROM staff LIMIT 1").fetch_optional(conn).await?;
    Ok(row.is_some())
}

/// Whoever takes the row holds back others who change members.
pub async fn take_guard(conn: &mut Conn) -> Result<()> {
    sqlx::query("UPDATE staff_guard SET guard = guard + 1 WHERE id = 1").execute(conn).await?;
    Ok(())
}

/// False: the user name is taken.
pub async fn insert(conn: &mut Conn, staff: &NewStaff) -> Result<bool> {
    let fresh = inserted(
        sqlx::query(
            "INSERT INTO staff (id, user_name, name, password_hash, role, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&staff.id)
        .bind(&staff.user_name)
        .bind(&staff.name)
        .bind(&staff.password_hash)
        .bind(staff.role)
        .bind(staff.created_ms)
        .execute(&mut *conn)
        .await,
    )?;
    if fresh {
        insert_stores(conn, &staff.id, &staff.scope).await?;
    }
    Ok(fresh)
}

async fn insert_stores(conn: &mut Conn, staff: &StaffId, scope: &StoreScope) -> Result<()> {
    for store in scope.bound() {
        sqlx::query("INSERT INTO staff_stores (staff_id, store_id) VALUES (?, ?)")
            .bind(staff)
            .bind(store)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
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

/// Has anybody this name, also somebody who may not sign in any more?
pub async fn is_taken(conn: &mut Conn, user_name: &str) -> Result<bool> {
    let row: Option<(StaffId,)> = sqlx::query_as("SELECT id FROM staff WHERE user_name = ?")
        .bind(user_name)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

pub async fn find(conn: &mut Conn, id: &StaffId) -> Result<Option<Member>> {
    let row: Option<MemberRow> = sqlx::query_as(
        "SELECT id, user_name, name, role, created_ms, signed_in_ms, disabled_ms FROM staff WHERE id = ?",
    )
    .bind(id)
    .fetch_optional(&mut *conn)
    .await?;
    match row {
        Some(row) => Ok(Some(member(conn, row).await?)),
        None => Ok(None),
    }
}

/// Members in the order in which they joined.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<Member>> {
    let rows: Vec<MemberRow> = sqlx::query_as(
        "SELECT id, user_name, name, role, created_ms, signed_in_ms, disabled_ms FROM staff \
         WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        members.push(member(conn, row).await?);
    }
    Ok(members)
}

async fn member(conn: &mut Conn, row: MemberRow) -> Result<Member> {
    Ok(Member {
        scope: scope_of(conn, &row.id, row.role).await?,
        id: row.id,
        user_name: row.user_name,
        name: row.name,
        role: row.role,
        created_ms: row.created_ms,
        signed_in_ms: row.signed_in_ms,
        disabled_ms: row.disabled_ms,
    })
}

/// Owners who may sign in, other than this member.
pub async fn other_owners(conn: &mut Conn, id: &StaffId) -> Result<i64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM staff WHERE role = 'OWNER' AND disabled_ms IS NULL AND id <> ?")
            .bind(id)
            .fetch_one(conn)
            .await?;
    Ok(count)
}

pub async fn is_active_owner(conn: &mut Conn, id: &StaffId) -> Result<bool> {
    let row: Option<(StaffId,)> =
        sqlx::query_as("SELECT id FROM staff WHERE id = ? AND role = 'OWNER' AND disabled_ms IS NULL")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

pub async fn set_role(conn: &mut Conn, id: &StaffId, role: Role, scope: &StoreScope) -> Result<()> {
    sqlx::query("UPDATE staff SET role = ? WHERE id = ?").bind(role).bind(id).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM staff_stores WHERE staff_id = ?").bind(id).execute(&mut *conn).await?;
    insert_stores(conn, id, scope).await
}

/// False: it is so already.
pub async fn set_disabled(conn: &mut Conn, id: &StaffId, now_ms: Option<Millis>) -> Result<bool> {
    let query = match now_ms {
        Some(_) => "UPDATE staff SET disabled_ms = ? WHERE id = ? AND disabled_ms IS NULL",
        None => "UPDATE staff SET disabled_ms = ? WHERE id = ? AND disabled_ms IS NOT NULL",
    };
    changed(sqlx::query(query).bind(now_ms).bind(id).execute(conn).await)
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

/// Shops whose staff has no owner who may sign in: at most one row.
pub async fn without_owner(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT 'staff' FROM staff_guard WHERE id = 1 AND EXISTS (SELECT 1 FROM staff) AND NOT EXISTS \
         (SELECT 1 FROM staff WHERE role = 'OWNER' AND disabled_ms IS NULL)",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Owners whose stores are limited: there are none.
pub async fn limited_owners(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT staff.id FROM staff WHERE role = 'OWNER' AND EXISTS \
         (SELECT 1 FROM staff_stores WHERE staff_stores.staff_id = staff.id) LIMIT 20",
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
