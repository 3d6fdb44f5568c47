//! The behaviour of minimall over its HTTP API. Each test has a fresh database, a sandbox of its own that
//! plays WeChat over real HTTP, and a clock that moves only by hand.

mod callbacks;
mod cancel;
mod failures;
mod orders;
mod payments;
mod races;
mod refund_channel;
mod refunds;
mod sequences;
mod support;
