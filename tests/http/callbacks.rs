//! Callbacks of the channel: what is believed, what is refused, and what waits for a person.

use serde_json::{Value, json};

use crate::support::{PAYMENT_CALLBACK, SKU, TestApp, User, paid};

const PREPAY: &str = "/v3/pay/transactions/jsapi";

/// An order with a payment that was started.
async fn started(app: &TestApp, user: &User) -> (Value, Value) {
    let order = user.order(&[(SKU, 1)]).await;
    let payment = user.start_payment(&order).await;
    assert_eq!(app.attempts(&order).await, ["PREPAID"]);
    (order, payment)
}

#[tokio::test]
async fn a_notice_that_comes_before_the_prepay_answer_pays_the_order() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.fault("notify_before_prepay_answer", 1).await;
    app.fault_with(json!({ "kind": "error_after_work", "path": PREPAY })).await;
    alice.try_payment(&order).await.refused(503, "payment_channel_unavailable");
    assert_eq!(app.attempts(&order).await, ["CREATED"]);
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["SUCCEEDED"]);
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    alice.try_payment(&order).await.refused(409, "order_already_paid");
    app.finish_money().await;
}

/// Edge case 4.
#[tokio::test]
async fn the_same_callback_many_times_has_its_effects_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let (order, payment) = started(&app, &alice).await;
    app.fault("notify_duplicate", 1).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let notices = app.sandbox_client().get("/sandbox/notifications").await.ok();
    for notice in notices.as_array().expect("a list") {
        assert_eq!(notice["state"], "DELIVERED");
        app.sandbox_client()
            .post(&format!("/sandbox/notifications/{}/resend", notice["id"]), &json!({}))
            .await
            .ok();
        app.drain().await;
    }
    let captured = app.captured_notice().await;
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &captured).await.status, 204);
    app.drain().await;
    assert_eq!(app.moves(&order, "payment_succeeded").await, 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM inbox WHERE source = 'wechat_pay'").await, 1);
    assert_eq!(app.stock(SKU).await, (before.0 - 1, before.1, before.2 + 1));
    app.finish_money().await;
}

/// Edge case 6.
#[tokio::test]
async fn money_that_is_not_what_was_asked_for_is_a_mismatch_and_never_pays() {
    let app = TestApp::with(|config| config.session.token_minutes = 10_080).await;
    let alice = app.user("alice").await;
    let wrong = [
        ("/amount/total", json!(1)),
        ("/amount/total", json!(99_999_999)),
        ("/amount/currency", json!("USD")),
        ("/appid", json!("wxffffffffffffffff")),
        ("/mchid", json!("1900000001")),
    ];
    for (index, (pointer, value)) in (1..).zip(&wrong) {
        let before = app.stock(SKU).await;
        let (order, payment) = started(&app, &alice).await;
        let mut content = paid(&payment);
        *content.pointer_mut(pointer).expect("a member") = value.clone();
        let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
        assert_eq!(app.send_notice(PAYMENT_CALLBACK, &notice).await.status, 204, "{pointer}");
        app.drain().await;
        let seen = alice.get_order(&order).await;
        assert_eq!((&seen["status"], &seen["pay_status"]), (&json!("PENDING_PAYMENT"), &json!("UNPAID")));
        assert_eq!(app.attempts(&order).await, ["MISMATCH"], "{pointer}");
        assert_eq!(app.alerts("payment_mismatch").await, index, "{pointer}");
        assert_eq!(app.moves(&order, "payment_mismatched").await, 1, "{pointer}");
        alice.try_payment(&order).await.refused(409, "payment_under_review");
        // The deadline closes the order all the same; the money waits for a person.
        app.advance_minutes(30);
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "CLOSED", "{pointer}");
        assert_eq!(app.attempts(&order).await, ["MISMATCH"], "{pointer}");
        assert_eq!(app.stock(SKU).await, before, "{pointer}");
    }
    assert_eq!(app.number("SELECT COUNT(*) FROM refunds").await, 0);
    app.finish().await;
}

/// Edge case 8.
#[tokio::test]
async fn a_failure_after_a_success_is_ignored() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, payment) = started(&app, &alice).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    for state in ["PAYERROR", "CLOSED", "NOTPAY", "REVOKED"] {
        let mut content = paid(&payment);
        content["trade_state"] = json!(state);
        let notice = app.seal_notice("TRANSACTION.FAIL", &content);
        assert_eq!(app.send_notice(PAYMENT_CALLBACK, &notice).await.status, 204, "{state}");
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "PAID", "{state}");
        assert_eq!(app.attempts(&order).await, ["SUCCEEDED"], "{state}");
    }
    app.finish_money().await;
}

