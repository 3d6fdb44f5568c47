//! Order shipping management: what is uploaded, when money that is frozen becomes the merchant's, and the
//! events that tell the shop. It stands on the payments of this sandbox.

use serde_json::{Value, json};
use sqlx::{FromRow, SqliteConnection};

use super::faults::FaultKind;
use super::mini::{self, Answer, Refusal};
use super::server::Call;
use super::store::{self, By, Payment};
use super::{World, demo, push};
use crate::kernel::{Millis, day_ms};

const EXPRESS: i64 = 1;
const UNIFIED: i64 = 1;
const SPLIT: i64 = 2;
const PARCELS_MAX: usize = 15;
const CONFIRMS_ITSELF_MAX: i64 = 200;

#[derive(Debug, Clone, FromRow)]
pub struct Shipment {
    pub logistics_type: i64,
    pub delivery_mode: i64,
    /// JSON array, as uploaded.
    pub parcels: String,
    /// 0: partly shipped, 1: fully, 2: the one re-ship is used.
    pub finish_count: i64,
    pub upload_ms: Millis,
    pub shipped_ms: Option<Millis>,
    pub confirmed_ms: Option<Millis>,
    /// The merchant said that the parcel was signed for, which it may do once.
    pub told_ms: Option<Millis>,
}

pub async fn find(db: &mut SqliteConnection, out_trade_no: &str) -> sqlx::Result<Option<Shipment>> {
    sqlx::query_as(
        "SELECT logistics_type, delivery_mode, parcels, finish_count, upload_ms, shipped_ms, confirmed_ms, \
         told_ms FROM shipments WHERE out_trade_no = ?",
    )
    .bind(out_trade_no)
    .fetch_optional(db)
    .await
}

/// An upload whose fields are all in their limits.
struct Upload {
    logistics_type: i64,
    delivery_mode: i64,
    is_all_delivered: bool,
    parcels: Vec<Value>,
    upload_ms: Millis,
    openid: String,
}

/// `POST /wxa/sec/order/upload_shipping_info`
pub async fn upload(world: &World, call: &Call) -> Answer {
    let body = mini::body(call)?;
    let upload = check(&body)?;
    if world.faults.strikes(FaultKind::Upload10060001, call.path()) {
        return Err(not_paid());
    }
    let mut tx = world.db.begin().await?;
    let payment = by_order_key(&mut tx, &body["order_key"]).await?;
    if payment.openid != upload.openid {
        return Err(Refusal::new(10060031, "openid is not the payer"));
    }
    let shipment = find(&mut tx, &payment.out_trade_no).await?;
    let refunded: i64 = store::refunds_of(&mut tx, &payment.out_trade_no)
        .await?
        .iter()
        .filter(|refund| refund.state == "SUCCESS")
        .map(|refund| refund.amount)
        .sum();
    let received = shipment.as_ref().is_some_and(|shipment| shipment.confirmed_ms.is_some());
    if refunded >= payment.total || received {
        return Err(Refusal::new(10060004, "order is not in a shippable state"));
    }
    let (parcels, finish_count) = merge(shipment.as_ref(), &upload)?;
    save(world, &mut tx, &payment, shipment.as_ref(), &upload, (parcels, finish_count)).await?;
    tx.commit().await?;
    mini::ok(json!({}))
}

fn not_paid() -> Refusal {
    Refusal::new(10060001, "pay order not exist")
}

/// The paid payment that an `order_key` names.
async fn by_order_key(tx: &mut SqliteConnection, key: &Value) -> Result<Payment, Refusal> {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let by = match key["order_number_type"].as_i64() {
        Some(1) if text("mchid").is_empty() => return Err(Refusal::new(268485196, "mchid is empty")),
        Some(1) if text("out_trade_no").is_empty() => {
            return Err(Refusal::new(268485197, "out_trade_no is empty"));
        }
        Some(1) if text("mchid") != demo::MCHID => return Err(not_paid()),
        Some(1) => By::Number(text("out_trade_no")),
        Some(2) if text("transaction_id").is_empty() => {
            return Err(Refusal::new(268485195, "transaction_id is empty"));
        }
        Some(2) => By::Transaction(text("transaction_id")),
        _ => return Err(Refusal::new(268485194, "order_number_type is invalid")),
    };
    store::payment(tx, by).await?.filter(Payment::is_paid).ok_or_else(not_paid)
}

