//! The app's operations on sessions. Those on the signed-in person are in `accounts`.

use poem_openapi::param::Header;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{LoggedIn, LoginRequest, Refreshed, Sessions, UserAuth, UserSummary};
use crate::kernel::{UserId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Done;
use crate::platform::web::{Answer, Body, Created, NoContent, Reply, Tag};
use crate::wechat::mini::Mini;

pub struct IdentityApi {
    pub ctx: Ctx,
    pub mini: Mini,
    pub sessions: Sessions,
}

/// What the mini-program got from WeChat.
#[derive(Object)]
#[oai(example)]
pub struct Login {
    /// The code of `wx.login`. It works once and for 5 minutes.
    #[oai(validator(min_length = 1, max_length = 128))]
    code: String,
    /// The code of the getPhoneNumber button, when the person pressed it. Not the login code.
    #[oai(validator(min_length = 1, max_length = 128))]
    phone_code: Option<String>,
}

impl Example for Login {
    fn example() -> Self {
        Self { code: "demo:alice".to_owned(), phone_code: None }
    }
}

/// A fresh session.
#[derive(Object)]
pub struct LoginAnswer {
    /// Send it as `Authorization: Bearer …`. It is told only here.
    token: String,
    /// Buys the next pair of tokens, once.
    refresh_token: String,
    /// When the token stops working (RFC 3339).
    expires_at: String,
    user: User,
    /// The person logged in for the first time.
    is_new_user: bool,
    /// Why the phone number was not taken: an error code. Absent when no phone code was sent or it worked.
    #[oai(skip_serializing_if_is_none)]
    phone_problem: Option<String>,
}

impl From<LoggedIn> for LoginAnswer {
    fn from(done: LoggedIn) -> Self {
        Self {
            token: done.token,
            refresh_token: done.refresh_token,
            expires_at: rfc3339(done.expires_ms),
            user: done.user.into(),
            is_new_user: done.is_new_user,
            phone_problem: done.phone_failure.map(|failure| failure.code().code.to_owned()),
        }
    }
}

/// A customer.
#[derive(Object)]
pub struct User {
    id: UserId,
    /// `微信用户` until the person chooses a name.
    nickname: String,
    #[oai(skip_serializing_if_is_none)]
    avatar: Option<String>,
    /// Masked: `138****8000`. Absent until the person gives it.
    #[oai(skip_serializing_if_is_none)]
    phone: Option<String>,
    /// When the person logged in for the first time (RFC 3339).
    created_at: String,
}

impl From<UserSummary> for User {
    fn from(user: UserSummary) -> Self {
        Self {
            id: user.id,
            nickname: user.nickname,
            avatar: user.avatar,
            phone: user.phone_masked,
            created_at: rfc3339(user.created_ms),
        }
    }
}

/// A refresh token.
#[derive(Object)]
#[oai(example)]
pub struct Refresh {
    /// The newest one that this session was given.
    #[oai(validator(min_length = 1, max_length = 128))]
    refresh_token: String,
}

impl Example for Refresh {
    fn example() -> Self {
        Self { refresh_token: "the refresh_token of POST /sessions".to_owned() }
    }
}

/// The next pair of tokens.
#[derive(Object)]
pub struct RefreshAnswer {
    token: String,
    refresh_token: String,
    /// When the token stops working (RFC 3339).
    expires_at: String,
}

#[OpenApi(prefix_path = "/api/v1")]
impl IdentityApi {
    /// Log in
    ///
    /// Exchanges the code of `wx.login` for a session. The first login makes the user, and the new-user
    /// coupon follows by itself. A phone code that fails does not fail the login: `phone_problem` says why.
    ///
    /// Errors: `login_code_invalid`, `login_blocked`, `wechat_limit`, `wechat_unavailable`, `wechat_setup`.
    #[oai(path = "/sessions", method = "post", operation_id = "login", tag = "Tag::Sessions")]
    async fn login(&self, body: Body<Login>) -> Reply<Created<LoginAnswer>> {
        let body = body.into_inner();
        let request = LoginRequest { code: body.code, phone_code: body.phone_code };
        Ok(Created::new(super::login(&self.ctx, &self.mini, &request).await?.into()))
    }

    /// Refresh the session
    ///
    /// Replaces both tokens of the session; the old ones stop working. A refresh token works once: one that
    /// was used before ends the session, also when two refreshes run at once. Send an `Idempotency-Key` to
    /// be safe against a lost answer: the same request with the same key gets the same tokens.
    ///
    /// Errors: `refresh_token_invalid`.
    #[oai(
        path = "/sessions/refresh",
        method = "post",
        operation_id = "refreshSession",
        tag = "Tag::Sessions"
    )]
    async fn refresh(
        &self,
        /// A fresh random one for each refresh, the same one when you repeat it. It proves that a repeat comes
        /// from you, so nobody must be able to guess it: 16 characters or more.
        #[oai(name = "Idempotency-Key", validator(min_length = 16, max_length = 128))]
        key: Header<Option<String>>,
        body: Body<Refresh>,
    ) -> Reply<Answer<RefreshAnswer>> {
        let done: Refreshed =
            super::refresh(&self.ctx, &self.sessions, &body.refresh_token, key.0.as_deref()).await?;
        let answer = RefreshAnswer {
            token: done.token,
            refresh_token: done.refresh_token,
            expires_at: rfc3339(done.expires_ms),
        };
        Ok(Answer::of(answer, &Done { value: (), replayed: done.replayed }))
    }

    /// Log out
    ///
    /// Ends the session of the token, and its refresh token with it; other devices stay signed in.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/sessions/current", method = "delete", operation_id = "logout", tag = "Tag::Sessions")]
    async fn logout(&self, auth: UserAuth) -> Reply<NoContent> {
        super::logout(&self.ctx, &auth.0).await?;
        Ok(NoContent::Done)
    }
}
