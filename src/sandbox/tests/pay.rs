use serde_json::{Value, json};

use super::support::{NOW_MS, World};
use crate::kernel::minute_ms;
use crate::sandbox::demo;
use crate::sandbox::notify::SCHEDULE_S;

const JSAPI: &str = "/v3/pay/transactions/jsapi";
const REFUNDS: &str = "/v3/refund/domestic/refunds";

fn close_path(number: &str) -> String {
    format!("/v3/pay/transactions/out-trade-no/{number}/close")
}

fn refund_body(number: &str, out_refund_no: &str, amount: i64, notify_url: &str) -> Value {
    json!({
        "out_trade_no": number, "out_refund_no": out_refund_no, "notify_url": notify_url,
        "amount": { "refund": amount, "total": 1000, "currency": "CNY" },
    })
}

#[tokio::test]
async fn only_the_merchants_signature_over_these_bytes_and_now_is_accepted() {
    let world = World::new().await;
    let good = world.get("/v3/certificates").await;
    assert_eq!(good.status, 200);
    assert!(good.is_signed_by_public_key());

    let other_bytes = world
        .call_spoiled("GET", "/v3/certificates", None, |header| {
            header.replace("nonce_str=\"", "nonce_str=\"x")
        })
        .await;
    assert_eq!((other_bytes.status, other_bytes.code()), (401, "SIGN_ERROR"));
    assert!(other_bytes.headers.get("Wechatpay-Signature").is_none());
    assert!(other_bytes.headers.get("Request-ID").is_some());

    let unsigned = world.call_spoiled("GET", "/v3/pay/transactions/id/1?mchid=1", None, |_| String::new());
    let unsigned = unsigned.await;
    assert_eq!((unsigned.status, unsigned.body["message"].as_str()), (401, Some("签名信息错误，验签失败")));

    let serial = |header: String| header.replace(demo::MERCHANT_SERIAL, &"0".repeat(40));
    assert_eq!(world.call_spoiled("GET", "/v3/certificates", None, serial).await.status, 401);
    // The clock is looked at before the signature, which is wrong here too.
    let now_s = world.clock.now_s();
    let stale = |header: String| header.replace(&format!("=\"{now_s}\""), &format!("=\"{}\"", now_s - 301));
    let stale = world.call_spoiled("GET", "/v3/certificates", None, stale).await;
    assert!(stale.body["message"].as_str().unwrap_or_default().contains("timestamp"));

    assert_eq!(world.get("/v3/nothing").await.status, 404);
    let wrong_method = world.get(JSAPI).await;
    assert_eq!((wrong_method.status, wrong_method.raw.len()), (405, 0));
}

#[tokio::test]
async fn fields_out_of_their_limits_are_named() {
    let world = World::new().await;
    let openid = world.openid().await;
    let cases = [
        ("/out_trade_no", json!("short")),
        ("/out_trade_no", json!("with space 1")),
        ("/description", json!("x".repeat(128))),
        ("/amount/total", json!(0)),
        ("/amount/total", json!("1000")),
        ("/notify_url", json!("https://shop.example/n?a=1")),
        ("/notify_url", json!("http://shop.example/n")),
        ("/notify_url", json!("https://203.0.113.1/n")),
        ("/time_expire", json!("tomorrow")),
        ("/payer/openid", json!("oNobody")),
    ];
    for (field, value) in cases {
        let mut body = world.prepay_body("order-000001", &openid);
        *body.pointer_mut(field).unwrap_or(&mut Value::Null) = value.clone();
        if field == "/time_expire" {
            body["time_expire"] = value;
        }
        let answer = world.post(JSAPI, body).await;
        assert_eq!((answer.status, answer.code()), (400, "PARAM_ERROR"), "{field}");
        assert_eq!(answer.body["detail"]["field"], field);
    }
}

