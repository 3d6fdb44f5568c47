//! The customer's order page.

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::detail::{self, OrderDetail};
use super::pickup;
use crate::identity::UserAuth;
use crate::kernel::OrderId;
use crate::platform::ctx::Ctx;
use crate::platform::web::{Picture, Reply, Tag};

pub struct OrderViewsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Orders")]
impl OrderViewsApi {
    /// One of my orders
    ///
    /// The order with its timeline, attempts to pay, refunds, parcels, and where it is fetched. `actions` says what can be done
    /// with it now, and why not the rest. Changes nothing.
    ///
    /// Errors: `order_not_found`.
    #[oai(path = "/orders/:order_id", method = "get", operation_id = "getOrder")]
    async fn get_order(&self, auth: UserAuth, order_id: Path<OrderId>) -> Reply<Json<OrderDetail>> {
        Ok(Json(detail::detail(&self.ctx, &auth.0.user_id, &order_id).await?))
    }

    /// The code that I show in the store, as a picture
    ///
    /// A QR code (JPEG) of the pickup code, from payment until the order has ended. Changes nothing.
    ///
    /// Errors: `order_not_found`.
    #[oai(path = "/orders/:order_id/pickup-qr", method = "get", operation_id = "getPickupQr")]
    async fn get_pickup_qr(&self, auth: UserAuth, order_id: Path<OrderId>) -> Reply<Picture> {
        Ok(Picture::secret(pickup::pickup_qr(&self.ctx, &auth.0.user_id, &order_id).await?))
    }

    /// One of my orders, by the number of its payment
    ///
    /// For the way back from WeChat's order centre, which knows only the `out_trade_no`. Changes nothing.
    ///
    /// Errors: `order_not_found`.
    #[oai(path = "/orders/by-payment/:out_trade_no", method = "get", operation_id = "getOrderByPayment")]
    async fn get_order_by_payment(
        &self,
        auth: UserAuth,
        /// `out_trade_no` of a payment attempt.
        #[oai(validator(min_length = 1, max_length = 32))]
        out_trade_no: Path<String>,
    ) -> Reply<Json<OrderDetail>> {
        Ok(Json(detail::detail_by_payment(&self.ctx, &auth.0.user_id, &out_trade_no).await?))
    }
}
