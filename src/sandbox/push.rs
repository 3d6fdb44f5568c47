//! The mini-program's message push in secure mode: encrypted, and signed with the push token.
//! <https://developers.weixin.qq.com/miniprogram/dev/framework/server-ability/message-push.html>

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::keys::digits;
use super::notify::{self, Outgoing};
use super::store::Payment;
use super::{World, demo};
use crate::platform::crypto;

/// The original id of the demo mini-program's account.
const ACCOUNT: &str = "gh_5a9db0c5de30";

/// Stages an event of order management, with what every such event has.
pub async fn stage(
    world: &World,
    tx: &mut SqliteConnection,
    event: &str,
    payment: &Payment,
    rest: Value,
) -> sqlx::Result<()> {
    let now_s = world.clock.now_s();
    let mut body = json!({
        "ToUserName": ACCOUNT,
        "FromUserName": payment.openid,
        "CreateTime": now_s,
        "MsgType": "event",
        "Event": event,
        "transaction_id": payment.transaction_id,
        "merchant_id": demo::MCHID,
        "sub_merchant_id": "",
        "merchant_trade_no": payment.out_trade_no,
        "pay_time": payment.success_ms.map(|at_ms| at_ms / 1_000),
    });
    if let (Some(body), Value::Object(rest)) = (body.as_object_mut(), rest) {
        body.extend(rest);
    }
    notify::stage_push(world, tx, event, &body).await
}

/// URL, headers and body of one attempt.
pub fn envelope(world: &World, row: &Outgoing) -> (String, Vec<(&'static str, String)>, String) {
    let timestamp = world.clock.now_s().to_string();
    let nonce = digits::<10>();
    let encrypted = encrypt(row.body.as_bytes());
    let openid = serde_json::from_str::<Value>(&row.body)
        .ok()
        .and_then(|body| body["FromUserName"].as_str().map(str::to_owned))
        .unwrap_or_default();
    let signature = signature(&[demo::PUSH_TOKEN, &timestamp, &nonce]);
    let msg_signature = self::signature(&[demo::PUSH_TOKEN, &timestamp, &nonce, &encrypted]);
    let separator = if row.url.contains('?') { '&' } else { '?' };
    let url = format!(
        "{}{separator}signature={signature}&timestamp={timestamp}&nonce={nonce}&openid={openid}\
         &encrypt_type=aes&msg_signature={msg_signature}",
        row.url
    );
    let body = json!({ "ToUserName": ACCOUNT, "Encrypt": encrypted }).to_string();
    (url, vec![("User-Agent", "Mozilla/4.0".to_owned())], body)
}

/// Hex SHA-1 of the strings, sorted and joined.
fn signature(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    crypto::hex(&crypto::sha1(parts.concat().as_bytes()))
}

/// 16 random bytes, the length, the message, the appid; PKCS#7 to 32; AES-256-CBC with the key's first half
/// as iv.
fn encrypt(message: &[u8]) -> String {
    let mut frame = crypto::random::<16>().to_vec();
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(message);
    frame.extend_from_slice(demo::APPID.as_bytes());
    let padding = 32 - frame.len() % 32;
    frame.resize(frame.len() + padding, padding as u8);
    let key = crypto::from_base64(&format!("{}=", demo::PUSH_ENCODING_AES_KEY)).unwrap_or_default();
    let sealed = crypto::aes_cbc_seal_unpadded(&key, key.get(..16).unwrap_or_default(), &frame);
    crypto::base64(&sealed.expect("a constant key of 32 bytes")) // never fails: checked by every test run
}
