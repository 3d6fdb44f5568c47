//! Settling: money arrived, says a verified notice or an answer to a query. The conditional update of the
//! attempt and of the order decide what it is: a payment, an orphan, or a mismatch.

use serde_json::json;

use super::close::NOT_CLOSED;
use super::sql::{self, Attempt};
use super::start::CHANNEL_ACTOR;
use super::{AttemptStatus, ORDER_ALREADY_PAID, PaidNews};
use crate::events::Event;
use crate::kernel::{Actor, AttemptId, Failure, OrderId, Result, day_ms};
use crate::orders::{self, Order, OrderMove};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};
use crate::platform::inbox::{Notice, Settled};
use crate::platform::{alerts, proposals};

/// What the transaction found out, for the gate that is set after its commit.
enum Found {
    Nothing,
    Paid(OrderId),
    Stranger,
}

/// Inbox handler of payment news.
///
/// # Errors
/// The database; the notice is tried again.
pub async fn settle_notice(ctx: &Ctx, notice: &Notice) -> Result<Settled> {
    let news: PaidNews = match serde_json::from_str(&notice.body(ctx)?) {
        Ok(news) => news,
        Err(error) => return Ok(Settled::Park(format!("the notice can't be read: {error}"))),
    };
    let news = &news;
    let found = ctx.db.write(|tx| Box::pin(settle(tx, ctx, notice, news))).await?;
    match found {
        Found::Paid(order) => set_gate(ctx, &order).await,
        Found::Stranger => {
            return Ok(Settled::Park(format!("nobody here knows payment {}", news.out_trade_no)));
        }
        Found::Nothing => {}
    }
    Ok(Settled::Done)
}

async fn settle(tx: &mut Tx<'_>, ctx: &Ctx, notice: &Notice, news: &PaidNews) -> Result<Found> {
    let Some(attempt) = attempt_of(tx, ctx, news).await? else { return Ok(Found::Stranger) };
    let mut order = orders::hold(tx, &attempt.order_id).await?;
    let now_ms = ctx.clock.now_ms();
    if !notice.settle(tx, now_ms).await? {
        return Ok(Found::Nothing);
    }
    // Read again behind the order's row: nobody moves its attempts now.
    let attempt = sql::by_id(tx, &attempt.id).await?.unwrap_or(attempt);
    let arrived_before =
        matches!(attempt.status, AttemptStatus::Succeeded | AttemptStatus::Orphan | AttemptStatus::Mismatch);
    if arrived_before {
        return Ok(Found::Nothing);
    }
    if !matches(&attempt, news) {
        mismatch(tx, ctx, &mut order, &attempt, news).await?;
        return Ok(Found::Nothing);
    }
    let actor = Actor::System(CHANNEL_ACTOR);
    let takes_it = attempt.amount_minor == order.payable_minor
        && orders::mark_paid(tx, ctx, &mut order, &attempt.id, &actor).await?;
    let status = if takes_it { AttemptStatus::Succeeded } else { AttemptStatus::Orphan };
    arrive(tx, ctx, &attempt, status, news).await?;
    if takes_it {
        proposals::drop_open(tx, ctx, order.id.as_str()).await?;
        tracing::info!(order.id = %order.id, "order {} is paid by {}", order.id, attempt.id);
        close_others(tx, ctx, &order, &attempt.id).await?;
        return Ok(Found::Paid(order.id));
    }
    orphaned(tx, ctx, &mut order, &attempt, news).await?;
    Ok(Found::Nothing)
}

/// The attempt that the news is about: our number, even if another merchant's account names it.
async fn attempt_of(tx: &mut Tx<'_>, ctx: &Ctx, news: &PaidNews) -> Result<Option<Attempt>> {
    match sql::by_number(tx, &news.mchid, &news.out_trade_no).await? {
        None => sql::by_number(tx, &ctx.config.wechat_pay.mchid, &news.out_trade_no).await,
        found => Ok(found),
    }
}

/// What was asked for; `payer_total` is not compared: the channel's own coupons lower it.
fn matches(attempt: &Attempt, news: &PaidNews) -> bool {
    attempt.appid == news.appid
        && attempt.mchid == news.mchid
        && attempt.amount_minor == news.total_minor
        && attempt.currency.as_str() == news.currency
}

async fn arrive(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    attempt: &Attempt,
    status: AttemptStatus,
    news: &PaidNews,
) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    alerts::close(tx, ctx, NOT_CLOSED, attempt.id.as_str()).await?;
    let fresh = sql::set_arrived(tx, &attempt.id, status, news, now_ms).await?
        && sql::insert_record(tx, attempt, status, news, now_ms).await?;
    if fresh {
        Ok(())
    } else {
        Err(Failure::internal("recording a payment", format!("{} has one", attempt.id)))
    }
}

