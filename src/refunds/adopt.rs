//! Refunds that the shop did not submit: made in the channel's own console, or paid out although they had been
//! given up. The money is gone, so it is adopted: taken from what is left of the order's lines, then of the
//! freight. Requests that are not at the channel make room, the newest first, until it fits.

use super::settle::{self, Decision, Proof, Read, finish};
use super::sql::{self, Refund, Submission};
use super::{RefundKind, RefundState, amounts, decide, discrepancies};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, RefundId, Result};
use crate::orders::{self, LineRefund, ORDER_CHANGED, Order, OrderLine, RefundMoney};
use crate::payments::{self, Attempt, AttemptStatus, RefundNews, RefundState as ChannelState};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::platform::inbox::{Notice, Settled};
use crate::platform::{alerts, proposals};

const ACTOR: Actor = Actor::System("external_refund");
/// The customer reads it on a request that made room.
const SUPERSEDED: &str = "款项已由商家直接退回";
const REASON: &str = "商家直接退款";
/// A refund can be known before the payment that it is of: its notice is tried so often before a person looks.
const TRIES: i64 = 8;

/// News of a refund under a number that nobody here has given.
pub(super) async fn stranger(ctx: &Ctx, notice: &Notice, news: &RefundNews) -> Result<Settled> {
    let Some(attempt) = attempt_of(&mut *ctx.db.reader().await?, news).await? else {
        return Ok(Settled::Park(format!("nobody here knows refund {}", news.out_refund_no)));
    };
    if news.state != ChannelState::Success {
        // No money has moved by it; what becomes of it is its maker's to see to.
        return finish(ctx, notice).await;
    }
    let Some(amount_minor) = news.refund_minor.filter(|minor| *minor > 0) else {
        return Ok(Settled::Park(format!("refund {} does not say its amount", news.out_refund_no)));
    };
    adopt(ctx, notice, news, &attempt, amount_minor).await
}

/// Money of a submission of ours for refunds that were over.
pub(super) async fn late(
    ctx: &Ctx,
    notice: &Notice,
    submission: &Submission,
    news: &RefundNews,
    amount_minor: i64,
) -> Result<Settled> {
    let attempt = payments::by_id(&mut *ctx.db.reader().await?, &submission.attempt_id).await?;
    let attempt = attempt.ok_or_else(|| Failure::internal("adopting a refund", "its payment is gone"))?;
    adopt(ctx, notice, news, &attempt, amount_minor).await
}

async fn attempt_of(conn: &mut Conn, news: &RefundNews) -> Result<Option<Attempt>> {
    if let Some(number) = &news.out_trade_no
        && let Some(attempt) = payments::by_number(conn, &news.mchid, number).await?
    {
        return Ok(Some(attempt));
    }
    match &news.transaction_id {
        Some(transaction) => payments::by_transaction(conn, transaction).await,
        None => Ok(None),
    }
}

async fn adopt(
    ctx: &Ctx,
    notice: &Notice,
    news: &RefundNews,
    attempt: &Attempt,
    amount_minor: i64,
) -> Result<Settled> {
    let number = &news.out_refund_no;
    if sql::by_external_no(&mut *ctx.db.reader().await?, number).await?.is_some() {
        return finish(ctx, notice).await;
    }
    match attempt.status {
        AttemptStatus::Succeeded => adopt_of_order(ctx, notice, news, attempt, amount_minor).await,
        AttemptStatus::Orphan => settle_orphan(ctx, notice, news, attempt, amount_minor).await,
        AttemptStatus::Mismatch => Ok(Settled::Park(format!(
            "refund {number} is of payment {}, which waits for a person; decide that one, then replay this",
            attempt.id
        ))),
        _ if notice.attempts < TRIES => Err(Failure::internal(
            "adopting a refund",
            format!("payment {} is not known as paid", attempt.id),
        )),
        _ => Ok(Settled::Park(format!("refund {number} is of payment {}, which is not paid", attempt.id))),
    }
}

/// Money that no order could take went back: that is what its own refund was to do.
async fn settle_orphan(
    ctx: &Ctx,
    notice: &Notice,
    news: &RefundNews,
    attempt: &Attempt,
    amount_minor: i64,
) -> Result<Settled> {
    let own = sql::of_orphan(&mut *ctx.db.reader().await?, &attempt.id).await?;
    let own =
        own.ok_or_else(|| Failure::internal("adopting a refund", "the orphan's own is not made yet"))?;
    let settled = own.amount_minor == amount_minor
        && settle::succeed(ctx, &own.id, Proof::External(&news.out_refund_no)).await?;
    if !settled {
        let why =
            format!("an orphan payment of {} goes back by {}, {}", own.amount_minor, own.id, own.status);
        discrepancies::record(ctx, notice, news, attempt, amount_minor, &why).await?;
    }
    finish(ctx, notice).await
}

/// An order as it is, and which of its refunds could make room, the newest first.
struct Snapshot {
    order: Order,
    lines: Vec<OrderLine>,
    candidates: Vec<(Refund, Vec<LineRefund>)>,
}

async fn snapshot(conn: &mut Conn, id: &OrderId) -> Result<Snapshot> {
    let order = orders::find(conn, id).await?;
    let order = order.ok_or_else(|| Failure::internal("adopting a refund", format!("{id} has no row")))?;
    let lines = orders::find_lines(conn, id).await?;
    let mut candidates = Vec::new();
    let refunds = sql::of_order(conn, id).await?;
    for (refund, lines) in sql::with_lines(conn, refunds).await?.into_iter().rev() {
        let is_open = refund.status.is_open() && refund.kind != RefundKind::Orphan;
        if is_open && !is_at_channel(conn, &refund).await? {
            candidates.push((refund, lines.iter().map(sql::RefundLine::as_order_part).collect()));
        }
    }
    Ok(Snapshot { order, lines, candidates })
}

