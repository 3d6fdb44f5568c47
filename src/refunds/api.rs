//! The customer's operations on refunds.

use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use super::amounts::{Wanted, What};
use super::request::{self, Wish};
use super::view::{RefundView, refund_view, refund_views};
use super::{REFUND_NOT_FOUND, RefundReason, decide, photos, returns, sql};
use crate::identity::UserAuth;
use crate::kernel::{Failure, OrderId, OrderLineId, RefundId, RefundPhotoId, Result};
use crate::orders::{self, ORDER_NOT_FOUND};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, List, Picture, PictureBody, Reply, Tag};

/// Units of one line.
#[derive(Debug, Clone, Object)]
pub struct RefundLineInput {
    pub line_id: OrderLineId,
    #[oai(validator(minimum(value = "1"), maximum(value = "999")))]
    pub quantity: i64,
}

/// What is to be refunded, and why: a reason of the list, words of one's own, or both.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundInput {
    /// Absent: everything that is left.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub lines: Option<Vec<RefundLineInput>>,
    /// OTHER unless told.
    pub reason_code: Option<RefundReason>,
    /// Needed with OTHER.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: Option<String>,
    /// Ids of photos that were uploaded with `uploadRefundPhoto`, up to 6.
    #[oai(validator(max_items = 6, unique_items))]
    pub photos: Option<Vec<RefundPhotoId>>,
}

impl Example for RefundInput {
    fn example() -> Self {
        Self {
            lines: None,
            reason_code: Some(RefundReason::ChangedMind),
            reason: Some("不想要了".to_owned()),
            photos: None,
        }
    }
}

impl RefundInput {
    fn parse(self) -> Result<Wish> {
        let units =
            |line: RefundLineInput| Wanted { line_id: line.line_id, what: What::Units(line.quantity) };
        let reason_code = self.reason_code.unwrap_or(RefundReason::Other);
        let reason = self.reason.map(|text| text.trim().to_owned()).unwrap_or_default();
        if reason_code == RefundReason::Other && reason.is_empty() {
            return Err(Failure::invalid("/reason", "is required where no reason of the list is chosen"));
        }
        Ok(Wish {
            lines: self.lines.map(|lines| lines.into_iter().map(units).collect()),
            reason_code,
            reason,
            photos: self.photos.unwrap_or_default(),
        })
    }
}

/// Where the goods are that were sent back.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ReturnInput {
    /// The name of the carrier.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub carrier: String,
    #[oai(validator(min_length = 1, max_length = 64))]
    pub tracking_no: String,
}

impl Example for ReturnInput {
    fn example() -> Self {
        Self { carrier: "顺丰速运".to_owned(), tracking_no: "SF1234567890123".to_owned() }
    }
}

/// A reason of the list.
#[derive(Debug, Object)]
pub struct RefundReasonView {
    pub code: RefundReason,
    /// What the customer reads.
    pub text: String,
}

/// A photo that was uploaded.
#[derive(Debug, Object)]
pub struct UploadedPhoto {
    pub id: RefundPhotoId,
}

pub struct RefundsApi {
    pub ctx: Ctx,
}