async fn orphaned(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    attempt: &Attempt,
    news: &PaidNews,
) -> Result<()> {
    let actor = Actor::System(CHANNEL_ACTOR);
    tracing::warn!(order.id = %order.id, "payment {} of order {} is an orphan", attempt.id, order.id);
    orders::attempt_ended(tx, ctx, order, &attempt.id, &actor, "orphan").await?;
    stage_orphan(tx, ctx, order, &attempt.id, news.total_minor, &actor).await?;
    confirm_close_if_last(tx, ctx, order).await
}

/// Tells whoever refunds that this payment goes back in full.
pub(super) async fn stage_orphan(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    attempt: &AttemptId,
    amount_minor: i64,
    actor: &Actor,
) -> Result<()> {
    let detail = json!({ "attempt": attempt, "amount_minor": amount_minor });
    orders::record(tx, ctx, order, OrderMove::PaymentOrphaned, actor, detail).await?;
    let event = Event::PaymentOrphaned {
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        attempt_id: attempt.clone(),
    };
    orders::stage(tx, ctx, order, event).await
}

async fn mismatch(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    attempt: &Attempt,
    news: &PaidNews,
) -> Result<()> {
    let actor = Actor::System(CHANNEL_ACTOR);
    arrive(tx, ctx, attempt, AttemptStatus::Mismatch, news).await?;
    let detail = json!({
        "attempt": attempt.id,
        "asked_minor": attempt.amount_minor,
        "paid_minor": news.total_minor,
        "currency": news.currency,
    });
    orders::record(tx, ctx, order, OrderMove::PaymentMismatched, &actor, detail).await?;
    // A person decides by what the order asks for, so that stays what it is.
    orders::drop_pending(tx, ctx, order, &actor, "payment_under_review").await?;
    orders::attempt_ended(tx, ctx, order, &attempt.id, &actor, "mismatch").await?;
    let what = format!(
        "asked for {} {}, paid {} {}",
        attempt.amount_minor, attempt.currency, news.total_minor, news.currency
    );
    alerts::open(tx, ctx, "payment_mismatch", attempt.id.as_str(), &what).await?;
    confirm_close_if_last(tx, ctx, order).await
}

/// The order is paid: whatever else could still be paid is closed at the channel.
pub(super) async fn close_others(tx: &mut Tx<'_>, ctx: &Ctx, order: &Order, paid: &AttemptId) -> Result<()> {
    for other in sql::live_of_order(tx, &order.id).await?.iter().filter(|other| other.id != *paid) {
        sql::set_closing(tx, &other.id, ctx.clock.now_ms()).await?;
        tx.wake(Work::Payments);
    }
    Ok(())
}

/// A held CLOSING order without any attempt that could be paid is closed now.
pub(super) async fn confirm_close_if_last(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    if sql::live_of_order(tx, &order.id).await?.is_empty() {
        orders::close_confirmed(tx, ctx, order, &Actor::System(CHANNEL_ACTOR)).await?;
        proposals::drop_open(tx, ctx, order.id.as_str()).await?;
    }
    Ok(())
}

fn gate(order: &OrderId) -> String {
    format!("gate:paid:{order}")
}

/// After the commit, so a hit means paid. The value is the order's number and the phone's keyed hash.
async fn set_gate(ctx: &Ctx, order: &OrderId) {
    let phone = async {
        let conn = &mut *ctx.db.reader().await?;
        let Some(found) = orders::find(conn, order).await? else { return Ok(None) };
        crate::identity::phone_hash(conn, &found.user_id).await
    };
    let phone: Result<Option<String>> = phone.await;
    let value = format!("{order} {}", phone.ok().flatten().unwrap_or_default());
    if ctx.kv.put(&gate(order), value.as_bytes(), day_ms(1)).await.is_err() {
        tracing::debug!(
            "the payment gate is not set: the kv tier is gone; the conditional update decides alone"
        );
    }
}

/// The fast answer for an order that is known to be paid. With the kv tier gone the database decides.
pub(super) async fn refuse_when_gated(ctx: &Ctx, order: &OrderId) -> Result<()> {
    match ctx.kv.get(&gate(order)).await {
        Ok(Some(_)) => Err(Failure::new(&ORDER_ALREADY_PAID)),
        _ => Ok(()),
    }
}
