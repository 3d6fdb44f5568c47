//! Shipping: parcels, and telling WeChat about them, without which it keeps the money of an order frozen.
//!
//! Owns `parcels`, `parcel_lines` and `shipping_uploads`. Consumes `OrderRestRefunded` (what was shipped is
//! everything now), `OrderCompleted` (what was handed over in a store) and the pushes of WeChat's order management: its settlement completes an order, its
//! reminders become alerts. Invariants: what is in parcels is what its lines say is shipped; an order that
//! was paid through WeChat and is shipped has an accepted upload, one on its way, or an open alert.

mod carriers;
mod invariants;
mod push;
mod ship;
mod sql;
mod upload;
mod view;

pub use carriers::{Carrier, CarriersCache, carriers};
pub use invariants::invariants;
pub use push::{PUSH_NEWS, receive_push, settle_notice, verify_push};
pub use ship::{NewParcel, Shipped, Tracking, ship};
pub use upload::{next_due, subscriptions, tick};
pub use view::{ParcelView, UploadView, parcel_views, upload_view};

use sqlx::FromRow;

use crate::kernel::{Millis, OrderId, OrderLineId, ParcelId, Result, codes, text_enum};
use crate::platform::db::Conn;

codes! {
    CARRIER_UNKNOWN: 400 "carrier_unknown" "WeChat knows no carrier with this id. GET /admin/v1/carriers lists them.";
    CARRIERS_UNAVAILABLE: 503 "carriers_unavailable" "WeChat does not answer with its list of carriers now. Try again in a moment.";
    PARCEL_EXISTS: 409 "parcel_exists" "This order has a parcel with this carrier and tracking number.";
    PUSH_REFUSED: 401 "push_refused" "The push is not signed by WeChat for this mini-program.";
}

/// Name of the store's own courier, as the customer reads it.
const OWN_COURIER: &str = "商家自送";

/// The alert of an upload that WeChat does not accept; its object is the order.
const NOT_UPLOADED: &str = "shipping_not_uploaded";
/// The alert of WeChat's reminder that an order waits for shipping; its object is the order.
const REMINDED: &str = "shipping_reminder";

text_enum! {
    /// How far an upload of shipping information is.
    pub enum UploadState {
        /// To be uploaded, or waiting until there is something to say.
        Pending = "PENDING",
        Accepted = "ACCEPTED",
        /// WeChat had it before, from its own console.
        ShippedBefore = "SHIPPED_BEFORE",
        /// All money is refunded: there is nothing to unfreeze.
        NotNeeded = "NOT_NEEDED",
        /// Refused for weeks; an alert is open.
        GivenUp = "GIVEN_UP",
    }
}

/// A parcel.
#[derive(Debug, Clone, FromRow)]
pub struct Parcel {
    pub id: ParcelId,
    /// WeChat's id of the carrier; empty: the store's own courier.
    pub carrier: String,
    pub carrier_name: String,
    /// Empty: the store's own courier.
    pub tracking_no: String,
    pub shipped_ms: Millis,
}

impl Parcel {
    /// Does a carrier bring it, and not the store itself?
    pub fn is_express(&self) -> bool {
        !self.carrier.is_empty()
    }
}

/// Units of a line in a parcel.
#[derive(Debug, Clone, FromRow)]
pub struct ParcelLine {
    pub parcel_id: ParcelId,
    pub line_id: OrderLineId,
    pub quantity: i64,
}

/// One parcel.
///
/// # Errors
/// The database.
pub async fn parcel(conn: &mut Conn, id: &ParcelId) -> Result<Option<Parcel>> {
    sql::find(conn, id).await
}

/// The parcels of an order, oldest first.
///
/// # Errors
/// The database.
pub async fn parcels(conn: &mut Conn, order: &OrderId) -> Result<Vec<Parcel>> {
    sql::of_order(conn, order).await
}
