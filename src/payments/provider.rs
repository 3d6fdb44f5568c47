//! The channels behind few verbs. What comes back is neutral: no feature above this file knows whose
//! words they were.

use poem::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{ProviderKind, SIGNATURE_INVALID};
use crate::kernel::{Currency, Failure, Millis, Result};
use crate::wechat::pay::{
    self, Notice, NoticeHeaders, NoticeResource, Pay, PayError, PaymentParams, Prepay, RefundCall, RefundOf,
    RefundStatus, TradeState, Transaction,
};

/// A payment channel.
#[derive(Clone)]
pub enum Provider {
    WechatPay(Pay),
}

/// Why a call to a channel has no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A definite no.
    #[error("the channel refused: {0}")]
    Refused(String),
    /// The number was used for something else, or is paid.
    #[error("the number is used: {0}")]
    NumberUsed(String),
    #[error("the channel does not know it: {0}")]
    NotFound(String),
    /// Nothing of this merchant goes through now: keys, rights, or no money.
    #[error("the merchant's account does not allow it now: {0}")]
    Paused(String),
    #[error("too many calls")]
    RateLimited,
    /// It may have been done or not: only asking tells.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

impl ChannelError {
    /// For metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NumberUsed(_) => "number_used",
            Self::NotFound(_) => "not_found",
            Self::Paused(_) => "paused",
            Self::RateLimited => "rate_limited",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl From<PayError> for ChannelError {
    fn from(error: PayError) -> Self {
        let text = error.to_string();
        if error.is_rate_limited() {
            Self::RateLimited
        } else if error.is_unknown() {
            Self::Unknown(text)
        } else if error.pauses_merchant() {
            Self::Paused(text)
        } else if error.is_number_used() || error.is_already_paid() {
            Self::NumberUsed(text)
        } else if error.is_not_found() {
            Self::NotFound(text)
        } else {
            Self::Refused(text)
        }
    }
}

/// Money that arrived, as the channel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidNews {
    pub mchid: String,
    pub appid: String,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub total_minor: i64,
    /// What the person paid; the channel's own coupons lower it.
    pub payer_minor: Option<i64>,
    pub currency: String,
    pub paid_ms: Option<Millis>,
}

/// How a payment stands at the channel.
#[derive(Debug)]
pub enum Standing {
    Paid(PaidNews),
    Waiting,
    Closed,
}

/// How a refund stands at the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundState {
    Processing,
    Success,
    Abnormal,
    Closed,
}

/// News of a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundNews {
    pub mchid: String,
    pub out_refund_no: String,
    pub out_trade_no: Option<String>,
    /// Of the payment that it is of.
    #[serde(default)]
    pub transaction_id: Option<String>,
    pub channel_refund_id: String,
    pub state: RefundState,
    pub refund_minor: Option<i64>,
}

/// A submission of a refund.
#[derive(Debug, Clone)]
pub struct RefundRequest {
    pub transaction_id: String,
    pub out_refund_no: String,
    pub reason: String,
    pub refund_minor: i64,
    pub total_minor: i64,
    pub currency: String,
}

/// A verified notice, to be stored in the inbox.
pub struct Verified {
    /// The channel's number of the notice.
    pub id: String,
    /// Kind of inbox handler.
    pub kind: &'static str,
    /// JSON of the news.
    pub body: String,
}

/// Inbox kinds.
pub const PAYMENT_NEWS: &str = "payment";
pub const REFUND_NEWS: &str = "refund";
const UNKNOWN_NEWS: &str = "unknown";

impl Provider {
    pub fn kind(&self) -> ProviderKind {
        match self {
            Self::WechatPay(_) => ProviderKind::WechatPay,
        }
    }

    /// Does the channel take this currency? WeChat Pay's JSAPI payments of mainland merchants are in CNY.
    pub fn takes(&self, currency: Currency) -> bool {
        match self {
            Self::WechatPay(_) => currency == Currency::Cny,
        }
    }

    fn wechat(&self) -> &Pay {
        let Self::WechatPay(pay) = self;
        pay
    }

    pub fn mchid(&self) -> &str {
        self.wechat().mchid()
    }

    pub fn appid(&self) -> &str {
        self.wechat().appid()
    }

    /// The exact request that starts a payment; it is stored, and sent again byte for byte.
    pub fn start_body(&self, prepay: &Prepay) -> String {
        self.wechat().prepay_body(prepay)
    }

    /// Sends a start request; answers the number under which the client can pay.
    pub async fn start(&self, body: &str) -> Result<String, ChannelError> {
        Ok(self.wechat().prepay(body).await?)
    }

    /// What the client hands to `wx.requestPayment`.
    pub fn client_params(&self, prepay_id: &str) -> PaymentParams {
        self.wechat().payment_params(prepay_id)
    }

