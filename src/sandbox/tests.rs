//! The sandbox over its own HTTP, with a merchant that signs for itself.

mod mini;
mod pay;
mod support;
