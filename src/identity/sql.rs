//! All SQL of identity.

use sqlx::{AssertSqlSafe, FromRow};

use super::login::SealedPhone;
use super::tokens::Hashes;
use super::{EndReason, UserSummary};
use crate::kernel::{Millis, Result, SessionId, UserId};
use crate::platform::db::{Conn, changed, inserted};

mod forget;

pub use forget::*;

/// Sessions of one person that are looked at; there are fewer, since each login ends the oldest.
const SESSIONS_READ: i64 = 200;

pub struct NewOpenid<'a> {
    pub appid: &'a str,
    pub openid: &'a str,
    pub unionid: Option<&'a str>,
    pub session_key_sealed: String,
    pub user_id: UserId,
    pub now_ms: Millis,
}

pub struct NewSession<'a> {
    pub id: SessionId,
    pub user_id: &'a UserId,
    pub appid: &'a str,
    pub hashes: Hashes,
    pub created_ms: Millis,
    pub expires_ms: Millis,
    pub refresh_expires_ms: Millis,
}

/// What a refresh puts in place of the old tokens.
pub struct Rotation<'a> {
    pub token_hash: &'a str,
    pub refresh_hash: &'a str,
    pub expires_ms: Millis,
    pub refresh_expires_ms: Millis,
}

#[derive(FromRow)]
pub struct LiveSession {
    pub id: SessionId,
    pub user_id: UserId,
    pub expires_ms: Millis,
}

#[derive(FromRow)]
pub struct FamilyRow {
    pub id: SessionId,
    pub user_id: UserId,
    pub token_hash: String,
    pub refresh_hash: String,
    pub expires_ms: Millis,
    pub refresh_expires_ms: Millis,
}

/// A session, or a token of it, that is over: what caches need to know.
#[derive(FromRow)]
pub struct Ended {
    pub id: SessionId,
    pub user_id: UserId,
    pub token_hash: String,
    pub expires_ms: Millis,
}

/// Notes a login of a known openid: the newest session key, and a unionid when there is one.
pub async fn sign_in(conn: &mut Conn, row: &NewOpenid<'_>) -> Result<Option<UserId>> {
    let known = changed(
        sqlx::query(
            "UPDATE user_openids SET session_key_sealed = ?, unionid = COALESCE(?, unionid), signed_in_ms = ? \
             WHERE appid = ? AND openid = ?",
        )
        .bind(&row.session_key_sealed)
        .bind(row.unionid)
        .bind(row.now_ms)
        .bind(row.appid)
        .bind(row.openid)
        .execute(&mut *conn)
        .await,
    )?;
    if !known {
        return Ok(None);
    }
    let found: Option<(UserId,)> =
        sqlx::query_as("SELECT user_id FROM user_openids WHERE appid = ? AND openid = ?")
            .bind(row.appid)
            .bind(row.openid)
            .fetch_optional(conn)
            .await?;
    Ok(found.map(|(user_id,)| user_id))
}

/// False: somebody else has just made this person.
pub async fn insert_openid(conn: &mut Conn, row: &NewOpenid<'_>) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO user_openids (appid, openid, user_id, unionid, session_key_sealed, signed_in_ms, \
             created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.appid)
        .bind(row.openid)
        .bind(&row.user_id)
        .bind(row.unionid)
        .bind(&row.session_key_sealed)
        .bind(row.now_ms)
        .bind(row.now_ms)
        .execute(conn)
        .await,
    )
}

pub async fn insert_user(
    conn: &mut Conn,
    id: &UserId,
    nickname: &str,
    came_back: bool,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query("INSERT INTO users (id, nickname, came_back_ms, created_ms) VALUES (?, ?, ?, ?)")
        .bind(id)
        .bind(nickname)
        .bind(came_back.then_some(now_ms))
        .bind(now_ms)
        .execute(conn)
        .await?;
    Ok(())
}

macro_rules! summary_columns {
    () => {
        "id, nickname, avatar, phone_masked, created_ms, deleted_ms"
    };
}

