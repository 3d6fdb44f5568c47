//! Notices as WeChat Pay would send them, made here with the sandbox's key: what no honest channel sends.

use minimall::platform::crypto::{self, RsaSigner};
use minimall::sandbox::demo;
use reqwest::Method;
use serde_json::{Value, json};

use super::app::TestApp;
use super::client::{Answer, fresh_key};

pub const PAYMENT_CALLBACK: &str = "/callbacks/wechat-pay/payments";
pub const REFUND_CALLBACK: &str = "/callbacks/wechat-pay/refunds";

const PLATFORM_KEY_PEM: &str = include_str!("../../../src/sandbox/keys/wechatpay_private_key.pem");

/// A signed and encrypted notice.
#[derive(Debug, Clone)]
pub struct RawNotice {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawNotice {
    pub fn header(&mut self, name: &str) -> &mut String {
        let found = self.headers.iter_mut().find(|(there, _)| there.eq_ignore_ascii_case(name));
        &mut found.expect("a header of the notice").1
    }
}

/// A payment notification's content: the attempt of `payment` was paid.
pub fn paid(payment: &Value) -> Value {
    json!({
        "appid": demo::APPID,
        "mchid": demo::MCHID,
        "out_trade_no": payment["out_trade_no"],
        "transaction_id": format!("42000{}", fresh_key()),
        "trade_type": "JSAPI",
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "bank_type": "OTHERS",
        "success_time": "2026-03-14T10:00:00+08:00",
        "payer": { "openid": "somebody" },
        "amount": { "total": payment["amount"]["amount"], "payer_total": payment["amount"]["amount"],
                    "currency": "CNY", "payer_currency": "CNY" },
    })
}

impl TestApp {
    /// Encrypts and signs a notice now, as WeChat Pay does.
    pub fn seal_notice(&self, event_type: &str, content: &Value) -> RawNotice {
        let original_type = if event_type.starts_with("REFUND") { "refund" } else { "transaction" };
        let nonce = *b"0123456789ab";
        let key = demo::APIV3_KEY.as_bytes();
        let plain = content.to_string();
        let sealed =
            crypto::aes_gcm_seal(key, nonce, original_type.as_bytes(), plain.as_bytes()).expect("sealed");
        let body = json!({
            "id": format!("made-{}", fresh_key()),
            "create_time": "2026-03-14T10:00:00+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": "支付",
            "resource": {
                "original_type": original_type, "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": crypto::base64(&sealed), "associated_data": original_type,
                "nonce": "0123456789ab",
            },
        });
        let body = body.to_string().into_bytes();
        let timestamp = self.ctx.clock.now_s().to_string();
        let message = [timestamp.as_bytes(), b"\nmadeNonce\n", &body, b"\n"].concat();
        let signature = RsaSigner::from_pem(PLATFORM_KEY_PEM).expect("a key").sign(&message);
        let headers = [
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Nonce", "madeNonce".to_owned()),
            ("Wechatpay-Serial", demo::PUBLIC_KEY_ID.to_owned()),
            ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
            ("Wechatpay-Signature", signature),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        RawNotice { headers: headers.to_vec(), body }
    }

    /// The newest notification that the sandbox sent, as it was on the wire.
    pub async fn captured_notice(&self) -> RawNotice {
        let calls = self.sandbox_client().get("/sandbox/calls?limit=500").await.ok();
        let calls = calls.as_array().expect("a list").clone();
        let call = calls.iter().find(|call| {
            call["direction"] == "out"
                && call["target"].as_str().is_some_and(|target| target.contains("/callbacks/wechat-pay/"))
        });
        let call = call.expect("a notification was sent");
        let headers = call["request_headers"].as_array().expect("headers").iter().map(|header| {
            let text = |name: &str| header[name].as_str().unwrap_or_default().to_owned();
            (text("name"), text("value"))
        });
        let headers = headers.filter(|(name, _)| name.to_lowercase().starts_with("wechatpay-"));
        let body = call["request_body"].as_str().expect("a body").as_bytes().to_vec();
        RawNotice { headers: headers.collect(), body }
    }

    /// Sends a notice to the shop.
    pub async fn send_notice(&self, path: &str, notice: &RawNotice) -> Answer {
        let client = self.client();
        let mut request = client.request(Method::POST, path).header("Content-Type", "application/json");
        for (name, value) in &notice.headers {
            request = request.header(name, value);
        }
        client.send(request.body(notice.body.clone())).await
    }
}
