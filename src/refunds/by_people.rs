//! What only people can end, two of them: a refund whose money went back on another way (proof), and one that
//! is given up. Either is proposed by one person and confirmed by another.

use serde_json::{Value, json};

use super::adopt::is_at_channel;
use super::decide::{self, hold_both};
use super::settle::{self, StaffProof};
use super::sql::{self, Refund};
use super::{NOT_DECIDED_BY_PEOPLE, PHOTO_NOT_FOUND, REFUND_NOT_FOUND, RefundState};
use crate::events::Event;
use crate::kernel::{Actor, Failure, ProposalId, RefundId, RefundPhotoId, Result};
use crate::orders::{self, Order, OrderMove};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::platform::idempotency::{Done, Key};
use crate::platform::proposals::{self, About, PROPOSAL_NOT_FOUND, Proposal, ProposalKind, ProposalState};
use crate::platform::{alerts, audit};

/// What shows that the money of a refund went back.
#[derive(Debug, Clone)]
pub struct StaffEvidence {
    pub text: String,
    /// The bank's or the channel's number of the transfer.
    pub reference: String,
    /// A photo that the same person has uploaded.
    pub photo: Option<RefundPhotoId>,
}

/// One person shows that the money went back; another has to confirm it.
///
/// # Errors
/// `refund_not_found`, `refund_not_for_people`, `photo_not_found`, `proposal_open`.
pub async fn propose_proof(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    evidence: &StaffEvidence,
) -> Result<Done<ProposalId>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            may_be_proved(tx, &refund).await?;
            if let Some(photo) = &evidence.photo
                && !sql::use_photo(tx, photo, actor.id(), id).await?
            {
                return Err(Failure::new(&PHOTO_NOT_FOUND).field("/photo_id"));
            }
            let detail = json!({
                "text": evidence.text, "reference": evidence.reference, "photo": evidence.photo,
                "amount_minor": refund.amount_minor,
            });
            propose(tx, ctx, actor, ProposalKind::RefundProof, &mut order, &refund, detail).await
        })
    })
    .await
}

/// One person wants to give a refund up without money; another has to confirm it.
///
/// # Errors
/// `refund_not_found`, `refund_not_for_people`, `proposal_open`.
pub async fn propose_give_up(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    reason: &str,
) -> Result<Done<ProposalId>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            may_be_given_up(tx, &refund).await?;
            let detail = json!({ "reason": reason, "amount_minor": refund.amount_minor });
            propose(tx, ctx, actor, ProposalKind::RefundGiveUp, &mut order, &refund, detail).await
        })
    })
    .await
}

async fn propose(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    kind: ProposalKind,
    order: &mut Order,
    refund: &Refund,
    detail: Value,
) -> Result<ProposalId> {
    let about = About { object: refund.id.as_str(), store: &order.store_id };
    let id = proposals::propose(tx, ctx, actor, kind, about, &detail).await?;
    let operation = match kind {
        ProposalKind::RefundProof => "proposeRefundProof",
        _ => "proposeRefundGiveUp",
    };
    let row = json!({ "proposal": id, "kind": kind, "refund": refund.id, "detail": detail });
    orders::record(tx, ctx, order, OrderMove::Proposed, actor, row.clone()).await?;
    let entry = audit::Entry {
        actor,
        operation,
        object: refund.id.as_str(),
        before: Some(json!({ "status": refund.status })),
        after: Some(row),
    };
    audit::record(tx, ctx, entry).await?;
    Ok(id)
}

/// The refund that a proposal is about, held with its order.
async fn held(tx: &mut Tx<'_>, id: &ProposalId) -> Result<(Order, Refund)> {
    let proposal = proposals::find(tx, id).await?.ok_or_else(|| Failure::new(&PROPOSAL_NOT_FOUND))?;
    let refund: RefundId = proposal.object.parse().map_err(|_| Failure::new(&REFUND_NOT_FOUND))?;
    hold_both(tx, &refund).await
}

/// Another person confirms a proof, which the inbox then settles, or that a refund is given up.
///
/// # Errors
/// `proposal_not_found`, `proposal_decided`, `second_person_required`, `refund_not_for_people`.
pub async fn confirm_proposal(ctx: &Ctx, actor: &Actor, key: &Key, id: &ProposalId) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = held(tx, id).await?;
            let proposal = proposals::confirm(tx, ctx, actor, id).await?;
            decided(tx, ctx, actor, &mut order, &proposal, OrderMove::ProposalConfirmed).await?;
            if proposal.kind == ProposalKind::RefundGiveUp {
                return give_up(tx, ctx, actor, &mut order, &refund, &proposal).await;
            }
            may_be_ended(&refund, &[RefundState::Manual, RefundState::Abnormal])?;
            let proof = StaffProof { refund_id: refund.id.clone(), proposal_id: id.clone() };
            settle::store_staff_proof(tx, ctx, &proof).await
        })
    })
    .await
}

