//! What the operations on staff take and answer.

use poem_openapi::Object;
use poem_openapi::types::{Example, Password};

use crate::kernel::{StaffId, StaffInvitationId, StoreId, rfc3339};
use crate::staff::{Invitation, Invited, Member, Role, StoreScope};
use crate::stores::example_store;

/// A member as owners see them.
#[derive(Object)]
#[oai(rename = "StaffMember")]
pub struct MemberView {
    pub id: StaffId,
    pub user_name: String,
    pub name: String,
    pub role: Role,
    /// The stores that the member is there for; absent: all of them.
    #[oai(skip_serializing_if_is_none)]
    pub store_ids: Option<Vec<StoreId>>,
    pub joined_at: String,
    /// When the member last signed in.
    #[oai(skip_serializing_if_is_none)]
    pub signed_in_at: Option<String>,
    /// May not sign in since then.
    #[oai(skip_serializing_if_is_none)]
    pub disabled_at: Option<String>,
}

fn store_ids(scope: &StoreScope) -> Option<Vec<StoreId>> {
    scope.stores().map(|stores| stores.iter().cloned().collect())
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            store_ids: store_ids(&member.scope),
            id: member.id,
            user_name: member.user_name,
            name: member.name,
            role: member.role,
            joined_at: rfc3339(member.created_ms),
            signed_in_at: member.signed_in_ms.map(rfc3339),
            disabled_at: member.disabled_ms.map(rfc3339),
        }
    }
}

/// A role, and the stores that it is for.
#[derive(Object)]
#[oai(example)]
pub struct RoleChange {
    pub role: Role,
    /// The only stores whose orders, refunds and stock the member sees and handles; absent: all of them.
    #[oai(validator(min_items = 1, max_items = 50, unique_items))]
    pub store_ids: Option<Vec<StoreId>>,
}

impl Example for RoleChange {
    fn example() -> Self {
        Self { role: Role::Manager, store_ids: Some(vec![example_store()]) }
    }
}

/// Why a member may not sign in any more, or again.
#[derive(Object)]
#[oai(example)]
pub struct StandingChange {
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for StandingChange {
    fn example() -> Self {
        Self { reason: "离职".to_owned() }
    }
}

/// Who is invited, and to what.
#[derive(Object)]
#[oai(example)]
pub struct InviteStaff {
    /// What the person will sign in with: letters, digits and `. _ - @`; upper and lower case are the same.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub user_name: String,
    pub role: Role,
    /// The only stores whose orders, refunds and stock the member will see and handle; absent: all of them.
    #[oai(validator(min_items = 1, max_items = 50, unique_items))]
    pub store_ids: Option<Vec<StoreId>>,
}

impl Example for InviteStaff {
    fn example() -> Self {
        Self { user_name: "xiaoman".to_owned(), role: Role::Clerk, store_ids: Some(vec![example_store()]) }
    }
}

/// An invitation that can be accepted.
#[derive(Object)]
#[oai(rename = "StaffInvitation")]
pub struct InvitationView {
    pub id: StaffInvitationId,
    pub user_name: String,
    pub role: Role,
    #[oai(skip_serializing_if_is_none)]
    pub store_ids: Option<Vec<StoreId>>,
    pub invited_by: StaffId,
    pub invited_at: String,
    pub expires_at: String,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            store_ids: store_ids(&invitation.scope),
            id: invitation.id,
            user_name: invitation.user_name,
            role: invitation.role,
            invited_by: invitation.invited_by,
            invited_at: rfc3339(invitation.created_ms),
            expires_at: rfc3339(invitation.expires_ms),
        }
    }
}

/// A fresh invitation with what opens it.
#[derive(Object)]
#[oai(rename = "FreshStaffInvitation")]
pub struct InvitedView {
    #[oai(flatten)]
    pub invitation: InvitationView,
    /// Opens the invitation once. It is told only here.
    pub invitation_token: String,
    /// A page of this server that takes name and password. The token stands behind `#`, so no server logs it.
    pub link: String,
}

impl InvitedView {
    pub fn of(invited: Invited, public_url: &str) -> Self {
        let link = format!("{}/docs/join#{}", public_url.trim_end_matches('/'), invited.token);
        Self { invitation: invited.invitation.into(), invitation_token: invited.token, link }
    }
}

/// The token of an invitation, and who the person is.
#[derive(Object)]
#[oai(example)]
pub struct AcceptInvitation {
    /// Of the link.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub invitation_token: Password,
    /// How colleagues know the person.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub name: String,
    /// 10 to 128 characters, not made of the user name, and none of the usual ones.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub password: Password,
}

impl Example for AcceptInvitation {
    fn example() -> Self {
        Self {
            invitation_token: Password("the invitation_token of POST /staff-invitations".to_owned()),
            name: "林小满".to_owned(),
            password: Password("osmanthus in october".to_owned()),
        }
    }
}
