//! Refunds: asked for, queried, ended.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::faults::FaultKind;
use super::fields::{Fields, Most, beijing};
use super::keys::digits;
use super::notify::{self, Notice};
use super::server::Call;
use super::store::{self, By, Payment, Refund, select_refund};
use super::v3::{Answer, Refusal, signing_word};
use super::{World, demo};
use crate::kernel::{Millis, day_ms, minute_ms};

const PARTS_MAX: usize = 50;
const SPACING_MS: Millis = minute_ms(1);
const REFUNDABLE_FOR_MS: Millis = day_ms(365);
const END_MAX: i64 = 200;

/// `POST /v3/refund/domestic/refunds`
pub async fn request(world: &World, call: &Call) -> Answer {
    let fields = Fields::of(call)?;
    check(&fields)?;
    let number = fields.required_text("/out_refund_no", Most::Bytes(64))?;
    let transaction_id = fields.text("/transaction_id", Most::Characters(32))?;
    let out_trade_no = fields.text("/out_trade_no", Most::Characters(32))?;
    let by = match (transaction_id, out_trade_no) {
        (Some(id), None) => By::Transaction(id),
        (None, Some(number)) => By::Number(number),
        _ => return Err(fields.wrong("/transaction_id", "与out_trade_no二选一")),
    };
    let mut tx = world.db.begin().await?;
    let payment = store::payment(&mut tx, by).await?.filter(Payment::is_paid);
    let payment =
        payment.ok_or_else(|| Refusal::new(404, "RESOURCE_NOT_EXISTS", "订单不存在", 268_512_771))?;
    if let Some(refund) = store::refund(&mut tx, number).await? {
        if refund.request != fields.canonical() {
            return Err(Refusal::invalid_request("请求参数与首次请求的参数不一致", 268_498_688));
        }
        return Ok(Some(refund_json(&refund, &payment)));
    }
    let order = Order {
        out_refund_no: number,
        amount: fields.required_integer("/amount/refund", 1)?,
        total: fields.required_integer("/amount/total", 1)?,
        notify_url: fields.notify_url(256)?,
        request: fields.canonical(),
        signing: signing_word(call),
    };
    let refund = accept(world, &mut tx, &payment, order).await?;
    tx.commit().await?;
    world.wake.notify_one();
    Ok(Some(refund_json(&refund, &payment)))
}

fn check(fields: &Fields) -> Result<(), Refusal> {
    use Most::{Bytes, Characters};
    let number = fields.required_text("/out_refund_no", Bytes(64))?;
    fields.only("/out_refund_no", number, "_-|*@")?;
    fields.text("/reason", Bytes(80))?;
    let account = fields.text("/funds_account", Characters(32))?;
    if account.is_some_and(|account| !matches!(account, "AVAILABLE" | "UNSETTLED")) {
        return Err(fields.wrong("/funds_account", "应为AVAILABLE或UNSETTLED"));
    }
    let amount = fields.required_integer("/amount/refund", 1)?;
    fields.required_integer("/amount/total", 1)?;
    if fields.required_text("/amount/currency", Characters(16))? != "CNY" {
        return Err(fields.wrong("/amount/currency", "只支持CNY"));
    }
    if let Some(parts) = fields.list("/amount/from")? {
        let mut sum = 0;
        for index in 0..parts {
            let account = fields.required_text(&format!("/amount/from/{index}/account"), Characters(32))?;
            if !matches!(account, "AVAILABLE" | "UNAVAILABLE") {
                return Err(fields.wrong("/amount/from", "account应为AVAILABLE或UNAVAILABLE"));
            }
            sum += fields.required_integer(&format!("/amount/from/{index}/amount"), 1)?;
        }
        if sum != amount {
            return Err(fields.wrong("/amount/from", "金额之和应等于退款金额"));
        }
    }
    for index in 0..fields.list("/goods_detail")?.unwrap_or(0) {
        let at = |name: &str| format!("/goods_detail/{index}/{name}");
        fields.required_text(&at("merchant_goods_id"), Characters(32))?;
        fields.text(&at("wechatpay_goods_id"), Characters(32))?;
        fields.text(&at("goods_name"), Characters(256))?;
        fields.required_integer(&at("unit_price"), 0)?;
        fields.required_integer(&at("refund_amount"), 0)?;
        fields.required_integer(&at("refund_quantity"), 1)?;
    }
    Ok(())
}