pub async fn summary(conn: &mut Conn, id: &UserId) -> Result<Option<UserSummary>> {
    Ok(sqlx::query_as(concat!("SELECT ", summary_columns!(), " FROM users WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// Everybody, the newest first.
pub async fn newest(conn: &mut Conn, before: Option<&str>, limit: i64) -> Result<Vec<UserSummary>> {
    let query = concat!("SELECT ", summary_columns!(), " FROM users WHERE id < ? ORDER BY id DESC LIMIT ?");
    Ok(sqlx::query_as(query).bind(before.unwrap_or("~")).bind(limit).fetch_all(conn).await?)
}

/// Whoever has the phone number of these hashes (of the keys that there are), the newest first.
pub async fn of_phone(
    conn: &mut Conn,
    hashes: &[String],
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<UserSummary>> {
    let places = vec!["?"; hashes.len()].join(", ");
    let query = format!(
        concat!(
            "SELECT ",
            summary_columns!(),
            " FROM users WHERE phone_hash IN ({}) AND id < ? ORDER BY id DESC LIMIT ?"
        ),
        places
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for hash in hashes {
        query = query.bind(hash);
    }
    Ok(query.bind(before.unwrap_or("~")).bind(limit).fetch_all(conn).await?)
}

/// Whose nickname begins with `start`, in the order of nicknames, behind (`nickname`, `id`).
pub async fn by_nickname(
    conn: &mut Conn,
    start: &str,
    nickname: &str,
    id: &str,
    limit: i64,
) -> Result<Vec<UserSummary>> {
    // Two ranges of one index: those of the same name, then those of the names behind it.
    let same = concat!(
        "SELECT ",
        summary_columns!(),
        " FROM users WHERE nickname = ? AND id > ? ORDER BY id LIMIT ?"
    );
    let mut found: Vec<UserSummary> =
        sqlx::query_as(same).bind(nickname).bind(id).bind(limit).fetch_all(&mut *conn).await?;
    let left = limit - found.len() as i64;
    if left > 0 {
        // Nothing that begins so is behind it.
        let end = format!("{start}\u{10ffff}");
        let behind = concat!(
            "SELECT ",
            summary_columns!(),
            " FROM users WHERE nickname > ? AND nickname < ? ORDER BY nickname, id LIMIT ?"
        );
        let rows: Vec<UserSummary> =
            sqlx::query_as(behind).bind(nickname).bind(end).bind(left).fetch_all(conn).await?;
        found.extend(rows);
    }
    Ok(found)
}

/// The sealed phone number of a customer; the outer `None`: there is no such customer.
pub async fn phone_sealed(conn: &mut Conn, id: &UserId) -> Result<Option<Option<String>>> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("SELECT phone_sealed FROM users WHERE id = ?").bind(id).fetch_optional(conn).await?;
    Ok(row.map(|(sealed,)| sealed))
}

pub async fn set_profile(
    conn: &mut Conn,
    id: &UserId,
    nickname: Option<&str>,
    avatar: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "UPDATE users SET nickname = COALESCE(?, nickname), avatar = COALESCE(?, avatar) \
         WHERE id = ? AND deleted_ms IS NULL",
    )
    .bind(nickname)
    .bind(avatar)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_phone(conn: &mut Conn, id: &UserId, phone: &SealedPhone) -> Result<()> {
    sqlx::query(
        "UPDATE users SET phone_sealed = ?, phone_hash = ?, phone_masked = ? WHERE id = ? AND deleted_ms IS NULL",
    )
    .bind(&phone.sealed)
    .bind(&phone.hash)
    .bind(&phone.masked)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn openid(conn: &mut Conn, user: &UserId, appid: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT openid FROM user_openids WHERE user_id = ? AND appid = ? ORDER BY openid LIMIT 1",
    )
    .bind(user)
    .bind(appid)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(openid,)| openid))
}

pub async fn session_key_sealed(conn: &mut Conn, user: &UserId, appid: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT session_key_sealed FROM user_openids WHERE user_id = ? AND appid = ? ORDER BY openid LIMIT 1",
    )
    .bind(user)
    .bind(appid)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(sealed,)| sealed))
}

pub async fn phone_hash(conn: &mut Conn, user: &UserId) -> Result<Option<String>> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("SELECT phone_hash FROM users WHERE id = ?").bind(user).fetch_optional(conn).await?;
    Ok(row.and_then(|(hash,)| hash))
}

