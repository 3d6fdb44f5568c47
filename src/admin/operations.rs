//! (placeholder)
use crate::platform::ctx::Ctx;
pub struct OperationsApi {
    pub ctx: Ctx,
}
#[poem_openapi::OpenApi(prefix_path = "/admin/v1")]
impl OperationsApi {
    #[oai(path = "/p3", method = "get")]
    async fn p(&self) {}
}
