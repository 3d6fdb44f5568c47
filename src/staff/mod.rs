//! Staff: the people who manage the shop, and how they sign in.
//!
//! Owns the tables `staff`, `staff_stores`, `staff_guard`, `staff_sessions`, `staff_invitations` and
//! `sign_in_tries`; publishes no event. Invariants: a session is of a member that exists; there is always an
//! owner who may sign in, and no owner's stores are limited; a password is stored only as its argon2id hash, a
//! token only as its hash.

mod attempts;
mod auth;
mod change_password;
mod first;
mod gate;
mod invitations;
mod members;
mod password;
mod reset_password;
pub mod roles;
mod scope;
mod sessions;
mod sign_in;
mod sign_out;
mod sql;

pub use attempts::sweep;
pub use auth::StaffAuth;
pub use change_password::change_password;
pub use first::{FirstAccount, ensure_first};
pub use gate::{Gate, InScope, Operation};
pub use invitations::{Invitation, Invited, accept, invitations, invite, take_back};
pub use members::{Member, STORES_MAX, change_role, disable, enable, member, members};
pub use reset_password::reset_password;
pub use scope::StoreScope;
pub use sessions::{EndReason, Session, end_own_session, end_session, end_sessions, sessions};
pub use sign_in::{Device, SignedIn, sign_in};
pub use sign_out::sign_out;
pub use sql::names;
pub use sql::sessions::member_of_session;

use crate::kernel::{Actor, Result, StaffId, StaffSessionId, codes, text_enum};
use crate::platform::db::Conn;

codes! {
    SIGN_IN_FAILED: 401 "sign_in_failed" "User name or password is wrong.";
    SIGN_IN_TOO_OFTEN: 429 "sign_in_too_often" "Too many failed tries. Wait for `Retry-After` seconds, or sign in from a device that was signed in before.";
    CURRENT_PASSWORD_WRONG: 403 "current_password_wrong" "The current password is wrong.";
    ROLE_NOT_ALLOWED: 403 "role_not_allowed" "Your role does not allow this. The operation's description says which roles may call it.";
    STORES_LIMITED: 403 "stores_limited" "This is of the whole shop, and your account is limited to some stores.";
    STAFF_NOT_FOUND: 404 "staff_not_found" "There is no such member.";
    LAST_OWNER: 409 "last_owner" "The shop needs an owner who can sign in, and there is no other. Make somebody else an owner first.";
    USER_NAME_TAKEN: 409 "user_name_taken" "Another member has this user name.";
    INVITATION_NOT_VALID: 404 "invitation_not_valid" "This invitation does not exist, was used or taken back, or is too old. Ask for a new one.";
    INVITATION_NOT_FOUND: 404 "invitation_not_found" "There is no such invitation that can still be accepted.";
    SESSION_NOT_FOUND: 404 "staff_session_not_found" "No device is signed in under this id.";
    PASSWORD_WEAK: 400 "password_weak" "Choose a password of 10 to 128 characters that is not easy to guess.";
}

text_enum! {
    /// What somebody does in the shop.
    pub enum Role {
        Owner = "OWNER",
        Manager = "MANAGER",
        Clerk = "CLERK",
        Finance = "FINANCE",
        Viewer = "VIEWER",
    }
}

/// A staff member who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffMember {
    pub id: StaffId,
    pub user_name: String,
    pub name: String,
    pub role: Role,
    /// The stores that the member is there for.
    pub scope: StoreScope,
    /// The device that the request came from.
    pub session_id: StaffSessionId,
}

impl StaffMember {
    pub fn actor(&self) -> Actor {
        Actor::Staff(self.id.clone())
    }
}

/// User names are the same in any case: `Admin` signs in as `admin`.
fn normal_user_name(text: &str) -> String {
    text.trim().to_lowercase()
}

/// What must be true of the rows here: rule and violations, at most 20 each.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    Ok(vec![
        ("a staff session is of a member that exists", sql::sessions::without_member(conn).await?),
        ("there is an owner who may sign in", sql::without_owner(conn).await?),
        ("the stores of an owner are not limited", sql::limited_owners(conn).await?),
    ])
}
