//! What takes two people: one proposes, another confirms or declines.

use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use serde_json::json;

use super::refunds::{Because, ProposalView};
use crate::kernel::{Cursor, Failure, Limit, OrderId, ProposalId, Result};
use crate::payments;
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::proposals::{self, PROPOSAL_NOT_FOUND, Proposal, ProposalKind, ProposalState};
use crate::platform::web::{Answer, Body, Created, List, Reply, Tag};
use crate::refunds;
use crate::staff::StaffAuth;

pub struct ProposalsApi {
    pub ctx: Ctx,
}

impl ProposalsApi {
    async fn find(&self, id: &ProposalId) -> Result<Proposal> {
        let found = proposals::find(&mut *self.ctx.db.reader().await?, id).await?;
        found.ok_or_else(|| Failure::new(&PROPOSAL_NOT_FOUND))
    }
}

#[OpenApi(prefix_path = "/admin/v1")]
impl ProposalsApi {
    /// List proposals
    ///
    /// What waits for a second person, newest first. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/proposals", method = "get", operation_id = "listProposals", tag = "Tag::Operations")]
    async fn list(
        &self,
        auth: StaffAuth,
        /// OPEN unless told.
        state: Query<Option<ProposalState>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<ProposalView>>> {
        let limit = Limit::parse(limit.0)?;
        let state = state.0.unwrap_or(ProposalState::Open);
        let conn = &mut *self.ctx.db.reader().await?;
        let page = proposals::list(conn, auth.scope().stores(), state, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, ProposalView::from))
    }

    /// Propose to close an unanswered order
    ///
    /// For an order that is CLOSING a day after its time to pay, because the channel does not answer. Once
    /// another person confirms it, it is closed and everything that it held is released; money that comes all
    /// the same goes back in full. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `order_not_unanswered`, `proposal_open`.
    #[oai(
        path = "/orders/:order_id/close-unanswered",
        method = "post",
        operation_id = "proposeOrderClose",
        tag = "Tag::Orders"
    )]
    async fn propose_close(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<Because>,
    ) -> Reply<Created<ProposalView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "proposeOrderClose", &key, &json!([order_id.0, body.raw()]))?;
        let done = payments::propose_close(&self.ctx, &actor, &key, &order_id, &body.reason).await?;
        Ok(Created::of(self.find(&done.value).await?.into(), &done))
    }

    /// Confirm a proposal
    ///
    /// Somebody else than the one who proposed it. A proof settles its refund, a refund is given up, an order
    /// is closed. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `proposal_not_found`, `proposal_decided`, `second_person_required`,
    /// `refund_not_for_people`, `order_not_unanswered`, `order_changed`.
    #[oai(
        path = "/proposals/:proposal_id/confirm",
        method = "post",
        operation_id = "confirmProposal",
        tag = "Tag::Operations"
    )]
    async fn confirm(
        &self,
        auth: StaffAuth,
        proposal_id: Path<ProposalId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<ProposalView>> {
        let (ctx, actor) = (&self.ctx, auth.actor());
        let key = Key::new(&actor, "confirmProposal", &key, &proposal_id.0)?;
        let done = match self.find(&proposal_id).await?.kind {
            ProposalKind::OrderClose => payments::confirm_close(ctx, &actor, &key, &proposal_id).await?,
            ProposalKind::RefundProof | ProposalKind::RefundGiveUp => {
                refunds::confirm_proposal(ctx, &actor, &key, &proposal_id).await?
            }
        };
        Ok(Answer::of(self.find(&proposal_id).await?.into(), &done))
    }

    /// Decline a proposal
    ///
    /// Nothing comes of it; another one can be made. Whoever proposed it may take it back this way. Writes an
    /// audit row.
    ///
    /// Errors: `unauthenticated`, `proposal_not_found`, `proposal_decided`, `order_changed`.
    #[oai(
        path = "/proposals/:proposal_id/decline",
        method = "post",
        operation_id = "declineProposal",
        tag = "Tag::Operations"
    )]
    async fn decline(
        &self,
        auth: StaffAuth,
        proposal_id: Path<ProposalId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<Because>,
    ) -> Reply<Answer<ProposalView>> {
        let (ctx, actor, reason) = (&self.ctx, auth.actor(), body.reason.as_str());
        let key = Key::new(&actor, "declineProposal", &key, &json!([proposal_id.0, body.raw()]))?;
        let done = match self.find(&proposal_id).await?.kind {
            ProposalKind::OrderClose => {
                payments::decline_close(ctx, &actor, &key, &proposal_id, reason).await?
            }
            ProposalKind::RefundProof | ProposalKind::RefundGiveUp => {
                refunds::decline_proposal(ctx, &actor, &key, &proposal_id, reason).await?
            }
        };
        Ok(Answer::of(self.find(&proposal_id).await?.into(), &done))
    }
}
