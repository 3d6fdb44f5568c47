//! Accounts: what a person does with their account as a whole. Its end reaches into every feature, so it lives
//! behind all of them.
//!
//! Owns no table and publishes no event of its own: each feature forgets what it owns, in one transaction.
//! Invariant: a deleted account has nothing open, and nothing tells whose it was.

mod api;
mod delete;
mod invariants;

pub use api::AccountsApi;
pub use delete::delete;
pub use invariants::invariants;

use crate::kernel::codes;

codes! {
    ACCOUNT_IN_USE: 409 "account_in_use" "Something of this account is not over yet: `orders`, `payments`, `refunds` and `shipments` name it. An order is over when its after-sale window has ended.";
}
