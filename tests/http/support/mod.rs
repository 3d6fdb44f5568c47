//! What tests stand on: the app under test, people who use it, and the story's steps in one line each.

mod app;
mod client;
mod databases;
mod gate;
mod money;
mod notice;
mod services;
mod shop_floor;
mod staff;
mod story;

pub use app::{ADMIN_PASSWORD, START_MS, TestApp, fresh_config, serve};
pub use client::{Answer, Client, fresh_key};
pub use databases::{Database, database_server};
pub use money::minor;
pub use notice::{PAYMENT_CALLBACK, REFUND_CALLBACK, paid};
pub use shop_floor::{Clerk, HUBIN, WULIN, money};
pub use story::{ONLINE_STORE, SKU, User, items, sku, text};
