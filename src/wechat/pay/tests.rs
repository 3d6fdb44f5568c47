use std::sync::LazyLock;

use poem::Response;
use poem::http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::platform::crypto;
use crate::wechat::Cause;
use crate::wechat::test_server::{Call, hanging, nobody, serve};

/// A merchant that plays the platform too: key and certificate belong together.
static KEYS: LazyLock<Value> = LazyLock::new(|| {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap()["inputs"].clone();
    let mut keys = read(include_str!("../../../tests/vectors/rsa-sha256-go.json"));
    let notice = read(include_str!("../../../tests/vectors/wxpay-notification-go.json"));
    keys["certificate_pem"] = notice["certificate_pem"].clone();
    keys
});
const APIV3_KEY: &str = "0123456789abcdef0123456789abcdef";
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0000000000000000000000000001";
const CERTIFICATE_SERIAL: &str = "D7CE59D1F522D701";
const NOW_MS: Millis = 1_790_000_000_000;

fn key(name: &str) -> &'static str {
    KEYS[name].as_str().unwrap()
}

fn options(base_url: &str) -> PayOptions {
    PayOptions {
        base_url: base_url.to_owned(),
        fallback_url: None,
        appid: "wx1".into(),
        mchid: "1900007291".into(),
        merchant_serial: "408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB".into(),
        merchant_private_key_pem: key("private_key_pem").to_owned(),
        apiv3_key: APIV3_KEY.into(),
        public_keys: vec![(PUBLIC_KEY_ID.into(), key("public_key_pem").to_owned())],
        platform_certificates: false,
        timeout_ms: 500,
    }
}

fn certificate_options(base_url: &str) -> PayOptions {
    PayOptions { public_keys: Vec::new(), platform_certificates: true, ..options(base_url) }
}

fn pay(options: PayOptions) -> Pay {
    Pay::new(options, Clock::manual(NOW_MS)).unwrap()
}

fn headers(serial: &str, body: &[u8]) -> NoticeHeaders {
    let mut headers = NoticeHeaders {
        timestamp: (NOW_MS / 1_000).to_string(),
        nonce: "n0nce".into(),
        serial: serial.into(),
        ..NoticeHeaders::default()
    };
    headers.signature = RsaSigner::from_pem(key("private_key_pem")).unwrap().sign(&headers.message(body));
    headers
}

/// An answer signed under `serial`.
fn signed(status: u16, serial: &str, body: &str) -> Response {
    let headers = headers(serial, body.as_bytes());
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .content_type("application/json")
        .header("Wechatpay-Timestamp", &headers.timestamp)
        .header("Wechatpay-Nonce", &headers.nonce)
        .header("Wechatpay-Serial", &headers.serial)
        .header("Wechatpay-Signature", &headers.signature)
        .body(body.to_owned())
}

fn refusal(status: u16, code: &str) -> Response {
    let body = json!({ "code": code, "message": "no" }).to_string();
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body)
}

fn sealed(aad: &str, plain: &str) -> Value {
    let nonce = *b"012345678901";
    let sealed = crypto::aes_gcm_seal(APIV3_KEY.as_bytes(), nonce, aad.as_bytes(), plain.as_bytes()).unwrap();
    json!({ "algorithm": "AEAD_AES_256_GCM", "nonce": "012345678901", "associated_data": aad,
        "ciphertext": crypto::base64(&sealed) })
}

fn certificates_body() -> String {
    let certificate = sealed("certificate", key("certificate_pem"));
    json!({ "data": [{ "serial_no": CERTIFICATE_SERIAL, "effective_time": "2021-04-27T16:55:23+08:00",
        "expire_time": "2031-04-25T16:55:23+08:00", "encrypt_certificate": certificate }] })
    .to_string()
}

fn notice_body(event_type: &str, plain: &Value) -> Vec<u8> {
    let resource = sealed("transaction", &plain.to_string());
    json!({ "id": "EV-1", "event_type": event_type, "resource": resource }).to_string().into_bytes()
}

