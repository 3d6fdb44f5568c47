//! What the control API takes and answers.

use poem_openapi::{Enum, Object};
use sqlx::FromRow;

use super::demo;
use super::faults::{Fault, FaultKind};
use super::notify::Outgoing;
use super::orders;
use super::shipping::Shipment;
use super::store::{Books, Payment, Refund};
use crate::kernel::Millis;

/// Why the sandbox refused a control.
#[derive(Object)]
pub struct Problem {
    pub code: String,
    pub detail: String,
}

#[derive(Object)]
pub struct Done {
    pub done: bool,
}

#[derive(Object)]
pub struct Info {
    /// Base URL of the shop server.
    pub shop_url: Option<String>,
    /// Where message pushes go.
    pub push_url: Option<String>,
    /// May the clock be moved here?
    pub clock_is_shared: bool,
    pub now_ms: Millis,
    pub now: String,
    /// Every kind of fault that can be switched on.
    pub fault_kinds: Vec<FaultKind>,
}

#[derive(Object)]
pub struct LoginCodeRequest {
    /// Whose code; without it and without a name, a new user's.
    pub openid: Option<String>,
    /// The demo user of this name: the same as `demo:<name>`.
    pub name: Option<String>,
}

#[derive(Object)]
pub struct LoginCode {
    pub code: String,
    pub openid: String,
}

#[derive(Object)]
pub struct PhoneCodeRequest {
    pub openid: String,
    /// 11 digits.
    pub phone: String,
}

#[derive(Object)]
pub struct PhoneCode {
    pub code: String,
}

#[derive(Object)]
pub struct User {
    pub openid: String,
    pub name: String,
}

#[derive(Object)]
pub struct GrantRequest {
    pub openid: String,
    #[oai(validator(max_items = 100))]
    pub template_ids: Vec<String>,
}

#[derive(FromRow)]
pub struct MessageRow {
    id: i64,
    openid: String,
    template_id: String,
    page: Option<String>,
    data: String,
    sent_ms: Millis,
}

/// A subscribe message as the phone shows it.
#[derive(Object)]
pub struct Message {
    pub id: i64,
    pub openid: String,
    pub template_id: String,
    pub title: String,
    /// What a tap opens.
    pub page: Option<String>,
    pub values: Vec<MessageValue>,
    pub sent_ms: Millis,
}

#[derive(Object)]
pub struct MessageValue {
    pub key: String,
    pub label: String,
    pub value: String,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        let data: serde_json::Value = serde_json::from_str(&row.data).unwrap_or_default();
        let template = demo::SUBSCRIBE_TEMPLATES.iter().find(|template| template.id == row.template_id);
        let values = template.map(|template| template.values).unwrap_or_default();
        let value = |(key, label): &(&str, &str)| MessageValue {
            key: (*key).to_owned(),
            label: (*label).to_owned(),
            value: data[*key]["value"].as_str().unwrap_or_default().to_owned(),
        };
        Self {
            id: row.id,
            openid: row.openid,
            title: template.map(|template| template.title).unwrap_or_default().to_owned(),
            template_id: row.template_id,
            page: row.page,
            values: values.iter().map(value).collect(),
            sent_ms: row.sent_ms,
        }
    }
}

/// The parameters of `wx.requestPayment`, and whose phone it is.
#[derive(Object)]
pub struct PayRequest {
    #[oai(rename = "timeStamp")]
    pub time_stamp: Option<String>,
    #[oai(rename = "nonceStr")]
    pub nonce_str: Option<String>,
    pub package: Option<String>,
    /// MD5 unless told, as in the real client; only RSA is accepted.
    #[oai(rename = "signType")]
    pub sign_type: Option<String>,
    #[oai(rename = "paySign")]
    pub pay_sign: Option<String>,
    /// Whose phone; the payer's unless told.
    pub openid: Option<String>,
    /// Fen that one of WeChat's own coupons pays: payer_total is lower by this.
    #[oai(default)]
    pub coupon_amount: i64,
    /// Pays without the parameters, and so without a look at paySign.
    #[oai(default)]
    pub unchecked: bool,
}

/// What the client's `wx.requestPayment` calls back with.
#[derive(Object)]
pub struct ClientResult {
    #[oai(rename = "errMsg")]
    pub err_msg: String,
}

#[derive(Object)]
pub struct PaymentView {
    pub out_trade_no: String,
    pub prepay_id: Option<String>,
    pub openid: String,
    pub description: String,
    /// Fen.
    pub total: i64,
    pub coupon: i64,
    /// NOTPAY, SUCCESS, REFUND or CLOSED.
    pub trade_state: String,
    pub transaction_id: Option<String>,
    pub expire_ms: Millis,
    pub success_ms: Option<Millis>,
    pub created_ms: Millis,
    /// Fen that were or are being refunded.
    pub refunded: i64,
    /// Of a paid one: 1 to ship, 2 shipped, 4 complete, 5 refunded.
    pub order_state: Option<i64>,
    /// Is the money still frozen?
    pub frozen: bool,
}

