//! Staff sign in and out, and change their password.

use poem::Request;
use poem::http::header::USER_AGENT;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, Password};
use poem_openapi::{Object, OpenApi};

use crate::kernel::{Cursor, Limit, StaffId, StaffSessionId, StoreId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, Created, List, NoContent, Reply, Tag};
use crate::staff::{self, Device, Role, Session, StaffAuth, StaffMember};

pub struct StaffSessionsApi {
    pub ctx: Ctx,
}

/// User name and password of a staff member.
#[derive(Object)]
#[oai(example)]
pub struct StaffSignIn {
    /// Upper and lower case are the same.
    #[oai(validator(min_length = 1, max_length = 64))]
    user_name: String,
    #[oai(validator(min_length = 1, max_length = 128))]
    password: Password,
    /// A token that this device had for the user name before, over or not: then its tries are counted apart, and
    /// nobody who keeps guessing the password keeps this device out.
    #[oai(validator(min_length = 1, max_length = 200))]
    known_token: Option<Password>,
}

impl Example for StaffSignIn {
    fn example() -> Self {
        let password = Password("west-lake-tour".to_owned());
        Self { user_name: "admin".to_owned(), password, known_token: None }
    }
}

/// A fresh staff session.
#[derive(Object)]
pub struct StaffSession {
    /// Send it as `Authorization: Bearer …`. It is told only here.
    token: String,
    /// When the token stops working (RFC 3339).
    expires_at: String,
    me: StaffView,
}

/// A staff member.
#[derive(Object)]
pub struct StaffView {
    id: StaffId,
    user_name: String,
    name: String,
    role: Role,
    /// The stores that the member is there for; absent: all of them.
    #[oai(skip_serializing_if_is_none)]
    store_ids: Option<Vec<StoreId>>,
}

impl From<StaffMember> for StaffView {
    fn from(member: StaffMember) -> Self {
        let store_ids = member.scope.stores().map(|stores| stores.iter().cloned().collect());
        Self { id: member.id, user_name: member.user_name, name: member.name, role: member.role, store_ids }
    }
}

/// A device that is signed in.
#[derive(Object)]
pub struct StaffDevice {
    id: StaffSessionId,
    /// What the device said of itself when it signed in.
    #[oai(skip_serializing_if_is_none)]
    agent: Option<String>,
    signed_in_at: String,
    expires_at: String,
    /// Is it the device that asks?
    current: bool,
}

impl StaffDevice {
    pub fn of(session: Session, asking: &StaffMember) -> Self {
        Self {
            current: session.id == asking.session_id,
            id: session.id,
            agent: session.agent,
            signed_in_at: rfc3339(session.created_ms),
            expires_at: rfc3339(session.expires_ms),
        }
    }
}

/// A change of one's own password.
#[derive(Object)]
#[oai(example)]
pub struct StaffPasswordChange {
    #[oai(validator(min_length = 1, max_length = 128))]
    current_password: Password,
    /// 10 to 128 characters, not made of the user name, and none of the usual ones.
    #[oai(validator(min_length = 1, max_length = 128))]
    new_password: Password,
}

impl Example for StaffPasswordChange {
    fn example() -> Self {
        Self {
            current_password: Password("west-lake-tour".to_owned()),
            new_password: Password("longjing tea at dawn".to_owned()),
        }
    }
}

#[OpenApi(prefix_path = "/admin/v1")]
impl StaffSessionsApi {
    /// Sign in
    ///
    /// Opens a session of a staff member and writes an audit row. The token works for
    /// `session.staff_token_minutes`; there is no refresh. A wrong password and an unknown user name answer
    /// alike; after 20 failures within 15 minutes, on whichever node, a user name waits, but for devices that
    /// were signed in before and say so by `known_token`.
    ///
    /// Errors: `sign_in_failed`, `sign_in_too_often`, `unavailable`.
    #[oai(path = "/sessions", method = "post", operation_id = "signInStaff", tag = "Tag::Sessions")]
    async fn sign_in(&self, request: &Request, body: Body<StaffSignIn>) -> Reply<Created<StaffSession>> {
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let known_token = body.known_token.as_ref().map(|token| token.as_str());
        let device = Device { agent, known_token };
        let signed_in = staff::sign_in(&self.ctx, &body.user_name, &body.password, device).await?;
        Ok(Created::new(StaffSession {
            token: signed_in.token,
            expires_at: rfc3339(signed_in.expires_ms),
            me: signed_in.member.into(),
        }))
    }

    /// Sign out
    ///
    /// Ends the session of the token; other devices stay signed in.
    ///
    /// Errors: `unauthenticated`.
    #[oai(
        path = "/sessions/current",
        method = "delete",
        operation_id = "signOutStaff",
        tag = "Tag::Sessions"
    )]
    async fn sign_out(&self, auth: StaffAuth) -> Reply<NoContent> {
        staff::sign_out(&self.ctx, &auth.0).await?;
        Ok(NoContent::Done)
    }

    /// Who am I
    ///
    /// The staff member of the token. Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/me", method = "get", operation_id = "getStaffMe", tag = "Tag::Me")]
    async fn me(&self, auth: StaffAuth) -> Reply<Json<StaffView>> {
        Ok(Json(auth.0.into()))
    }

    /// Change my password
    ///
    /// Sets a new password, ends all other sessions of the member and writes an audit row.
    ///
    /// Errors: `unauthenticated`, `current_password_wrong`, `password_weak`, `sign_in_too_often`, `unavailable`.
    #[oai(path = "/me/password", method = "put", operation_id = "changeStaffPassword", tag = "Tag::Me")]
    async fn change_password(&self, auth: StaffAuth, body: Body<StaffPasswordChange>) -> Reply<NoContent> {
        let (current, new) = (&body.current_password, &body.new_password);
        staff::change_password(&self.ctx, &auth.0, current, new).await?;
        Ok(NoContent::Done)
    }

    /// My devices
    ///
    /// Those on which I am signed in, newest first. Changes nothing.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/me/sessions", method = "get", operation_id = "listMyStaffSessions", tag = "Tag::Me")]
    async fn sessions(
        &self,
        auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffDevice>>> {
        let limit = Limit::parse(limit.0)?;
        let page = staff::sessions(&self.ctx, &auth.0.id, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, |session| StaffDevice::of(session, &auth.0)))
    }

    /// Sign out one of my devices
    ///
    /// On every node at once. Writes an audit row.
    ///
    /// Errors: `staff_session_not_found`.
    #[oai(
        path = "/me/sessions/:session_id",
        method = "delete",
        operation_id = "endMyStaffSession",
        tag = "Tag::Me"
    )]
    async fn end_session(&self, auth: StaffAuth, session_id: Path<StaffSessionId>) -> Reply<NoContent> {
        staff::end_own_session(&self.ctx, &auth.0, &session_id).await?;
        Ok(NoContent::Done)
    }
}
