//! (placeholder)
use crate::identity::UserAuth;
use crate::kernel::{Failure, OrderId};
use crate::platform::ctx::Ctx;
use crate::platform::web::Reply;
pub const CODES: &[&crate::kernel::Code] = &[];
pub struct OrderViewsApi {
    pub ctx: Ctx,
}
#[poem_openapi::OpenApi(prefix_path = "/api/v1")]
impl OrderViewsApi {
    #[oai(path = "/orders/:order_id", method = "get")]
    async fn p(
        &self,
        auth: UserAuth,
        order_id: poem_openapi::param::Path<OrderId>,
    ) -> Reply<poem_openapi::payload::Json<crate::orders::OrderView>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let order = crate::orders::find_owned(conn, &order_id, &auth.0.user_id)
            .await?
            .ok_or_else(|| Failure::new(&crate::orders::ORDER_NOT_FOUND))?;
        let lines = crate::orders::find_lines(conn, &order_id).await?;
        Ok(poem_openapi::payload::Json(crate::orders::order_view(&self.ctx, &order, &lines)?))
    }
}
