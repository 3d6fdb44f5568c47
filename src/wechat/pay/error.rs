//! What a call to WeChat Pay can end with. The question is always: was the work done, was it refused, or
//! is that unknown? Source: pay.weixin.qq.com, merchant docs 4012081717, 4020770421.

use serde::Deserialize;

use super::verify::VerifyError;
use crate::wechat::http::Answer;
use crate::wechat::{Cause, first_chars};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// A business refusal (4xx). It is unsigned: it never proves a payment's or a refund's end, a query does.
    /// `code` is spelled one way where WeChat has several: see [`PayError::is_number_used`] and its neighbours.
    #[error("WeChat Pay refused with {status} {code}: {message}")]
    Refused { status: u16, code: String, message: String },
    /// 429. The work may be in progress: query, or repeat under the same number.
    #[error("WeChat Pay asks to slow down")]
    RateLimited,
    /// 401 or NO_AUTH: our key, serial, clock or permission is wrong, and every other call will fail too.
    #[error("WeChat Pay does not accept this merchant's signature or rights: {code}: {message}")]
    Unauthorized { code: String, message: String },
    /// The work may have been done.
    #[error("the outcome at WeChat Pay is unknown: {0}")]
    Unknown(Cause),
}

impl From<Cause> for PayError {
    fn from(cause: Cause) -> Self {
        Self::Unknown(cause)
    }
}

impl From<VerifyError> for PayError {
    fn from(error: VerifyError) -> Self {
        Self::Unknown(Cause::Unverified(error))
    }
}

/// Numeric ends of `Request-ID` that say more than the code does.
const REENTRY_MISMATCH: &str = "268498688";
const ALREADY_PAID: [&str; 2] = ["268449538", "268498689"];

impl PayError {
    /// WeChat's code, spelled one way, if it refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } | Self::Unauthorized { code, .. } => Some(code),
            Self::RateLimited => Some("FREQUENCY_LIMITED"),
            Self::Unknown(_) => None,
        }
    }

    fn is_one_of(&self, codes: &[&str]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }

    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// The out_trade_no was used with other parameters, or is closed: query, close, take a new one.
    pub fn is_number_used(&self) -> bool {
        self.is_one_of(&["OUT_TRADE_NO_USED", "ORDER_CLOSED"])
    }

    pub fn is_already_paid(&self) -> bool {
        self.is_one_of(&["ORDERPAID"])
    }

    /// 404: no such payment or refund. While a call may be in flight this proves nothing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. }) || self.is_one_of(&["ORDER_NOT_EXIST"])
    }

    /// Refund: the merchant's balance is too low.
    pub fn is_not_enough(&self) -> bool {
        self.is_one_of(&["NOT_ENOUGH"])
    }

    pub fn is_rate_limited(&self) -> bool {
        matches!(self, Self::RateLimited)
    }

    /// No other call of this merchant will do better until a person acts.
    pub fn pauses_merchant(&self) -> bool {
        self.is_not_enough() || matches!(self, Self::Unauthorized { .. })
    }

    /// The refusal or the unknown outcome that an answer other than 2xx stands for.
    pub(super) fn of(answer: &Answer) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Body {
            code: String,
            message: String,
        }
        let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
        let sub_code = answer.header("Request-ID").rsplit('-').next().unwrap_or_default();
        let code = one_spelling(&body.code, &body.message, sub_code);
        let message = first_chars(&body.message, 200);
        match answer.status {
            401 => Self::Unauthorized { code, message },
            429 => Self::RateLimited,
            403 if code == "NO_AUTH" => Self::Unauthorized { code, message },
            // Whoever sends a 4xx without a code is not WeChat Pay's application, and decides nothing.
            400..=499 if !code.is_empty() && answer.status != 408 => {
                Self::Refused { status: answer.status, code, message }
            }
            status => Self::Unknown(Cause::Status(status)),
        }
    }
}

/// The same condition has several names by product and by age of the page; here it has one.
fn one_spelling(code: &str, message: &str, sub_code: &str) -> String {
    if ALREADY_PAID.contains(&sub_code) {
        return "ORDERPAID".to_owned();
    }
    // "重入": the text of a repeat with other parameters, where the sub-code is missing.
    if sub_code == REENTRY_MISMATCH || code == "INVALID_REQUEST" && message.contains("重入") {
        return "OUT_TRADE_NO_USED".to_owned();
    }
    match code {
        "NOAUTH" => "NO_AUTH",
        "RULELIMIT" => "RULE_LIMIT",
        "NOTENOUGH" => "NOT_ENOUGH",
        "ORDER_PAID" => "ORDERPAID",
        "ORDERCLOSED" => "ORDER_CLOSED",
        "ORDERNOTEXIST" => "ORDER_NOT_EXIST",
        other => other,
    }
    .to_owned()
}
