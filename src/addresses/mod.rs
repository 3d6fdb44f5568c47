//! Addresses of customers.
//!
//! Owns the tables `address_books` and `addresses`; publishes no event. Invariant: somebody who has addresses
//! has exactly one default. Every change bumps the guard of the person's book first, so changes of one person
//! come one after another and may decide on what they read. Phone numbers are sealed at rest.

mod add;
mod api;
mod change;
mod forget;
mod remove;
mod sql;

pub use add::add;
pub use api::AddressesApi;
pub use change::change;
pub use forget::forget;
pub use remove::remove;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::{self, Phone};
use crate::kernel::{AddressId, Failure, Result, UserId, codes};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};

codes! {
    ADDRESS_NOT_FOUND: 404 "address_not_found" "You have no address with this id.";
    ADDRESS_LIMIT: 409 "address_limit" "An address book holds 50 addresses. Delete one first.";
}

/// Addresses of one person.
pub const ADDRESSES_MAX: usize = 50;

/// Sealing purpose of the recipient's phone number.
const PHONE: &str = "address_phone";

/// Where something goes, and to whom.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub recipient: String,
    pub phone: Phone,
    pub province: String,
    pub city: String,
    pub district: String,
    pub detail: String,
    pub postal_code: Option<String>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who lives where stays out of logs.
        f.debug_struct("Address").field("province", &self.province).finish_non_exhaustive()
    }
}

/// An address in somebody's book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: AddressId,
    pub address: Address,
    pub is_default: bool,
}

/// What somebody writes into their book.
pub struct Draft {
    pub recipient: String,
    /// None, at a change: the number stays.
    pub phone: Option<Phone>,
    pub province: String,
    pub city: String,
    pub district: String,
    pub detail: String,
    pub postal_code: Option<String>,
    /// Makes it the default. False takes nothing away: some other one has to become it.
    pub is_default: bool,
}

/// The person's own address; what belongs to somebody else is not found.
///
/// # Errors
/// The database, or a phone number sealed under another master key.
pub async fn find(conn: &mut Conn, ctx: &Ctx, user: &UserId, id: &AddressId) -> Result<Option<Address>> {
    sql::find(conn, user, id).await?.map(|row| Ok(opened(ctx, row)?.address)).transpose()
}

/// The default address, absent only while the person has none.
///
/// # Errors
/// As [`find`].
pub async fn default_of(conn: &mut Conn, ctx: &Ctx, user: &UserId) -> Result<Option<(AddressId, Address)>> {
    let row = sql::default_of(conn, user).await?;
    row.map(|row| opened(ctx, row).map(|entry| (entry.id, entry.address))).transpose()
}

/// The whole book: the default first, then the newest.
///
/// # Errors
/// As [`find`].
pub async fn list(conn: &mut Conn, ctx: &Ctx, user: &UserId) -> Result<Vec<Entry>> {
    let rows = sql::list(conn, user).await?;
    rows.into_iter().map(|row| opened(ctx, row)).collect()
}

async fn entry(conn: &mut Conn, ctx: &Ctx, user: &UserId, id: &AddressId) -> Result<Entry> {
    let row = sql::find(conn, user, id).await?.ok_or_else(|| Failure::new(&ADDRESS_NOT_FOUND))?;
    opened(ctx, row)
}

fn opened(ctx: &Ctx, row: sql::Row) -> Result<Entry> {
    let phone = Phone::parse(&ctx.secrets.open(PHONE, &row.phone_sealed)?)
        .map_err(|e| Failure::internal("opening the phone number of an address", e))?;
    Ok(Entry {
        id: row.id,
        is_default: row.default_of.is_some(),
        address: Address {
            recipient: row.recipient,
            phone,
            province: row.province,
            city: row.city,
            district: row.district,
            detail: row.detail,
            postal_code: row.postal_code,
        },
    })
}

/// First in every change: one person's changes wait for each other here, and for the end of the account.
async fn guard(tx: &mut Tx<'_>, user: &UserId) -> Result<()> {
    identity::hold(tx, user).await?;
    if sql::bump(tx, user).await? || sql::open_book(tx, user).await? || sql::bump(tx, user).await? {
        return Ok(());
    }
    Err(Failure::internal("changing an address book", "it can be neither opened nor bumped"))
}

/// What must be true of the rows here: rule and violations, at most 20 each.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    Ok(vec![
        ("somebody with addresses has exactly one default", sql::users_without_one_default(conn).await?),
        ("a default address is its owner's", sql::defaults_of_others(conn).await?),
    ])
}
