//! The money of a shipped order: WeChat keeps it until receipt is confirmed, by the customer or by itself after
//! some days, and pushes the news. Where no news came in time WeChat is asked, and what it holds back is shown
//! to a person.

use serde_json::json;

use super::sql::{self, Upload};
use super::{ACTOR, MONEY_HELD, upload};
use crate::kernel::{Actor, Millis, OrderId, Result, day_ms, hour_ms};
use crate::orders::{self, OrderMove};
use crate::platform::alerts;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::worker::side_by_side;
use crate::wechat::mini::{Logistics, ManagedOrder, Mini, OrderKey};

const BATCH: i64 = 32;
/// How long a question is left to the one who asks it.
const LEASE_MS: Millis = 30_000;
/// Money that is held back is asked about again after this.
const AGAIN_MS: Millis = day_ms(1);
/// WeChat does not answer: asked again after this.
const UNANSWERED_MS: Millis = hour_ms(1);
/// About three months; then it is left to the person who reads the alert.
const CHECKS_MAX: i64 = 100;

const COMPLETE: i64 = 4;
const REFUNDED: i64 = 5;

/// How long after the upload money should be settled: receipt confirms itself after 10 days for parcels and after
/// 2 days for what is handed over; two more for the settlement.
pub(super) const fn patience_ms(logistics: Logistics) -> Millis {
    match logistics {
        Logistics::Express => day_ms(12),
        Logistics::SameCity | Logistics::Virtual | Logistics::Pickup => day_ms(4),
    }
}

/// WeChat has settled the money of an order: the goods are with the customer.
pub(super) async fn settled(tx: &mut Tx<'_>, ctx: &Ctx, order: &OrderId, actor: &Actor) -> Result<()> {
    orders::complete_if_shipped(tx, ctx, order, actor, "wechat_settlement").await?;
    over(tx, ctx, order).await
}

/// Nothing is held back any more.
async fn over(tx: &mut Tx<'_>, ctx: &Ctx, order: &OrderId) -> Result<()> {
    let mut order = orders::hold(tx, order).await?;
    sql::set_settled(tx, &order.id, ctx.clock.now_ms()).await?;
    if alerts::close(tx, ctx, MONEY_HELD, order.id.as_str()).await? {
        orders::record(tx, ctx, &mut order, OrderMove::MoneyReleased, &ACTOR, json!({})).await?;
    }
    Ok(())
}

/// Asks about money that should be settled. Answers how often it asked.
pub(super) async fn tick(ctx: &Ctx, mini: &Mini) -> Result<usize> {
    let due = sql::due_settlements(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCH).await?;
    let work = due.iter().map(|upload| (upload.order_id.as_str(), ask(ctx, mini, upload))).collect();
    Ok(side_by_side("the settlement of order", work).await)
}

async fn ask(ctx: &Ctx, mini: &Mini, upload: &Upload) -> Result<bool> {
    let until_ms = ctx.clock.now_ms() + LEASE_MS;
    let checks = upload.settle_checks;
    if !ctx.db.write(|tx| Box::pin(sql::ask_later(tx, upload, Some(until_ms), checks))).await? {
        return Ok(false);
    }
    let claimed = &Upload { settle_check_ms: Some(until_ms), ..upload.clone() };
    let order = {
        let conn = &mut *ctx.db.reader().await?;
        match orders::find(conn, &upload.order_id).await? {
            Some(order) => upload::paid_by_wechat(conn, &order).await?,
            None => None,
        }
    };
    let Some(attempt) = order else {
        // Nothing was paid through WeChat: there is no money to wait for.
        ctx.db.write(|tx| Box::pin(sql::ask_later(tx, claimed, None, checks))).await?;
        return Ok(true);
    };
    let key = OrderKey::Merchant { mchid: attempt.mchid, out_trade_no: attempt.out_trade_no };
    let answer = mini.managed_order(&key).await;
    ctx.metrics.outbound("get_order", if answer.is_ok() { "ok" } else { "failed" });
    match answer {
        Ok(order) => judge(ctx, claimed, &order).await?,
        Err(error) => {
            tracing::warn!(order.id = %upload.order_id, "WeChat does not say how its money stands: {error}");
            let next_ms = Some(ctx.clock.now_ms() + UNANSWERED_MS);
            ctx.db.write(|tx| Box::pin(sql::ask_later(tx, claimed, next_ms, checks))).await?;
        }
    }
    Ok(true)
}

async fn judge(ctx: &Ctx, upload: &Upload, managed: &ManagedOrder) -> Result<()> {
    let (order, checks) = (&upload.order_id, upload.settle_checks + 1);
    let next_ms = (checks < CHECKS_MAX).then(|| ctx.clock.now_ms() + AGAIN_MS);
    let held_days = upload.accepted_ms.map_or(0, |at_ms| (ctx.clock.now_ms() - at_ms) / day_ms(1));
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                match managed.order_state {
                    COMPLETE => settled(tx, ctx, order, &Actor::System("wechat_settlement")).await,
                    REFUNDED => over(tx, ctx, order).await,
                    state => {
                        let state = match state {
                            1 => "to ship",
                            2 => "shipped",
                            3 => "received",
                            6 => "waiting for settlement",
                            _ => "in a state that is new to us",
                        };
                        let complaint =
                            if managed.in_complaint { "; the customer has complained" } else { "" };
                        let detail = format!(
                            "WeChat still holds the money back {held_days} days after it took the shipping \
                             information: it has the order as {state}{complaint}"
                        );
                        let mut order = orders::hold(tx, order).await?;
                        if !sql::ask_later(tx, upload, next_ms, checks).await? {
                            return Ok(());
                        }
                        if !alerts::is_open(tx, MONEY_HELD, order.id.as_str()).await? {
                            let row = json!({
                                "days": held_days, "state": state, "in_complaint": managed.in_complaint,
                            });
                            orders::record(tx, ctx, &mut order, OrderMove::MoneyHeld, &ACTOR, row).await?;
                        }
                        alerts::open(tx, ctx, MONEY_HELD, order.id.as_str(), &detail).await
                    }
                }
            })
        })
        .await
}
