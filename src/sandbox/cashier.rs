//! What the person at the phone does: pay, or give up. `wx.requestPayment` checks here what the real client
//! and its server check.

use std::sync::Arc;

use super::World;
use super::keys::digits;
use super::notify::{self, Notice};
use super::store::{self, By};
use super::{demo, pay};
use crate::kernel::{Millis, hour_ms};

/// WeChat reminds the merchant when a paid order is not shipped after this long.
const REMIND_AFTER_MS: Millis = hour_ms(48);

/// The parameters of `wx.requestPayment`.
pub struct Parameters {
    pub time_stamp: String,
    pub nonce_str: String,
    pub package: String,
    pub sign_type: String,
    pub pay_sign: String,
}

/// Why the payment fails, as the client would show it behind `requestPayment:fail `.
pub type Refusal = String;

fn broken(error: sqlx::Error) -> Refusal {
    tracing::error!(%error, "the sandbox's database refused");
    "系统繁忙".to_owned()
}

/// Checks paySign and whose phone it is. None as parameters: unchecked.
pub async fn pay(
    world: &Arc<World>,
    prepay_id: &str,
    parameters: Option<Parameters>,
    openid: Option<&str>,
    coupon: i64,
) -> Result<(), Refusal> {
    if let Some(given) = parameters {
        if given.sign_type != "RSA" {
            return Err("signType应为RSA".to_owned());
        }
        if given.package != format!("prepay_id={prepay_id}") {
            return Err("package参数错误".to_owned());
        }
        let message =
            format!("{}\n{}\n{}\n{}\n", demo::APPID, given.time_stamp, given.nonce_str, given.package);
        if !world.keys.is_merchants(message.as_bytes(), &given.pay_sign) {
            return Err("支付验证签名失败".to_owned());
        }
    }
    let now_ms = world.clock.now_ms();
    let mut connection = world.db.acquire().await.map_err(broken)?;
    let found = store::payment(&mut connection, By::Prepay(prepay_id)).await.map_err(broken)?;
    drop(connection);
    let payment = found.ok_or("prepay_id无效")?;
    if openid.is_some_and(|openid| openid != payment.openid) {
        return Err("当前用户与下单用户不一致".to_owned());
    }
    if payment.state == "CLOSED" {
        return Err("订单已关闭".to_owned());
    }
    if payment.is_paid() {
        return Err("订单已支付".to_owned());
    }
    if now_ms >= payment.expire_ms {
        return Err("订单已过期".to_owned());
    }
    if pay::prepay_is_stale(&payment, now_ms) {
        return Err("prepay_id已过期".to_owned());
    }
    if !(0..payment.total).contains(&coupon) {
        return Err("优惠金额应小于订单金额".to_owned());
    }
    if settle(world, prepay_id, coupon).await.map_err(broken)? {
        Ok(())
    } else {
        Err("订单状态已变化".to_owned())
    }
}

/// The money moves: NOTPAY → SUCCESS, and the notification is due. False: somebody was there first.
pub async fn settle(world: &World, prepay_id: &str, coupon: i64) -> sqlx::Result<bool> {
    let now_ms = world.clock.now_ms();
    let mut tx = world.db.begin().await?;
    let moved = sqlx::query(
        "UPDATE payments SET state = 'SUCCESS', transaction_id = ?, bank_type = ?, coupon = ?, success_ms = ?, \
         remind_ms = ? WHERE prepay_id = ? AND state = 'NOTPAY'",
    )
    .bind(format!("4200{}", digits::<24>()))
    .bind("OTHERS")
    .bind(coupon)
    .bind(now_ms)
    .bind(now_ms + REMIND_AFTER_MS)
    .bind(prepay_id)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(payment) = store::payment(&mut tx, By::Prepay(prepay_id)).await? {
        let body = pay::transaction(&payment);
        let notice = Notice {
            event_type: "TRANSACTION.SUCCESS",
            original_type: "transaction",
            summary: "支付成功",
            url: &payment.notify_url,
            signing: &payment.signing,
            body: &body,
        };
        notify::stage(world, &mut tx, notice).await?;
    }
    tx.commit().await?;
    world.wake.notify_one();
    Ok(true)
}
