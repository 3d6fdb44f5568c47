//! The behaviour of minimall over its HTTP API. Each test has a fresh database, a sandbox of its own that
//! plays WeChat over real HTTP, and a clock that moves only by hand.

mod addresses;
mod back_office;
mod barriers;
mod callbacks;
mod cancel;
mod cart;
mod catalog;
mod coupons;
mod database;
mod decisions;
mod docs;
mod failures;
mod input;
mod login;
mod messages;
mod orders;
mod payments;
mod profile;
mod races;
mod refund_channel;
mod refunds;
mod sequences;
mod shipping;
mod staff;
mod stock;
mod stores;
mod support;