/// A refund that nobody asked for before.
pub struct Order<'a> {
    pub out_refund_no: &'a str,
    /// Fen to give back.
    pub amount: i64,
    /// What the merchant believes was paid.
    pub total: i64,
    pub notify_url: Option<&'a str>,
    pub request: String,
    pub signing: &'a str,
}

/// Holds a new refund against the rules of its payment and accepts it. Nothing is known yet of its end.
pub async fn accept(
    world: &World,
    tx: &mut SqliteConnection,
    payment: &Payment,
    order: Order<'_>,
) -> Result<Refund, Refusal> {
    let now_ms = world.clock.now_ms();
    if order.total != payment.total {
        return Err(Refusal::invalid_request(
            "订单金额或退款金额与之前请求不一致，请核实后再试",
            268_435_464,
        ));
    }
    let earlier = store::refunds_of(tx, &payment.out_trade_no).await?;
    let standing: Vec<&Refund> = earlier.iter().filter(|refund| refund.state != "CLOSED").collect();
    let refunded: i64 = standing.iter().map(|refund| refund.amount).sum();
    if now_ms - payment.success_ms.unwrap_or(now_ms) > REFUNDABLE_FOR_MS {
        return Err(Refusal::invalid_request("订单已经超过可退款的最大期限", 268_447_914));
    }
    if standing.len() >= PARTS_MAX {
        return Err(Refusal::invalid_request("超过单笔订单最大退款次数50次", 268_435_464));
    }
    if refunded + order.amount > payment.total {
        return Err(Refusal::invalid_request("申请退款金额大于订单可退金额", 268_435_464));
    }
    if earlier.last().is_some_and(|last| (now_ms - last.created_ms).abs() < SPACING_MS) {
        return Err(Refusal::new(429, "FREQUENCY_LIMITED", "同一笔订单的退款间隔需在1分钟以上", 268_447_840));
    }
    let path = "/v3/refund/domestic/refunds";
    if world.faults.strikes(FaultKind::RefundNotEnough, path) {
        return Err(Refusal::new(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起", 268_447_841));
    }
    let outcome = if world.faults.strikes(FaultKind::RefundPending, path) {
        "PENDING"
    } else if world.faults.strikes(FaultKind::RefundAbnormal, path) {
        "ABNORMAL"
    } else if world.faults.strikes(FaultKind::RefundClosed, path) {
        "CLOSED"
    } else {
        "SUCCESS"
    };
    // The coupon's share is taken cumulatively, so that refunds of everything give all of it back.
    let discounted: i64 = standing.iter().map(|refund| refund.discount).sum();
    let share = i128::from(payment.coupon) * i128::from(refunded + order.amount);
    let discount = (share / i128::from(payment.total.max(1))) as i64 - discounted;
    let refund = Refund {
        out_refund_no: order.out_refund_no.to_owned(),
        refund_id: format!("5030{}", digits::<24>()),
        out_trade_no: payment.out_trade_no.clone(),
        request: order.request,
        notify_url: order.notify_url.map(str::to_owned),
        amount: order.amount,
        discount,
        signing: order.signing.to_owned(),
        state: "PROCESSING".to_owned(),
        outcome: outcome.to_owned(),
        success_ms: None,
        created_ms: now_ms,
    };
    insert(tx, &refund).await?;
    Ok(refund)
}

async fn insert(tx: &mut SqliteConnection, refund: &Refund) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO refunds (out_refund_no, refund_id, out_trade_no, request, notify_url, amount, discount, \
         signing, state, outcome, due_ms, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&refund.out_refund_no)
    .bind(&refund.refund_id)
    .bind(&refund.out_trade_no)
    .bind(&refund.request)
    .bind(&refund.notify_url)
    .bind(refund.amount)
    .bind(refund.discount)
    .bind(&refund.signing)
    .bind(&refund.state)
    .bind(&refund.outcome)
    .bind((refund.outcome != "PENDING").then_some(refund.created_ms))
    .bind(refund.created_ms)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE payments SET state = 'REFUND' WHERE out_trade_no = ?")
        .bind(&refund.out_trade_no)
        .execute(tx)
        .await?;
    Ok(())
}

/// `GET /v3/refund/domestic/refunds/{number}`
pub async fn query(world: &World, number: &str) -> Answer {
    let mut connection = world.db.acquire().await?;
    let unknown = || Refusal::new(404, "RESOURCE_NOT_EXISTS", "退款单不存在", 268_512_771);
    let refund = store::refund(&mut connection, number).await?.ok_or_else(unknown)?;
    let payment = store::payment(&mut connection, By::Number(&refund.out_trade_no)).await?;
    let payment = payment.ok_or_else(unknown)?;
    Ok(Some(refund_json(&refund, &payment)))
}

/// Ends the refunds whose time has come.
pub async fn end_due(world: &World) -> sqlx::Result<()> {
    let due: Vec<Refund> = sqlx::query_as(select_refund!("WHERE due_ms <= ? ORDER BY due_ms LIMIT ?"))
        .bind(world.clock.now_ms())
        .bind(END_MAX)
        .fetch_all(&world.db)
        .await?;
    for refund in due {
        end(world, &refund.out_refund_no, &refund.outcome).await?;
    }
    Ok(())
}

/// PROCESSING or ABNORMAL → `state`, with its notification. None: no such move.
pub async fn end(world: &World, number: &str, state: &str) -> sqlx::Result<Option<Refund>> {
    let now_ms = world.clock.now_ms();
    let mut tx = world.db.begin().await?;
    let moved = sqlx::query(
        "UPDATE refunds SET state = ?, due_ms = NULL, success_ms = ? \
         WHERE out_refund_no = ? AND (state = 'PROCESSING' OR (state = 'ABNORMAL' AND ? = 'SUCCESS'))",
    )
    .bind(state)
    .bind((state == "SUCCESS").then_some(now_ms))
    .bind(number)
    .bind(state)
    .execute(&mut *tx)
    .await?;
    let refund = store::refund(&mut tx, number).await?.filter(|_| moved.rows_affected() == 1);
    let Some(refund) = refund else { return Ok(None) };
    let payment = store::payment(&mut tx, By::Number(&refund.out_trade_no)).await?;
    if let (Some(url), Some(payment)) = (&refund.notify_url, payment) {
        let (event_type, summary) = match state {
            "SUCCESS" => ("REFUND.SUCCESS", "退款成功"),
            "ABNORMAL" => ("REFUND.ABNORMAL", "退款异常"),
            _ => ("REFUND.CLOSED", "退款关闭"),
        };
        let body = notice_json(&refund, &payment);
        let notice = Notice {
            event_type,
            original_type: "refund",
            summary,
            url,
            signing: &refund.signing,
            body: &body,
        };
        notify::stage(world, &mut tx, notice).await?;
    }
    tx.commit().await?;
    world.wake.notify_one();
    Ok(Some(refund))
}

const RECEIVED_ACCOUNT: &str = "支付用户零钱";

/// What a request and a query answer.
fn refund_json(refund: &Refund, payment: &Payment) -> Value {
    let payer_refund = refund.amount - refund.discount;
    let mut answer = json!({
        "refund_id": refund.refund_id,
        "out_refund_no": refund.out_refund_no,
        "transaction_id": payment.transaction_id,
        "out_trade_no": refund.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": RECEIVED_ACCOUNT,
        "create_time": beijing(refund.created_ms),
        "status": refund.state,
        "funds_account": "AVAILABLE",
        "amount": {
            "total": payment.total,
            "refund": refund.amount,
            "payer_total": payment.total - payment.coupon,
            "payer_refund": payer_refund,
            "settlement_refund": refund.amount,
            "settlement_total": payment.total,
            "discount_refund": refund.discount,
            "currency": "CNY",
            "refund_fee": 0,
        },
    });
    if let Some(success_ms) = refund.success_ms {
        answer["success_time"] = json!(beijing(success_ms));
    }
    if refund.discount > 0 {
        answer["promotion_detail"] = json!([{
            "promotion_id": "109519", "scope": "GLOBAL", "type": "COUPON",
            "amount": payment.coupon, "refund_amount": refund.discount,
        }]);
    }
    answer
}

/// What a notification carries: other names, fewer fields.
fn notice_json(refund: &Refund, payment: &Payment) -> Value {
    let mut body = json!({
        "mchid": demo::MCHID,
        "transaction_id": payment.transaction_id,
        "out_trade_no": refund.out_trade_no,
        "refund_id": refund.refund_id,
        "out_refund_no": refund.out_refund_no,
        "refund_status": refund.state,
        "user_received_account": RECEIVED_ACCOUNT,
        "amount": {
            "total": payment.total,
            "refund": refund.amount,
            "payer_total": payment.total - payment.coupon,
            "payer_refund": refund.amount - refund.discount,
        },
    });
    if let Some(success_ms) = refund.success_ms {
        body["success_time"] = json!(beijing(success_ms));
    }
    body
}
