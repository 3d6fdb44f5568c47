//! Login: a code of wx.login becomes a session.

use super::sql::{self, Ended, NewOpenid, NewSession};
use super::tokens::Tokens;
use super::{
    EndReason, PHONE, PHONE_NOT_SUPPORTED, Phone, SESSION_KEY, UserSummary, WECHAT_UNAVAILABLE, forget,
    revoke, wechat_answer,
};
use crate::events::Event;
use crate::kernel::{Failure, Millis, Result, SessionId, UserId, day_ms, minute_ms};
use crate::platform::bus::{self, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::wechat::mini::{Mini, MiniSession};

/// What WeChat itself calls somebody who has not told a name.
const NICKNAME_UNKNOWN: &str = "微信用户";
/// Live sessions of one person; the next login ends the oldest.
const SESSIONS_MAX: usize = 50;
/// Longest openid, unionid and session key that fit their columns, the latter before sealing.
const WECHAT_TEXT_MAX: usize = 64;

/// What the mini-program sends. Codes work once.
pub struct LoginRequest {
    /// The code of wx.login.
    pub code: String,
    /// The code of the getPhoneNumber button.
    pub phone_code: Option<String>,
}

/// A fresh session. The tokens are told once.
pub struct LoggedIn {
    pub token: String,
    pub refresh_token: String,
    pub expires_ms: Millis,
    pub user: UserSummary,
    pub is_new_user: bool,
    /// Why the phone number was not taken, when a phone code was sent.
    pub phone_failure: Option<Failure>,
}

/// A phone number as it is stored.
pub(super) struct SealedPhone {
    pub sealed: String,
    pub hash: String,
    pub masked: String,
}

/// Opens a session for the person whose code this is; the first time it makes the user and publishes
/// `UserRegistered` in the same transaction. A phone code that fails does not fail the login.
///
/// # Errors
/// `login_code_invalid`, `login_blocked`, `wechat_limit`, `wechat_unavailable`, `wechat_setup`.
pub async fn login(ctx: &Ctx, mini: &Mini, request: &LoginRequest) -> Result<LoggedIn> {
    let who = match mini.code2session(&request.code).await {
        Ok(who) => who,
        Err(error) => {
            let failure = wechat_answer::of_login(ctx, mini.appid(), error).await;
            ctx.metrics.outbound("login", failure.code().code);
            return Err(failure);
        }
    };
    ctx.metrics.outbound("login", "ok");
    let texts = [Some(&who.openid), Some(&who.session_key), who.unionid.as_ref()];
    if texts.iter().flatten().any(|text| text.len() > WECHAT_TEXT_MAX) {
        return Err(Failure::new(&WECHAT_UNAVAILABLE).cause("code2session answered with overlong values"));
    }
    let (phone, phone_failure) = match &request.phone_code {
        None => (None, None),
        Some(code) => match phone_of_code(ctx, mini, code).await {
            Ok(phone) => (Some(phone), None),
            Err(failure) => {
                tracing::info!("a login went on without its phone number: {failure}");
                (None, Some(failure))
            }
        },
    };

    let tokens = Tokens::new();
    let attempt = Attempt { ctx, appid: mini.appid(), who: &who, phone: phone.as_ref(), tokens: &tokens };
    let attempt = &attempt;
    let opened = ctx.db.write(|tx| Box::pin(async move { attempt.open(tx).await })).await?;
    revoke::announce(ctx, &opened.ended).await;
    Ok(LoggedIn {
        token: tokens.token,
        refresh_token: tokens.refresh_token,
        expires_ms: opened.expires_ms,
        user: opened.user,
        is_new_user: opened.is_new_user,
        phone_failure,
    })
}

/// Exchanges a phone code and seals the number.
pub(super) async fn phone_of_code(ctx: &Ctx, mini: &Mini, code: &str) -> Result<SealedPhone> {
    let number = match mini.phone_number(code).await {
        Ok(number) => number,
        Err(error) => return Err(wechat_answer::of_phone(ctx, mini.appid(), error).await),
    };
    let phone = Phone::from_parts(&number.country_code, &number.pure)
        .map_err(|_| Failure::new(&PHONE_NOT_SUPPORTED))?;
    Ok(SealedPhone {
        sealed: ctx.secrets.seal(PHONE, phone.as_str())?,
        hash: ctx.secrets.index(PHONE, phone.as_str()),
        masked: phone.masked(),
    })
}

struct Attempt<'a> {
    ctx: &'a Ctx,
    appid: &'a str,
    who: &'a MiniSession,
    phone: Option<&'a SealedPhone>,
    tokens: &'a Tokens,
}

