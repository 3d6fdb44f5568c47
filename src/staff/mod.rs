//! Staff: the people who manage the shop, and how they sign in.
//!
//! Owns the tables `staff`, `staff_stores` and `staff_sessions`; publishes no event. Invariants: a session
//! is of a member that exists; a password is stored only as its argon2id hash, a token only as its hash.

mod attempts;
mod auth;
mod change_password;
mod first;
mod gate;
mod password;
pub mod roles;
mod scope;
mod sign_in;
mod sign_out;
mod sql;

pub use attempts::Attempts;
pub use auth::StaffAuth;
pub use change_password::change_password;
pub use first::{FirstAccount, ensure_first};
pub use gate::{Gate, InScope, Operation};
pub use scope::StoreScope;
pub use sign_in::{SignedIn, sign_in};
pub use sign_out::sign_out;
pub use sql::{member_of_session, names};

use crate::kernel::{Actor, Result, StaffId, StaffSessionId, codes, text_enum};
use crate::platform::db::Conn;

codes! {
    SIGN_IN_FAILED: 401 "sign_in_failed" "User name or password is wrong.";
    SIGN_IN_TOO_OFTEN: 429 "sign_in_too_often" "Too many failed tries for this user name. Wait for `Retry-After` seconds.";
    CURRENT_PASSWORD_WRONG: 403 "current_password_wrong" "The current password is wrong.";
    ROLE_NOT_ALLOWED: 403 "role_not_allowed" "Your role does not allow this. The operation's description says which roles may call it.";
    STORES_LIMITED: 403 "stores_limited" "This is of the whole shop, and your account is limited to some stores.";
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
    Ok(vec![("a staff session is of a member that exists", sql::sessions_without_member(conn).await?)])
}