/// A person does not agree, or takes back what they proposed.
///
/// # Errors
/// `proposal_not_found`, `proposal_decided`.
pub async fn decline_proposal(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &ProposalId,
    reason: &str,
) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, _) = held(tx, id).await?;
            let proposal = proposals::decline(tx, ctx, actor, id, reason).await?;
            decided(tx, ctx, actor, &mut order, &proposal, OrderMove::ProposalDeclined).await
        })
    })
    .await
}

async fn decided(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    order: &mut Order,
    proposal: &Proposal,
    event: OrderMove,
) -> Result<()> {
    let operation = match event {
        OrderMove::ProposalConfirmed => "confirmProposal",
        _ => "declineProposal",
    };
    let detail: Value = serde_json::from_str(&proposal.detail).unwrap_or_default();
    let row = json!({
        "proposal": proposal.id, "kind": proposal.kind, "object": proposal.object,
        "proposed_by": proposal.proposed_by, "reason": proposal.reason, "detail": detail,
    });
    orders::record(tx, ctx, order, event, actor, row.clone()).await?;
    let entry = audit::Entry {
        actor,
        operation,
        object: &proposal.object,
        before: Some(json!({ "state": ProposalState::Open })),
        after: Some(row),
    };
    audit::record(tx, ctx, entry).await
}

/// What was reserved is free again, and a hold that waited for this refund is over.
async fn give_up(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    order: &mut Order,
    refund: &Refund,
    proposal: &Proposal,
) -> Result<()> {
    let detail: Value = serde_json::from_str(&proposal.detail).unwrap_or_default();
    let why = detail["reason"].as_str().unwrap_or_default();
    let states = [RefundState::Manual, RefundState::Abnormal, RefundState::Closed];
    may_be_ended(refund, &states)?;
    if is_at_channel(tx, refund).await?
        || !sql::advance(tx, &refund.id, refund.status, RefundState::GivenUp).await?
    {
        return Err(Failure::new(&NOT_DECIDED_BY_PEOPLE));
    }
    alerts::close(tx, ctx, "refund_manual", refund.id.as_str()).await?;
    decide::free(tx, ctx, order, refund, RefundState::GivenUp, actor, why).await?;
    let of_cancelled = refund.cause.as_deref().is_some_and(|cause| cause.starts_with("cancelled:"));
    if of_cancelled && order.ship_hold_ms.is_some() {
        orders::clear_hold(tx, ctx, order, actor, why).await?;
    }
    let event = Event::RefundDropped {
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        refund_id: refund.id.clone(),
    };
    orders::stage(tx, ctx, order, event).await
}

fn may_be_ended(refund: &Refund, states: &[RefundState]) -> Result<()> {
    if states.contains(&refund.status) { Ok(()) } else { Err(Failure::new(&NOT_DECIDED_BY_PEOPLE)) }
}

async fn may_be_proved(conn: &mut Conn, refund: &Refund) -> Result<()> {
    may_be_ended(refund, &[RefundState::Manual, RefundState::Abnormal])?;
    not_proved_yet(conn, refund).await
}

/// Only when the channel has refused it, or has proved that its numbers are closed.
async fn may_be_given_up(conn: &mut Conn, refund: &Refund) -> Result<()> {
    may_be_ended(refund, &[RefundState::Manual, RefundState::Abnormal, RefundState::Closed])?;
    if is_at_channel(conn, refund).await? {
        return Err(Failure::new(&NOT_DECIDED_BY_PEOPLE));
    }
    not_proved_yet(conn, refund).await
}

/// A confirmed proof settles it by the inbox, however long that takes.
async fn not_proved_yet(conn: &mut Conn, refund: &Refund) -> Result<()> {
    let proved = proposals::of_object(conn, refund.id.as_str()).await?.into_iter().any(|proposal| {
        proposal.kind == ProposalKind::RefundProof && proposal.state == ProposalState::Confirmed
    });
    if proved { Err(Failure::new(&NOT_DECIDED_BY_PEOPLE)) } else { Ok(()) }
}
