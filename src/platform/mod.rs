//! What every feature stands on: database, kv, bus, cache, web. No rule of the shop lives here.

pub mod alerts;
pub mod audit;
pub mod bus;
pub mod cache;
pub mod caches;
pub mod crypto;
pub mod ctx;
pub mod db;
pub mod idempotency;
pub mod inbox;
pub mod kv;
pub mod patience;
pub mod proposals;
pub mod secrets;
#[cfg(test)]
pub(crate) mod test_db;
pub mod web;
pub mod worker;
