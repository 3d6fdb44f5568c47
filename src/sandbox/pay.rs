//! Prepay, query and close.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::faults::FaultKind;
use super::fields::{Fields, Most, beijing};
use super::keys::{digits, letters};
use super::server::Call;
use super::store::{self, By, Payment};
use super::v3::{Answer, Refusal, signing_word};
use super::{World, cashier, demo, notify};
use crate::kernel::{Millis, day_ms, hour_ms, minute_ms};

/// A prepay_id lives this long; after that an identical request gives a new one.
const PREPAY_LIFE_MS: Millis = hour_ms(2);
const EXPIRE_LEAST_MS: Millis = minute_ms(1);
const EXPIRE_MOST_MS: Millis = day_ms(15);
const EXPIRE_DEFAULT_MS: Millis = day_ms(7);

const ALREADY_PAID: u32 = 268_449_538;
const OTHER_PARAMETERS: u32 = 268_498_688;
const EXPIRED: u32 = 268_447_914;

/// Is this prepay_id too old to be paid?
pub fn prepay_is_stale(payment: &Payment, now_ms: Millis) -> bool {
    payment.prepay_ms.is_none_or(|made_ms| now_ms - made_ms >= PREPAY_LIFE_MS)
}

/// `POST /v3/pay/transactions/jsapi`
pub async fn prepay(world: &Arc<World>, call: &Call) -> Answer {
    let fields = Fields::of(call)?;
    check(&fields)?;
    if fields.required_text("/appid", Most::Characters(32))? != demo::APPID {
        return Err(Refusal::new(
            400,
            "APPID_MCHID_NOT_MATCH",
            "AppID和mch_id不匹配，请检查后再试",
            268_445_527,
        ));
    }
    if fields.required_text("/mchid", Most::Characters(32))? != demo::MCHID {
        return Err(Refusal::new(400, "MCH_NOT_EXISTS", "商户号不存在", 268_443_715));
    }
    let number = fields.required_text("/out_trade_no", Most::Characters(32))?;
    let openid = fields.required_text("/payer/openid", Most::Characters(128))?;
    let mut tx = world.db.begin().await?;
    if !store::user_exists(&mut tx, openid).await? {
        return Err(Refusal { sub_code: 268_501_013, ..fields.wrong("/payer/openid", "无效的openid") });
    }
    let prepay_id = match store::payment(&mut tx, By::Number(number)).await? {
        None => insert(world, &mut tx, call, &fields, number, openid).await?,
        Some(payment) => replay(world, &mut tx, &fields, &payment).await?,
    };
    tx.commit().await?;
    if world.faults.strikes(FaultKind::NotifyBeforePrepayAnswer, call.path()) {
        cashier::settle(world, &prepay_id, 0).await?;
        notify::tick(world).await;
    }
    Ok(Some(json!({ "prepay_id": prepay_id })))
}

/// The limits of every field, in the order of the documentation's table.
fn check(fields: &Fields) -> Result<(), Refusal> {
    use Most::{Bytes, Characters};
    fields.required_text("/appid", Characters(32))?;
    fields.required_text("/mchid", Characters(32))?;
    fields.required_text("/description", Characters(127))?;
    let number = fields.required_text("/out_trade_no", Characters(32))?;
    if number.len() < 6 {
        return Err(fields.wrong("/out_trade_no", "长度应为6至32"));
    }
    fields.only("/out_trade_no", number, "_-|*")?;
    fields.time("/time_expire")?;
    fields.text("/attach", Characters(128))?;
    if fields.notify_url(255)?.is_none() {
        return Err(fields.wrong("/notify_url", "必填"));
    }
    fields.text("/goods_tag", Characters(32))?;
    fields.boolean("/support_fapiao")?;
    fields.required_integer("/amount/total", 1)?;
    if fields.text("/amount/currency", Characters(16))?.is_some_and(|currency| currency != "CNY") {
        return Err(fields.wrong("/amount/currency", "只支持CNY"));
    }
    fields.required_text("/payer/openid", Characters(128))?;
    if fields.object("/detail")? {
        if fields.get("/detail").is_some_and(|detail| detail.to_string().len() > 6144) {
            return Err(fields.wrong("/detail", "不能超过6144字节"));
        }
        fields.integer("/detail/cost_price", 0)?;
        fields.text("/detail/invoice_id", Bytes(32))?;
        for index in 0..fields.list("/detail/goods_detail")?.unwrap_or(0) {
            let at = |name: &str| format!("/detail/goods_detail/{index}/{name}");
            let id = fields.required_text(&at("merchant_goods_id"), Characters(32))?;
            fields.only(&at("merchant_goods_id"), id, "_-")?;
            fields.text(&at("wechatpay_goods_id"), Characters(32))?;
            fields.text(&at("goods_name"), Characters(256))?;
            fields.required_integer(&at("quantity"), 1)?;
            fields.required_integer(&at("unit_price"), 0)?;
        }
    }
    if fields.object("/scene_info")? {
        let ip = fields.required_text("/scene_info/payer_client_ip", Characters(45))?;
        if ip.parse::<std::net::IpAddr>().is_err() {
            return Err(fields.wrong("/scene_info/payer_client_ip", "应为IP地址"));
        }
        fields.text("/scene_info/device_id", Characters(32))?;
        if fields.object("/scene_info/store_info")? {
            fields.required_text("/scene_info/store_info/id", Characters(32))?;
            fields.text("/scene_info/store_info/name", Characters(256))?;
            fields.text("/scene_info/store_info/area_code", Characters(32))?;
            fields.text("/scene_info/store_info/address", Characters(512))?;
        }
    }
    fields.boolean("/settle_info/profit_sharing")
}

