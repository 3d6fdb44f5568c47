//! (placeholder)
use crate::kernel::{Code, Millis, Result};
use crate::platform::bus::Subscription;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::inbox::{Notice, Settled};
use crate::wechat::mini::Mini;
use crate::wechat::push::Push;
pub const CODES: &[&Code] = &[];
pub const PUSH_NEWS: &str = "wechat_push";
pub fn subscriptions() -> Vec<Subscription> {
    Vec::new()
}
pub async fn settle_notice(_: &Ctx, _: &Notice) -> Result<Settled> {
    Ok(Settled::Done)
}
pub async fn tick(_: &Ctx, _: &Mini) -> Result<usize> {
    Ok(0)
}
pub async fn next_due(_: &Ctx) -> Result<Option<Millis>> {
    Ok(None)
}
pub async fn invariants(_: &mut Conn, _: Millis) -> Result<Vec<(&'static str, Vec<String>)>> {
    Ok(vec![])
}
pub fn verify_push(_: &Push, _: &poem::Request) -> poem::Response {
    poem::Response::default()
}
pub async fn receive_push(_: &Ctx, _: &Push, _: &poem::Request, _: &mut poem::RequestBody) -> poem::Response {
    poem::Response::default()
}
