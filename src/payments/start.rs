//! Starting to pay: commit an attempt, ask the channel under its number, commit the answer.
//!
//! The attempt is in the database before the channel hears of it, so whatever arrives has somewhere to go;
//! and an order has at most one open attempt, which is what keeps it from being paid twice by us.

use serde::{Deserialize, Serialize};

use super::sql::{self, Attempt};
use super::{
    AttemptStatus, CURRENCY_NOT_PAYABLE, Channel, ChannelError, NO_OPENID, ORDER_ALREADY_PAID,
    ORDER_NOT_PAYABLE, PAYMENT_CHANNEL_UNAVAILABLE, PAYMENT_CLOSING, PAYMENT_REFUSED, PAYMENT_UNDER_REVIEW,
    PAYMENT_WINDOW_CLOSING, QUERY_AFTER_MS, settle,
};
use crate::events::Event;
use crate::identity;
use crate::kernel::{Actor, AttemptId, Failure, Millis, OrderId, Result, UserId, hour_ms};
use crate::orders::{self, ORDER_NOT_FOUND, Order, OrderStatus, PAY_WINDOW_MS, PayStatus};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};
use crate::platform::idempotency::{Done, Key};
use crate::wechat::pay::{PaymentParams, Prepay};

/// WeChat keeps a prepay_id for two hours; a younger one is handed out again.
const PREPAY_LIFE_MS: Millis = hour_ms(2);

/// Which attempt the client pays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    pub attempt_id: AttemptId,
}

/// What the client needs to pay.
pub struct ToPay {
    pub attempt: Attempt,
    pub params: PaymentParams,
}

/// Starts, or takes up again, the payment of a user's order.
///
/// # Errors
/// Whatever keeps the order from being paid now; `payment_channel_unavailable` when the channel did not
/// answer: the attempt stays, and a repeat sends the same request again.
pub async fn start(
    ctx: &Ctx,
    channel: &Channel,
    user: &UserId,
    key: &Key,
    id: &OrderId,
) -> Result<Done<ToPay>> {
    if let Some(done) = key.begin::<Started>(ctx).await? {
        let attempt = still_open(ctx, id, &done.value.attempt_id).await?;
        return Ok(Done { value: to_pay(channel, attempt)?, replayed: done.replayed });
    }
    match start_owned(ctx, channel, user, key, id).await {
        Ok(value) => Ok(Done { value, replayed: false }),
        Err(failure) => {
            key.abandon(ctx, &failure).await;
            Err(failure)
        }
    }
}

/// The gate answers only to the one whose order it is.
async fn start_owned(ctx: &Ctx, channel: &Channel, user: &UserId, key: &Key, id: &OrderId) -> Result<ToPay> {
    if orders::find_owned(&mut *ctx.db.reader().await?, id, user).await?.is_none() {
        return Err(Failure::new(&ORDER_NOT_FOUND));
    }
    settle::refuse_when_gated(ctx, id).await?;
    start_fresh(ctx, channel, user, key, id).await
}

/// The attempt of an earlier request. Of an order that was cancelled since, nothing to pay is handed out,
/// even if the channel has not been asked to close it yet.
async fn still_open(ctx: &Ctx, id: &OrderId, attempt: &AttemptId) -> Result<Attempt> {
    let conn = &mut *ctx.db.reader().await?;
    let order = orders::find(conn, id).await?;
    if order.is_none_or(|order| matches!(order.status, OrderStatus::Closing | OrderStatus::Closed)) {
        return Err(Failure::new(&ORDER_NOT_PAYABLE));
    }
    sql::by_id(conn, attempt).await?.ok_or_else(|| Failure::new(&ORDER_NOT_PAYABLE))
}

