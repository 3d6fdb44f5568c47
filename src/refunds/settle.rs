//! Settling refunds: whatever proves the end of one is an inbox row, and the inbox worker settles it here.
//!
//! A success is the local transaction of the half message `RefundSettled`: what follows from it (does the
//! coupon come back, is there a compensation) is worked out before the message goes out, and again inside
//! of the transaction; if it has changed meanwhile, nothing happens and the notice is tried again.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sql::{self, Part, Refund, Submission};
use super::{Fault, RefundKind, RefundState, adopt, discrepancies, submit};
use crate::config::CompensationPolicy;
use crate::events::Event;
use crate::kernel::{Actor, CouponTemplateId, Failure, ProposalId, RefundId, Result};
use crate::orders::{self, LineRefund, ORDER_CHANGED, Order, OrderLine, OrderMove, Plan};
use crate::payments::{REFUND_NEWS, RefundNews, RefundState as ChannelState};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::platform::inbox::{self, Notice, Settled};
use crate::platform::{alerts, proposals};

/// Inbox kind of a refund for which no money has to move.
pub const NO_MONEY: &str = "refund_without_money";
/// Inbox kind of what two people have proved.
pub const PROOF: &str = "refund_proof";
const ACTOR: Actor = Actor::System("refund");

/// What two people have proved: the money of a refund went back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StaffProof {
    pub refund_id: RefundId,
    pub proposal_id: ProposalId,
}

impl StaffProof {
    /// Under which it settles a refund: once.
    pub fn number(&self) -> String {
        format!("proof:{}", self.proposal_id)
    }
}

/// What proves that a refund succeeded.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    /// The channel, under a number of ours.
    Submission(&'a Submission, &'a RefundNews),
    /// The channel, under a number that the shop did not submit for it; or two people, under their proposal.
    External(&'a str),
    /// No money has to move.
    Own,
}

/// Stores that the channel answered how a refund ended.
pub(super) async fn store_answer(tx: &mut Tx<'_>, ctx: &Ctx, news: &RefundNews) -> Result<()> {
    let body = serde_json::to_string(news).map_err(|e| Failure::internal("writing a proof", e))?;
    let number = format!("{}:{:?}", news.out_refund_no, news.state);
    inbox::store(tx, ctx, "refund-answer", &number, REFUND_NEWS, &body).await?;
    Ok(())
}

/// Stores that a refund has nothing to move.
pub(super) async fn store_own_proof(tx: &mut Tx<'_>, ctx: &Ctx, refund: &RefundId) -> Result<()> {
    inbox::store(tx, ctx, "no-money", refund.as_str(), NO_MONEY, refund.as_str()).await?;
    Ok(())
}

/// Stores what two people have proved.
pub(super) async fn store_staff_proof(tx: &mut Tx<'_>, ctx: &Ctx, proof: &StaffProof) -> Result<()> {
    let body = serde_json::to_string(proof).map_err(|e| Failure::internal("writing a proof", e))?;
    inbox::store(tx, ctx, "staff", proof.proposal_id.as_str(), PROOF, &body).await?;
    Ok(())
}

/// Inbox handler of everything that ends a refund.
///
/// # Errors
/// The database, or the bus does not take the half message: the notice is tried again.
pub async fn settle_notice(ctx: &Ctx, notice: &Notice) -> Result<Settled> {
    match settle_once(ctx, notice).await {
        // Somebody moved the refund meanwhile: what the proof is worth now is worked out again.
        Err(failure) if failure.is(&ORDER_CHANGED) => settle_once(ctx, notice).await,
        settled => settled,
    }
}

