//! Staff sign in and out, and change their password.

use poem_openapi::payload::Json;
use poem_openapi::types::{Example, Password};
use poem_openapi::{Object, OpenApi};

use crate::kernel::{StaffId, StoreId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, Created, NoContent, Reply, Tag};
use crate::staff::{self, Attempts, Role, StaffAuth, StaffMember};

pub struct StaffSessionsApi {
    pub ctx: Ctx,
    pub attempts: Attempts,
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
}

impl Example for StaffSignIn {
    fn example() -> Self {
        Self { user_name: "admin".to_owned(), password: Password("west-lake-tour".to_owned()) }
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
    /// alike, and after 20 failures a user name waits.
    ///
    /// Errors: `sign_in_failed`, `sign_in_too_often`, `unavailable`.
    #[oai(path = "/sessions", method = "post", operation_id = "signInStaff", tag = "Tag::Sessions")]
    async fn sign_in(&self, body: Body<StaffSignIn>) -> Reply<Created<StaffSession>> {
        let signed_in = staff::sign_in(&self.ctx, &self.attempts, &body.user_name, &body.password).await?;
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
        staff::change_password(&self.ctx, &self.attempts, &auth.0, current, new).await?;
        Ok(NoContent::Done)
    }
}