struct Opened {
    user: UserSummary,
    is_new_user: bool,
    expires_ms: Millis,
    ended: Vec<Ended>,
}

impl Attempt<'_> {
    async fn open(&self, tx: &mut Tx<'_>) -> Result<Opened> {
        let now_ms = self.ctx.clock.now_ms();
        let (user_id, is_new_user) = self.user(tx, now_ms).await?;
        if let Some(phone) = self.phone {
            sql::set_phone(tx, &user_id, phone).await?;
        }
        let ended = self.make_room(tx, &user_id, now_ms).await?;
        let expires_ms = now_ms + minute_ms(self.ctx.config.session.token_minutes);
        let session = NewSession {
            id: self.ctx.new_id::<SessionId>(),
            user_id: &user_id,
            appid: self.appid,
            hashes: self.tokens.hashes(),
            created_ms: now_ms,
            expires_ms,
            refresh_expires_ms: now_ms + day_ms(self.ctx.config.session.refresh_days),
        };
        sql::insert_session(tx, &session).await?;
        let user = sql::summary(tx, &user_id)
            .await?
            .ok_or_else(|| Failure::internal("reading who logged in", "the user is gone"))?;
        Ok(Opened { user, is_new_user, expires_ms, ended })
    }

    /// The user of this openid, and whether they were made just now.
    async fn user(&self, tx: &mut Tx<'_>, now_ms: Millis) -> Result<(UserId, bool)> {
        let row = NewOpenid {
            appid: self.appid,
            openid: &self.who.openid,
            unionid: self.who.unionid.as_deref(),
            session_key_sealed: self.ctx.secrets.seal(SESSION_KEY, &self.who.session_key)?,
            user_id: self.ctx.new_id::<UserId>(),
            now_ms,
        };
        if let Some(user_id) = sql::sign_in(tx, &row).await? {
            return Ok((user_id, false));
        }
        // Of two first logins at the same moment one gets the key, and the other finds its user.
        if sql::insert_openid(tx, &row).await? {
            let hashes = forget::openid_hashes(self.ctx, self.appid, &self.who.openid);
            let came_back = sql::is_former(tx, &hashes).await?;
            sql::insert_user(tx, &row.user_id, NICKNAME_UNKNOWN, came_back, now_ms).await?;
            let event = Event::UserRegistered { user_id: row.user_id.clone() };
            bus::stage(tx, self.ctx, &event, Staged::Now).await?;
            return Ok((row.user_id, true));
        }
        let user_id = sql::sign_in(tx, &row).await?;
        user_id
            .map(|id| (id, false))
            .ok_or_else(|| Failure::internal("logging in", "an openid without a row"))
    }

    /// Drops the person's sessions that are over, and ends the oldest live ones beyond the limit.
    async fn make_room(&self, tx: &mut Tx<'_>, user: &UserId, now_ms: Millis) -> Result<Vec<Ended>> {
        sql::forget_over(tx, user, now_ms).await?;
        let mut live = sql::newest_sessions(tx, user).await?;
        let too_many = live.split_off(live.len().min(SESSIONS_MAX - 1));
        for session in &too_many {
            sql::end(tx, &session.id, EndReason::Limit, now_ms).await?;
        }
        revoke::stage(tx, self.ctx, &too_many).await?;
        Ok(too_many)
    }
}