async fn settle_once(ctx: &Ctx, notice: &Notice) -> Result<Settled> {
    let body = notice.body(ctx)?;
    match notice.kind.as_str() {
        NO_MONEY => {
            let Ok(refund) = body.parse::<RefundId>() else {
                return Ok(Settled::Park("no refund id".to_owned()));
            };
            succeed(ctx, &refund, Proof::Own).await?;
        }
        PROOF => {
            let Ok(proof) = serde_json::from_str::<StaffProof>(&body) else {
                return Ok(Settled::Park("the proof can't be read".to_owned()));
            };
            let number = proof.number();
            if !succeed(ctx, &proof.refund_id, Proof::External(&number)).await? {
                discrepancies::paid_twice(ctx, &proof).await?;
            }
        }
        _ => match serde_json::from_str::<RefundNews>(&body) {
            Ok(news) => return settle_news(ctx, notice, &news).await,
            Err(error) => return Ok(Settled::Park(format!("the notice can't be read: {error}"))),
        },
    }
    finish(ctx, notice).await
}

async fn settle_news(ctx: &Ctx, notice: &Notice, news: &RefundNews) -> Result<Settled> {
    let (submission, parts) = {
        let conn = &mut *ctx.db.reader().await?;
        let Some(submission) = sql::submission_by_number(conn, &news.out_refund_no).await? else {
            return adopt::stranger(ctx, notice, news).await;
        };
        let parts = sql::parts_of(conn, &submission.id).await?;
        (submission, parts)
    };
    let parts = parts.as_slice();
    if news.refund_minor.is_some_and(|amount| amount != submission.amount_minor) {
        let what = &format!("submitted {}, refunded {:?}", submission.amount_minor, news.refund_minor);
        ctx.db.write(|tx| Box::pin(submit::give_to_people(tx, ctx, parts, what))).await?;
        return Ok(Settled::Park(format!("the amount of {} differs: {what}", news.out_refund_no)));
    }
    match news.state {
        ChannelState::Success => return settle_success(ctx, notice, &submission, parts, news).await,
        ChannelState::Abnormal | ChannelState::Closed => fail(ctx, &submission, parts, news).await?,
        ChannelState::Processing => {}
    }
    finish(ctx, notice).await
}

/// Each refund of the submission is settled by its own event. Money for one that is over, and got none by
/// this number, was not expected any more: it is adopted.
async fn settle_success(
    ctx: &Ctx,
    notice: &Notice,
    submission: &Submission,
    parts: &[Part],
    news: &RefundNews,
) -> Result<Settled> {
    let mut unexpected_minor = 0;
    for part in parts {
        if !succeed(ctx, &part.refund_id, Proof::Submission(submission, news)).await? {
            unexpected_minor += part.amount_minor;
        }
    }
    if unexpected_minor > 0 {
        return adopt::late(ctx, notice, submission, news, unexpected_minor).await;
    }
    finish(ctx, notice).await
}

/// Each refund of the notice is where it belongs: so is the notice.
pub(super) async fn finish(ctx: &Ctx, notice: &Notice) -> Result<Settled> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                notice.settle(tx, ctx.clock.now_ms()).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Settled::Done)
}

/// Everything that settling decides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub plan: Plan,
    pub return_coupon: bool,
    pub compensation: Option<CouponTemplateId>,
}

impl Decision {
    /// The event that makes it known.
    pub fn event(&self, refund: &Refund) -> Event {
        Event::RefundSettled {
            refund_id: refund.id.clone(),
            order_id: refund.order_id.clone(),
            user_id: refund.user_id.clone(),
            whole: self.plan.whole,
            return_coupon: self.return_coupon,
            compensation_template: self.compensation.clone(),
        }
    }
}

/// A refund and the order that it is of.
pub(super) struct Read {
    pub refund: Refund,
    pub lines: Vec<LineRefund>,
    pub order: Order,
    pub order_lines: Vec<OrderLine>,
}