async fn start_fresh(ctx: &Ctx, channel: &Channel, user: &UserId, key: &Key, id: &OrderId) -> Result<ToPay> {
    let attempt = ctx.db.write(|tx| Box::pin(open(tx, ctx, channel, user, id))).await?;
    let fresh_enough = attempt.prepaid_ms.is_some_and(|at_ms| ctx.clock.now_ms() - at_ms < PREPAY_LIFE_MS);
    let prepay_id = match &attempt.prepay_id {
        Some(prepay_id) if fresh_enough => prepay_id.clone(),
        _ => match channel.provider.start(&attempt.request_body).await {
            Ok(prepay_id) => {
                ctx.metrics.outbound("start_payment", "ok");
                prepay_id
            }
            Err(error) => return Err(not_started(ctx, &attempt, error).await?),
        },
    };
    let attempt = &attempt;
    let prepay_id = &prepay_id;
    let (prepaid, pay_status) = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                let order = orders::hold(tx, id).await?;
                let waits = order.status == OrderStatus::PendingPayment
                    && order.open_attempt.as_ref() == Some(&attempt.id);
                let prepaid = waits
                    && match fresh_enough {
                        // It may be closed for a new price by now.
                        true => sql::is_prepaid(tx, &attempt.id).await?,
                        false => sql::set_prepaid(tx, &attempt.id, prepay_id, ctx.clock.now_ms()).await?,
                    };
                if prepaid {
                    key.finish(tx, &Started { attempt_id: attempt.id.clone() }).await?;
                }
                Ok((prepaid, order.pay_status))
            })
        })
        .await?;
    if !prepaid {
        // Paid, cancelled or at another price since the channel was asked: nothing to pay goes to the client.
        let paid = pay_status == PayStatus::Paid;
        return Err(Failure::new(if paid { &ORDER_ALREADY_PAID } else { &ORDER_NOT_PAYABLE }));
    }
    let attempt =
        Attempt { status: AttemptStatus::Prepaid, prepay_id: Some(prepay_id.clone()), ..attempt.clone() };
    to_pay(channel, attempt)
}

fn to_pay(channel: &Channel, attempt: Attempt) -> Result<ToPay> {
    match (&attempt.status, &attempt.prepay_id) {
        (AttemptStatus::Prepaid, Some(prepay_id)) => {
            Ok(ToPay { params: channel.provider.client_params(prepay_id), attempt })
        }
        (AttemptStatus::Succeeded, _) => Err(Failure::new(&ORDER_ALREADY_PAID)),
        _ => Err(Failure::new(&ORDER_NOT_PAYABLE)),
    }
}

/// The attempt to pay with: the open one if it can still be used, otherwise a new one.
async fn open(tx: &mut Tx<'_>, ctx: &Ctx, channel: &Channel, user: &UserId, id: &OrderId) -> Result<Attempt> {
    let mut order = orders::hold(tx, id).await?;
    if order.user_id != *user {
        return Err(Failure::new(&ORDER_NOT_FOUND));
    }
    payable_now(tx, ctx, channel, &order).await?;
    if let Some(open) = &order.open_attempt {
        let attempt = sql::by_id(tx, open).await?;
        return match attempt {
            Some(attempt) if matches!(attempt.status, AttemptStatus::Created | AttemptStatus::Prepaid) => {
                Ok(attempt)
            }
            _ => Err(Failure::new(&PAYMENT_CLOSING).retry_after_s(2)),
        };
    }
    let attempt = draft(tx, ctx, channel, &order).await?;
    let now_ms = ctx.clock.now_ms();
    sql::insert(tx, &attempt, now_ms + QUERY_AFTER_MS[0]).await?;
    let actor = Actor::User(user.clone());
    if !orders::attempt_opened(tx, ctx, &mut order, &attempt.id, &actor).await? {
        return Err(Failure::new(&ORDER_NOT_PAYABLE));
    }
    tx.wake(Work::Payments);
    Ok(attempt)
}

async fn payable_now(tx: &mut Tx<'_>, ctx: &Ctx, channel: &Channel, order: &Order) -> Result<()> {
    if order.pay_status == PayStatus::Paid {
        return Err(Failure::new(&ORDER_ALREADY_PAID));
    }
    if order.status != OrderStatus::PendingPayment {
        return Err(Failure::new(&ORDER_NOT_PAYABLE));
    }
    if sql::has_mismatch(tx, &order.id).await? {
        return Err(Failure::new(&PAYMENT_UNDER_REVIEW));
    }
    if !channel.provider.takes(order.currency) {
        return Err(Failure::new(&CURRENCY_NOT_PAYABLE));
    }
    if order.pay_before_ms - ctx.clock.now_ms() < PAY_WINDOW_MS {
        return Err(Failure::new(&PAYMENT_WINDOW_CLOSING));
    }
    Ok(())
}

