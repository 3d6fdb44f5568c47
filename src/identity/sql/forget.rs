//! SQL of deleted accounts.

use sqlx::AssertSqlSafe;

use super::{Ended, LiveSession};
use crate::kernel::{Millis, Result, UserId};
use crate::platform::db::{Conn, changed, inserted};

/// Takes the row of a person whose account is not deleted; false: there is none.
pub async fn bump_guard(conn: &mut Conn, id: &UserId) -> Result<bool> {
    changed(
        sqlx::query("UPDATE users SET guard = guard + 1 WHERE id = ? AND deleted_ms IS NULL")
            .bind(id)
            .execute(conn)
            .await,
    )
}

/// Nothing of the person stays in their row.
pub async fn forget_user(conn: &mut Conn, id: &UserId, nickname: &str, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "UPDATE users SET nickname = ?, avatar = NULL, phone_sealed = NULL, phone_hash = NULL, \
         phone_masked = NULL, deleted_ms = ? WHERE id = ?",
    )
    .bind(nickname)
    .bind(now_ms)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// A person's openids, each with the appid of its mini-program.
pub async fn openids_of(conn: &mut Conn, user: &UserId) -> Result<Vec<(String, String)>> {
    Ok(sqlx::query_as("SELECT appid, openid FROM user_openids WHERE user_id = ?")
        .bind(user)
        .fetch_all(conn)
        .await?)
}

pub async fn delete_openids(conn: &mut Conn, user: &UserId) -> Result<()> {
    sqlx::query("DELETE FROM user_openids WHERE user_id = ?").bind(user).execute(conn).await?;
    Ok(())
}

/// False: it had an account before that one, too.
pub async fn insert_former(conn: &mut Conn, hash: &str, now_ms: Millis) -> Result<bool> {
    inserted(
        sqlx::query("INSERT INTO former_openids (openid_hash, deleted_ms) VALUES (?, ?)")
            .bind(hash)
            .bind(now_ms)
            .execute(conn)
            .await,
    )
}

/// Had the openid of these hashes (of the keys that there are) an account before?
pub async fn is_former(conn: &mut Conn, hashes: &[String]) -> Result<bool> {
    let places = vec!["?"; hashes.len()].join(", ");
    let query = format!("SELECT openid_hash FROM former_openids WHERE openid_hash IN ({places}) LIMIT 1");
    let mut query = sqlx::query_as::<_, (String,)>(AssertSqlSafe(query));
    for hash in hashes {
        query = query.bind(hash);
    }
    Ok(query.fetch_optional(conn).await?.is_some())
}

pub async fn came_back(conn: &mut Conn, user: &UserId) -> Result<bool> {
    let row: Option<(UserId,)> =
        sqlx::query_as("SELECT id FROM users WHERE id = ? AND came_back_ms IS NOT NULL")
            .bind(user)
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

/// The sessions that ended with the account.
pub async fn ended_with_account_of(conn: &mut Conn, user: &UserId) -> Result<Vec<Ended>> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, token_hash, expires_ms FROM sessions WHERE user_id = ? AND end_reason = 'DELETED'",
    )
    .bind(user)
    .fetch_all(conn)
    .await?)
}

/// The session of a token that ended with its account.
pub async fn ended_with_account(
    conn: &mut Conn,
    token_hash: &str,
    now_ms: Millis,
) -> Result<Option<LiveSession>> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, expires_ms FROM sessions \
         WHERE token_hash = ? AND end_reason = 'DELETED' AND expires_ms > ?",
    )
    .bind(token_hash)
    .bind(now_ms)
    .fetch_optional(conn)
    .await?)
}

pub async fn deleted_with_traces(conn: &mut Conn, nickname: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT u.id FROM users u WHERE u.deleted_ms IS NOT NULL AND (u.nickname <> ? OR u.avatar IS NOT NULL \
         OR u.phone_sealed IS NOT NULL OR u.phone_hash IS NOT NULL OR u.phone_masked IS NOT NULL \
         OR EXISTS (SELECT 1 FROM user_openids o WHERE o.user_id = u.id) \
         OR EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id AND s.ended_ms IS NULL)) LIMIT 20",
    )
    .bind(nickname)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