impl PaymentView {
    pub fn of(payment: &Payment, shipment: Option<&Shipment>, earlier: &[Refund]) -> Self {
        let sum =
            |wanted: fn(&&Refund) -> bool| earlier.iter().filter(wanted).map(|refund| refund.amount).sum();
        let state = orders::state(sum(|refund| refund.state == "SUCCESS"), payment, shipment);
        Self {
            out_trade_no: payment.out_trade_no.clone(),
            prepay_id: payment.prepay_id.clone(),
            openid: payment.openid.clone(),
            description: payment.description.clone(),
            total: payment.total,
            coupon: payment.coupon,
            trade_state: payment.state.clone(),
            transaction_id: payment.transaction_id.clone(),
            expire_ms: payment.expire_ms,
            success_ms: payment.success_ms,
            created_ms: payment.created_ms,
            refunded: sum(|refund| refund.state != "CLOSED"),
            order_state: payment.is_paid().then_some(state),
            frozen: payment.is_paid() && state < 4,
        }
    }
}

#[derive(Object)]
pub struct RefundView {
    pub out_refund_no: String,
    pub refund_id: String,
    pub out_trade_no: String,
    /// Fen.
    pub amount: i64,
    /// The part of it that goes back to WeChat's own coupon.
    pub discount: i64,
    /// PROCESSING, SUCCESS, ABNORMAL or CLOSED.
    pub status: String,
    pub success_ms: Option<Millis>,
    pub created_ms: Millis,
}

impl RefundView {
    pub fn of(refund: &Refund) -> Self {
        Self {
            out_refund_no: refund.out_refund_no.clone(),
            refund_id: refund.refund_id.clone(),
            out_trade_no: refund.out_trade_no.clone(),
            amount: refund.amount,
            discount: refund.discount,
            status: refund.state.clone(),
            success_ms: refund.success_ms,
            created_ms: refund.created_ms,
        }
    }
}

/// The channel's books: all that was ever paid here, and all that went back.
#[derive(Object)]
pub struct BooksView {
    /// How many payments succeeded, refunded since or not.
    pub payments: i64,
    /// Their totals together, fen.
    pub paid: i64,
    /// How many refunds succeeded.
    pub refunds: i64,
    /// Their amounts together, fen.
    pub refunded: i64,
}

impl From<Books> for BooksView {
    fn from(books: Books) -> Self {
        Self { payments: books.payments, paid: books.paid, refunds: books.refunds, refunded: books.refunded }
    }
}

#[derive(Object)]
pub struct MerchantRefundRequest {
    pub out_trade_no: String,
    /// Fen.
    pub amount: i64,
    /// The console's URL for refund notifications; none: nobody is told.
    pub notify_url: Option<String>,
}

/// How a refund ends.
#[derive(Enum)]
#[oai(rename_all = "UPPERCASE")]
pub enum RefundEnd {
    Success,
    Abnormal,
    Closed,
}

impl RefundEnd {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Abnormal => "ABNORMAL",
            Self::Closed => "CLOSED",
        }
    }
}

#[derive(Object)]
pub struct FinishRequest {
    pub status: RefundEnd,
}

/// A notification or push in the queue.
#[derive(Object)]
pub struct NotificationView {
    pub id: i64,
    /// The `id` in the notification: duplicates share it.
    pub notice_id: String,
    /// `notification` or `push`.
    pub kind: String,
    pub event_type: String,
    pub url: String,
    /// PENDING, DELIVERED, GIVEN_UP or DROPPED.
    pub state: String,
    pub attempts: i64,
    pub due_ms: Option<Millis>,
    pub last_answer: String,
    pub created_ms: Millis,
}

impl From<Outgoing> for NotificationView {
    fn from(row: Outgoing) -> Self {
        Self {
            id: row.id,
            notice_id: row.notice_id,
            kind: row.kind,
            event_type: row.event_type,
            url: row.url,
            state: row.state,
            attempts: row.attempts,
            due_ms: row.due_ms,
            last_answer: row.last_answer,
            created_ms: row.created_ms,
        }
    }
}

#[derive(Object)]
pub struct FaultRequest {
    pub kind: FaultKind,
    /// Once unless told.
    pub times: Option<u32>,
    /// Of `slow` (real time) and `notify_delay` (the sandbox's clock).
    pub delay_ms: Option<u64>,
    /// Only requests whose path begins with this.
    pub path: Option<String>,
}

#[derive(Object)]
pub struct FaultView {
    pub kind: FaultKind,
    /// How often it still strikes; none for a switch.
    pub left: Option<u32>,
    pub delay_ms: Option<u64>,
    pub path: Option<String>,
}

impl From<Fault> for FaultView {
    fn from(fault: Fault) -> Self {
        Self { kind: fault.kind, left: fault.left, delay_ms: fault.delay_ms, path: fault.path }
    }
}

#[derive(Object)]
pub struct AdvanceRequest {
    /// How far ahead, in milliseconds.
    pub ms: Millis,
}
