//! The customer's operations on payments.

use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::json;

use super::client_result::{self, ClientSays};
use super::sql::{self, Attempt};
use super::start;
use super::{AttemptStatus, Channel, PAYMENT_CLOSING, PAYMENT_UNDER_REVIEW, ProviderKind};
use crate::identity::UserAuth;
use crate::kernel::{AttemptId, Failure, Millis, Money, OrderId, rfc3339};
use crate::orders::{self, Action, ORDER_NOT_FOUND, Order};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Body, Created, List, NoContent, Reply, Tag};

/// A way to pay.
#[derive(Debug, Object)]
pub struct PaymentMethod {
    pub provider: ProviderKind,
    pub name: String,
    /// Whether this order can be paid this way now.
    pub available: bool,
    /// The `code` that trying it would answer.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<String>,
}

/// With what to pay.
#[derive(Debug, Object)]
#[oai(example)]
pub struct PaymentInput {
    pub provider: ProviderKind,
}

impl Example for PaymentInput {
    fn example() -> Self {
        Self { provider: ProviderKind::WechatPay }
    }
}

/// What `wx.requestPayment` takes, as it stands.
#[derive(Debug, Object)]
pub struct RequestPayment {
    #[oai(rename = "timeStamp")]
    pub time_stamp: String,
    #[oai(rename = "nonceStr")]
    pub nonce_str: String,
    pub package: String,
    #[oai(rename = "signType")]
    pub sign_type: String,
    #[oai(rename = "paySign")]
    pub pay_sign: String,
}

/// A payment to be made.
#[derive(Debug, Object)]
pub struct PaymentView {
    pub attempt_id: AttemptId,
    pub provider: ProviderKind,
    pub out_trade_no: String,
    pub amount: Money,
    pub pay_before: String,
    /// Hand it to `wx.requestPayment`.
    pub request_payment: RequestPayment,
}

/// An attempt to pay an order.
#[derive(Debug, Object)]
pub struct AttemptView {
    pub attempt_id: AttemptId,
    pub provider: ProviderKind,
    pub status: AttemptStatus,
    pub out_trade_no: String,
    pub amount: Money,
    pub created_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub paid_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub transaction_id: Option<String>,
}

/// Attempts as an order's page shows them.
pub fn attempt_views(attempts: Vec<Attempt>) -> Vec<AttemptView> {
    let view = |attempt: Attempt| AttemptView {
        attempt_id: attempt.id,
        provider: attempt.provider,
        status: attempt.status,
        out_trade_no: attempt.out_trade_no,
        amount: Money::new(attempt.amount_minor, attempt.currency),
        created_at: rfc3339(attempt.created_ms),
        paid_at: attempt.paid_ms.map(rfc3339),
        transaction_id: attempt.transaction_id,
    };
    attempts.into_iter().map(view).collect()
}

/// Whether a payment of this order can be started now: what the order says, and what its attempts add.
pub fn can_pay(order: &Order, attempts: &[Attempt], now_ms: Millis) -> Action {
    let mut can_pay = orders::actions(order, &[], now_ms).can_pay;
    let refusal = if attempts.iter().any(Attempt::is_under_review) {
        Some(&PAYMENT_UNDER_REVIEW)
    } else if attempts.iter().any(|attempt| attempt.status == AttemptStatus::Closing) {
        Some(&PAYMENT_CLOSING)
    } else {
        None
    };
    if let (true, Some(refusal)) = (can_pay.allowed, refusal) {
        can_pay = Action { allowed: false, reason: Some(refusal.code.to_owned()) };
    }
    can_pay
}

/// What `wx.requestPayment` told the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum ClientResult {
    Ok,
    Cancel,
    Fail,
}

/// The client's word.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ClientResultInput {
    pub result: ClientResult,
}

impl Example for ClientResultInput {
    fn example() -> Self {
        Self { result: ClientResult::Ok }
    }
}

pub struct PaymentsApi {
    pub ctx: Ctx,
    pub channel: Channel,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Payments")]
impl PaymentsApi {
    /// List the ways to pay an order
    ///
    /// Each with whether it can be used now, and if not, why. Changes nothing.
    ///
    /// Errors: `order_not_found`.
    #[oai(path = "/orders/:order_id/payment-methods", method = "get", operation_id = "listPaymentMethods")]
    async fn list_payment_methods(
        &self,
        auth: UserAuth,
        order_id: Path<OrderId>,
    ) -> Reply<Json<List<PaymentMethod>>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let order = orders::find_owned(conn, &order_id, &auth.0.user_id).await?;
        let order = order.ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))?;
        let attempts = sql::of_order(conn, &order.id).await?;
        let can_pay = can_pay(&order, &attempts, self.ctx.clock.now_ms());
        let reason = can_pay.reason;
        let method = PaymentMethod {
            provider: self.channel.provider.kind(),
            name: "微信支付".to_owned(),
            available: reason.is_none(),
            reason,
        };
        Ok(List::whole(vec![method]))
    }

    /// Start a payment
    ///
    /// Makes an attempt at the channel, or takes up the open one with a fresh signature, and answers what
    /// `wx.requestPayment` takes. The order is paid when the channel says so, not when the client does.
    ///
    /// Errors: `order_not_found`, `order_not_payable`, `order_already_paid`, `payment_window_closing`,
    /// `payment_under_review`, `payment_closing`, `wechat_account_required`, `payment_refused`,
    /// `payment_channel_unavailable`.
    #[oai(path = "/orders/:order_id/payments", method = "post", operation_id = "startPayment")]
    async fn start_payment(
        &self,
        auth: UserAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<PaymentInput>,
    ) -> Reply<Created<PaymentView>> {
        let key = Key::new(&auth.actor(), "startPayment", &key, &json!([order_id.0, body.raw()]))?;
        let done = start::start(&self.ctx, &self.channel, &auth.0.user_id, &key, &order_id).await?;
        let (attempt, params) = (&done.value.attempt, &done.value.params);
        let view = PaymentView {
            attempt_id: attempt.id.clone(),
            provider: attempt.provider,
            out_trade_no: attempt.out_trade_no.clone(),
            amount: Money::new(attempt.amount_minor, attempt.currency),
            pay_before: rfc3339(attempt.time_expire_ms),
            request_payment: RequestPayment {
                time_stamp: params.time_stamp.clone(),
                nonce_str: params.nonce_str.clone(),
                package: params.package.clone(),
                sign_type: params.sign_type.to_string(),
                pay_sign: params.pay_sign.clone(),
            },
        };
        Ok(Created::of(view, &done))
    }

    /// Report what wx.requestPayment said
    ///
    /// A hint, never a proof: the channel is asked at once. With `ok` the cart forgets what was bought.
    ///
    /// Errors: `order_not_found`.
    #[oai(
        path = "/orders/:order_id/payments/client-result",
        method = "post",
        operation_id = "reportClientPaid"
    )]
    async fn report_client_paid(
        &self,
        auth: UserAuth,
        order_id: Path<OrderId>,
        body: Body<ClientResultInput>,
    ) -> Reply<NoContent> {
        let says = if body.result == ClientResult::Ok { ClientSays::Paid } else { ClientSays::NotPaid };
        client_result::report(&self.ctx, &auth.0.user_id, &order_id, says).await?;
        Ok(NoContent::Done)
    }
}