/// The first time that this number is seen.
async fn insert(
    world: &World,
    tx: &mut SqliteConnection,
    call: &Call,
    fields: &Fields,
    number: &str,
    openid: &str,
) -> Result<String, Refusal> {
    let now_ms = world.clock.now_ms();
    let expire_ms = match fields.time("/time_expire")? {
        Some(asked_ms) => asked_ms.clamp(now_ms + EXPIRE_LEAST_MS, now_ms + EXPIRE_MOST_MS),
        None => now_ms + EXPIRE_DEFAULT_MS,
    };
    let prepay_id = new_prepay_id(now_ms);
    sqlx::query(
        "INSERT INTO payments (out_trade_no, prepay_id, prepay_ms, request, notify_url, openid, total, \
         description, attach, device_id, expire_ms, signing, state, coupon, created_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'NOTPAY', 0, ?)",
    )
    .bind(number)
    .bind(&prepay_id)
    .bind(now_ms)
    .bind(fields.canonical())
    .bind(fields.notify_url(255)?.unwrap_or_default())
    .bind(openid)
    .bind(fields.required_integer("/amount/total", 1)?)
    .bind(fields.required_text("/description", Most::Characters(127))?)
    .bind(fields.text("/attach", Most::Characters(128))?)
    .bind(fields.text("/scene_info/device_id", Most::Characters(32))?)
    .bind(expire_ms)
    .bind(signing_word(call))
    .bind(now_ms)
    .execute(tx)
    .await?;
    Ok(prepay_id)
}

/// The number is known: only an identical request for an open payment gives a prepay_id.
async fn replay(
    world: &World,
    tx: &mut SqliteConnection,
    fields: &Fields,
    payment: &Payment,
) -> Result<String, Refusal> {
    let now_ms = world.clock.now_ms();
    match payment.state.as_str() {
        "CLOSED" => return Err(Refusal::invalid_request("该订单已关闭，请换单号重新下单", EXPIRED)),
        "SUCCESS" | "REFUND" => return Err(Refusal::invalid_request("该订单已支付", ALREADY_PAID)),
        _ => {}
    }
    if payment.request != fields.canonical() {
        return Err(if world.faults.strikes(FaultKind::OutTradeNoUsedAs400, "") {
            Refusal::invalid_request("请求重入时，参数与首次请求不一致", OTHER_PARAMETERS)
        } else {
            Refusal::new(
                403,
                "OUT_TRADE_NO_USED",
                "商户订单号重复，请核实商户订单号是否重复提交",
                OTHER_PARAMETERS,
            )
        });
    }
    if now_ms >= payment.expire_ms {
        return Err(Refusal::invalid_request("订单已过期，请换单号重新下单", EXPIRED));
    }
    match &payment.prepay_id {
        Some(prepay_id) if !prepay_is_stale(payment, now_ms) => Ok(prepay_id.clone()),
        _ => {
            let prepay_id = new_prepay_id(now_ms);
            sqlx::query("UPDATE payments SET prepay_id = ?, prepay_ms = ? WHERE out_trade_no = ?")
                .bind(&prepay_id)
                .bind(now_ms)
                .bind(&payment.out_trade_no)
                .execute(tx)
                .await?;
            Ok(prepay_id)
        }
    }
}

fn new_prepay_id(now_ms: Millis) -> String {
    let day: String = beijing(now_ms).chars().filter(char::is_ascii_digit).take(14).collect();
    format!("wx{day}{}{}", digits::<4>(), letters::<16>().to_lowercase())
}

fn check_mchid(mchid: Option<&str>, location: &str) -> Result<(), Refusal> {
    match mchid {
        Some(demo::MCHID) => Ok(()),
        Some(_) => Err(Refusal::new(400, "MCH_NOT_EXISTS", "商户号不存在", 268_443_715)),
        None => Err(Refusal::param("mchid", None, "必填", location)),
    }
}