/// Can money still come of what was submitted? A number that the channel refused for now (the merchant's
/// balance) carries nothing, but it is kept for those that share it.
pub(super) async fn is_at_channel(conn: &mut Conn, refund: &Refund) -> Result<bool> {
    for submission in sql::submissions(conn, &refund.id).await? {
        if submission.outcome.is_none() {
            let alone = sql::parts_of(conn, &submission.id).await?.len() == 1;
            if refund.status != RefundState::Approved || !alone {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// How the money is taken from the order.
#[derive(Debug, PartialEq, Eq)]
struct Adoption {
    superseded: Vec<RefundId>,
    parts: Vec<LineRefund>,
    money: RefundMoney,
    decision: Decision,
}

/// `None`: it does not fit, whoever makes room.
fn work_out(ctx: &Ctx, snapshot: &Snapshot, refund: &Refund, amount_minor: i64) -> Option<Adoption> {
    let (mut order, mut lines) = (snapshot.order.clone(), snapshot.lines.clone());
    let mut superseded = Vec::new();
    let mut candidates = snapshot.candidates.iter();
    let (goods, freight_minor) = loop {
        if let Some(fits) = orders::apportion(&order, &lines, amount_minor) {
            break fits;
        }
        let (candidate, parts) = candidates.next()?;
        orders::released(&mut order, &mut lines, parts, candidate.money());
        superseded.push(candidate.id.clone());
    };
    let parts = amounts::money_parts(&lines, &goods);
    let money = RefundMoney { amount_minor, freight_minor };
    let refund = Refund { amount_minor, freight_minor, ..refund.clone() };
    let read = Read { refund, lines: parts.clone(), order, order_lines: lines };
    Some(Adoption { superseded, parts, money, decision: settle::decide(ctx, &read) })
}

async fn adopt_of_order(
    ctx: &Ctx,
    notice: &Notice,
    news: &RefundNews,
    attempt: &Attempt,
    amount_minor: i64,
) -> Result<Settled> {
    let before = snapshot(&mut *ctx.db.reader().await?, &attempt.order_id).await?;
    let money = RefundMoney { amount_minor, freight_minor: 0 };
    let refund = &Refund {
        status: RefundState::Approved,
        approved_ms: Some(ctx.clock.now_ms()),
        external_no: Some(news.out_refund_no.clone()),
        ..Refund::of_order(ctx, &before.order, RefundKind::External, Some(attempt.id.clone()), REASON, money)
    };
    let Some(adoption) = work_out(ctx, &before, refund, amount_minor) else {
        let why = "more than is left of what was paid";
        discrepancies::record(ctx, notice, news, attempt, amount_minor, why).await?;
        return finish(ctx, notice).await;
    };
    let (adoption, event) = (&adoption, adoption.decision.event(refund));
    ctx.bus
        .in_transaction(ctx, &event, |tx| {
            Box::pin(async move {
                let order = orders::hold(tx, &attempt.order_id).await?;
                let now = snapshot(tx, &attempt.order_id).await?;
                let same = work_out(ctx, &now, refund, amount_minor).as_ref() == Some(adoption);
                if !same || sql::by_external_no(tx, &news.out_refund_no).await?.is_some() {
                    return Err(Failure::new(&ORDER_CHANGED));
                }
                take(tx, ctx, order, now, refund, adoption).await?;
                discrepancies::adopted(tx, ctx, &news.out_refund_no).await?;
                notice.settle(tx, ctx.clock.now_ms()).await?;
                Ok(())
            })
        })
        .await?;
    tracing::warn!(order.id = %attempt.order_id, "refund {} of order {} is adopted", refund.id, attempt.order_id);
    Ok(Settled::Done)
}

/// Makes room, reserves what the refund takes, and settles it.
async fn take(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    mut order: Order,
    now: Snapshot,
    refund: &Refund,
    adoption: &Adoption,
) -> Result<()> {
    let refund = Refund {
        amount_minor: adoption.money.amount_minor,
        freight_minor: adoption.money.freight_minor,
        ..refund.clone()
    };
    if !sql::insert(tx, &refund).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    for part in &adoption.parts {
        sql::insert_line(tx, &refund.id, part).await?;
    }
    // Counted as open before the others end: nothing that waits for the last refund happens in between.
    orders::count_open(tx, &mut order, 1).await?;
    for (other, _) in now.candidates.iter().filter(|(other, _)| adoption.superseded.contains(&other.id)) {
        supersede(tx, ctx, &mut order, other).await?;
    }
    orders::reserve_refund(tx, &mut order, &adoption.parts, adoption.money).await?;
    orders::count_open(tx, &mut order, -1).await?;
    let read = Read { refund, lines: adoption.parts.clone(), order, order_lines: now.lines };
    settle::settle(tx, ctx, read, &adoption.decision, Proof::Own).await
}

/// The money of a request was refunded in another way.
async fn supersede(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order, refund: &Refund) -> Result<()> {
    if !sql::advance(tx, &refund.id, refund.status, RefundState::Rejected).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    if let Some(open) = sql::last_submission(tx, &refund.id).await?.filter(|last| last.outcome.is_none()) {
        // Refused for now, and never sent again.
        sql::set_outcome(tx, &open.id, "REFUSED", None).await?;
    }
    alerts::close(tx, ctx, "refund_manual", refund.id.as_str()).await?;
    proposals::drop_open(tx, ctx, refund.id.as_str()).await?;
    decide::free(tx, ctx, order, refund, RefundState::Rejected, &ACTOR, SUPERSEDED).await?;
    let event = Event::RefundRejected {
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        refund_id: refund.id.clone(),
    };
    orders::stage(tx, ctx, order, event).await
}