async fn read(conn: &mut Conn, id: &RefundId) -> Result<Read> {
    let missing = |what: &str| Failure::internal("settling a refund", format!("{id} has no {what}"));
    let refund = sql::by_id(conn, id).await?.ok_or_else(|| missing("row"))?;
    let lines = sql::find_lines(conn, id).await?.iter().map(sql::RefundLine::as_order_part).collect();
    let order = orders::find(conn, &refund.order_id).await?.ok_or_else(|| missing("order"))?;
    let order_lines = orders::find_lines(conn, &refund.order_id).await?;
    Ok(Read { refund, lines, order, order_lines })
}

/// What follows from a refund that succeeds.
pub(super) fn decide(ctx: &Ctx, read: &Read) -> Decision {
    let (refund, order) = (&read.refund, &read.order);
    let mut plan = orders::plan(order, &read.order_lines, &read.lines, refund.money());
    if refund.kind == RefundKind::Orphan {
        plan.whole = false;
        return Decision { plan, return_coupon: false, compensation: None };
    }
    let config = &ctx.config.coupons;
    let merchant = refund.fault == Fault::Merchant;
    // The coupon of an order that was cancelled and paid at the same moment always comes back.
    let before_shipping =
        plan.before_shipping && (config.return_before_shipping || order.ship_hold_ms.is_some());
    let return_coupon = plan.whole && order.coupon_id.is_some() && (before_shipping || merchant);
    let wanted = match config.compensation_policy {
        CompensationPolicy::Never => false,
        CompensationPolicy::Full => plan.whole,
        CompensationPolicy::MerchantFault => merchant,
    };
    let slot_free = order.compensation_refund.as_ref().is_none_or(|taken| *taken == refund.id);
    let compensation = (wanted && slot_free && refund.amount_minor >= config.compensation_minimum_minor)
        .then(|| config.compensation_template.parse().ok())
        .flatten();
    Decision { plan, return_coupon, compensation }
}

/// States from which the channel, or the absence of anything to move, can end a refund well. Of an orphan
/// payment every fen goes back at last, even if people had given that up.
fn can_succeed(refund: &Refund) -> bool {
    match refund.status {
        RefundState::Approved
        | RefundState::Submitted
        | RefundState::Processing
        | RefundState::Abnormal
        | RefundState::Closed
        | RefundState::Manual => true,
        RefundState::GivenUp => refund.kind == RefundKind::Orphan,
        _ => false,
    }
}

/// Settles a refund; false: it is over, and not by this proof.
pub(super) async fn succeed(ctx: &Ctx, id: &RefundId, proof: Proof<'_>) -> Result<bool> {
    let before = read(&mut *ctx.db.reader().await?, id).await?;
    if !can_succeed(&before.refund) {
        return was_settled_by(ctx, id, proof).await;
    }
    let decision = decide(ctx, &before);
    let event = decision.event(&before.refund);
    let (decision, order_id) = (&decision, &before.refund.order_id);
    let settled = ctx
        .bus
        .in_transaction(ctx, &event, |tx| {
            Box::pin(async move {
                orders::hold(tx, order_id).await?;
                let read = read(tx, id).await?;
                if !can_succeed(&read.refund) || decide(ctx, &read) != *decision {
                    return Err(Failure::new(&ORDER_CHANGED));
                }
                settle(tx, ctx, read, decision, proof).await
            })
        })
        .await;
    settled.map(|()| true)
}

/// Is this proof what ended the refund? Another node may settle the same news at the same moment, so this is
/// asked only behind having seen the end: what was read before it tells nothing.
async fn was_settled_by(ctx: &Ctx, id: &RefundId, proof: Proof<'_>) -> Result<bool> {
    let conn = &mut *ctx.db.reader().await?;
    match proof {
        Proof::Submission(submission, _) => {
            let parts = sql::parts_of(conn, &submission.id).await?;
            Ok(parts.iter().any(|part| part.refund_id == *id && part.settled_ms.is_some()))
        }
        Proof::External(number) => {
            Ok(sql::by_external_no(conn, number).await?.is_some_and(|found| found == *id))
        }
        Proof::Own => Ok(true),
    }
}

