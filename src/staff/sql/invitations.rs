//! SQL of invitations.

use sqlx::FromRow;

use crate::kernel::{Failure, Millis, Result, StaffId, StaffInvitationId};
use crate::platform::db::{Conn, changed, inserted};
use crate::staff::{Invitation, Role, StoreScope};

#[derive(FromRow)]
struct Row {
    id: StaffInvitationId,
    user_name: String,
    role: Role,
    store_ids: Option<String>,
    invited_by: StaffId,
    created_ms: Millis,
    expires_ms: Millis,
}

impl TryFrom<Row> for Invitation {
    type Error = Failure;
    fn try_from(row: Row) -> Result<Self> {
        let stores = row.store_ids.as_deref().map(serde_json::from_str).transpose();
        let stores = stores.map_err(|e| Failure::internal("reading an invitation", e))?;
        Ok(Self {
            id: row.id,
            user_name: row.user_name,
            role: row.role,
            scope: stores.map_or(StoreScope::All, StoreScope::Only),
            invited_by: row.invited_by,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
        })
    }
}

/// False: there is an open one for this name.
pub async fn insert(conn: &mut Conn, new: &Invitation, token_hash: &str) -> Result<bool> {
    let stores = new.scope.stores().map(serde_json::to_string).transpose();
    let stores = stores.map_err(|e| Failure::internal("writing an invitation", e))?;
    inserted(
        sqlx::query(
            "INSERT INTO staff_invitations (id, open_for, user_name, role, store_ids, token_hash, invited_by, \
             created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&new.id)
        .bind(&new.user_name)
        .bind(&new.user_name)
        .bind(new.role)
        .bind(stores)
        .bind(token_hash)
        .bind(&new.invited_by)
        .bind(new.created_ms)
        .bind(new.expires_ms)
        .execute(conn)
        .await,
    )
}

/// The invitation that this token opens now.
pub async fn open_by_token(conn: &mut Conn, token_hash: &str, now_ms: Millis) -> Result<Option<Invitation>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, user_name, role, store_ids, invited_by, created_ms, expires_ms FROM staff_invitations \
         WHERE token_hash = ? AND open_for IS NOT NULL AND expires_ms > ?",
    )
    .bind(token_hash)
    .bind(now_ms)
    .fetch_optional(conn)
    .await?;
    row.map(Invitation::try_from).transpose()
}

/// Invitations that can be accepted, newest first.
pub async fn open(conn: &mut Conn, now_ms: Millis, before: &str, limit: i64) -> Result<Vec<Invitation>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, user_name, role, store_ids, invited_by, created_ms, expires_ms FROM staff_invitations \
         WHERE open_for IS NOT NULL AND expires_ms > ? AND id < ? ORDER BY id DESC LIMIT ?",
    )
    .bind(now_ms)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Invitation::try_from).collect()
}

/// Ends an invitation, accepted or taken back; false: it was over.
pub async fn end(conn: &mut Conn, id: &StaffInvitationId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE staff_invitations SET open_for = NULL, ended_ms = ? \
             WHERE id = ? AND open_for IS NOT NULL AND expires_ms > ?",
        )
        .bind(now_ms)
        .bind(id)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

/// Ends what this member has invited to; how many that were.
pub async fn end_of(conn: &mut Conn, member: &StaffId, now_ms: Millis) -> Result<u64> {
    let ended = sqlx::query(
        "UPDATE staff_invitations SET open_for = NULL, ended_ms = ? \
         WHERE invited_by = ? AND open_for IS NOT NULL",
    )
    .bind(now_ms)
    .bind(member)
    .execute(conn)
    .await?;
    Ok(ended.rows_affected())
}

/// Ends what was open for this name: a new invitation takes its place.
pub async fn end_for(conn: &mut Conn, user_name: &str, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE staff_invitations SET open_for = NULL, ended_ms = ? WHERE open_for = ?")
        .bind(now_ms)
        .bind(user_name)
        .execute(conn)
        .await?;
    Ok(())
}