#[tokio::test]
async fn a_number_is_reentrant_with_identical_parameters_and_spent_otherwise() {
    let world = World::new().await;
    let openid = world.openid().await;
    let body = world.prepay_body("order|000*1", &openid);
    let first = world.post(JSAPI, body.clone()).await.body["prepay_id"].clone();
    assert_eq!(world.post(JSAPI, body.clone()).await.body["prepay_id"], first);
    let mut other = body.clone();
    other["amount"]["total"] = json!(999);
    let used = world.post(JSAPI, other.clone()).await;
    assert_eq!((used.status, used.code()), (403, "OUT_TRADE_NO_USED"));
    world.fault(json!({ "kind": "out_trade_no_used_as_400" })).await;
    let used = world.post(JSAPI, other).await;
    assert_eq!((used.status, used.code()), (400, "INVALID_REQUEST"));

    // The | travels percent-encoded, and the signature is over the bytes that travel.
    let path = close_path("order%7C000*1");
    let closed = world.post(&path, json!({ "mchid": demo::MCHID })).await;
    assert_eq!(closed.status, 204);
    assert!(closed.is_signed_by_public_key());
    assert_eq!(world.post(JSAPI, body).await.code(), "INVALID_REQUEST");

    let never = world.post(&close_path("never-used-1"), json!({ "mchid": demo::MCHID })).await;
    assert_eq!(never.status, 204);
    let burnt = world.post(JSAPI, world.prepay_body("never-used-1", &openid)).await;
    assert_eq!(burnt.code(), "INVALID_REQUEST");
    let target = format!("/v3/pay/transactions/out-trade-no/never-used-1?mchid={}", demo::MCHID);
    assert_eq!(world.get(&target).await.code(), "ORDER_NOT_EXIST");
}

#[tokio::test]
async fn paying_checks_pay_sign_the_payer_and_the_expiry() {
    let world = World::new().await;
    let openid = world.openid().await;
    let mut body = world.prepay_body("order-000002", &openid);
    // Earlier than a minute from now is moved to a minute from now.
    body["time_expire"] = json!("2020-01-01T00:00:00+08:00");
    let prepay_id = world.post(JSAPI, body).await.body["prepay_id"].as_str().unwrap().to_owned();
    let path = format!("/sandbox/payments/{prepay_id}/pay");
    let package = format!("prepay_id={prepay_id}");
    let pay_sign = world.sign(&format!("{}\n1790000000\nabc\n{package}\n", demo::APPID));
    let parameters = |sign_type: &str, openid: &str| {
        json!({ "timeStamp": "1790000000", "nonceStr": "abc", "package": package, "signType": sign_type,
            "paySign": pay_sign, "openid": openid })
    };
    assert_eq!(world.plain("POST", &path, Some(json!({}))).await.0, 400);
    assert_eq!(world.plain("POST", &path, Some(parameters("MD5", &openid))).await.0, 409);
    assert_eq!(world.plain("POST", &path, Some(parameters("RSA", "oSomebodyElse"))).await.0, 409);
    let mut forged = parameters("RSA", &openid);
    forged["nonceStr"] = json!("abd");
    assert_eq!(world.plain("POST", &path, Some(forged)).await.0, 409);

    world.clock.advance(minute_ms(1));
    let (status, expired) = world.plain("POST", &path, Some(parameters("RSA", &openid))).await;
    assert_eq!((status, expired["detail"].as_str()), (409, Some("requestPayment:fail 订单已过期")));
    assert_eq!(world.state("order-000002").await, "NOTPAY");

    let prepay_id = world.prepay("order-000003").await;
    let package = format!("prepay_id={prepay_id}");
    let pay_sign = world.sign(&format!("{}\n1790000000\nabc\n{package}\n", demo::APPID));
    let good = json!({ "timeStamp": "1790000000", "nonceStr": "abc", "package": package, "signType": "RSA",
        "paySign": pay_sign, "openid": openid });
    let paid = world.plain("POST", &format!("/sandbox/payments/{prepay_id}/pay"), Some(good)).await;
    assert_eq!(paid, (200, json!({ "errMsg": "requestPayment:ok" })));
    assert_eq!(world.state("order-000003").await, "SUCCESS");
}

#[tokio::test]
async fn a_notification_repeats_on_the_schedule_until_it_is_given_up() {
    let world = World::new().await;
    world.shop.answer_with(500);
    world.paid("order-000004").await;
    assert_eq!(world.sandbox.tick().await, 1);
    for wait_s in SCHEDULE_S {
        world.clock.advance(wait_s * 1_000 - 1);
        assert_eq!(world.sandbox.tick().await, 0);
        world.clock.advance(1);
        assert_eq!(world.sandbox.tick().await, 1);
    }
    let callbacks = world.shop.take();
    assert_eq!(callbacks.len(), 16);
    assert!(callbacks.iter().all(|callback| callback.body["id"] == callbacks[0].body["id"]));
    assert_eq!(callbacks[0].plain()["amount"]["payer_total"], 1000);
    let (_, queue) = world.plain("GET", "/sandbox/notifications", None).await;
    assert_eq!((&queue[0]["state"], &queue[0]["attempts"]), (&json!("GIVEN_UP"), &json!(16)));
}

