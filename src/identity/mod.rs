//! Identity: who a customer is, and how a device stays signed in.
//!
//! Owns the tables `users`, `user_openids`, `former_openids` and `sessions`. (appid, openid) decides who somebody
//! is; a unionid only links. Publishes `UserRegistered` with the first login and `SessionRevoked` when a session
//! ends before its time. Tokens are stored only as hashes; session keys and phone numbers are sealed, and a
//! phone number is found by its keyed hash. Invariants: an openid and a session are of a user that exists. A user
//! who deleted their account keeps the row, for the ledger, and nothing of the person in it (`forget.rs`).

mod api;
mod auth;
mod forget;
mod login;
mod logout;
mod people;
mod phone;
mod profile;
mod refresh;
mod revoke;
mod sessions;
mod sql;
mod tokens;
mod wechat_answer;

pub use api::{IdentityApi, User};
pub use auth::{LeavingAuth, UserAuth};
pub use forget::{announce_deleted, came_back, forget, hold, try_hold};
pub use login::{LoggedIn, LoginRequest, login};
pub use logout::logout;
pub use people::{Sought, find_people, reveal_phone, users_of_phone};
pub use phone::{NotAPhone, Phone};
pub use profile::{ProfileChange, me, set_phone, update_profile};
pub use refresh::{Refreshed, refresh};
pub use revoke::on_session_revoked;
pub use sessions::Sessions;

use crate::kernel::{Actor, Millis, Result, SessionId, UserId, codes, text_enum};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;

codes! {
    USER_NOT_FOUND: 404 "user_not_found" "There is no such user.";
    USER_DELETED: 409 "user_deleted" "This user has deleted the account.";
    PHONE_NOT_KNOWN: 409 "phone_not_known" "This user has not told a phone number.";
    LOGIN_CODE_INVALID: 401 "login_code_invalid" "The code of wx.login is wrong, expired or was used before. Call wx.login again.";
    LOGIN_BLOCKED: 403 "login_blocked" "WeChat blocks the login of this user as high-risk.";
    WECHAT_LIMIT: 429 "wechat_limit" "WeChat allows so many calls a minute for one user. Wait for `Retry-After` seconds.";
    WECHAT_UNAVAILABLE: 503 "wechat_unavailable" "WeChat does not answer, or says that it is busy. Get a fresh code and try again in a moment.";
    WECHAT_SETUP: 503 "wechat_setup" "WeChat refuses this server's app id, secret or address. Only the operator can help; an alert is open.";
    REFRESH_TOKEN_INVALID: 401 "refresh_token_invalid" "The refresh token is unknown, expired, or was used before, which ends the session. Log in again.";
    PHONE_CODE_INVALID: 400 "phone_code_invalid" "The code of the getPhoneNumber button is wrong, expired or was used before.";
    PHONE_NOT_SUPPORTED: 400 "phone_not_supported" "WeChat handed out a phone number that is neither a mainland mobile nor an international number.";
}

text_enum! {
    /// Why a session ended before its time.
    pub enum EndReason {
        Logout = "LOGOUT",
        /// A refresh token was presented that had been used before.
        Reuse = "REUSE",
        /// The person signed in on too many other devices.
        Limit = "LIMIT",
        /// The person deleted the account.
        Deleted = "DELETED",
    }
}

/// Sealing purposes: what is sealed for one can't be opened as the other.
const PHONE: &str = "phone";
const SESSION_KEY: &str = "session_key";
/// Of the keyed hash by which an openid that had an account before is known.
const FORMER_OPENID: &str = "former_openid";

/// A signed-in device of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
}

impl Session {
    pub fn actor(&self) -> Actor {
        Actor::User(self.user_id.clone())
    }
}

/// A customer as they are shown.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UserSummary {
    pub id: UserId,
    pub nickname: String,
    /// An https URL.
    pub avatar: Option<String>,
    pub phone_masked: Option<String>,
    pub created_ms: Millis,
    /// Since when the account is deleted.
    pub deleted_ms: Option<Millis>,
}

/// # Errors
/// The database.
pub async fn summary(conn: &mut Conn, user: &UserId) -> Result<Option<UserSummary>> {
    sql::summary(conn, user).await
}

/// The openid of a user in one mini-program.
///
/// # Errors
/// The database.
pub async fn openid(conn: &mut Conn, user: &UserId, appid: &str) -> Result<Option<String>> {
    sql::openid(conn, user, appid).await
}

/// The user's newest WeChat session key, opened: for checking what the client signed with it. It never
/// leaves the server.
///
/// # Errors
/// The database, or a key sealed under another master key.
pub async fn session_key(conn: &mut Conn, ctx: &Ctx, user: &UserId, appid: &str) -> Result<Option<String>> {
    let sealed = sql::session_key_sealed(conn, user, appid).await?;
    Ok(sealed.map(|sealed| ctx.secrets.open(SESSION_KEY, &sealed)).transpose()?)
}

/// The keyed hash of the user's phone number.
///
/// # Errors
/// The database.
pub async fn phone_hash(conn: &mut Conn, user: &UserId) -> Result<Option<String>> {
    sql::phone_hash(conn, user).await
}

/// What must be true of the rows here: rule and violations, at most 20 each.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    Ok(vec![
        ("an openid is of a user that exists", sql::openids_without_user(conn).await?),
        ("a session is of a user that exists", sql::sessions_without_user(conn).await?),
        ("a user has an openid, unless the account is deleted", sql::users_without_openid(conn).await?),
        (
            "a deleted account has no name, picture, phone number, openid or session",
            sql::deleted_with_traces(conn, forget::NICKNAME).await?,
        ),
    ])
}