fn paid() -> Value {
    json!({ "appid": "wx1", "mchid": "1900007291", "out_trade_no": "A1|*", "trade_state": "SUCCESS",
        "transaction_id": "4200", "success_time": "2024-09-02T10:34:50+08:00", "payer": { "openid": "o1" },
        "amount": { "total": 100, "payer_total": 90, "currency": "CNY" } })
}

/// Does the request carry the merchant's signature over exactly what arrived?
fn is_signed(call: &Call) -> bool {
    let value = call.header("authorization");
    let param = |name: &str| {
        let rest = value.split(&format!("{name}=\"")).nth(1).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let message = sign::request_message(
        &call.method,
        &call.target,
        &param("timestamp"),
        &param("nonce_str"),
        &call.body,
    );
    let verifier = RsaVerifier::from_pem(key("public_key_pem")).unwrap();
    value.starts_with("WECHATPAY2-SHA256-RSA2048 mchid=")
        && verifier.verify(message.as_bytes(), &param("signature")).is_ok()
}

#[tokio::test]
async fn calls_sign_what_they_send_and_read_what_is_signed() {
    let (url, seen) = serve(|call| async move {
        match call.target.split('?').next().unwrap_or_default() {
            "/v3/pay/transactions/jsapi" => signed(200, PUBLIC_KEY_ID, "{\"prepay_id\":\"wx22\"}"),
            path if path.ends_with("/close") => signed(204, PUBLIC_KEY_ID, ""),
            path if path.contains("refunds") => {
                let body = json!({ "refund_id": "5", "out_refund_no": "R@1", "status": "PROCESSING",
                    "amount": { "refund": 40, "total": 100, "payer_refund": 40, "currency": "CNY" } });
                signed(200, PUBLIC_KEY_ID, &body.to_string())
            }
            "/v3/security/echo" => signed(200, PUBLIC_KEY_ID, &call.body),
            _ => signed(200, PUBLIC_KEY_ID, &paid().to_string()),
        }
    })
    .await;
    let pay = pay(options(&url));
    let prepay = Prepay {
        description: "豆".repeat(130),
        out_trade_no: "A1|*".into(),
        time_expire_ms: 1_725_244_490_999,
        notify_url: "https://shop.example/callbacks".into(),
        total_minor: 100,
        openid: "o1".into(),
        attach: None,
    };
    let body = pay.prepay_body(&prepay);
    assert_eq!(pay.prepay(&body).await.unwrap(), "wx22");
    let sent: Value = serde_json::from_str(&seen.all()[0].body).unwrap();
    assert_eq!(
        (&seen.all()[0].body, sent["time_expire"].as_str()),
        (&body, Some("2024-09-02T10:34:50+08:00"))
    );
    assert_eq!(sent["description"].as_str().unwrap().chars().count(), 127);

    let found = pay.query("A1|*").await.unwrap();
    assert!(found.trade_state.is_paid() && found.success_time_ms == Some(1_725_244_490_000));
    assert_eq!((found.total_minor, found.payer_total_minor), (Some(100), Some(90)));
    assert_eq!(pay.query("B1").await, Err(Cause::Unreadable("it is about another payment").into()));
    pay.close("A1|*").await.unwrap();
    let call = RefundCall {
        payment: RefundOf::OutTradeNo("A1|*".into()),
        out_refund_no: "R@1".into(),
        reason: Some("退".repeat(30)),
        notify_url: "https://shop.example/callbacks".into(),
        refund_minor: 40,
        total_minor: 100,
        currency: "CNY".into(),
    };
    assert_eq!(pay.refund(&call).await.unwrap().status, RefundStatus::Processing);
    let sent: Value = serde_json::from_str(&seen.all().last().unwrap().body).unwrap();
    assert_eq!(sent["reason"].as_str().unwrap().len(), 78);
    assert_eq!(pay.query_refund("R@1").await.unwrap().refund_minor, Some(40));
    pay.ping().await.unwrap();
    for call in seen.all() {
        assert!(is_signed(&call), "{} {}", call.method, call.target);
        assert_eq!(call.header("wechatpay-serial"), PUBLIC_KEY_ID);
        assert!(call.header("user-agent").starts_with("minimall/"));
    }
}

#[tokio::test]
async fn an_unsigned_badly_signed_stale_or_lost_answer_leaves_the_outcome_unknown() {
    let (url, _) = serve(|call| async move {
        let kind = call.target.split('/').nth(5).unwrap_or_default();
        let body = paid().to_string().replace("A1|*", kind.split('?').next().unwrap_or_default());
        match kind.split('?').next().unwrap_or_default() {
            "unsigned" => Response::builder().body(body),
            "other" => signed(200, "PUB_KEY_ID_9", &body),
            "probe" => {
                let mut answer = signed(200, PUBLIC_KEY_ID, &body);
                let probe = "WECHATPAY/SIGNTEST/AAAA".parse().unwrap();
                answer.headers_mut().insert("wechatpay-signature", probe);
                answer
            }
            "stale" => {
                let mut answer = signed(200, PUBLIC_KEY_ID, &body);
                answer.headers_mut().insert("wechatpay-timestamp", "1".parse().unwrap());
                answer
            }
            "accepted" => signed(202, PUBLIC_KEY_ID, &body),
            "broken" => Response::builder()
                .status(StatusCode::INTERNAL_SERVER_ERROR)
                .body("{\"code\":\"SYSTEM_ERROR\"}"),
            "proxy" => Response::builder().status(StatusCode::FORBIDDEN).body("<html>"),
            _ => signed(200, PUBLIC_KEY_ID, "[]"),
        }
    })
    .await;
    let pay = pay(options(&url));
    for number in ["unsigned", "other", "probe", "stale", "accepted", "broken", "proxy", "nonsense"] {
        let error = pay.query(number).await.unwrap_err();
        assert!(error.is_unknown(), "{number}: {error}");
    }
    let hangs = super::Pay::new(options(&hanging().await), Clock::manual(NOW_MS)).unwrap();
    assert_eq!(hangs.close("A1").await, Err(PayError::Unknown(Cause::Timeout)));
}

#[tokio::test]
async fn refusals_are_told_apart_whatever_spelling_they_have() {
    let (url, _) = serve(|call| async move {
        match call.target.split('/').nth(5).unwrap_or_default().split('?').next().unwrap_or_default() {
            "used" => refusal(403, "OUT_TRADE_NO_USED"),
            "reentry" => {
                let mut answer = refusal(400, "INVALID_REQUEST");
                answer.headers_mut().insert("request-id", "08F-268498688".parse().unwrap());
                answer
            }
            "paid" => {
                let mut answer = refusal(400, "INVALID_REQUEST");
                answer.headers_mut().insert("request-id", "08F-268449538".parse().unwrap());
                answer
            }
            "slow" => refusal(429, "RATELIMIT_EXCEEDED"),
            "sign" => refusal(401, "SIGN_ERROR"),
            "rights" => refusal(403, "NOAUTH"),
            "poor" => refusal(403, "NOT_ENOUGH"),
            _ => refusal(404, "ORDER_NOT_EXIST"),
        }
    })
    .await;
    let pay = pay(options(&url));
    assert!(pay.query("used").await.unwrap_err().is_number_used());
    assert!(pay.query("reentry").await.unwrap_err().is_number_used());
    assert!(pay.query("paid").await.unwrap_err().is_already_paid());
    assert!(pay.query("slow").await.unwrap_err().is_rate_limited());
    assert!(matches!(pay.query("sign").await, Err(PayError::Unauthorized { .. })));
    assert!(pay.query("rights").await.unwrap_err().pauses_merchant());
    assert!(pay.query("poor").await.unwrap_err().is_not_enough());
    assert!(pay.query("gone").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn the_stand_by_address_is_used_only_when_no_connection_was_made() {
    let (url, seen) = serve(|_| async { signed(204, PUBLIC_KEY_ID, "") }).await;
    let down = PayOptions { fallback_url: Some(url.clone()), ..options(&nobody().await) };
    pay(down).close("A1").await.unwrap();
    assert_eq!(seen.all().len(), 1);
    let hangs = PayOptions { fallback_url: Some(url), ..options(&hanging().await) };
    assert!(pay(hangs).close("A1").await.unwrap_err().is_unknown());
    assert_eq!(seen.all().len(), 1);
}

#[tokio::test]
async fn certificates_are_downloaded_when_an_answer_needs_one_and_at_most_once_a_minute() {
    let (url, seen) = serve(|call| async move {
        match call.target.as_str() {
            "/v3/certificates" => signed(200, CERTIFICATE_SERIAL, &certificates_body()),
            path if path.contains("strange") => signed(204, "0123456789", ""),
            _ => signed(204, CERTIFICATE_SERIAL, ""),
        }
    })
    .await;
    let clock = Clock::manual(NOW_MS);
    let pay = Pay::new(certificate_options(&url), clock.clone()).unwrap();
    assert!(pay.wants_certificates());
    pay.close("A1").await.unwrap();
    assert!(!pay.wants_certificates());
    pay.close("strange").await.unwrap_err();
    assert_eq!(seen.count("certificates"), 1);

    // A notice never makes us call out by itself; it leaves a wish, which is granted once a minute.
    let body = notice_body("TRANSACTION.SUCCESS", &paid());
    let unknown = headers("0123456789", &body);
    let refused = pay.parse_notice(&unknown, &body);
    assert_eq!(refused, Err(NoticeError::Unverified(VerifyError::UnknownSerial)));
    assert!(!pay.wants_certificates());
    clock.advance(60_000);
    assert!(pay.wants_certificates());
    pay.parse_notice(&headers(CERTIFICATE_SERIAL, &body), &body).unwrap();
    clock.advance(-60_000);
    pay.refresh_certificates().await.unwrap();
    assert!(!pay.wants_certificates());
    clock.advance(CERTIFICATES_REFRESH_MS);
    assert!(pay.wants_certificates());
}

#[tokio::test]
async fn a_merchant_with_public_keys_only_has_no_certificates_and_that_is_fine() {
    let (url, _) = serve(|_| async { refusal(404, "RESOURCE_NOT_EXISTS") }).await;
    let both = PayOptions { platform_certificates: true, ..options(&url) };
    let both = pay(both);
    both.refresh_certificates().await.unwrap();
    assert!(!both.wants_certificates());
    assert!(pay(certificate_options(&url)).refresh_certificates().await.unwrap_err().is_not_found());
}

#[test]
fn certificates_that_have_ended_verify_nothing_and_are_forgotten() {
    let list = certificates::parse(APIV3_KEY.as_bytes(), certificates_body().as_bytes()).unwrap();
    let end_ms = list[0].end_ms;
    let mut ring = certificates::keyring(&list);
    let mut headers = headers(CERTIFICATE_SERIAL, b"");
    headers.timestamp = (end_ms / 1_000).to_string();
    headers.signature = RsaSigner::from_pem(key("private_key_pem")).unwrap().sign(&headers.message(b""));
    assert_eq!(ring.verify(&headers, b"", end_ms - 1), Ok(()));
    assert_eq!(ring.verify(&headers, b"", end_ms), Err(VerifyError::UnknownSerial));
    ring.prune(end_ms - 1);
    assert!(ring.holds("d7ce59d1f522d701"));
    ring.prune(end_ms);
    assert!(ring.is_empty());
}

#[test]
fn notices_are_read_by_their_event_and_unknown_events_are_kept() {
    let pay = pay(options("https://pay.example"));
    let body = notice_body("TRANSACTION.SUCCESS", &paid());
    let notice = pay.parse_notice(&headers(PUBLIC_KEY_ID, &body), &body).unwrap();
    let NoticeResource::Transaction(transaction) = &notice.resource else { panic!("{notice:?}") };
    assert_eq!((notice.id.as_str(), transaction.total_minor), ("EV-1", Some(100)));
    assert_eq!(pay.reopen_notice(&body).unwrap(), notice);
    let stored = serde_json::to_string(&notice).unwrap();
    assert_eq!(serde_json::from_str::<Notice>(&stored).unwrap(), notice);
    assert!(!format!("{notice:?}").contains("o1"));

    let refund = json!({ "mchid": "1", "refund_id": "5", "out_refund_no": "R1", "transaction_id": "4200",
        "out_trade_no": "A1", "refund_status": "ABNORMAL", "amount": { "total": 100, "refund": 40 } });
    let body = notice_body("REFUND.ABNORMAL", &refund);
    let notice = pay.parse_notice(&headers(PUBLIC_KEY_ID, &body), &body).unwrap();
    assert!(
        matches!(&notice.resource, NoticeResource::Refund(refund) if refund.status == RefundStatus::Abnormal)
    );
    let body = notice_body("COUPON.USE", &json!({ "x": 1 }));
    let notice = pay.parse_notice(&headers(PUBLIC_KEY_ID, &body), &body).unwrap();
    assert_eq!(notice.resource, NoticeResource::Other("{\"x\":1}".into()));
    // A payment without its number cannot be settled: it is refused, not guessed.
    let body = notice_body("TRANSACTION.SUCCESS", &json!({ "mchid": "1" }));
    assert!(matches!(
        pay.parse_notice(&headers(PUBLIC_KEY_ID, &body), &body),
        Err(NoticeError::Malformed(_))
    ));
}

#[test]
fn options_that_could_never_work_are_refused_by_name() {
    let name = |change: fn(&mut PayOptions)| {
        let mut options = options("https://pay.example");
        change(&mut options);
        Pay::new(options, Clock::manual(NOW_MS)).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(name(|_| ()), "");
    assert!(name(|options| options.apiv3_key.pop().map_or((), drop)).contains("apiv3_key"));
    assert!(name(|options| options.mchid = "19a".into()).contains("mchid"));
    assert!(name(|options| options.merchant_serial = "xyz".into()).contains("merchant_serial"));
    assert!(
        name(|options| options.merchant_private_key_pem = "?".into()).contains("merchant_private_key_pem")
    );
    assert!(name(|options| options.public_keys[0].0 = "1".into()).contains("public_keys"));
    assert!(name(|options| options.public_keys.clear()).contains("public_keys"));
    assert!(name(|options| options.base_url = "pay.example".into()).contains("base_url"));
    assert!(name(|options| options.timeout_ms = 0).contains("timeout_ms"));
}

static PAY: LazyLock<Pay> = LazyLock::new(|| pay(options("https://pay.example")));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// One bit anywhere, a cut, or arbitrary text in place of a part: never accepted, never a panic.
    #[test]
    fn a_forged_notice_is_never_accepted(part in 0_usize..5, cut: bool, at: prop::sample::Index, bit in 0_u8..7, text in ".{0,40}", swap: bool) {
        let body = notice_body("TRANSACTION.SUCCESS", &paid());
        let genuine = headers(PUBLIC_KEY_ID, &body);
        let (mut forged, mut forged_body) = (genuine.clone(), body.clone());
        let bend = |bytes: &mut Vec<u8>| {
            let at = at.index(bytes.len());
            if swap { *bytes = text.clone().into_bytes() } else if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        };
        let bend_text = |text: &mut String| {
            let mut bytes = std::mem::take(text).into_bytes();
            bend(&mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        };
        match part {
            0 => bend(&mut forged_body),
            1 => bend_text(&mut forged.timestamp),
            2 => bend_text(&mut forged.nonce),
            3 => bend_text(&mut forged.serial),
            _ => bend_text(&mut forged.signature),
        }
        prop_assume!(forged != genuine || forged_body != body);
        // Base64 ends with spare bits: another spelling of the very same signature is no forgery.
        prop_assume!(part != 4 || crypto::from_base64(&forged.signature).ok() != crypto::from_base64(&genuine.signature).ok());
        prop_assert!(PAY.parse_notice(&forged, &forged_body).is_err());
        // Without its signature a stored body is still guarded by the APIv3 key, and never a panic.
        let _ = PAY.reopen_notice(&forged_body);
    }
}
