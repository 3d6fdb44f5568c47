//! Stores: the online store and the physical ones, where they are and when they are open.
//!
//! Tables: `stores`, `store_versions`. Publishes `StoreChanged` (broadcast).
//!
//! The versions of all stores come from one sequence, bumped in the transaction of every write: a store's
//! version is what an edit must name, and the newest version of all is the version of the whole list. No
//! store is ever deleted (orders point at it); it is paused.
//!
//! Reads of the app go through [`Stores`]: this process → kv → database. Decisions (quotes, orders) read
//! the row by [`find`] in their own transaction.

mod add;
mod api;
mod directory;
mod edit;
mod handle;
mod hours;
mod list;
mod location;
mod qr_code;
mod sql;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use add::{NewStore, add, create};
pub use api::StoresApi;
pub use edit::{Pause, edit, set_paused};
pub use handle::{Stores, on_store_changed};
pub use hours::{Day, OpenException, OpenHours, OpenRange, OpenState, TimeOfDay, Weekday, WeeklyRange};
pub use list::StoreQuery;
pub use location::Location;
pub use qr_code::qr_code;
pub use view::StoreView;

use crate::kernel::{Currency, Cursor, Failure, Id, Limit, Millis, Page, Result, StoreId, codes, text_enum};
use crate::platform::db::Conn;
use crate::staff::StoreScope;

codes! {
    STORE_NOT_FOUND: 404 "store_not_found" "There is no such store.";
    VERSION_CONFLICT: 409 "version_conflict" "Somebody changed it meanwhile. Read it again and repeat the edit with its `version`.";
    SCENE_TAKEN: 409 "scene_taken" "Another store has this scene code.";
    TOO_MANY_STORES: 409 "too_many_stores" "This deployment has as many stores as it can list.";
    QR_CODE_REFUSED: 409 "qr_code_refused" "WeChat refused to draw the code; `errcode` is its reason. 41030: the page of the mini-program is not published yet.";
    QR_CODE_UNAVAILABLE: 503 "qr_code_unavailable" "WeChat does not answer now. Try again in a moment.";
}

/// Stores of one deployment: they are read and kept as one list.
pub const STORES_MAX: usize = 2_000;
/// The largest freight, and the largest goods total that makes it free, minor units.
const FREIGHT_MAX_MINOR: i64 = 100_000_000;
/// The longest scene that a WeChat code can carry.
const SCENE_CHARS_MAX: usize = 32;

text_enum! {
    pub enum StoreKind {
        /// Sells to wherever parcels go.
        Online = "ONLINE",
        /// A shop to walk into.
        Physical = "PHYSICAL",
    }
}

/// What staff can change about a store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreDetails {
    pub name: String,
    pub phone: String,
    pub province: String,
    pub city: String,
    pub district: String,
    pub address: String,
    /// Degrees, WGS-84 or GCJ-02 like the client's: both sides use what `wx.getLocation` was asked for.
    pub lat: f64,
    pub lng: f64,
    /// A name of the IANA database.
    pub time_zone: String,
    pub hours: OpenHours,
    pub freight_minor: i64,
    /// Freight is free from this goods total on, discounts taken off.
    pub free_freight_from_minor: Option<i64>,
    /// What its QR code carries.
    pub scene: String,
    pub image: Option<String>,
}

/// A store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Store {
    pub id: StoreId,
    pub kind: StoreKind,
    /// Of all its prices; fixed, because prices hang on it.
    pub currency: Currency,
    #[serde(flatten)]
    pub details: StoreDetails,
    /// Shown, but takes no orders; [`Store::is_paused_at`] says whether that is still so.
    pub paused: bool,
    /// When the pause ends by itself; none: not before somebody ends it.
    #[serde(default)]
    pub paused_until_ms: Option<Millis>,
    /// Of the one sequence that all stores share.
    pub version: i64,
    pub created_ms: Millis,
}

impl std::ops::Deref for Store {
    type Target = StoreDetails;
    fn deref(&self) -> &StoreDetails {
        &self.details
    }
}

impl Store {
    /// Does it take no orders at this moment?
    pub fn is_paused_at(&self, now_ms: Millis) -> bool {
        self.paused && self.paused_until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }

