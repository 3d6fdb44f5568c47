//! Invitations: how somebody becomes a member. The link with its one-time token is shown once; who has it
//! chooses a password of their own, so nobody ever knows another's.

use serde_json::json;

use super::members::{check_scope, hold, member};
use super::sql::{self, NewStaff};
use super::{
    INVITATION_NOT_FOUND, INVITATION_NOT_VALID, Member, Role, StoreScope, USER_NAME_TAKEN, normal_user_name,
    password,
};
use crate::kernel::{
    Actor, Cursor, Failure, Limit, Millis, Page, Result, StaffId, StaffInvitationId, hour_ms,
};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::secrets::{new_token, token_hash};

/// An invitation that can be accepted.
#[derive(Debug, Clone)]
pub struct Invitation {
    pub id: StaffInvitationId,
    pub user_name: String,
    pub role: Role,
    pub scope: StoreScope,
    pub invited_by: StaffId,
    pub created_ms: Millis,
    pub expires_ms: Millis,
}

/// A fresh invitation. The token is told once.
pub struct Invited {
    pub invitation: Invitation,
    pub token: String,
}

/// Invites somebody under this user name. An earlier invitation of the same name is no good any more.
///
/// # Errors
/// `user_name_taken`, `invalid_request`.
pub async fn invite(
    ctx: &Ctx,
    by: &StaffId,
    user_name: &str,
    role: Role,
    scope: &StoreScope,
) -> Result<Invited> {
    check_scope(role, scope)?;
    let user_name = normal_user_name(user_name);
    let fits = |c: char| c.is_alphanumeric() || "._-@".contains(c);
    if user_name.is_empty() || !user_name.chars().all(fits) {
        return Err(Failure::invalid("/user_name", "must have letters, digits and . _ - @ only"));
    }
    let now_ms = ctx.clock.now_ms();
    let (token, token_hash) = new_token();
    let invitation = Invitation {
        id: ctx.new_id(),
        user_name,
        role,
        scope: scope.clone(),
        invited_by: by.clone(),
        created_ms: now_ms,
        expires_ms: now_ms + hour_ms(ctx.config.admin.invitation_hours),
    };
    let (new, token_hash, actor) = (&invitation, &token_hash, &Actor::Staff(by.clone()));
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                hold(tx, actor).await?;
                if sql::is_taken(tx, &new.user_name).await? {
                    return Err(Failure::new(&USER_NAME_TAKEN).field("/user_name"));
                }
                sql::invitations::end_for(tx, &new.user_name, now_ms).await?;
                if !sql::invitations::insert(tx, new, token_hash).await? {
                    return Err(Failure::internal("inviting staff", "another invitation is open"));
                }
                let entry = audit::Entry {
                    actor,
                    operation: "inviteStaff",
                    object: new.id.as_str(),
                    before: None::<()>,
                    after: Some(json!({
                        "user_name": new.user_name, "role": new.role, "store_ids": new.scope.stores(),
                    })),
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await?;
    Ok(Invited { invitation, token })
}

/// Invitations that can be accepted, newest first.
///
/// # Errors
/// The database.
pub async fn invitations(
    conn: &mut Conn,
    now_ms: Millis,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Invitation>> {
    let rows = sql::invitations::open(conn, now_ms, after.map_or("~", Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |invitation| invitation.id.to_string()))
}

/// Takes an invitation back.
///
/// # Errors
/// `invitation_not_found` when it was accepted, taken back, or is too old.
pub async fn take_back(ctx: &Ctx, actor: &Actor, id: &StaffInvitationId) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !sql::invitations::end(tx, id, now_ms).await? {
                    return Err(Failure::new(&INVITATION_NOT_FOUND));
                }
                let entry = audit::Entry {
                    actor,
                    operation: "takeBackStaffInvitation",
                    object: id.as_str(),
                    before: Some(json!({ "open": true })),
                    after: Some(json!({ "open": false })),
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await
}

/// Makes the invited person a member, with a name and a password of their own, once. They sign in next.
///
/// # Errors
/// `invitation_not_valid` for whatever is wrong with the token, `password_weak`, `user_name_taken`.
pub async fn accept(ctx: &Ctx, token: &str, name: &str, password: &str) -> Result<Member> {
    let not_valid = || Failure::new(&INVITATION_NOT_VALID).field("/invitation_token");
    let hash = &token_hash(token);
    // Before a hash is made for a token that opens nothing.
    let found = {
        let conn = &mut *ctx.db.reader().await?;
        sql::invitations::open_by_token(conn, hash, ctx.clock.now_ms()).await?.ok_or_else(not_valid)?
    };
    password::check(&found.user_name, password).map_err(|weak| weak.field("/password"))?;
    let name = match name.trim() {
        "" => return Err(Failure::invalid("/name", "must not be blank")),
        name => name.to_owned(),
    };
    let (password_hash, name) = (&password::hash(password).await?, &name);
    let now_ms = ctx.clock.now_ms();
    let id: &StaffId = &ctx.new_id();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                // Behind every change of who is an owner.
                sql::take_guard(tx).await?;
                // Read again: it may have been accepted or taken back while the password was hashed.
                let open = sql::invitations::open_by_token(tx, hash, now_ms).await?.ok_or_else(not_valid)?;
                let is_good = sql::is_active_owner(tx, &open.invited_by).await?;
                if !is_good || !sql::invitations::end(tx, &open.id, now_ms).await? {
                    return Err(not_valid());
                }
                let row = NewStaff {
                    id: id.clone(),
                    user_name: open.user_name,
                    name: name.clone(),
                    password_hash: password_hash.clone(),
                    role: open.role,
                    scope: open.scope,
                    created_ms: now_ms,
                };
                if !sql::insert(tx, &row).await? {
                    return Err(Failure::new(&USER_NAME_TAKEN));
                }
                let new = member(tx, id).await?;
                let entry = audit::Entry {
                    actor: &Actor::Staff(id.clone()),
                    operation: "acceptStaffInvitation",
                    object: id.as_str(),
                    before: Some(json!({ "invitation": open.id, "invited_by": open.invited_by })),
                    after: Some(new.standing()),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(new)
            })
        })
        .await
}
