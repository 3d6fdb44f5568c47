//! The admin's OpenAPI: no rules, only calls to feature verbs. Every operation takes a staff member.

pub mod catalog;
pub mod coupons;
pub mod feed;
pub mod operations;
pub mod orders;
pub mod payments;
pub mod pickups;
pub mod pricing;
pub mod proposals;
pub mod refunds;
pub mod scope;
pub mod sessions;
pub mod shipping;
pub mod staff;
pub mod stores;
pub mod users;
