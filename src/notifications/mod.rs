//! (placeholder)
use crate::kernel::{Code, Millis, Result};
use crate::platform::bus::Subscription;
use crate::platform::ctx::Ctx;
use crate::wechat::mini::Mini;
pub const CODES: &[&Code] = &[];
pub fn subscriptions(_: &Mini) -> Vec<Subscription> {
    Vec::new()
}
pub async fn tick(_: &Ctx, _: &Mini) -> Result<usize> {
    Ok(0)
}
pub async fn next_due(_: &Ctx) -> Result<Option<Millis>> {
    Ok(None)
}
pub struct NotificationsApi {
    pub ctx: Ctx,
}
#[poem_openapi::OpenApi(prefix_path = "/api/v1")]
impl NotificationsApi {
    #[oai(path = "/placeholder-n", method = "get")]
    async fn p(&self) {}
}
