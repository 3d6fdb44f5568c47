//! What order shipping management answers about orders, and the list of delivery companies.

use serde_json::{Value, json};

use super::mini::{self, Answer, Refusal};
use super::server::Call;
use super::shipping::{self, Shipment};
use super::store::{self, By, Payment};
use super::{World, demo};
use crate::kernel::Millis;

const PAGE_DEFAULT: u64 = 100;
const ORDERS_MAX: i64 = 1_000;

/// Id and name of each company, as `get_delivery_list` answers them.
pub const DELIVERY_COMPANIES: &[(&str, &str)] = &[
    ("SF", "顺丰速运"),
    ("ZTO", "中通快递"),
    ("YTO", "圆通速递"),
    ("YD", "韵达速递"),
    ("STO", "申通快递"),
    ("JD", "京东物流"),
    ("JTSD", "极兔速递"),
    ("EMS", "邮政EMS"),
    ("YZPY", "邮政快递包裹"),
    ("DBL", "德邦快递"),
    ("DADA", "达达"),
    ("CAINIAO", "菜鸟速递"),
];

/// `POST /cgi-bin/express/delivery/open_msg/get_delivery_list`
pub fn delivery_companies(call: &Call) -> Answer {
    mini::body(call)?;
    let list: Vec<Value> = DELIVERY_COMPANIES
        .iter()
        .map(|(id, name)| json!({ "delivery_id": id, "delivery_name": name }))
        .collect();
    mini::ok(json!({ "count": list.len(), "delivery_list": list }))
}

/// `POST /wxa/sec/order/is_trade_managed`
pub fn is_trade_managed(call: &Call) -> Answer {
    let body = mini::body(call)?;
    match body["appid"].as_str() {
        Some(demo::APPID) => mini::ok(json!({ "is_trade_managed": true })),
        Some(_) => Err(Refusal::new(40013, "invalid appid")),
        None => Err(Refusal::new(40097, "invalid args: appid")),
    }
}

/// The paid payment that a body names by transaction_id, or by merchant_id and merchant_trade_no.
async fn named(world: &World, body: &Value) -> Result<(Payment, Option<Shipment>), Refusal> {
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    let by = match (text("transaction_id"), text("merchant_id"), text("merchant_trade_no")) {
        (Some(id), ..) => By::Transaction(id),
        (None, Some(demo::MCHID), Some(number)) => By::Number(number),
        (None, Some(_), Some(_)) => return Err(Refusal::new(10060001, "pay order not exist")),
        _ => return Err(Refusal::new(10060014, "order is not named")),
    };
    let mut connection = world.db.acquire().await?;
    let payment = store::payment(&mut connection, by).await?.filter(Payment::is_paid);
    let payment = payment.ok_or_else(|| Refusal::new(10060001, "pay order not exist"))?;
    let shipment = shipping::find(&mut connection, &payment.out_trade_no).await?;
    Ok((payment, shipment))
}

/// `POST /wxa/sec/order/get_order`
pub async fn get(world: &World, call: &Call) -> Answer {
    let (payment, shipment) = named(world, &mini::body(call)?).await?;
    mini::ok(json!({ "order": order(world, &payment, shipment.as_ref()).await? }))
}

/// `POST /wxa/sec/order/get_order_list`
pub async fn list(world: &World, call: &Call) -> Answer {
    let body = mini::body(call)?;
    let size = match &body["page_size"] {
        Value::Null => PAGE_DEFAULT,
        size => match size.as_u64() {
            Some(size @ 1..=PAGE_DEFAULT) => size,
            _ => return Err(Refusal::new(10060014, "page_size is invalid")),
        },
    };
    let from = match &body["last_index"] {
        Value::Null => 0,
        Value::String(index) if index.is_empty() => 0,
        index => {
            let index = index.as_str().and_then(|index| index.parse::<usize>().ok());
            index.ok_or_else(|| Refusal::new(10060011, "last_index is invalid"))?
        }
    };
    let time = |name: &str| body["pay_time_range"][name].as_i64().map(|at_s| at_s * 1_000);
    let within = |at_ms: Millis| {
        time("begin_time").is_none_or(|begin| at_ms >= begin)
            && time("end_time").is_none_or(|end| at_ms <= end)
    };
    let mut found = Vec::new();
    for payment in store::payments(&world.db, ORDERS_MAX).await? {
        let Some(paid_ms) = payment.success_ms else { continue };
        let wanted_openid = body["openid"].as_str().is_none_or(|openid| openid == payment.openid);
        if !wanted_openid || !within(paid_ms) {
            continue;
        }
        let shipment = shipping::find(&mut *world.db.acquire().await?, &payment.out_trade_no).await?;
        let order = order(world, &payment, shipment.as_ref()).await?;
        if body["order_state"].is_null() || body["order_state"] == order["order_state"] {
            found.push(order);
        }
    }
    let more = found.len() > from + size as usize;
    let last_index = (from + size as usize).min(found.len());
    let orders: Vec<Value> = found.into_iter().skip(from).take(size as usize).collect();
    mini::ok(json!({ "last_index": last_index.to_string(), "has_more": more, "order_list": orders }))
}

