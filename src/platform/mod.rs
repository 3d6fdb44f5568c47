//! What every feature stands on: database, kv, bus, cache, web. No rule of the shop lives here.

pub mod crypto;
