//! (placeholder)
use crate::platform::ctx::Ctx;
pub struct AdminRefundsApi {
    pub ctx: Ctx,
}
#[poem_openapi::OpenApi(prefix_path = "/admin/v1")]
impl AdminRefundsApi {
    #[oai(path = "/p2", method = "get")]
    async fn p(&self) {}
}