pub async fn insert_session(conn: &mut Conn, session: &NewSession<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO sessions (id, user_id, appid, token_hash, family_hash, refresh_hash, created_ms, \
         expires_ms, refresh_expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&session.id)
    .bind(session.user_id)
    .bind(session.appid)
    .bind(&session.hashes.token)
    .bind(&session.hashes.family)
    .bind(&session.hashes.refresh)
    .bind(session.created_ms)
    .bind(session.expires_ms)
    .bind(session.refresh_expires_ms)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn live_by_token(conn: &mut Conn, token_hash: &str) -> Result<Option<LiveSession>> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, expires_ms FROM sessions WHERE token_hash = ? AND ended_ms IS NULL",
    )
    .bind(token_hash)
    .fetch_optional(conn)
    .await?)
}

pub async fn live_by_id(conn: &mut Conn, id: &SessionId) -> Result<Option<Ended>> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, token_hash, expires_ms FROM sessions WHERE id = ? AND ended_ms IS NULL",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?)
}

pub async fn live_by_family(conn: &mut Conn, family_hash: &str) -> Result<Option<FamilyRow>> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, token_hash, refresh_hash, expires_ms, refresh_expires_ms FROM sessions \
         WHERE family_hash = ? AND ended_ms IS NULL",
    )
    .bind(family_hash)
    .fetch_optional(conn)
    .await?)
}

/// Live sessions of a person, newest first.
pub async fn newest_sessions(conn: &mut Conn, user: &UserId) -> Result<Vec<Ended>> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, token_hash, expires_ms FROM sessions \
         WHERE user_id = ? AND ended_ms IS NULL ORDER BY created_ms DESC, id DESC LIMIT ?",
    )
    .bind(user)
    .bind(SESSIONS_READ)
    .fetch_all(conn)
    .await?)
}

/// Replaces the tokens, if the refresh token is still the current one.
pub async fn rotate(
    conn: &mut Conn,
    id: &SessionId,
    used_refresh_hash: &str,
    rotation: &Rotation<'_>,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE sessions SET token_hash = ?, refresh_hash = ?, expires_ms = ?, refresh_expires_ms = ? \
             WHERE id = ? AND refresh_hash = ? AND ended_ms IS NULL",
        )
        .bind(rotation.token_hash)
        .bind(rotation.refresh_hash)
        .bind(rotation.expires_ms)
        .bind(rotation.refresh_expires_ms)
        .bind(id)
        .bind(used_refresh_hash)
        .execute(conn)
        .await,
    )
}

pub async fn end(conn: &mut Conn, id: &SessionId, reason: EndReason, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query("UPDATE sessions SET ended_ms = ?, end_reason = ? WHERE id = ? AND ended_ms IS NULL")
            .bind(now_ms)
            .bind(reason)
            .bind(id)
            .execute(conn)
            .await,
    )
}

/// Drops a person's sessions that neither token opens any more, so that the table stays small.
pub async fn forget_over(conn: &mut Conn, user: &UserId, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "DELETE FROM sessions WHERE user_id = ? AND (ended_ms IS NOT NULL OR refresh_expires_ms <= ?)",
    )
    .bind(user)
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

async fn ids(conn: &mut Conn, query: &'static str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(query).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn openids_without_user(conn: &mut Conn) -> Result<Vec<String>> {
    ids(
        conn,
        "SELECT user_openids.user_id FROM user_openids LEFT JOIN users ON users.id = user_openids.user_id \
         WHERE users.id IS NULL LIMIT 20",
    )
    .await
}

pub async fn sessions_without_user(conn: &mut Conn) -> Result<Vec<String>> {
    ids(
        conn,
        "SELECT sessions.id FROM sessions LEFT JOIN users ON users.id = sessions.user_id \
         WHERE users.id IS NULL LIMIT 20",
    )
    .await
}

pub async fn users_without_openid(conn: &mut Conn) -> Result<Vec<String>> {
    ids(
        conn,
        "SELECT users.id FROM users LEFT JOIN user_openids ON user_openids.user_id = users.id \
         WHERE user_openids.user_id IS NULL AND users.deleted_ms IS NULL LIMIT 20",
    )
    .await
}
