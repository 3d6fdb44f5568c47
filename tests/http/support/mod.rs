//! What tests stand on: the app under test, people who use it, and the story's steps in one line each.

mod app;
mod client;
mod story;

pub use app::{ADMIN_PASSWORD, START_MS, TestApp, fresh_config, serve};
pub use client::{Answer, Client, fresh_key};
pub use story::{ONLINE_STORE, SKU, User, sku};