/// The local transaction of the half message: a refund of a held order has succeeded.
pub(super) async fn settle(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    read: Read,
    decision: &Decision,
    proof: Proof<'_>,
) -> Result<()> {
    let Read { refund, lines, mut order, .. } = read;
    if !sql::advance(tx, &refund.id, refund.status, RefundState::Succeeded).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    let template = decision.compensation.as_ref();
    if template.is_some() && !orders::take_compensation(tx, &mut order, &refund.id).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    let now_ms = ctx.clock.now_ms();
    sql::set_settled(tx, &refund.id, decision.plan.whole, decision.return_coupon, template, now_ms).await?;
    match proof {
        Proof::Submission(submission, news) => {
            sql::set_outcome(tx, &submission.id, "SUCCESS", Some(&news.channel_refund_id)).await?;
            if !sql::settle_part(tx, &submission.id, &refund.id, now_ms).await? {
                return Err(Failure::new(&ORDER_CHANGED));
            }
        }
        Proof::External(number) => {
            if refund.external_no.is_none() && !sql::set_external_no(tx, &refund.id, number).await? {
                return Err(Failure::new(&ORDER_CHANGED));
            }
        }
        Proof::Own => {}
    }
    alerts::close(tx, ctx, "refund_manual", refund.id.as_str()).await?;
    proposals::drop_open(tx, ctx, refund.id.as_str()).await?;
    let detail = json!({
        "refund": refund.id, "outcome": "SUCCEEDED", "kind": refund.kind, "amount_minor": refund.amount_minor,
    });
    orders::record(tx, ctx, &mut order, OrderMove::RefundEnded, &ACTOR, detail).await?;
    tracing::info!(refund.id = %refund.id, "refund {} of order {} is settled", refund.id, order.id);
    if refund.kind != RefundKind::Orphan {
        let money = refund.money();
        return orders::settle_refund(tx, ctx, &mut order, &refund.id, &lines, money, &decision.plan).await;
    }
    // One that was given up is counted as ended already.
    if refund.status == RefundState::GivenUp {
        return Ok(());
    }
    orders::orphan_refund_ended(tx, ctx, &mut order).await
}

/// The channel could not pay out a submission.
async fn fail(ctx: &Ctx, submission: &Submission, parts: &[Part], news: &RefundNews) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let Some(first) = parts.first() else { return Ok(()) };
                let Some(found) = sql::by_id(tx, &first.refund_id).await? else { return Ok(()) };
                // All of them are refunds of one payment, so of one order.
                orders::hold(tx, &found.order_id).await?;
                let now = sql::submission_by_number(tx, &submission.out_refund_no).await?;
                if now.is_none_or(|now| now.outcome.is_some()) {
                    return Ok(());
                }
                if news.state == ChannelState::Abnormal {
                    return abnormal(tx, ctx, parts).await;
                }
                sql::set_outcome(tx, &submission.id, "CLOSED", Some(&news.channel_refund_id)).await?;
                for part in parts {
                    let Some(refund) = sql::by_id(tx, &part.refund_id).await? else { continue };
                    if matches!(refund.status, RefundState::Submitted | RefundState::Processing) {
                        submit::submit_again(tx, ctx, &refund).await?;
                    }
                }
                Ok(())
            })
        })
        .await
}

async fn abnormal(tx: &mut Tx<'_>, ctx: &Ctx, parts: &[Part]) -> Result<()> {
    for part in parts {
        let Some(refund) = sql::by_id(tx, &part.refund_id).await? else { continue };
        if matches!(refund.status, RefundState::Submitted | RefundState::Processing) {
            sql::advance(tx, &refund.id, refund.status, RefundState::Abnormal).await?;
            let refund = Refund { status: RefundState::Abnormal, ..refund };
            submit::to_manual(tx, ctx, &refund, "the channel can't pay it out: ABNORMAL").await?;
        }
    }
    Ok(())
}