impl RefundsApi {
    async fn view(&self, id: &RefundId) -> Result<RefundView> {
        let conn = &mut *self.ctx.db.reader().await?;
        let refund = sql::by_id(conn, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
        let lines = sql::find_lines(conn, id).await?;
        Ok(refund_view(refund, &lines))
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Refunds")]
impl RefundsApi {
    /// List the reasons for a refund
    ///
    /// What a customer can choose from. Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/refund-reasons", method = "get", operation_id = "listRefundReasons")]
    async fn list_reasons(&self, _auth: UserAuth) -> Reply<Json<List<RefundReasonView>>> {
        let reason = |code: &RefundReason| RefundReasonView { code: *code, text: code.text().to_owned() };
        Ok(List::whole(RefundReason::ALL.iter().map(reason).collect()))
    }

    /// Upload a photo for a refund
    ///
    /// The body is the JPEG or PNG itself. It is kept for a day, and longer once a request names it. Only its
    /// owner and staff can see it.
    ///
    /// Errors: `not_a_picture`, `body_too_large`, `too_many_photos`.
    #[oai(path = "/refund-photos", method = "post", operation_id = "uploadRefundPhoto")]
    async fn upload_photo(&self, auth: UserAuth, body: PictureBody) -> Reply<Created<UploadedPhoto>> {
        let id = photos::upload(&self.ctx, &auth.actor(), &body.0).await?;
        Ok(Created::new(UploadedPhoto { id }))
    }

    /// A photo of mine
    ///
    /// Changes nothing.
    ///
    /// Errors: `photo_not_found`.
    #[oai(path = "/refund-photos/:photo_id", method = "get", operation_id = "getRefundPhoto")]
    async fn get_photo(&self, auth: UserAuth, photo_id: Path<RefundPhotoId>) -> Reply<Picture> {
        Ok(photos::photo_of(&self.ctx, &auth.0.user_id, &photo_id).await?)
    }

    /// Ask for a refund
    ///
    /// Reserves the units and their money. Where nothing is shipped yet it is approved at once, unless the
    /// shop is configured otherwise; freight goes back with the last unit.
    ///
    /// Errors: `order_not_found`, `order_not_paid`, `order_not_refundable`, `quantity_not_refundable`,
    /// `refund_exceeds_paid`, `photo_not_found`.
    #[oai(path = "/orders/:order_id/refunds", method = "post", operation_id = "requestRefund")]
    async fn request_refund(
        &self,
        auth: UserAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<RefundInput>,
    ) -> Reply<Created<RefundView>> {
        let key = Key::new(&auth.actor(), "requestRefund", &key, &json!([order_id.0, body.raw()]))?;
        let wish = body.into_inner().parse()?;
        let done = request::request(&self.ctx, &auth.0.user_id, &key, &order_id, &wish).await?;
        Ok(Created::of(self.view(&done.value.refund_id).await?, &done))
    }

    /// List the refunds of an order
    ///
    /// Oldest first.
    ///
    /// Errors: `order_not_found`.
    #[oai(path = "/orders/:order_id/refunds", method = "get", operation_id = "listRefunds")]
    async fn list_refunds(&self, auth: UserAuth, order_id: Path<OrderId>) -> Reply<Json<List<RefundView>>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let order = orders::find_owned(conn, &order_id, &auth.0.user_id).await?;
        let order = order.ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))?;
        Ok(List::whole(refund_views(conn, &order.id).await?))
    }

    /// Withdraw a refund
    ///
    /// Takes back a request of one's own that was not decided yet; what it had reserved is free again.
    ///
    /// Errors: `refund_not_found`, `refund_not_withdrawable`.
    #[oai(path = "/refunds/:refund_id/withdraw", method = "post", operation_id = "withdrawRefund")]
    async fn withdraw_refund(
        &self,
        auth: UserAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<RefundView>> {
        let key = Key::new(&auth.actor(), "withdrawRefund", &key, &refund_id.0)?;
        let done = decide::withdraw(&self.ctx, &auth.0.user_id, &key, &refund_id).await?;
        Ok(Answer::of(self.view(&refund_id).await?, &done))
    }

    /// Say that the goods are sent back
    ///
    /// For a refund whose goods must come back first (AWAITING_RETURN): with a tracking number the request
    /// does not lapse any more, and the store looks at the goods. Said again, it corrects what was said before.
    ///
    /// Errors: `refund_not_found`, `nothing_to_return`.
    #[oai(path = "/refunds/:refund_id/return", method = "post", operation_id = "reportReturn")]
    async fn report_return(
        &self,
        auth: UserAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<ReturnInput>,
    ) -> Reply<Answer<RefundView>> {
        let key = Key::new(&auth.actor(), "reportReturn", &key, &json!([refund_id.0, body.raw()]))?;
        let (user, carrier, number) = (&auth.0.user_id, body.carrier.trim(), body.tracking_no.trim());
        let done = returns::report_sent(&self.ctx, user, &key, &refund_id, carrier, number).await?;
        Ok(Answer::of(self.view(&refund_id).await?, &done))
    }
}
