//! Owners manage the people who manage the shop: invitations, roles, stores, devices.

mod dto;

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;

use self::dto::{
    AcceptInvitation, InvitationView, InviteStaff, InvitedView, MemberView, RoleChange, StandingChange,
};
use super::sessions::StaffDevice;
use crate::kernel::{Cursor, Failure, Limit, Result, StaffId, StaffInvitationId, StaffSessionId, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, Created, List, NoContent, Reply, Tag};
use crate::staff::{self, StaffAuth, StoreScope};
use crate::stores::{self, STORE_NOT_FOUND};

pub struct StaffAdminApi {
    pub ctx: Ctx,
}

impl StaffAdminApi {
    /// The scope that a form asks for; each of its stores exists.
    async fn scope(&self, stores: Option<&Vec<StoreId>>) -> Result<StoreScope> {
        let Some(wanted) = stores else { return Ok(StoreScope::All) };
        let conn = &mut *self.ctx.db.reader().await?;
        for (index, store) in wanted.iter().enumerate() {
            if stores::find(conn, store).await?.is_none() {
                return Err(Failure::new(&STORE_NOT_FOUND).field(format!("/store_ids/{index}")));
            }
        }
        Ok(StoreScope::Only(wanted.iter().cloned().collect()))
    }
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Staff")]
impl StaffAdminApi {
    /// All members
    ///
    /// In the order in which they joined, also those who may not sign in any more. Changes nothing.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/staff", method = "get", operation_id = "listStaff")]
    async fn list(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<MemberView>>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let page = staff::members(conn, cursor.0.as_ref(), Limit::parse(limit.0)?).await?;
        Ok(List::from_page(page, MemberView::from))
    }

    /// One member
    ///
    /// Changes nothing.
    ///
    /// Errors: `staff_not_found`.
    #[oai(path = "/staff/:staff_id", method = "get", operation_id = "getStaff")]
    async fn get(&self, _auth: StaffAuth, staff_id: Path<StaffId>) -> Reply<Json<MemberView>> {
        let conn = &mut *self.ctx.db.reader().await?;
        Ok(Json(staff::member(conn, &staff_id).await?.into()))
    }

    /// Change a member's role and stores
    ///
    /// Both are replaced, and count from the member's next request on. An owner's stores are never limited.
    /// The last owner who can sign in stays one, also when two owners act at the same moment. Writes an audit
    /// row.
    ///
    /// Errors: `staff_not_found`, `last_owner`, `store_not_found`.
    #[oai(path = "/staff/:staff_id/role", method = "put", operation_id = "changeStaffRole")]
    async fn change_role(
        &self,
        auth: StaffAuth,
        staff_id: Path<StaffId>,
        body: Body<RoleChange>,
    ) -> Reply<Json<MemberView>> {
        let scope = self.scope(body.store_ids.as_ref()).await?;
        let member = staff::change_role(&self.ctx, &auth.actor(), &staff_id, body.role, &scope).await?;
        Ok(Json(member.into()))
    }

    /// Disable a member
    ///
    /// The member is signed out everywhere at once and can't sign in any more; what they did stays. Writes an
    /// audit row. Once more changes nothing.
    ///
    /// Errors: `staff_not_found`, `last_owner`.
    #[oai(path = "/staff/:staff_id/disable", method = "post", operation_id = "disableStaff")]
    async fn disable(
        &self,
        auth: StaffAuth,
        staff_id: Path<StaffId>,
        body: Body<StandingChange>,
    ) -> Reply<Json<MemberView>> {
        let member = staff::disable(&self.ctx, &auth.actor(), &staff_id, &body.reason).await?;
        Ok(Json(member.into()))
    }

    /// Enable a member again
    ///
    /// The member can sign in with the password from before. Writes an audit row. Once more changes nothing.
    ///
    /// Errors: `staff_not_found`.
    #[oai(path = "/staff/:staff_id/enable", method = "post", operation_id = "enableStaff")]
    async fn enable(
        &self,
        auth: StaffAuth,
        staff_id: Path<StaffId>,
        body: Body<StandingChange>,
    ) -> Reply<Json<MemberView>> {
        let member = staff::enable(&self.ctx, &auth.actor(), &staff_id, &body.reason).await?;
        Ok(Json(member.into()))
    }

