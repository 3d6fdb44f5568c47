//! Telling WeChat how an order is shipped. A row per order says that there is something new to say; the
//! worker reads what it is at that moment, so that a late try never takes anything back.

use serde_json::json;

use super::sql::{self, Ending, Upload};
use super::{ACTOR, MONEY_HELD, NOT_UPLOADED_ALERT, Parcel, ParcelLine, REMINDED, UploadState, settlement};
use crate::events::Event;
use crate::kernel::{Millis, Result, common, day_ms, hour_ms};
use crate::orders::{self, Fulfilment, Order, OrderLine, OrderMove, RefundStatus};
use crate::payments::{self, Attempt, ProviderKind};
use crate::platform::alerts;
use crate::platform::bus::{Delivery, Handled, Subscription};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx, Work};
use crate::platform::worker::side_by_side;
use crate::wechat::mini::{Logistics, Mini, MiniError, OrderKey, ShippingInfo, ShippingParcel};

const BATCH: i64 = 32;
/// How long a claimed upload is left to the one who claimed it.
const LEASE_MS: Millis = 30_000;
/// Pauses between tries: doubled from the first to the longest.
const FIRST_PAUSE_MS: Millis = 10_000;
const LONGEST_PAUSE_MS: Millis = hour_ms(1);
/// About two weeks.
const TRIES_MAX: i64 = 350;
/// A refusal that is not about time is shown to a person after so many tries.
const REFUSALS_BEFORE_ALERT: i64 = 3;
/// A payment that is older than this and has no accepted upload is shown to a person.
const LATE_MS: Millis = day_ms(1);
/// WeChat takes no more; further parcels are only in our own pages.
const PARCELS_MAX: usize = 15;
const ERROR_CHARS_MAX: usize = 300;

/// What this module takes from the bus.
pub fn subscriptions() -> Vec<Subscription> {
    vec![
        Subscription::new("shipping.rest-refunded", &["OrderRestRefunded"], |ctx, delivery| {
            Box::pin(on_order_rest_refunded(ctx, delivery))
        }),
        Subscription::new("shipping.handed-over", &["OrderCompleted"], |ctx, delivery| {
            Box::pin(on_order_completed(ctx, delivery))
        }),
    ]
}

