//! What people do where the payment channel can't end a refund, or did something by itself.

use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use serde_json::json;

use super::dto::{
    Because, ChannelRefundView, DiscrepancyView, ProposalView, RefundNumber, RefundProofInput, UploadedProof,
};
use crate::kernel::{
    Currency, Cursor, DiscrepancyId, Failure, Limit, Money, ProposalId, RefundId, RefundPhotoId, Result,
};
use crate::payments::Channel;
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::proposals::{self, PROPOSAL_NOT_FOUND};
use crate::platform::web::{Answer, Body, Created, List, Picture, PictureBody, Reply, Tag};
use crate::refunds::{self, DISCREPANCY_NOT_FOUND};
use crate::staff::{STORES_LIMITED, StaffAuth};

pub struct RefundsByPeopleApi {
    pub ctx: Ctx,
    pub channel: Channel,
}

impl RefundsByPeopleApi {
    async fn proposal(&self, id: &ProposalId) -> Result<ProposalView> {
        let found = proposals::find(&mut *self.ctx.db.reader().await?, id).await?;
        found.map(ProposalView::from).ok_or_else(|| Failure::new(&PROPOSAL_NOT_FOUND))
    }

    async fn discrepancy(&self, id: &DiscrepancyId) -> Result<DiscrepancyView> {
        let found = refunds::discrepancy(&mut *self.ctx.db.reader().await?, id).await?;
        found.map(DiscrepancyView::from).ok_or_else(|| Failure::new(&DISCREPANCY_NOT_FOUND))
    }
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Refunds")]
impl RefundsByPeopleApi {
    /// Upload a photo of a proof
    ///
    /// The body is the JPEG or PNG itself. It is kept for a day, and longer once a proof names it.
    ///
    /// Errors: `unauthenticated`, `not_a_picture`, `body_too_large`, `too_many_photos`.
    #[oai(path = "/refund-photos", method = "post", operation_id = "uploadRefundProof")]
    async fn upload_photo(&self, auth: StaffAuth, body: PictureBody) -> Reply<Created<UploadedProof>> {
        let id = refunds::upload_photo(&self.ctx, &auth.actor(), &body.0).await?;
        Ok(Created::new(UploadedProof { id }))
    }

    /// A photo of a refund
    ///
    /// Of a customer's request or of a proof. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `photo_not_found`.
    #[oai(path = "/refund-photos/:photo_id", method = "get", operation_id = "getRefundPhotoForStaff")]
    async fn get_photo(&self, auth: StaffAuth, photo_id: Path<RefundPhotoId>) -> Reply<Picture> {
        Ok(refunds::photo_for_staff(&self.ctx, &auth.actor(), &photo_id).await?)
    }

    /// Prove that the money went back
    ///
    /// For a refund that only people can end (MANUAL, ABNORMAL): what was done, and the number of the transfer.
    /// Nothing is settled until another person confirms it. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`, `refund_not_for_people`, `photo_not_found`,
    /// `proposal_open`.
    #[oai(path = "/refunds/:refund_id/proof", method = "post", operation_id = "proposeRefundProof")]
    async fn propose_proof(
        &self,
        auth: StaffAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<RefundProofInput>,
    ) -> Reply<Created<ProposalView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "proposeRefundProof", &key, &json!([refund_id.0, body.raw()]))?;
        let evidence = body.evidence();
        let done = refunds::propose_proof(&self.ctx, &actor, &key, &refund_id, &evidence).await?;
        Ok(Created::of(self.proposal(&done.value).await?, &done))
    }

    /// Propose to give a refund up
    ///
    /// Only where the channel has refused it or proved that it is closed. Once another person confirms it, what
    /// it had reserved is free again and the customer is told. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`, `refund_not_for_people`, `proposal_open`.
    #[oai(path = "/refunds/:refund_id/give-up", method = "post", operation_id = "proposeRefundGiveUp")]
    async fn propose_give_up(
        &self,
        auth: StaffAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<Because>,
    ) -> Reply<Created<ProposalView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "proposeRefundGiveUp", &key, &json!([refund_id.0, body.raw()]))?;
        let done = refunds::propose_give_up(&self.ctx, &actor, &key, &refund_id, &body.reason).await?;
        Ok(Created::of(self.proposal(&done.value).await?, &done))
    }

    /// Look a refund of the channel up
    ///
    /// For a number that the merchant's console shows. What the channel answers is proof: a refund that the
    /// shop did not make is adopted, one of its own is settled. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `stores_limited`, `refund_unknown_at_channel`, `payment_channel_unavailable`.
    #[oai(path = "/refunds/look-up", method = "post", operation_id = "lookUpRefund")]
    async fn look_up(&self, auth: StaffAuth, body: Body<RefundNumber>) -> Reply<Json<ChannelRefundView>> {
        // Of which store it is, only the answer says.
        if !auth.scope().is_all() {
            return Err(Failure::new(&STORES_LIMITED).into());
        }
        let number = &body.out_refund_no;
        let news = refunds::look_up(&self.ctx, &self.channel, &auth.actor(), number).await?;
        Ok(Json(ChannelRefundView {
            state: format!("{:?}", news.state).to_uppercase(),
            amount: news.refund_minor.map(|minor| Money::new(minor, Currency::Cny)),
            out_refund_no: news.out_refund_no,
        }))
    }

    /// List discrepancies
    ///
    /// Money that the channel refunded and that fits no refund here, newest first. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/refund-discrepancies", method = "get", operation_id = "listRefundDiscrepancies")]
    async fn list_discrepancies(
        &self,
        auth: StaffAuth,
        /// True: those that are over, too.
        all: Query<Option<bool>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<DiscrepancyView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let open = !all.0.unwrap_or(false);
        let page = refunds::discrepancies(conn, auth.scope(), open, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, DiscrepancyView::from))
    }

    /// Adopt a discrepancy after all
    ///
    /// Once there is room (a refund that stood in its way is over), what the channel said is looked at again.
    /// Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `discrepancy_not_found`, `discrepancy_not_adoptable`.
    #[oai(
        path = "/refund-discrepancies/:discrepancy_id/adopt",
        method = "post",
        operation_id = "adoptRefundDiscrepancy"
    )]
    async fn adopt_discrepancy(
        &self,
        auth: StaffAuth,
        discrepancy_id: Path<DiscrepancyId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<DiscrepancyView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "adoptRefundDiscrepancy", &key, &discrepancy_id.0)?;
        let done = refunds::adopt_again(&self.ctx, &actor, &key, &discrepancy_id).await?;
        Ok(Answer::of(self.discrepancy(&discrepancy_id).await?, &done))
    }

    /// Close a discrepancy
    ///
    /// Somebody has looked into it; the reason says what was done. Closes its alert and writes an audit row.
    ///
    /// Errors: `unauthenticated`, `discrepancy_not_found`.
    #[oai(
        path = "/refund-discrepancies/:discrepancy_id/close",
        method = "post",
        operation_id = "closeRefundDiscrepancy"
    )]
    async fn close_discrepancy(
        &self,
        auth: StaffAuth,
        discrepancy_id: Path<DiscrepancyId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<Because>,
    ) -> Reply<Answer<DiscrepancyView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "closeRefundDiscrepancy", &key, &json!([discrepancy_id.0, body.raw()]))?;
        let done = refunds::close_discrepancy(&self.ctx, &actor, &key, &discrepancy_id, &body.reason).await?;
        Ok(Answer::of(self.discrepancy(&discrepancy_id).await?, &done))
    }
}