fn check(body: &Value) -> Result<Upload, Refusal> {
    let logistics_type = match body["logistics_type"].as_i64() {
        Some(kind @ 1..=4) => kind,
        _ => return Err(Refusal::new(10060005, "logistics_type is invalid")),
    };
    let delivery_mode = match body["delivery_mode"].as_i64() {
        Some(mode @ (UNIFIED | SPLIT)) => mode,
        _ => return Err(Refusal::new(268485224, "delivery_mode is invalid")),
    };
    if delivery_mode == SPLIT && logistics_type != EXPRESS {
        return Err(Refusal::new(10060006, "split delivery is for express only"));
    }
    let is_all_delivered = match &body["is_all_delivered"] {
        Value::Bool(all) => *all,
        Value::Null if delivery_mode == UNIFIED => true,
        Value::Null => return Err(Refusal::new(10060007, "is_all_delivered is required")),
        _ => return Err(Refusal::new(47001, "data format error")),
    };
    let parcels = body["shipping_list"].as_array().ok_or_else(|| Refusal::new(47001, "data format error"))?;
    if parcels.len() > PARCELS_MAX {
        return Err(Refusal::new(10060024, "too many parcels"));
    }
    if delivery_mode == UNIFIED && parcels.len() != 1 {
        return Err(Refusal::new(268485228, "unified delivery takes exactly one parcel"));
    }
    if parcels.is_empty() {
        return Err(Refusal::new(10060014, "shipping_list is empty"));
    }
    for parcel in parcels {
        check_parcel(parcel, logistics_type == EXPRESS)?;
    }
    let time = body["upload_time"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let time = time.ok_or_else(|| Refusal::new(268485216, "upload_time is invalid"))?;
    let openid = body["payer"]["openid"].as_str().unwrap_or_default();
    if openid.is_empty() || openid.len() > 128 {
        return Err(Refusal::new(10060014, "payer.openid is invalid"));
    }
    Ok(Upload {
        logistics_type,
        delivery_mode,
        is_all_delivered: is_all_delivered || delivery_mode == UNIFIED,
        parcels: parcels.clone(),
        upload_ms: time.as_millisecond(),
        openid: openid.to_owned(),
    })
}

fn check_parcel(parcel: &Value, express: bool) -> Result<(), Refusal> {
    let text = |name: &str| parcel[name].as_str().unwrap_or_default();
    match text("item_desc").chars().count() {
        0 => return Err(Refusal::new(10060008, "item_desc is empty")),
        121.. => return Err(Refusal::new(10060009, "item_desc is too long")),
        _ => {}
    }
    if text("tracking_no").len() > 128 {
        return Err(Refusal::new(10060026, "tracking_no is too long"));
    }
    if text("express_company").len() > 128 {
        return Err(Refusal::new(10060025, "express_company is too long"));
    }
    if !express {
        return Ok(());
    }
    if text("tracking_no").is_empty() {
        return Err(Refusal::new(268485226, "tracking_no is empty"));
    }
    if text("express_company").is_empty() {
        return Err(Refusal::new(268485227, "express_company is empty"));
    }
    if text("express_company") == "SF" {
        let contact = &parcel["contact"];
        let masked = |name: &str| {
            let number = contact[name].as_str().unwrap_or_default();
            number.len() >= 4 && number.bytes().rev().take(4).all(|byte| byte.is_ascii_digit())
        };
        if !masked("consignor_contact") && !masked("receiver_contact") {
            return Err(Refusal::new(10060014, "contact is required for SF"));
        }
    }
    Ok(())
}

/// All parcels after this upload, and how often the order was finished.
fn merge(before: Option<&Shipment>, upload: &Upload) -> Result<(Vec<Value>, i64), Refusal> {
    let finished = i64::from(upload.is_all_delivered);
    let Some(before) = before else { return Ok((upload.parcels.clone(), finished)) };
    let known: Vec<Value> = serde_json::from_str(&before.parcels).unwrap_or_default();
    let adds = before.finish_count == 0 && before.delivery_mode == SPLIT && upload.delivery_mode == SPLIT;
    let mut parcels = if adds { known.clone() } else { Vec::new() };
    for parcel in &upload.parcels {
        match parcels.iter_mut().find(|old| old["tracking_no"] == parcel["tracking_no"]) {
            Some(old) => *old = parcel.clone(),
            None => parcels.push(parcel.clone()),
        }
    }
    if parcels.len() > PARCELS_MAX {
        return Err(Refusal::new(10060024, "too many parcels"));
    }
    let same = parcels == known && before.logistics_type == upload.logistics_type;
    if same && i64::from(before.finish_count > 0) == finished {
        return Err(Refusal::new(10060023, "nothing changed"));
    }
    match before.finish_count {
        0 => Ok((parcels, finished)),
        1 if upload.is_all_delivered => Ok((parcels, 2)),
        1 => Err(Refusal::new(10060002, "order is already fully shipped")),
        _ => Err(Refusal::new(10060003, "the chance to ship again is used")),
    }
}

async fn save(
    world: &World,
    tx: &mut SqliteConnection,
    payment: &Payment,
    before: Option<&Shipment>,
    upload: &Upload,
    (parcels, finish_count): (Vec<Value>, i64),
) -> sqlx::Result<()> {
    // Concurrent uploads are ordered by their own time: an older one changes nothing.
    if before.is_some_and(|before| upload.upload_ms < before.upload_ms) {
        return Ok(());
    }
    let now_ms = world.clock.now_ms();
    let first_finish = finish_count == 1;
    let shipped_ms = if first_finish { Some(now_ms) } else { before.and_then(|before| before.shipped_ms) };
    let confirm_due_ms = shipped_ms.map(|at_ms| at_ms + confirms_itself_after_ms(upload.logistics_type));
    sqlx::query(
        "INSERT OR REPLACE INTO shipments (out_trade_no, logistics_type, delivery_mode, parcels, finish_count, \
         upload_ms, shipped_ms, confirm_due_ms, told_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&payment.out_trade_no)
    .bind(upload.logistics_type)
    .bind(upload.delivery_mode)
    .bind(Value::Array(parcels).to_string())
    .bind(finish_count)
    .bind(upload.upload_ms)
    .bind(shipped_ms)
    .bind(confirm_due_ms)
    .bind(before.and_then(|before| before.told_ms))
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE payments SET remind_ms = NULL WHERE out_trade_no = ?")
        .bind(&payment.out_trade_no)
        .execute(&mut *tx)
        .await?;
    if let (true, Some(due_ms)) = (first_finish, confirm_due_ms) {
        let rest = json!({
            "shipped_time": now_ms / 1_000,
            "estimated_settlement_time": due_ms / 1_000,
        });
        push::stage(world, tx, "trade_manage_order_settlement", payment, rest).await?;
    }
    Ok(())
}

/// Express parcels confirm themselves later than what is handed over.
fn confirms_itself_after_ms(logistics_type: i64) -> Millis {
    if logistics_type == EXPRESS { day_ms(10) } else { day_ms(2) }
}

/// Receipt is confirmed, by itself (1) or by hand (2): the money is settled and the shop is told. False: it
/// was not fully shipped, or somebody was there first.
pub async fn confirm(world: &World, out_trade_no: &str, method: i64) -> sqlx::Result<bool> {
    let now_ms = world.clock.now_ms();
    let mut tx = world.db.begin().await?;
    let moved = sqlx::query(
        "UPDATE shipments SET confirmed_ms = ?, confirm_method = ?, confirm_due_ms = NULL \
         WHERE out_trade_no = ? AND finish_count > 0 AND confirmed_ms IS NULL",
    )
    .bind(now_ms)
    .bind(method)
    .bind(out_trade_no)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    let shipped_ms = find(&mut tx, out_trade_no).await?.and_then(|shipment| shipment.shipped_ms);
    if let Some(payment) = store::payment(&mut tx, By::Number(out_trade_no)).await? {
        let rest = json!({
            "shipped_time": shipped_ms.map(|at_ms| at_ms / 1_000),
            "confirm_receive_method": method,
            "confirm_receive_time": now_ms / 1_000,
            "settlement_time": now_ms / 1_000,
        });
        push::stage(world, &mut tx, "trade_manage_order_settlement", &payment, rest).await?;
    }
    tx.commit().await?;
    world.wake.notify_one();
    Ok(true)
}

/// Receipts that confirm themselves, and reminders of orders that wait too long for shipping.
pub async fn end_due(world: &World) -> sqlx::Result<()> {
    let now_ms = world.clock.now_ms();
    let due: Vec<String> =
        sqlx::query_scalar("SELECT out_trade_no FROM shipments WHERE confirm_due_ms <= ? LIMIT ?")
            .bind(now_ms)
            .bind(CONFIRMS_ITSELF_MAX)
            .fetch_all(&world.db)
            .await?;
    for out_trade_no in due {
        confirm(world, &out_trade_no, 1).await?;
    }
    let late: Vec<String> =
        sqlx::query_scalar("SELECT out_trade_no FROM payments WHERE remind_ms <= ? LIMIT ?")
            .bind(now_ms)
            .bind(CONFIRMS_ITSELF_MAX)
            .fetch_all(&world.db)
            .await?;
    for out_trade_no in late {
        let mut tx = world.db.begin().await?;
        sqlx::query("UPDATE payments SET remind_ms = NULL WHERE out_trade_no = ?")
            .bind(&out_trade_no)
            .execute(&mut *tx)
            .await?;
        // An order that is being refunded is not to be shipped any more.
        let payment = store::payment(&mut tx, By::Number(&out_trade_no)).await?;
        if let Some(payment) = payment.filter(|payment| payment.state == "SUCCESS") {
            let rest = json!({ "msg": "订单已支付超过48小时，请尽快发货并录入物流信息" });
            push::stage(world, &mut tx, "trade_manage_remind_shipping", &payment, rest).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}