    /// A member's devices
    ///
    /// Those that are signed in now, newest first. Changes nothing.
    ///
    /// Errors: `staff_not_found`, `invalid_request`.
    #[oai(path = "/staff/:staff_id/sessions", method = "get", operation_id = "listStaffSessions")]
    async fn sessions(
        &self,
        auth: StaffAuth,
        staff_id: Path<StaffId>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffDevice>>> {
        let limit = Limit::parse(limit.0)?;
        let page = staff::sessions(&self.ctx, &staff_id, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, |session| StaffDevice::of(session, &auth.0)))
    }

    /// Sign a member out everywhere
    ///
    /// On every node at once. Writes an audit row.
    ///
    /// Errors: `staff_not_found`.
    #[oai(path = "/staff/:staff_id/sessions", method = "delete", operation_id = "endStaffSessions")]
    async fn end_sessions(&self, auth: StaffAuth, staff_id: Path<StaffId>) -> Reply<NoContent> {
        staff::end_sessions(&self.ctx, &auth.actor(), &staff_id).await?;
        Ok(NoContent::Done)
    }

    /// Sign one device of a member out
    ///
    /// On every node at once. Writes an audit row.
    ///
    /// Errors: `staff_session_not_found`.
    #[oai(
        path = "/staff/:staff_id/sessions/:session_id",
        method = "delete",
        operation_id = "endStaffSession"
    )]
    async fn end_session(
        &self,
        auth: StaffAuth,
        staff_id: Path<StaffId>,
        session_id: Path<StaffSessionId>,
    ) -> Reply<NoContent> {
        staff::end_session(&self.ctx, &auth.actor(), &staff_id, &session_id).await?;
        Ok(NoContent::Done)
    }

    /// Invite somebody
    ///
    /// Makes a link with a one-time token, which is told only here: send it to the person, who opens it and
    /// chooses a password. It works for `admin.invitation_hours`. An earlier invitation of the same user name
    /// is no good any more. Writes an audit row.
    ///
    /// Errors: `user_name_taken`, `store_not_found`.
    #[oai(path = "/staff-invitations", method = "post", operation_id = "inviteStaff")]
    async fn invite(&self, auth: StaffAuth, body: Body<InviteStaff>) -> Reply<Created<InvitedView>> {
        let scope = self.scope(body.store_ids.as_ref()).await?;
        let invited = staff::invite(&self.ctx, &auth.0.id, &body.user_name, body.role, &scope).await?;
        Ok(Created::new(InvitedView::of(invited, &self.ctx.config.server.public_url)))
    }

    /// Open invitations
    ///
    /// Those that can be accepted now, newest first. Changes nothing.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/staff-invitations", method = "get", operation_id = "listStaffInvitations")]
    async fn invitations(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<InvitationView>>> {
        let (limit, now_ms) = (Limit::parse(limit.0)?, self.ctx.clock.now_ms());
        let conn = &mut *self.ctx.db.reader().await?;
        let page = staff::invitations(conn, now_ms, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, InvitationView::from))
    }

    /// Take an invitation back
    ///
    /// Its link is no good any more. Writes an audit row.
    ///
    /// Errors: `invitation_not_found`.
    #[oai(
        path = "/staff-invitations/:invitation_id",
        method = "delete",
        operation_id = "takeBackStaffInvitation"
    )]
    async fn take_back(&self, auth: StaffAuth, invitation_id: Path<StaffInvitationId>) -> Reply<NoContent> {
        staff::take_back(&self.ctx, &auth.actor(), &invitation_id).await?;
        Ok(NoContent::Done)
    }

    /// Accept an invitation
    ///
    /// Makes a member of whoever has the token, with a name and a password of their own, once. Sign in next.
    /// Writes an audit row.
    ///
    /// Errors: `invitation_not_valid`, `password_weak`, `user_name_taken`, `unavailable`.
    #[oai(path = "/staff-invitations/accept", method = "post", operation_id = "acceptStaffInvitation")]
    async fn accept(&self, body: Body<AcceptInvitation>) -> Reply<Created<MemberView>> {
        let (token, name, password) = (&body.invitation_token, &body.name, &body.password);
        Ok(Created::new(staff::accept(&self.ctx, token, name, password).await?.into()))
    }
}