fn not_found() -> Refusal {
    Refusal::new(404, "ORDER_NOT_EXIST", "订单不存在", 268_512_771)
}

/// `GET /v3/pay/transactions/out-trade-no/{number}?mchid=`
pub async fn query_by_number(world: &World, call: &Call, number: &str) -> Answer {
    check_mchid(call.query("mchid").as_deref(), "query")?;
    let found = store::payment(&mut *world.db.acquire().await?, By::Number(number)).await?;
    // A number that was closed before it was ever used is burnt, but was never an order.
    found.filter(|payment| payment.prepay_id.is_some()).map(|p| Some(transaction(&p))).ok_or_else(not_found)
}

/// `GET /v3/pay/transactions/id/{id}?mchid=`
pub async fn query_by_transaction(world: &World, call: &Call, id: &str) -> Answer {
    check_mchid(call.query("mchid").as_deref(), "query")?;
    let found = store::payment(&mut *world.db.acquire().await?, By::Transaction(id)).await?;
    found.map(|payment| Some(transaction(&payment))).ok_or_else(not_found)
}

/// `POST /v3/pay/transactions/out-trade-no/{number}/close`
pub async fn close(world: &Arc<World>, call: &Call, number: &str) -> Answer {
    let fields = Fields::of(call)?;
    check_mchid(fields.text("/mchid", Most::Characters(32))?, "body")?;
    let now_ms = world.clock.now_ms();
    let mut connection = world.db.acquire().await?;
    let found = store::payment(&mut connection, By::Number(number)).await?;
    drop(connection);
    let Some(payment) = found else {
        burn(world, number, now_ms).await?;
        return Ok(None);
    };
    if payment.state == "NOTPAY" && world.faults.strikes(FaultKind::PayDuringClose, call.path()) {
        cashier::settle(world, payment.prepay_id.as_deref().unwrap_or_default(), 0).await?;
    }
    let closed = sqlx::query(
        "UPDATE payments SET state = 'CLOSED' WHERE out_trade_no = ? AND state IN ('NOTPAY', 'CLOSED')",
    )
    .bind(number)
    .execute(&world.db)
    .await?;
    if closed.rows_affected() == 1 {
        Ok(None)
    } else {
        Err(Refusal::invalid_request("该订单已支付，无法关单", ALREADY_PAID))
    }
}

/// Closing a number that was never used answers 204, and the number can't be used any more.
async fn burn(world: &World, number: &str, now_ms: Millis) -> Result<(), Refusal> {
    sqlx::query(
        "INSERT INTO payments (out_trade_no, request, notify_url, openid, total, description, expire_ms, \
         signing, state, coupon, created_ms) VALUES (?, '', '', '', 0, '', 0, '', 'CLOSED', 0, ?) \
         ON CONFLICT DO NOTHING",
    )
    .bind(number)
    .bind(now_ms)
    .execute(&world.db)
    .await?;
    Ok(())
}

/// What a query answers and a payment notification carries.
pub fn transaction(payment: &Payment) -> Value {
    let (state, words) = match payment.state.as_str() {
        "SUCCESS" => ("SUCCESS", "支付成功"),
        "REFUND" => ("REFUND", "订单发生过退款，退款详情请查询退款单"),
        "CLOSED" => ("CLOSED", "订单已关闭"),
        _ => ("NOTPAY", "订单未支付"),
    };
    let mut answer = json!({
        "appid": demo::APPID,
        "mchid": demo::MCHID,
        "out_trade_no": payment.out_trade_no,
        "trade_state": state,
        "trade_state_desc": words,
        "amount": { "total": payment.total, "currency": "CNY" },
    });
    if let Some(attach) = &payment.attach {
        answer["attach"] = json!(attach);
    }
    if let Some(device_id) = &payment.device_id {
        answer["scene_info"] = json!({ "device_id": device_id });
    }
    if let Some(success_ms) = payment.success_ms {
        answer["transaction_id"] = json!(payment.transaction_id);
        answer["trade_type"] = json!("JSAPI");
        answer["bank_type"] = json!(payment.bank_type);
        answer["success_time"] = json!(beijing(success_ms));
        answer["payer"] = json!({ "openid": payment.openid });
        answer["amount"]["payer_total"] = json!(payment.total - payment.coupon);
        answer["amount"]["payer_currency"] = json!("CNY");
        if payment.coupon > 0 {
            answer["promotion_detail"] = json!([{
                "coupon_id": "109519", "name": "微信支付立减", "scope": "GLOBAL", "type": "CASH",
                "amount": payment.coupon, "stock_id": "931386",
                "wechatpay_contribute": payment.coupon, "currency": "CNY",
            }]);
        }
    }
    answer
}