    /// Open or closed, by its hours in its time zone. A paused store is closed until its pause ends.
    pub fn state_at(&self, now_ms: Millis) -> OpenState {
        let closed = OpenState { open: false, changes_ms: None };
        let Ok(zone) = TimeZone::get(&self.time_zone) else { return closed };
        if !self.is_paused_at(now_ms) {
            return self.hours.state_at(&zone, now_ms);
        }
        let Some(until_ms) = self.paused_until_ms else { return closed };
        match self.hours.state_at(&zone, until_ms) {
            OpenState { open: true, .. } => OpenState { open: false, changes_ms: Some(until_ms) },
            shut => shut,
        }
    }

    pub fn is_open_at(&self, now_ms: Millis) -> bool {
        self.state_at(now_ms).open
    }

    /// When it opens or closes next, within 60 days.
    pub fn next_change(&self, now_ms: Millis) -> Option<Millis> {
        self.state_at(now_ms).changes_ms
    }

    /// Province, city, district and street in one line.
    pub fn whole_address(&self) -> String {
        format!("{}{}{}{}", self.province, self.city, self.district, self.address)
    }

    pub fn location(&self) -> Location {
        Location { lat: self.lat, lng: self.lng }
    }
}

impl StoreDetails {
    /// # Errors
    /// The first field that can't be, as a JSON pointer.
    pub fn check(&self) -> Result<()> {
        let texts = [
            ("/name", &self.name, 64),
            ("/phone", &self.phone, 32),
            ("/province", &self.province, 32),
            ("/city", &self.city, 32),
            ("/district", &self.district, 32),
            ("/address", &self.address, 200),
        ];
        for (field, text, max) in texts {
            if text.trim().is_empty() || text.chars().count() > max {
                return Err(Failure::invalid(field, format!("must have 1 to {max} characters")));
            }
        }
        Location::new(self.lat, self.lng, "/")?;
        if self.time_zone.len() > 64 || TimeZone::get(&self.time_zone).is_err() {
            return Err(Failure::invalid("/time_zone", "must be a time zone like Asia/Shanghai"));
        }
        self.hours.check()?;
        if !(0..=FREIGHT_MAX_MINOR).contains(&self.freight_minor) {
            return Err(Failure::invalid(
                "/freight/amount",
                format!("must be from 0 to {FREIGHT_MAX_MINOR}"),
            ));
        }
        if self.free_freight_from_minor.is_some_and(|minor| !(1..=FREIGHT_MAX_MINOR).contains(&minor)) {
            let why = format!("must be from 1 to {FREIGHT_MAX_MINOR}");
            return Err(Failure::invalid("/free_freight_from/amount", why));
        }
        if !is_scene(&self.scene) {
            return Err(Failure::invalid("/scene", "must have 1 to 32 of the characters that WeChat allows"));
        }
        match &self.image {
            Some(url) if !url.starts_with("https://") || url.len() > 500 => {
                Err(Failure::invalid("/image", "must be an https URL of at most 500 characters"))
            }
            _ => Ok(()),
        }
    }
}

/// 1 to 32 of the characters that `getwxacodeunlimit` takes.
fn is_scene(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&'()*+,/:;=?@-._~".contains(&b);
    (1..=SCENE_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// The row, for decisions: not from a cache.
///
/// # Errors
/// The database.
pub async fn find(conn: &mut Conn, id: &StoreId) -> Result<Option<Store>> {
    sql::find(conn, id).await
}

/// The stores that a member is there for, in the order in which they were added.
///
/// # Errors
/// The database.
pub async fn list(
    conn: &mut Conn,
    scope: &StoreScope,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Store>> {
    let rows = sql::after_in(conn, scope, after.map_or("", Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |store| store.id.to_string()))
}

fn not_found(id: &StoreId) -> Failure {
    Failure::new(&STORE_NOT_FOUND).with("store_id", id.as_str().into())
}

/// The physical store of the demo data that the examples of the API name.
pub(crate) fn example_store() -> StoreId {
    StoreId::from_tail("00000000000000000000000002")
}

/// The scene of [`example_store`].
pub(crate) const EXAMPLE_SCENE: &str = "hz-wulin";
