//! minimall: the backend for WeChat mini-program shops.
//!
//! Features are slices: where an order is cancelled is `orders/cancel.rs`. A module imports only from
//! modules above it in this list (a test holds it), so the graph has no cycle; to go the other way it
//! publishes an event.

// The RocketMQ client's futures are nested deeply.
#![recursion_limit = "512"]

pub mod kernel;

pub mod config;

pub mod telemetry;

pub mod events;

pub mod platform;

pub mod sandbox;

pub mod wechat;

pub mod staff;

pub mod identity;

pub mod addresses;

pub mod stores;

pub mod catalog;

pub mod pricing;

pub mod coupons;

pub mod cart;

pub mod orders;

pub mod payments;

pub mod refunds;

pub mod shipping;

pub mod order_views;

pub mod notifications;

pub mod feed;

pub mod accounts;

pub mod admin;

pub mod demo;

pub mod checks;

pub mod routes;

pub mod app;

pub mod doctor;