/// 1 to ship, 2 shipped, 4 complete (confirmed and settled at once here), 5 refunded.
pub fn state(refunded: i64, payment: &Payment, shipment: Option<&Shipment>) -> i64 {
    match shipment {
        _ if refunded >= payment.total => 5,
        Some(shipment) if shipment.confirmed_ms.is_some() => 4,
        Some(shipment) if shipment.finish_count > 0 => 2,
        _ => 1,
    }
}

async fn order(world: &World, payment: &Payment, shipment: Option<&Shipment>) -> sqlx::Result<Value> {
    let refunds = store::refunds_of(&mut *world.db.acquire().await?, &payment.out_trade_no).await?;
    let refunded =
        refunds.iter().filter(|refund| refund.state == "SUCCESS").map(|refund| refund.amount).sum();
    let mut answer = json!({
        "transaction_id": payment.transaction_id,
        "merchant_id": demo::MCHID,
        "sub_merchant_id": "",
        "merchant_trade_no": payment.out_trade_no,
        "description": payment.description,
        "paid_amount": payment.total,
        "openid": payment.openid,
        "trade_create_time": payment.created_ms / 1_000,
        "pay_time": payment.success_ms.map(|at_ms| at_ms / 1_000),
        "order_state": state(refunded, payment, shipment),
        "in_complaint": false,
        "shipping": { "finish_shipping": false, "finish_shipping_count": 0, "shipping_list": [] },
    });
    if let Some(shipment) = shipment {
        let parcels: Vec<Value> = serde_json::from_str(&shipment.parcels).unwrap_or_default();
        answer["shipping"] = json!({
            "delivery_mode": shipment.delivery_mode,
            "logistics_type": shipment.logistics_type,
            "finish_shipping": shipment.finish_count > 0,
            "goods_desc": parcels.first().map(|parcel| parcel["item_desc"].clone()),
            "finish_shipping_count": shipment.finish_count,
            "shipping_list": parcels,
        });
    }
    Ok(answer)
}

/// `POST /wxa/sec/order/notify_confirm_receive`: the parcel was signed for, so WeChat asks the user to
/// confirm. Once an order, express only.
pub async fn notify_confirm_receive(world: &World, call: &Call) -> Answer {
    let body = mini::body(call)?;
    let (payment, shipment) = named(world, &body).await?;
    let shipped = shipment.as_ref().filter(|shipment| shipment.finish_count > 0);
    let shipment = shipped.ok_or_else(|| Refusal::new(10060028, "order is not shipped"))?;
    let received_ms = body["received_time"].as_i64().map(|at_s| at_s * 1_000);
    let paid_ms = payment.success_ms.unwrap_or_default();
    if received_ms.is_none_or(|at_ms| at_ms < paid_ms || at_ms > world.clock.now_ms() + 1_000) {
        return Err(Refusal::new(10060029, "received_time is invalid"));
    }
    if shipment.logistics_type != 1 {
        return Err(Refusal::new(10060032, "for express only"));
    }
    let told = sqlx::query("UPDATE shipments SET told_ms = ? WHERE out_trade_no = ? AND told_ms IS NULL")
        .bind(world.clock.now_ms())
        .bind(&payment.out_trade_no)
        .execute(&world.db)
        .await?;
    if told.rows_affected() == 0 {
        return Err(Refusal::new(10060030, "the reminder is used"));
    }
    mini::ok(json!({}))
}
