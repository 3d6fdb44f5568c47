//! What the mini-program API can answer instead of success, by meaning.

use crate::wechat::Cause;

/// A refusal with WeChat's code, or no usable answer at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MiniError {
    /// `errmsg` is without WeChat's request id, at most 200 characters; never match on it.
    #[error("WeChat answered {errcode}: {errmsg}")]
    Answer { errcode: i64, errmsg: String },
    #[error("WeChat did not answer: {0}")]
    Unreachable(Cause),
}

impl From<Cause> for MiniError {
    fn from(cause: Cause) -> Self {
        Self::Unreachable(cause)
    }
}

impl MiniError {
    pub(super) fn unreadable(why: &'static str) -> Self {
        Self::Unreachable(Cause::Unreadable(why))
    }

    pub(super) fn answer(errcode: i64, errmsg: &str) -> Self {
        let text = errmsg.split(" rid:").next().unwrap_or_default();
        let text = text.trim_end_matches([' ', ',']);
        Self::Answer { errcode, errmsg: crate::wechat::first_chars(text, 200) }
    }

    /// WeChat's code, if it answered.
    pub fn errcode(&self) -> Option<i64> {
        match self {
            Self::Answer { errcode, .. } => Some(*errcode),
            Self::Unreachable(_) => None,
        }
    }

    fn is_one_of(&self, codes: &[i64]) -> bool {
        self.errcode().is_some_and(|code| codes.contains(&code))
    }

    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// The login or phone code is invalid, expired or was used before.
    pub fn is_code_invalid(&self) -> bool {
        self.is_one_of(&[40029, 41008])
    }

    /// WeChat blocks this user's login.
    pub fn is_user_blocked(&self) -> bool {
        self.is_one_of(&[40226])
    }

    /// Busy, or one of its limits: try again later.
    pub fn is_busy(&self) -> bool {
        self.is_one_of(&[-1, 45009, 45011, 44990, 44991, 10060012, 10060019])
    }

    /// The token was refused. Seen outside only when a fresh one was refused too.
    pub fn is_token_refused(&self) -> bool {
        self.is_one_of(&[40001, 40014, 42001])
    }

    /// Only the operator can help: app id, secret, address list, account.
    pub fn is_setup(&self) -> bool {
        self.is_one_of(&[
            40002, 40013, 40125, 40164, 40243, 41002, 41004, 48001, 50004, 50007, 61004, 89503, 89506, 89507,
        ])
    }

    /// Subscribe message: the user has not granted it, or the grant is used up. Final.
    pub fn is_user_refused(&self) -> bool {
        self.is_one_of(&[43101])
    }

    /// Subscribe message: two sends to one user at the same moment. Worth a repeat.
    pub fn is_concurrent_send(&self) -> bool {
        self.is_one_of(&[43108])
    }

    /// Shipping upload: WeChat does not know the payment, which is normal for a while after it was made.
    pub fn is_payment_not_found(&self) -> bool {
        self.is_one_of(&[10060001])
    }

    /// Shipping upload: everything was uploaded before, and the one correction is used up.
    pub fn is_shipped_before(&self) -> bool {
        self.is_one_of(&[10060002, 10060003])
    }

    /// Shipping upload: the order was received or refunded.
    pub fn is_not_shippable(&self) -> bool {
        self.is_one_of(&[10060004])
    }

    /// Is the same call worth repeating later?
    pub fn is_passing(&self) -> bool {
        self.is_unreachable() || self.is_busy() || self.is_token_refused() || self.is_concurrent_send()
    }
}
