//! minimall: the backend for WeChat mini-program shops.

pub mod kernel;
pub mod platform;
pub mod sandbox;
