//! What is sent to WeChat Pay and what it tells: only the members that are used. On the wire amounts are
//! integer fen and times RFC 3339; here times are epoch milliseconds. Source: pay.weixin.qq.com, merchant
//! docs 4012791897 (prepay), 4012791899 (query), 4012791903 (refund).

use serde::{Deserialize, Serialize};

use crate::kernel::Millis;
use crate::wechat::guarded_debug;

/// What a payment is for.
#[derive(Clone)]
pub struct Prepay {
    /// Shown to the user; cut to 127 characters.
    pub description: String,
    /// 6 to 32 characters, unique for the merchant.
    pub out_trade_no: String,
    /// Last moment to pay. WeChat lifts it to a minute from now, and it doesn't close the order.
    pub time_expire_ms: Millis,
    pub notify_url: String,
    /// Fen, above 0.
    pub total_minor: i64,
    pub openid: String,
    /// Comes back in queries and notices; at most 128 characters.
    pub attach: Option<String>,
}
guarded_debug!(Prepay: out_trade_no, time_expire_ms, total_minor);

/// One submission of a refund. The same `out_refund_no` is the same refund, however often it is sent.
#[derive(Debug, Clone)]
pub struct RefundCall {
    pub payment: RefundOf,
    /// At most 64 bytes.
    pub out_refund_no: String,
    /// Cut to 80 bytes.
    pub reason: Option<String>,
    pub notify_url: String,
    pub refund_minor: i64,
    /// What was paid in all.
    pub total_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// The payment that is refunded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundOf {
    TransactionId(String),
    OutTradeNo(String),
}

/// A word of WeChat Pay's; a word that this version doesn't know is kept.
macro_rules! channel_word {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name { $($(#[$doc])* $variant,)+ Other(String) }

        impl $name {
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $word,)+ Self::Other(word) => word }
            }
        }
        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() { $($word => Self::$variant,)+ _ => Self::Other(word) }
            }
        }
        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

channel_word! {
    /// State of a payment.
    TradeState {
        Success = "SUCCESS",
        /// Paid, and a refund was made since, even a partial one.
        Refund = "REFUND",
        NotPay = "NOTPAY",
        Closed = "CLOSED",
        Revoked = "REVOKED",
        UserPaying = "USERPAYING",
        PayError = "PAYERROR"
    }
}

impl TradeState {
    /// Did the money arrive, whatever happened to it since?
    pub fn is_paid(&self) -> bool {
        matches!(self, Self::Success | Self::Refund)
    }
}

channel_word! {
    /// State of a refund.
    RefundStatus {
        Success = "SUCCESS",
        Processing = "PROCESSING",
        /// The user's card takes no money: the merchant must act. It can still become SUCCESS.
        Abnormal = "ABNORMAL",
        /// Ended without refunding; another try needs a new out_refund_no.
        Closed = "CLOSED"
    }
}

/// A payment, from a query or a notice. What WeChat leaves out before payment is None.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// Empty if absent: compare it, never assume.
    pub appid: String,
    pub mchid: String,
    pub out_trade_no: String,
    pub trade_state: TradeState,
    pub transaction_id: Option<String>,
    pub trade_type: Option<String>,
    pub bank_type: Option<String>,
    pub success_time_ms: Option<Millis>,
    pub openid: Option<String>,
    pub attach: Option<String>,
    /// What we asked for, in minor units.
    pub total_minor: Option<i64>,
    /// What the user paid: `total` without WeChat's own coupons.
    pub payer_total_minor: Option<i64>,
    pub currency: Option<String>,
}
guarded_debug!(Transaction: mchid, out_trade_no, trade_state, transaction_id, success_time_ms, total_minor, currency);

/// What a refund call or query answers. Accepted is not refunded: look at `status`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RefundAnswer {
    pub refund_id: String,
    pub out_refund_no: String,
    pub transaction_id: Option<String>,
    pub out_trade_no: Option<String>,
    pub status: RefundStatus,
    pub success_time_ms: Option<Millis>,
    /// Where the money goes, in words, masked by WeChat.
    pub user_received_account: Option<String>,
    pub total_minor: Option<i64>,
    pub refund_minor: Option<i64>,
    pub payer_refund_minor: Option<i64>,
    pub currency: Option<String>,
}
guarded_debug!(RefundAnswer: refund_id, out_refund_no, status, success_time_ms, refund_minor, currency);

