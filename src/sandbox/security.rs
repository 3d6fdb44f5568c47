//! `/v3/certificates` and the test call `/v3/security/echo`.

use serde_json::json;

use super::faults::FaultKind;
use super::fields::{Fields, Most, beijing};
use super::keys::{Platform, seal_resource};
use super::notify::{self, Notice};
use super::server::Call;
use super::v3::{Answer, Refusal, signing_word};
use super::{World, demo};
use crate::kernel::day_ms;

/// The platform certificates in force; the 404 is what merchants with a public key alone get.
pub fn certificates(world: &World, call: &Call) -> Answer {
    if world.faults.strikes(FaultKind::NoPlatformCertificate, call.path()) {
        let message = "商户未申请过平台证书，无可用的平台证书，请使用微信支付公钥";
        return Err(Refusal::new(404, "RESOURCE_NOT_EXISTS", message, 268_512_771));
    }
    let older = &world.keys.older;
    let mut data = Vec::new();
    if world.faults.strikes(FaultKind::RotateCertificate, call.path()) {
        data.push(entry(&world.keys.newer, world.keys.newer.expire_ms));
        // The old one's end is moved up to a day before it is replaced.
        data.push(entry(older, older.expire_ms.min(world.clock.now_ms() + day_ms(1))));
    } else {
        data.push(entry(older, older.expire_ms));
    }
    Ok(Some(json!({ "data": data })))
}

fn entry(platform: &Platform, expire_ms: i64) -> serde_json::Value {
    let (nonce, ciphertext) = seal_resource("certificate", platform.pem.as_bytes());
    json!({
        "serial_no": platform.serial,
        "effective_time": beijing(platform.effective_ms),
        "expire_time": beijing(expire_ms),
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": "certificate",
            "ciphertext": ciphertext,
        },
    })
}

/// Signing, verifying, encryption and the callback path in one call without money.
pub async fn echo(world: &World, call: &Call) -> Answer {
    let fields = Fields::of(call)?;
    let serial = call.header("Wechatpay-Serial");
    let serial = serial.ok_or_else(|| Refusal::param("Wechatpay-Serial", None, "必填", "header"))?;
    let message = fields.required_text("/echo_message", Most::Characters(1024))?;
    let mut answer = json!({ "echo_message": message });
    if let Some(encrypted) = fields.text("/encrypted_echo_message", Most::Characters(2048))? {
        let sealed =
            world.keys.open(serial, encrypted).and_then(|plain| world.keys.seal_for_merchant(&plain));
        let sealed = sealed.ok_or_else(|| fields.wrong("/encrypted_echo_message", "解密失败"))?;
        answer["encrypted_echo_message"] = json!(sealed);
    }
    if let Some(url) = fields.notify_url(256)? {
        let body = json!({ "mchid": demo::MCHID, "echo_message": message });
        let notice = Notice {
            event_type: "SECURITY.ECHO",
            original_type: "echo",
            summary: "测试回调",
            url,
            signing: signing_word(call),
            body: &body,
        };
        notify::stage(world, &mut *world.db.acquire().await?, notice).await?;
    }
    Ok(Some(answer))
}
