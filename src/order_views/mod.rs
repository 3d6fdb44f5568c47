//! What an order's page shows: the order, what happened to it, attempts to pay, refunds, parcels. Reads
//! only, owns no table: the customer sees their own order in their own words, staff sees everything.

mod api;
mod detail;
mod people;
mod pickup;
mod search;
mod timeline;

pub use api::OrderViewsApi;
pub use detail::{
    OrderDetail, StaffActions, StaffOrder, StaffOrderDetail, staff_detail, staff_move, staff_order,
};
pub use people::{PersonDetail, PersonView, people, person_detail, reveal_phone};
pub use pickup::{PickupPreview, PickupView, pickup_preview, pickup_qr};
pub use search::{Wanted, staff_list};
pub use timeline::{StaffTimelineEntry, TimelineEntry};

use crate::kernel::Code;

/// It answers the codes of what it shows.
pub const CODES: &[&Code] = &[];
