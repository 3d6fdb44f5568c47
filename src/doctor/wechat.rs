//! WeChat itself: a token of the mini-program API, a signed echo and the certificates of WeChat Pay.

use super::Findings;
use crate::app;
use crate::config::Config;
use crate::kernel::{Clock, Millis, day_ms, rfc3339};
use crate::payments::Provider;
use crate::wechat::pay::Pay;

/// A certificate that ends this soon should have a follower.
const SOON_MS: Millis = day_ms(30);

pub async fn look(config: &Config, clock: &Clock, findings: &mut Findings) {
    let (mini, _, channel) = match app::clients(config, clock) {
        Ok(clients) => clients,
        Err(failure) => {
            let advice = "correct the key that is named in [wechat] or [wechat_pay]";
            return findings.fail("keys", failure.to_string(), advice);
        }
    };
    findings.ok("keys", "can be read");
    match mini.ping().await {
        Ok(()) => findings.ok("wechat", "the mini-program API gives a token"),
        Err(error) => {
            let advice = "check wechat.appid, wechat.secret, and that the console's IP whitelist has this machine's public address";
            findings.fail("wechat", error.to_string(), advice);
        }
    }
    look_at_templates(config, findings);
    let Provider::WechatPay(pay) = &channel.provider;
    match pay.ping().await {
        Ok(()) => findings.ok("wechat pay", "signs, verifies, and its clock agrees with ours"),
        Err(error) => {
            let advice = "check mchid, merchant_serial, merchant_private_key, and that this clock is right: it refuses signatures that are 5 min old";
            findings.fail("wechat pay", error.to_string(), advice);
        }
    }
    look_at_certificates(config, pay, clock, findings).await;
}

fn look_at_templates(config: &Config, findings: &mut Findings) {
    let templates = &config.wechat.templates;
    let named = [
        ("wait_pay", &templates.wait_pay),
        ("cancel", &templates.cancel),
        ("confirm", &templates.confirm),
        ("pay", &templates.pay),
        ("finished", &templates.finished),
        ("refund", &templates.refund),
    ];
    let missing: Vec<&str> = named.iter().filter(|(_, id)| id.is_empty()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        findings.ok("templates", "each kind of message has one");
    } else {
        let advice =
            "set wechat.templates.… to the ids of the console; until then these are in-app notices alone";
        findings.warn("templates", format!("none for {}", missing.join(", ")), advice);
    }
}

/// What WeChat Pay may sign with, and for how long.
async fn look_at_certificates(config: &Config, pay: &Pay, clock: &Clock, findings: &mut Findings) {
    let has_public_key = !config.wechat_pay.public_key_id.is_empty();
    if config.wechat_pay.platform_certificates
        && let Err(error) = pay.refresh_certificates().await
    {
        if has_public_key && error.is_not_found() {
            let detail = "none: this merchant verifies with public keys";
            return findings
                .ok("certificates", format!("{detail}; platform_certificates = false says so, too"));
        }
        let advice = "check wechat_pay.apiv3_key: it decrypts the list, and every callback";
        return findings.fail("certificates", error.to_string(), advice);
    }
    let now_ms = clock.now_ms();
    let keys = pay.known_keys();
    let shown = |(serial, end_ms): &(String, Option<Millis>)| match end_ms {
        None => serial.clone(),
        Some(end_ms) => format!("{serial} until {}", rfc3339(*end_ms)),
    };
    let detail = keys.iter().map(shown).collect::<Vec<_>>().join(", ");
    if keys.iter().all(|(_, end_ms)| end_ms.is_some_and(|end_ms| end_ms - now_ms < SOON_MS)) {
        let advice = "all of them end within 30 days: look into the merchant console whether a change is due";
        findings.warn("certificates", detail, advice);
    } else {
        findings.ok("certificates", detail);
    }
}