/// An order that is not sent was handed over in the store just now: that is its shipping.
async fn on_order_completed(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::OrderCompleted { order_id, .. } = &delivery.event else {
        return Ok(Handled::Park("not a completed order".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                let order = orders::hold(tx, order_id).await?;
                if order.fulfilment == Fulfilment::Delivery {
                    return Ok(());
                }
                stage(tx, ctx, &order).await
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// What was shipped is everything now, and WeChat has to know, or it keeps the money.
async fn on_order_rest_refunded(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::OrderRestRefunded { order_id, .. } = &delivery.event else {
        return Ok(Handled::Park("not a refund of an unshipped rest".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                let order = orders::hold(tx, order_id).await?;
                stage(tx, ctx, &order).await
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// There is something new to say about a held order, if it was paid through WeChat.
pub(super) async fn stage(tx: &mut Tx<'_>, ctx: &Ctx, order: &Order) -> Result<()> {
    let Some(attempt) = paid_by_wechat(tx, order).await? else { return Ok(()) };
    let now_ms = ctx.clock.now_ms();
    let (paid_ms, more_comes) = (attempt.paid_ms.unwrap_or(now_ms), !all_on_its_way(order));
    if !sql::want_again(tx, &order.id, more_comes, now_ms).await? {
        sql::insert_upload(tx, &order.id, &order.store_id, paid_ms, more_comes, now_ms).await?;
    }
    tx.wake(Work::Shipping);
    Ok(())
}

/// Every parcel is on its way, or the goods were handed over in the store.
fn all_on_its_way(order: &Order) -> bool {
    match order.fulfilment {
        Fulfilment::Delivery => order.shipped_ms.is_some(),
        Fulfilment::Pickup | Fulfilment::InStore => order.completed_ms.is_some(),
    }
}

pub(super) async fn paid_by_wechat(conn: &mut Conn, order: &Order) -> Result<Option<Attempt>> {
    let attempt = payments::paid_attempt(conn, &order.id).await?;
    Ok(attempt.filter(|attempt| attempt.provider == ProviderKind::WechatPay))
}

/// Uploads what is due. Answers how many uploads it took.
pub(super) async fn tick(ctx: &Ctx, mini: &Mini) -> Result<usize> {
    let due = sql::due(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCH).await?;
    let work = due.iter().map(|upload| (upload.order_id.as_str(), work_on(ctx, mini, upload))).collect();
    Ok(side_by_side("the upload of order", work).await)
}

/// What there is to say now.
enum Content {
    Say(Box<ShippingInfo>),
    /// The store's own courier is on the way with a part: it is told once, when it is complete.
    NothingYet,
    /// The money went back, or the customer has deleted the account: WeChat takes nothing without an openid.
    NotNeeded,
}

async fn work_on(ctx: &Ctx, mini: &Mini, upload: &Upload) -> Result<bool> {
    let until_ms = ctx.clock.now_ms() + LEASE_MS;
    if !ctx.db.write(|tx| Box::pin(sql::claim(tx, upload, until_ms))).await? {
        return Ok(false);
    }
    match content(ctx, upload).await {
        Ok(Content::Say(info)) => {
            let answer = mini.upload_shipping_info(&info).await;
            ctx.metrics.outbound("upload_shipping_info", if answer.is_ok() { "ok" } else { "failed" });
            record(ctx, upload, &info, answer.err()).await?;
        }
        Ok(Content::NothingYet) => {
            ctx.db.write(|tx| Box::pin(sql::again(tx, upload, 0, None, None))).await?;
        }
        Ok(Content::NotNeeded) => {
            let ending = ending(ctx, UploadState::NotNeeded, false, None, None);
            end(ctx, upload, &ending).await?;
        }
        // A try like any other, so that somebody sees it: what is damaged does not mend itself.
        Err(failure) => {
            let may_pass = failure.is(&common::UNAVAILABLE);
            let error = shortened(&format!("what is to be said of the order can't be read: {failure}"));
            failed(ctx, upload, &error, may_pass).await?;
        }
    }
    Ok(true)
}

async fn content(ctx: &Ctx, upload: &Upload) -> Result<Content> {
    // Taken before the rows are read: of two uploads that cross, WeChat believes the later time.
    let upload_ms = ctx.clock.now_ms();
    let conn = &mut *ctx.db.reader().await?;
    let order = orders::find(conn, &upload.order_id).await?;
    let Some(order) = order.filter(|order| order.refund_status != RefundStatus::Full) else {
        return Ok(Content::NotNeeded);
    };
    let Some(attempt) = paid_by_wechat(conn, &order).await? else { return Ok(Content::NotNeeded) };
    if attempt.openid.is_empty() {
        return Ok(Content::NotNeeded);
    }
    let parcels = sql::of_order(conn, &order.id).await?;
    let units = sql::lines_of_order(conn, &order.id).await?;
    let lines = orders::find_lines(conn, &order.id).await?;
    if order.fulfilment != Fulfilment::Delivery {
        return Ok(Content::Say(Box::new(handed_over(attempt, &lines, upload_ms))));
    }
    let all = order.shipped_ms.is_some();
    let express: Vec<&Parcel> =
        parcels.iter().filter(|parcel| parcel.is_express()).take(PARCELS_MAX).collect();
    if express.is_empty() && !all {
        return Ok(Content::NothingYet);
    }
    let receiver_phone = orders::delivery_address(ctx, &order)?.map(|to| to.phone.as_str().to_owned());
    let entry = |parcel: &&Parcel| ShippingParcel {
        tracking_no: parcel.tracking_no.clone(),
        express_company: parcel.carrier.clone(),
        item_desc: describe(units.iter().filter(|unit| unit.parcel_id == parcel.id), &lines),
        receiver_phone: receiver_phone.clone(),
    };
    let own_courier = || ShippingParcel {
        tracking_no: String::new(),
        express_company: String::new(),
        item_desc: describe(units.iter(), &lines),
        receiver_phone: None,
    };
    let (logistics, parcels) = match express.is_empty() {
        true => (Logistics::SameCity, vec![own_courier()]),
        false => (Logistics::Express, express.iter().map(entry).collect()),
    };
    let is_express = logistics == Logistics::Express;
    let info = ShippingInfo {
        order: OrderKey::Merchant { mchid: attempt.mchid, out_trade_no: attempt.out_trade_no },
        logistics,
        // Once a part was told, the rest is told in the same way.
        split: is_express && (express.len() > 1 || !all || upload.split > 0),
        all_delivered: all,
        parcels,
        upload_ms,
        openid: attempt.openid,
    };
    Ok(Content::Say(Box::new(info)))
}

/// What was handed over in the store.
fn handed_over(attempt: Attempt, lines: &[OrderLine], upload_ms: Millis) -> ShippingInfo {
    let given = lines.iter().filter(|line| line.shipped > 0);
    let given: Vec<String> = given.map(|line| format!("{}×{}", line.product_name, line.shipped)).collect();
    ShippingInfo {
        order: OrderKey::Merchant { mchid: attempt.mchid, out_trade_no: attempt.out_trade_no },
        logistics: Logistics::Pickup,
        split: false,
        all_delivered: true,
        parcels: vec![ShippingParcel {
            tracking_no: String::new(),
            express_company: String::new(),
            item_desc: given.join("，"),
            receiver_phone: None,
        }],
        upload_ms,
        openid: attempt.openid,
    }
}

/// `手冲壶×1，滤纸×2`
fn describe<'a>(units: impl Iterator<Item = &'a ParcelLine>, lines: &[OrderLine]) -> String {
    let named = units.filter_map(|unit| {
        let line = lines.iter().find(|line| line.id == unit.line_id)?;
        Some(format!("{}×{}", line.product_name, unit.quantity))
    });
    named.collect::<Vec<_>>().join("，")
}

/// Writes down what WeChat answered.
async fn record(ctx: &Ctx, upload: &Upload, said: &ShippingInfo, refusal: Option<MiniError>) -> Result<()> {
    let all = said.all_delivered;
    let settle_ms = ctx.clock.now_ms() + settlement::patience_ms(said.logistics);
    let Some(refusal) = refusal else {
        let ending = ending(ctx, UploadState::Accepted, all, None, all.then_some(settle_ms));
        return end(ctx, upload, &ending).await;
    };
    let error = shortened(&refusal.to_string());
    let was_told_all = upload.all_delivered > 0;
    if was_told_all && (refusal.is_shipped_before() || refusal.is_not_shippable()) {
        // What it has stays as it is.
        return give_up(ctx, upload, UploadState::Refused, &error).await;
    }
    if refusal.is_shipped_before() {
        let ending = ending(ctx, UploadState::ShippedBefore, true, Some(&error), Some(settle_ms));
        return end(ctx, upload, &ending).await;
    }
    // A payment that WeChat does not know is normal for a while after it was made.
    let may_pass = refusal.is_passing() || refusal.is_payment_not_found();
    failed(ctx, upload, &error, may_pass).await
}

fn shortened(error: &str) -> String {
    error.chars().take(ERROR_CHARS_MAX).collect()
}

/// A try came to nothing: there is another one later, and at some time a person is told.
async fn failed(ctx: &Ctx, upload: &Upload, error: &str, may_pass: bool) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    let step = upload.step + 1;
    let order = &upload.order_id;
    tracing::warn!(order.id = %order, "shipping of order {order} is not uploaded, try {step}: {error}");
    if step >= TRIES_MAX {
        return give_up(ctx, upload, UploadState::GivenUp, error).await;
    }
    let alert = now_ms - upload.paid_ms >= LATE_MS || (!may_pass && step >= REFUSALS_BEFORE_ALERT);
    let pause_ms = (FIRST_PAUSE_MS << upload.step.clamp(0, 10)).min(LONGEST_PAUSE_MS);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                // The first of several is told: the order's timeline is no log of tries.
                let mut held = match upload.failed_ms {
                    None => Some(orders::hold(tx, order).await?),
                    Some(_) => None,
                };
                let next_ms = Some(now_ms + pause_ms);
                let unchanged = sql::again(tx, upload, step, next_ms, Some((error, now_ms))).await?;
                if unchanged && let Some(order) = &mut held {
                    let detail = json!({ "reason": error });
                    orders::record(tx, ctx, order, OrderMove::UploadFailed, &ACTOR, detail).await?;
                }
                if unchanged && alert {
                    alerts::open(tx, ctx, NOT_UPLOADED_ALERT, order.as_str(), error).await?;
                }
                Ok(())
            })
        })
        .await
}

fn ending<'a>(
    ctx: &Ctx,
    state: UploadState,
    all_delivered: bool,
    error: Option<&'a str>,
    settle_check_ms: Option<Millis>,
) -> Ending<'a> {
    Ending { state, all_delivered, error, now_ms: ctx.clock.now_ms(), settle_check_ms }
}

