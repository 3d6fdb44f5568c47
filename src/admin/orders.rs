//! (placeholder)
use crate::platform::ctx::Ctx;
pub struct AdminOrdersApi {
    pub ctx: Ctx,
    pub mini: crate::wechat::mini::Mini,
}
#[poem_openapi::OpenApi(prefix_path = "/admin/v1")]
impl AdminOrdersApi {
    #[oai(path = "/p1", method = "get")]
    async fn p(&self) {}
}
