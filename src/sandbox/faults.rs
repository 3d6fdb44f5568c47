//! What can be made to go wrong on demand. Faults live in memory: a restart begins without any.

use std::sync::Mutex;

use crate::kernel::text_enum;

text_enum! {
    /// What goes wrong.
    pub enum FaultKind {
        /// The next payment or refund notification is first sent `delay_ms` later.
        NotifyDelay = "notify_delay",
        /// The next notification is sent twice, with one id.
        NotifyDuplicate = "notify_duplicate",
        /// The next notification is never sent.
        NotifyDrop = "notify_drop",
        /// An attempt to notify carries a signature by a wrong key.
        NotifyBadSignature = "notify_bad_signature",
        /// An attempt to notify carries a `WECHATPAY/SIGNTEST/` probe as its signature.
        NotifySigntest = "notify_signtest",
        /// An attempt to notify names an unknown `Wechatpay-Serial`.
        NotifyWrongSerial = "notify_wrong_serial",
        /// The next prepay is paid, and its notification sent, before it is answered.
        NotifyBeforePrepayAnswer = "notify_before_prepay_answer",
        /// The next close finds that the payment has just succeeded.
        PayDuringClose = "pay_during_close",
        /// Does the work and answers 500 (mini-program API: errcode -1).
        ErrorAfterWork = "error_after_work",
        /// 429 FREQUENCY_LIMITED (mini-program API: errcode 45011).
        RateLimit = "rate_limit",
        /// The next refund is refused with NOT_ENOUGH.
        RefundNotEnough = "refund_not_enough",
        /// The next accepted refund ends ABNORMAL.
        RefundAbnormal = "refund_abnormal",
        /// The next accepted refund ends CLOSED.
        RefundClosed = "refund_closed",
        /// The next accepted refund stays PROCESSING until `/sandbox/refunds/{out_refund_no}/finish`.
        RefundPending = "refund_pending",
        /// Waits `delay_ms` of real time (10 s unless told) before doing the work.
        Slow = "slow",
        /// Closes the connection without doing or answering anything.
        Down = "down",
        /// Does the work and closes the connection without an answer.
        DownAfterWork = "down_after_work",
        /// Switch: a merchant that has only the WeChat Pay public key; /v3/certificates answers 404.
        NoPlatformCertificate = "no_platform_certificate",
        /// Switch: the newer platform certificate is listed and signs.
        RotateCertificate = "rotate_certificate",
        /// Switch: public key and platform certificate sign in turns.
        KeyRamp = "key_ramp",
        /// Switch: a re-used out_trade_no answers 400 INVALID_REQUEST instead of 403 OUT_TRADE_NO_USED.
        OutTradeNoUsedAs400 = "out_trade_no_used_as_400",
        /// Switch: authenticated business errors are signed too.
        SignErrors = "sign_errors",
        /// The token of the next mini-program call is answered with 42001 and is dead from then on.
        TokenExpired = "token_expired",
        /// The next mini-program call answers -1.
        WxBusy = "wx_busy",
        /// The next subscribe message is refused with 43101.
        WxRefuseMessage = "wx_refuse_message",
        /// The next upload of shipping information does not find the payment.
        Upload10060001 = "upload_10060001",
    }
}

impl FaultKind {
    /// A switch stays on until it is cleared.
    fn is_switch(self) -> bool {
        use FaultKind::*;
        matches!(self, NoPlatformCertificate | RotateCertificate | KeyRamp | OutTradeNoUsedAs400 | SignErrors)
    }
}

/// One active fault.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: FaultKind,
    /// How often it still strikes; none for a switch.
    pub left: Option<u32>,
    pub delay_ms: Option<u64>,
    /// Only requests whose path begins with this.
    pub path: Option<String>,
}

/// At most this many at a time; the oldest goes first.
const FAULTS_MAX: usize = 100;

#[derive(Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn add(&self, kind: FaultKind, times: Option<u32>, delay_ms: Option<u64>, path: Option<String>) {
        let left = if kind.is_switch() { None } else { Some(times.unwrap_or(1)) };
        let mut faults = self.lock();
        if faults.len() == FAULTS_MAX {
            faults.remove(0);
        }
        if left != Some(0) {
            faults.push(Fault { kind, left, delay_ms, path });
        }
    }

    pub fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Removes all, or those of one kind.
    pub fn clear(&self, kind: Option<FaultKind>) {
        self.lock().retain(|fault| kind.is_some_and(|kind| fault.kind != kind));
    }

    /// Does this fault strike a request with this path? Uses it up by one.
    pub fn take(&self, kind: FaultKind, path: &str) -> Option<Fault> {
        let mut faults = self.lock();
        let at = faults.iter().position(|fault| {
            fault.kind == kind && fault.path.as_deref().is_none_or(|prefix| path.starts_with(prefix))
        })?;
        let fault = &mut faults[at];
        if let Some(left) = &mut fault.left {
            *left -= 1;
        }
        let taken = fault.clone();
        if taken.left == Some(0) {
            faults.remove(at);
        }
        Some(taken)
    }

    pub fn strikes(&self, kind: FaultKind, path: &str) -> bool {
        self.take(kind, path).is_some()
    }

    /// A poisoned lock only means that another request failed; the list itself is whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