    pub async fn query(&self, out_trade_no: &str) -> Result<Standing, ChannelError> {
        let transaction = self.wechat().query(out_trade_no).await?;
        Ok(match transaction.trade_state {
            TradeState::Closed | TradeState::Revoked => Standing::Closed,
            ref state if state.is_paid() => Standing::Paid(paid_news(transaction)?),
            _ => Standing::Waiting,
        })
    }

    pub async fn close(&self, out_trade_no: &str) -> Result<(), ChannelError> {
        Ok(self.wechat().close(out_trade_no).await?)
    }

    pub async fn refund(
        &self,
        request: &RefundRequest,
        notify_url: String,
    ) -> Result<RefundNews, ChannelError> {
        let call = RefundCall {
            payment: RefundOf::TransactionId(request.transaction_id.clone()),
            out_refund_no: request.out_refund_no.clone(),
            reason: Some(request.reason.clone()).filter(|reason| !reason.is_empty()),
            notify_url,
            refund_minor: request.refund_minor,
            total_minor: request.total_minor,
            currency: request.currency.clone(),
        };
        Ok(self.refund_news(self.wechat().refund(&call).await?))
    }

    pub async fn query_refund(&self, out_refund_no: &str) -> Result<RefundNews, ChannelError> {
        Ok(self.refund_news(self.wechat().query_refund(out_refund_no).await?))
    }

    fn refund_news(&self, answer: pay::RefundAnswer) -> RefundNews {
        RefundNews {
            mchid: self.mchid().to_owned(),
            out_refund_no: answer.out_refund_no,
            out_trade_no: answer.out_trade_no,
            transaction_id: answer.transaction_id,
            channel_refund_id: answer.refund_id,
            state: refund_state(&answer.status),
            refund_minor: answer.refund_minor,
        }
    }

    /// Verifies a callback and reads it.
    ///
    /// # Errors
    /// Not signed by the channel, too old, or not readable: nothing of it is to be believed.
    pub fn parse_callback(&self, headers: &HeaderMap, body: &[u8]) -> Result<Verified> {
        let headers = NoticeHeaders::read(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let notice = self
            .wechat()
            .parse_notice(&headers, body)
            .map_err(|error| Failure::new(&SIGNATURE_INVALID).cause(error))?;
        self.verified(notice)
    }

    fn verified(&self, notice: Notice) -> Result<Verified> {
        let write = |e: serde_json::Error| Failure::internal("writing a notice", e);
        let (kind, body) = match notice.resource {
            NoticeResource::Transaction(transaction) => {
                let state = transaction.trade_state.clone();
                match paid_news(transaction) {
                    Ok(news) if state.is_paid() => {
                        (PAYMENT_NEWS, serde_json::to_string(&news).map_err(write)?)
                    }
                    _ => (UNKNOWN_NEWS, format!("a payment in state {state}")),
                }
            }
            NoticeResource::Refund(refund) => {
                let news = RefundNews {
                    mchid: refund.mchid,
                    out_refund_no: refund.out_refund_no,
                    out_trade_no: Some(refund.out_trade_no),
                    transaction_id: Some(refund.transaction_id),
                    channel_refund_id: refund.refund_id,
                    state: refund_state(&refund.status),
                    refund_minor: refund.refund_minor,
                };
                (REFUND_NEWS, serde_json::to_string(&news).map_err(write)?)
            }
            NoticeResource::Other(text) => (UNKNOWN_NEWS, text),
        };
        Ok(Verified { id: notice.id, kind, body })
    }

    /// Background care of the channel's keys. True when something was fetched.
    pub async fn tick(&self) -> Result<bool, ChannelError> {
        if !self.wechat().wants_certificates() {
            return Ok(false);
        }
        self.wechat().refresh_certificates().await?;
        Ok(true)
    }
}

fn refund_state(status: &RefundStatus) -> RefundState {
    match status {
        RefundStatus::Success => RefundState::Success,
        RefundStatus::Abnormal => RefundState::Abnormal,
        RefundStatus::Closed => RefundState::Closed,
        RefundStatus::Processing | RefundStatus::Other(_) => RefundState::Processing,
    }
}

/// A paid transaction in neutral words; without its number or amount it proves nothing.
fn paid_news(transaction: Transaction) -> Result<PaidNews, ChannelError> {
    let missing = |what: &str| ChannelError::Unknown(format!("a paid transaction without {what}"));
    Ok(PaidNews {
        mchid: transaction.mchid,
        appid: transaction.appid,
        out_trade_no: transaction.out_trade_no,
        transaction_id: transaction.transaction_id.ok_or_else(|| missing("transaction_id"))?,
        total_minor: transaction.total_minor.ok_or_else(|| missing("amount"))?,
        payer_minor: transaction.payer_total_minor,
        currency: transaction.currency.unwrap_or_else(|| "CNY".to_owned()),
        paid_ms: transaction.success_time_ms,
    })
}