async fn draft(tx: &mut Tx<'_>, ctx: &Ctx, channel: &Channel, order: &Order) -> Result<Attempt> {
    let provider = &channel.provider;
    let openid = identity::openid(tx, &order.user_id, provider.appid()).await?;
    let openid = openid.ok_or_else(|| Failure::new(&NO_OPENID))?;
    let lines = orders::find_lines(tx, &order.id).await?;
    let id: AttemptId = ctx.new_id();
    let out_trade_no = format!("{}{}", ctx.config.wechat_pay.number_prefix, id.tail());
    let prepay = Prepay {
        description: describe(&lines),
        out_trade_no: out_trade_no.clone(),
        time_expire_ms: order.pay_before_ms,
        notify_url: format!("{}/callbacks/wechat-pay/payments", channel.public_url),
        total_minor: order.payable_minor,
        openid: openid.clone(),
        attach: None,
    };
    Ok(Attempt {
        request_body: provider.start_body(&prepay),
        id,
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        provider: provider.kind(),
        status: AttemptStatus::Created,
        out_trade_no,
        appid: provider.appid().to_owned(),
        mchid: provider.mchid().to_owned(),
        openid,
        amount_minor: order.payable_minor,
        currency: order.currency,
        time_expire_ms: order.pay_before_ms,
        prepay_id: None,
        prepaid_ms: None,
        transaction_id: None,
        paid_ms: None,
        created_ms: ctx.clock.now_ms(),
        step: 0,
        reviewed_ms: None,
    })
}

/// What the customer reads in WeChat: the first thing, and how many more.
fn describe(lines: &[orders::OrderLine]) -> String {
    let first = lines.first().map_or("", |line| line.product_name.as_str());
    match lines.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} 等{more}件"),
    }
}

/// The channel did not give anything to pay. What that means depends on whether it may have done it.
async fn not_started(ctx: &Ctx, attempt: &Attempt, error: ChannelError) -> Result<Failure> {
    tracing::warn!(attempt.id = %attempt.id, "payment {} was not started: {error}", attempt.id);
    let (outcome, failure) = match &error {
        ChannelError::Unknown(_) | ChannelError::RateLimited => {
            ctx.metrics.outbound("start_payment", "unknown");
            return Ok(Failure::new(&PAYMENT_CHANNEL_UNAVAILABLE).retry_after_s(2).cause(error));
        }
        ChannelError::Paused(_) => ("paused", Failure::new(&PAYMENT_REFUSED).cause(error)),
        // The number was used or paid: only the channel knows; it is closed there before a new one is tried.
        ChannelError::NumberUsed(_) | ChannelError::NotFound(_) => {
            ("number_used", Failure::new(&PAYMENT_CLOSING).retry_after_s(2).cause(error))
        }
        ChannelError::Refused(_) => ("refused", Failure::new(&PAYMENT_REFUSED).cause(error)),
    };
    ctx.metrics.outbound("start_payment", outcome);
    let why = &failure.to_string();
    let close = outcome == "number_used";
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut order = orders::hold(tx, &attempt.order_id).await?;
                let now_ms = ctx.clock.now_ms();
                if close {
                    sql::set_closing(tx, &attempt.id, now_ms).await?;
                    tx.wake(Work::Payments);
                } else if sql::set_failed(tx, &attempt.id, why, now_ms).await? {
                    let actor = Actor::System(CHANNEL_ACTOR);
                    orders::attempt_ended(tx, ctx, &mut order, &attempt.id, &actor, "refused").await?;
                    let event = Event::PaymentFailed {
                        order_id: order.id.clone(),
                        user_id: order.user_id.clone(),
                        attempt_id: attempt.id.clone(),
                    };
                    orders::stage(tx, ctx, &mut order, event).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(failure)
}

/// The channel, where it acts on an order.
pub(super) const CHANNEL_ACTOR: &str = "wechat_pay";
