//! The behaviour of minimall over its HTTP API. Each test has a fresh database, a sandbox of its own that
//! plays WeChat over real HTTP, and a clock that moves only by hand.

// The futures of a whole program are nested deeply.
#![recursion_limit = "512"]

mod accounts;
mod addresses;
mod back_office;
mod barriers;
mod broken_rows;
mod callbacks;
mod cancel;
mod cart;
mod catalog;
mod corrections;
mod coupons;
mod database;
mod decisions;
mod docs;
mod doctor;
mod failures;
mod feed;
mod finding;
mod in_store;
mod input;
mod keys;
mod login;
mod members;
mod messages;
mod monitoring;
mod operations;
mod orders;
mod payments;
mod photos;
mod pickup;
mod profile;
mod races;
mod redis;
mod refund_channel;
mod refund_external;
mod refund_people;
mod refund_staff;
mod refund_together;
mod refunds;
mod reprice;
mod returns;
mod roles;
mod sequences;
mod shipping;
mod shipping_batches;
mod shop_floor;
mod staff;
mod stock;
mod stores;
mod support;
mod trail;
mod unanswered;
