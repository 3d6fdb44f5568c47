//! What is signed with the merchant's key, and how it is written. Source: pay.weixin.qq.com, merchant docs
//! 4012365336 (requests) and 4012365341 (the client's parameters).

use serde::Serialize;

/// The part of `Authorization` that names the algorithm, after `WECHATPAY2-`.
pub const ALGORITHM: &str = "SHA256-RSA2048";

/// The five lines of a request. `url` is path and query exactly as they go over the wire; without a body the
/// last line is empty but keeps its line feed.
pub fn request_message(method: &str, url: &str, timestamp: &str, nonce: &str, body: &str) -> String {
    format!("{method}\n{url}\n{timestamp}\n{nonce}\n{body}\n")
}

/// The value of the `Authorization` header.
pub fn authorization(
    algorithm: &str,
    mchid: &str,
    serial_no: &str,
    timestamp: &str,
    nonce: &str,
    signature: &str,
) -> String {
    format!(
        "WECHATPAY2-{algorithm} mchid=\"{mchid}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",\
         serial_no=\"{serial_no}\",signature=\"{signature}\""
    )
}

/// Who opens the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayClient {
    /// A mini-program, or a page inside WeChat.
    Mini,
    /// A native app.
    App,
}

impl PayClient {
    /// The `package` that the client is given.
    pub fn package(self, prepay_id: &str) -> String {
        match self {
            Self::Mini => format!("prepay_id={prepay_id}"),
            Self::App => "Sign=WXPay".to_owned(),
        }
    }

    /// The four lines that `paySign` is over. A native app signs the bare prepay_id.
    pub fn message(self, appid: &str, timestamp: &str, nonce: &str, prepay_id: &str) -> String {
        let last = match self {
            Self::Mini => self.package(prepay_id),
            Self::App => prepay_id.to_owned(),
        };
        format!("{appid}\n{timestamp}\n{nonce}\n{last}\n")
    }
}

/// The argument of `wx.requestPayment`, spelled as it takes it. It has no appid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentParams {
    pub time_stamp: String,
    pub nonce_str: String,
    pub package: String,
    pub sign_type: String,
    pub pay_sign: String,
}