async fn end(ctx: &Ctx, upload: &Upload, ending: &Ending<'_>) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let order = &upload.order_id;
                let mut held = match ending.state {
                    UploadState::NotNeeded => None,
                    _ => Some(orders::hold(tx, order).await?),
                };
                let ended = sql::end(tx, upload, ending).await?;
                if ended {
                    let over: &[&str] = match ending.state {
                        UploadState::NotNeeded => &[NOT_UPLOADED_ALERT, REMINDED, MONEY_HELD],
                        _ => &[NOT_UPLOADED_ALERT, REMINDED],
                    };
                    for kind in over {
                        alerts::close(tx, ctx, kind, order.as_str()).await?;
                    }
                } else if ending.state == UploadState::Accepted && ending.all_delivered {
                    sql::accepted_before_news(tx, order, ending.now_ms).await?;
                }
                // What WeChat has accepted it has, whatever there is to say since.
                let is_told = ended || ending.state == UploadState::Accepted;
                if let Some(order) = held.as_mut().filter(|_| is_told) {
                    let detail = json!({ "state": ending.state, "all_delivered": ending.all_delivered });
                    orders::record(tx, ctx, order, OrderMove::UploadAccepted, &ACTOR, detail).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn give_up(ctx: &Ctx, upload: &Upload, state: UploadState, error: &str) -> Result<()> {
    let ending = &ending(ctx, state, false, Some(error), upload.settle_check_ms);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut order = orders::hold(tx, &upload.order_id).await?;
                if sql::end(tx, upload, ending).await? {
                    let detail = json!({ "state": state, "reason": error });
                    orders::record(tx, ctx, &mut order, OrderMove::UploadGivenUp, &ACTOR, detail).await?;
                    alerts::open(tx, ctx, NOT_UPLOADED_ALERT, order.id.as_str(), error).await?;
                }
                Ok(())
            })
        })
        .await
}
