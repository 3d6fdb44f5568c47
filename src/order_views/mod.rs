//! What an order's page shows: the order, what happened to it, attempts to pay, refunds, parcels. Reads
//! only, owns no table: the customer sees their own order in their own words, staff sees everything.

mod api;
mod detail;
mod pickup;
mod timeline;

pub use api::OrderViewsApi;
pub use detail::{
    OrderDetail, StaffActions, StaffOrder, StaffOrderDetail, search, staff_detail, staff_list, staff_order,
};
pub use pickup::{PickupPreview, PickupView, pickup_preview, pickup_qr};
pub use timeline::{StaffTimelineEntry, TimelineEntry, for_staff as staff_timeline};

use crate::kernel::Code;

/// It answers the codes of what it shows.
pub const CODES: &[&Code] = &[];