/// A refund's end by notice. It carries no currency.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RefundNotice {
    pub mchid: String,
    pub refund_id: String,
    pub out_refund_no: String,
    pub transaction_id: String,
    pub out_trade_no: String,
    pub status: RefundStatus,
    pub success_time_ms: Option<Millis>,
    pub user_received_account: Option<String>,
    pub total_minor: Option<i64>,
    pub refund_minor: Option<i64>,
    pub payer_refund_minor: Option<i64>,
}
guarded_debug!(RefundNotice: mchid, refund_id, out_refund_no, out_trade_no, status, success_time_ms, refund_minor);

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireAmount {
    total: Option<i64>,
    payer_total: Option<i64>,
    refund: Option<i64>,
    payer_refund: Option<i64>,
    currency: Option<String>,
}

#[derive(Deserialize)]
struct WirePayer {
    openid: Option<String>,
}

#[derive(Deserialize)]
struct WireTransaction {
    #[serde(default)]
    appid: String,
    mchid: String,
    out_trade_no: String,
    trade_state: TradeState,
    transaction_id: Option<String>,
    trade_type: Option<String>,
    bank_type: Option<String>,
    success_time: Option<String>,
    payer: Option<WirePayer>,
    attach: Option<String>,
    amount: Option<WireAmount>,
}

#[derive(Deserialize)]
struct WireRefundAnswer {
    refund_id: String,
    out_refund_no: String,
    transaction_id: Option<String>,
    out_trade_no: Option<String>,
    status: RefundStatus,
    success_time: Option<String>,
    user_received_account: Option<String>,
    amount: Option<WireAmount>,
}

#[derive(Deserialize)]
struct WireRefundNotice {
    mchid: String,
    refund_id: String,
    out_refund_no: String,
    transaction_id: String,
    out_trade_no: String,
    refund_status: RefundStatus,
    success_time: Option<String>,
    user_received_account: Option<String>,
    amount: Option<WireAmount>,
}

/// RFC 3339 to epoch milliseconds. A time that can't be read is absent: no rule depends on it.
fn time_ms(text: Option<String>) -> Option<Millis> {
    text?.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

/// An absent text and an empty one mean the same.
fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Transaction {
    /// Reads the JSON of a query's answer or of a notice's plaintext.
    pub fn from_wire(json: &[u8]) -> serde_json::Result<Self> {
        let wire: WireTransaction = serde_json::from_slice(json)?;
        let amount = wire.amount.unwrap_or_default();
        Ok(Self {
            appid: wire.appid,
            mchid: wire.mchid,
            out_trade_no: wire.out_trade_no,
            trade_state: wire.trade_state,
            transaction_id: filled(wire.transaction_id),
            trade_type: filled(wire.trade_type),
            bank_type: filled(wire.bank_type),
            success_time_ms: time_ms(wire.success_time),
            openid: filled(wire.payer.and_then(|payer| payer.openid)),
            attach: filled(wire.attach),
            total_minor: amount.total,
            payer_total_minor: amount.payer_total,
            currency: filled(amount.currency),
        })
    }
}

impl RefundAnswer {
    /// Reads the JSON that a refund call or query answers.
    pub fn from_wire(json: &[u8]) -> serde_json::Result<Self> {
        let wire: WireRefundAnswer = serde_json::from_slice(json)?;
        let amount = wire.amount.unwrap_or_default();
        Ok(Self {
            refund_id: wire.refund_id,
            out_refund_no: wire.out_refund_no,
            transaction_id: filled(wire.transaction_id),
            out_trade_no: filled(wire.out_trade_no),
            status: wire.status,
            success_time_ms: time_ms(wire.success_time),
            user_received_account: filled(wire.user_received_account),
            total_minor: amount.total,
            refund_minor: amount.refund,
            payer_refund_minor: amount.payer_refund,
            currency: filled(amount.currency),
        })
    }
}

impl RefundNotice {
    /// Reads a refund notice's plaintext, whose status is spelled `refund_status`.
    pub fn from_wire(json: &[u8]) -> serde_json::Result<Self> {
        let wire: WireRefundNotice = serde_json::from_slice(json)?;
        let amount = wire.amount.unwrap_or_default();
        Ok(Self {
            mchid: wire.mchid,
            refund_id: wire.refund_id,
            out_refund_no: wire.out_refund_no,
            transaction_id: wire.transaction_id,
            out_trade_no: wire.out_trade_no,
            status: wire.refund_status,
            success_time_ms: time_ms(wire.success_time),
            user_received_account: filled(wire.user_received_account),
            total_minor: amount.total,
            refund_minor: amount.refund,
            payer_refund_minor: amount.payer_refund,
        })
    }
}
