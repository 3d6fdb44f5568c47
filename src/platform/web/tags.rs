//! The groups of operations in the OpenAPI documents.

use poem_openapi::Tags;

#[derive(Tags)]
pub enum Tag {
    /// Signing in and out.
    Sessions,
    /// The signed-in person.
    Me,
    /// The people who manage the shop: invitations, roles, stores, devices.
    Staff,
    Stores,
    /// Products and what a store sells.
    Products,
    Cart,
    Addresses,
    /// From a quote to the finished order.
    Orders,
    /// Parcels, and what WeChat is told about them.
    Shipping,
    /// Goods that are fetched in a store or carried out of it.
    Pickups,
    Payments,
    Refunds,
    Coupons,
    /// Customers as staff sees them.
    Users,
    /// Subscribe messages and notices in the app.
    Messages,
    /// What the people who run the shop look at.
    Operations,
    /// Calls from WeChat; their signature is the authority.
    Callbacks,
}