#[tokio::test]
async fn refunds_keep_to_sum_spacing_and_number() {
    let world = World::new().await;
    world.paid("order-000005").await;
    world.sandbox.tick().await;
    world.shop.take();
    let url = format!("{}/refund", world.shop.url);
    let first = world.post(REFUNDS, refund_body("order-000005", "r1", 400, &url)).await;
    assert_eq!((first.status, first.body["status"].as_str()), (200, Some("PROCESSING")));
    let again = world.post(REFUNDS, refund_body("order-000005", "r1", 400, &url)).await;
    assert_eq!(again.body["refund_id"], first.body["refund_id"]);
    let changed = world.post(REFUNDS, refund_body("order-000005", "r1", 401, &url)).await;
    assert_eq!(changed.code(), "INVALID_REQUEST");
    let soon = world.post(REFUNDS, refund_body("order-000005", "r2", 100, &url)).await;
    assert_eq!((soon.status, soon.code()), (429, "FREQUENCY_LIMITED"));
    assert_eq!(world.state("order-000005").await, "REFUND");

    world.sandbox.tick().await;
    let callbacks = world.shop.take();
    assert_eq!(callbacks[0].body["event_type"], "REFUND.SUCCESS");
    assert_eq!(callbacks[0].plain()["refund_status"], "SUCCESS");

    world.clock.advance(minute_ms(1));
    let over = world.post(REFUNDS, refund_body("order-000005", "r3", 601, &url)).await;
    assert_eq!(over.code(), "INVALID_REQUEST");
    world.fault(json!({ "kind": "refund_not_enough" })).await;
    let poor = world.post(REFUNDS, refund_body("order-000005", "r3", 600, &url)).await;
    assert_eq!((poor.status, poor.code()), (403, "NOT_ENOUGH"));
    world.fault(json!({ "kind": "refund_abnormal" })).await;
    assert_eq!(world.post(REFUNDS, refund_body("order-000005", "r3", 600, &url)).await.status, 200);
    world.sandbox.tick().await;
    assert_eq!(world.get(&format!("{REFUNDS}/r3")).await.body["status"], "ABNORMAL");
    let finish =
        world.plain("POST", "/sandbox/refunds/r3/finish", Some(json!({ "status": "SUCCESS" }))).await;
    assert_eq!(finish.1["status"], "SUCCESS");

    let unpaid = world.prepay("order-000006").await;
    assert!(unpaid.starts_with("wx"));
    let unknown = world.post(REFUNDS, refund_body("order-000006", "r4", 1, &url)).await;
    assert_eq!((unknown.status, unknown.code()), (404, "RESOURCE_NOT_EXISTS"));
}

#[tokio::test]
async fn faults_break_what_they_name() {
    let world = World::new().await;
    world.prepay("order-000007").await;
    world.fault(json!({ "kind": "pay_during_close" })).await;
    let close = world.post(&close_path("order-000007"), json!({ "mchid": demo::MCHID })).await;
    assert_eq!(close.status, 400);
    assert_eq!(world.state("order-000007").await, "SUCCESS");

    let openid = world.openid().await;
    world.fault(json!({ "kind": "error_after_work", "path": "/v3/pay" })).await;
    let body = world.prepay_body("order-000008", &openid);
    assert_eq!(world.post(JSAPI, body).await.status, 500);
    assert_eq!(world.state("order-000008").await, "NOTPAY");

    world.fault(json!({ "kind": "down" })).await;
    let request = world.http.get(format!("{}/cgi-bin/token", world.sandbox.url()));
    assert!(request.send().await.is_err());

    world.fault(json!({ "kind": "rotate_certificate" })).await;
    let listed = world.get("/v3/certificates").await;
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(2));
    world.fault(json!({ "kind": "key_ramp" })).await;
    let (one, other) = (world.get("/v3/certificates").await, world.get("/v3/certificates").await);
    assert_ne!(one.is_signed_by_public_key(), other.is_signed_by_public_key());
    world.fault(json!({ "kind": "no_platform_certificate" })).await;
    assert_eq!(world.get("/v3/certificates").await.status, 404);
    assert_eq!(world.plain("DELETE", "/sandbox/faults", None).await.0, 200);
    assert_eq!(world.get("/v3/certificates").await.status, 200);
}