/// Edge case 41.
#[tokio::test]
async fn money_for_an_unknown_number_is_stored_acknowledged_parked_and_alerted() {
    let app = TestApp::new().await;
    let content = paid(&json!({ "out_trade_no": "mmNobodyKnowsThisNumber", "amount": { "amount": 100 } }));
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    assert_eq!(app.texts("SELECT state FROM inbox WHERE kind = 'payment'").await, ["PARKED"]);
    assert_eq!(app.alerts("notice_parked").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_badly_signed_notice_is_refused_and_the_right_one_comes_again() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for fault in ["notify_bad_signature", "notify_signtest", "notify_wrong_serial"] {
        let (order, payment) = started(&app, &alice).await;
        app.fault(fault, 1).await;
        app.pay_at_wechat(&payment).await;
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT", "{fault}");
        let notices = app.sandbox_client().get("/sandbox/notifications").await.ok();
        assert_eq!(notices[0]["attempts"], 1, "{fault}");
        assert_ne!(notices[0]["state"], "DELIVERED", "{fault}");
        let asked = app.calls("/v3/pay/transactions/out-trade-no").await.len();
        app.advance_ms(15_000);
        app.sandbox.tick().await;
        let notices = app.sandbox_client().get("/sandbox/notifications").await.ok();
        assert_eq!(notices[0]["state"], "DELIVERED", "{fault}");
        assert_eq!(app.calls("/v3/pay/transactions/out-trade-no").await.len(), asked, "by the notice alone");
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "PAID", "{fault}");
    }
    app.finish_money().await;
}

#[tokio::test]
async fn no_forged_stale_truncated_or_flipped_notice_is_accepted() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, payment) = started(&app, &alice).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let good = app.captured_notice().await;
    let stored = app.number("SELECT COUNT(*) FROM inbox").await;
    let mut bad = Vec::new();
    for at in (0..good.body.len()).step_by(good.body.len() / 160) {
        let mut flipped = good.clone();
        flipped.body[at] ^= 1 << (at % 7);
        bad.push((format!("body bit at {at}"), flipped));
        let mut cut = good.clone();
        cut.body.truncate(at);
        bad.push((format!("body cut at {at}"), cut));
    }
    for name in ["Wechatpay-Timestamp", "Wechatpay-Nonce", "Wechatpay-Serial", "Wechatpay-Signature"] {
        let mut absent = good.clone();
        absent.headers.retain(|(there, _)| !there.eq_ignore_ascii_case(name));
        bad.push((format!("without {name}"), absent));
        let mut empty = good.clone();
        empty.header(name).clear();
        bad.push((format!("empty {name}"), empty));
        let value = good.clone().header(name).clone();
        for at in (0..value.len()).step_by(value.len().div_ceil(16)) {
            let mut bytes = value.clone().into_bytes();
            bytes[at] ^= 1;
            let mut flipped = good.clone();
            *flipped.header(name) = String::from_utf8(bytes).expect("ASCII");
            bad.push((format!("{name} flipped at {at}"), flipped));
            let mut cut = good.clone();
            cut.header(name).truncate(at);
            bad.push((format!("{name} cut at {at}"), cut));
        }
    }
    for kind in ["WECHATPAY2-SM2-WITH-SM3", "nonsense"] {
        let mut other = good.clone();
        *other.header("Wechatpay-Signature-Type") = kind.to_owned();
        bad.push((format!("signature type {kind}"), other));
    }
    assert!(bad.len() > 300, "{}", bad.len());
    for (what, notice) in &bad {
        let status = app.send_notice(PAYMENT_CALLBACK, notice).await.status;
        assert!((400..500).contains(&status), "{what}: {status}");
    }
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &good).await.status, 204, "the original still holds");
    app.advance_ms(5 * 60_000);
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &good).await.status, 401, "five minutes later it is stale");
    assert_eq!(app.number("SELECT COUNT(*) FROM inbox").await, stored);
    assert_eq!(app.moves(&order, "payment_succeeded").await, 1);
    app.finish_money().await;
}

#[tokio::test]
async fn a_notice_that_is_signed_but_makes_no_sense_is_refused_or_parked() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, payment) = started(&app, &alice).await;
    let whole = paid(&payment);
    for member in ["out_trade_no", "mchid", "trade_state", "amount", "transaction_id"] {
        let mut content = whole.clone();
        content.as_object_mut().expect("an object").remove(member);
        let answer =
            app.send_notice(PAYMENT_CALLBACK, &app.seal_notice("TRANSACTION.SUCCESS", &content)).await;
        assert!(answer.status < 500, "without {member}: {}", answer.status);
    }
    for content in [json!([]), json!("text"), json!(null), json!({ "amount": "a lot" })] {
        let answer =
            app.send_notice(PAYMENT_CALLBACK, &app.seal_notice("TRANSACTION.SUCCESS", &content)).await;
        assert!((400..500).contains(&answer.status), "{content}: {}", answer.status);
    }
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    app.finish().await;
}