#[tokio::test]
async fn notifications_go_wrong_as_told() {
    let world = World::new().await;
    world.fault(json!({ "kind": "notify_before_prepay_answer" })).await;
    world.prepay("order-000010").await;
    assert_eq!(world.shop.take().len(), 1, "it came before the answer");

    world.fault(json!({ "kind": "notify_drop" })).await;
    world.paid("order-000011").await;
    assert_eq!(world.sandbox.tick().await, 0);

    world.fault(json!({ "kind": "notify_duplicate" })).await;
    world.fault(json!({ "kind": "notify_delay", "delay_ms": 1000 })).await;
    world.paid("order-000012").await;
    assert_eq!(world.sandbox.tick().await, 0);
    world.clock.advance(1_000);
    assert_eq!(world.sandbox.tick().await, 2);
    let twins = world.shop.take();
    assert_eq!(twins[0].body["id"], twins[1].body["id"]);

    world.fault(json!({ "kind": "notify_signtest" })).await;
    world.fault(json!({ "kind": "notify_wrong_serial" })).await;
    world.paid("order-000013").await;
    world.sandbox.tick().await;
    let (_, calls) = world.plain("GET", "/sandbox/calls?limit=1", None).await;
    let header = |name: &str| {
        let headers = calls[0]["request_headers"].as_array().into_iter().flatten();
        let found = headers.filter(|header| header["name"] == name).map(|header| header["value"].to_string());
        found.collect::<String>()
    };
    assert!(header("Wechatpay-Signature").contains("WECHATPAY/SIGNTEST/"));
    assert!(!header("Wechatpay-Serial").contains("PUB_KEY_ID_"));
}

#[tokio::test]
async fn a_refund_gives_the_coupon_its_proportional_share() {
    let world = World::new().await;
    let prepay_id = world.prepay("order-000014").await;
    let body = json!({ "unchecked": true, "coupon_amount": 200 });
    world.plain("POST", &format!("/sandbox/payments/{prepay_id}/pay"), Some(body)).await;
    let url = format!("{}/refund", world.shop.url);
    let half = world.post(REFUNDS, refund_body("order-000014", "c1", 500, &url)).await;
    assert_eq!(half.body["amount"]["payer_refund"], 400);
    assert_eq!(half.body["amount"]["discount_refund"], 100);
    world.clock.advance(minute_ms(1));
    let rest = world.post(REFUNDS, refund_body("order-000014", "c2", 500, &url)).await;
    assert_eq!(rest.body["amount"]["payer_refund"], 400);
}

#[tokio::test]
async fn the_books_count_every_payment_and_refund_that_succeeded_and_nothing_else() {
    let world = World::new().await;
    let books = async || {
        let (status, books) = world.plain("GET", "/sandbox/books", None).await;
        assert_eq!(status, 200);
        ["payments", "paid", "refunds", "refunded"].map(|field| books[field].as_i64().unwrap())
    };
    assert_eq!(books().await, [0, 0, 0, 0]);

    // More than a list shows.
    let openid = world.openid().await;
    for number in 0..101 {
        let answer = world.post(JSAPI, world.prepay_body(&format!("order-1{number:05}"), &openid)).await;
        let path = format!("/sandbox/payments/{}/pay", answer.body["prepay_id"].as_str().unwrap());
        assert_eq!(world.plain("POST", &path, Some(json!({ "unchecked": true }))).await.0, 200);
    }
    world.prepay("order-200000").await;
    assert_eq!(books().await, [101, 101_000, 0, 0]);

    let url = format!("{}/refund", world.shop.url);
    assert_eq!(world.post(REFUNDS, refund_body("order-100000", "b1", 1_000, &url)).await.status, 200);
    world.fault(json!({ "kind": "refund_abnormal" })).await;
    assert_eq!(world.post(REFUNDS, refund_body("order-100001", "b2", 400, &url)).await.status, 200);
    assert_eq!(books().await, [101, 101_000, 0, 0], "accepted is not refunded");
    world.sandbox.tick().await;
    assert_eq!(books().await, [101, 101_000, 1, 1_000]);
}

#[tokio::test]
async fn payments_outlive_a_restart() {
    let file = std::env::temp_dir().join(format!(
        "sandbox-{}.db",
        crate::platform::crypto::hex(&crate::platform::crypto::random::<8>(),)
    ));
    let path = file.to_string_lossy().into_owned();
    let world = World::with_database(&path).await;
    world.paid("order-000009").await;
    world.sandbox.stop().await;
    let world = World::with_database(&path).await;
    assert_eq!(world.clock.now_ms(), NOW_MS);
    assert_eq!(world.state("order-000009").await, "SUCCESS");
    world.sandbox.stop().await;
    let _ = std::fs::remove_file(&file);
}
