//! Paying: attempts, the query schedule, and whatever the channel does instead of answering.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{SKU, TestApp, User, fresh_key, sku};

const PREPAY: &str = "/v3/pay/transactions/jsapi";

/// An order with a payment that was started.
async fn started(app: &TestApp, user: &User) -> (Value, Value) {
    let order = user.order(&[(SKU, 1)]).await;
    let payment = user.start_payment(&order).await;
    assert_eq!(app.attempts(&order).await, ["PREPAID"]);
    (order, payment)
}

#[tokio::test]
async fn pressing_pay_again_takes_up_the_same_attempt_with_a_fresh_signature() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, first) = started(&app, &alice).await;
    let again = alice.start_payment(&order).await;
    assert_eq!(again["attempt_id"], first["attempt_id"]);
    assert_eq!(again["request_payment"]["package"], first["request_payment"]["package"]);
    assert_ne!(again["request_payment"]["paySign"], first["request_payment"]["paySign"]);
    assert_eq!(app.calls(PREPAY).await.len(), 1, "the channel is asked once");
    app.pay_at_wechat(&again).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

#[tokio::test]
async fn the_same_key_starts_one_payment_and_is_answered_again() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let key = fresh_key();
    let first = alice.pay_with_key(&order, &key).await.ok();
    let again = alice.pay_with_key(&order, &key).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok()["attempt_id"], first["attempt_id"]);
    assert_eq!(app.calls(PREPAY).await.len(), 1);
    let other = alice.order(&[(SKU, 1)]).await;
    alice.pay_with_key(&other, &key).await.refused(409, "idempotency_key_reused");
    app.finish().await;
}

#[tokio::test]
async fn a_prepay_whose_answer_is_lost_is_sent_again_byte_for_byte() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for fault in ["error_after_work", "down_after_work"] {
        let order = alice.order(&[(SKU, 1)]).await;
        let before = app.calls(PREPAY).await.len();
        app.fault_with(json!({ "kind": fault, "path": PREPAY })).await;
        let lost = alice.try_payment(&order).await;
        assert!(lost.header("retry-after").is_some(), "{fault}");
        lost.refused(503, "payment_channel_unavailable");
        assert_eq!(app.attempts(&order).await, ["CREATED"], "{fault}");
        let payment = alice.start_payment(&order).await;
        let calls = app.calls(PREPAY).await;
        assert_eq!(calls.len(), before + 2, "{fault}");
        assert_eq!(calls[0]["request_body"], calls[1]["request_body"], "{fault}");
        let of_number =
            app.channel_payments().await.into_iter().filter(|p| p["out_trade_no"] == payment["out_trade_no"]);
        assert_eq!(of_number.count(), 1, "{fault}");
        app.pay_at_wechat(&payment).await;
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "PAID", "{fault}");
    }
    app.finish_money().await;
}

#[tokio::test]
async fn a_channel_that_is_down_or_wants_rest_costs_nothing_but_time() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for fault in ["down", "rate_limit"] {
        let order = alice.order(&[(SKU, 1)]).await;
        app.fault_with(json!({ "kind": fault, "path": PREPAY })).await;
        let key = fresh_key();
        alice.pay_with_key(&order, &key).await.refused(503, "payment_channel_unavailable");
        // An outage is no answer to remember: the same key goes on.
        alice.pay_with_key(&order, &key).await.ok();
        assert_eq!(app.attempts(&order).await, ["PREPAID"], "{fault}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_hanging_channel_answers_503_within_the_time_of_a_call() {
    let app = TestApp::with(|config| config.wechat_pay.timeout_ms = 300).await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    // The channel would answer after a minute: only our own bound can end this in time.
    app.fault_with(json!({ "kind": "slow", "delay_ms": 60_000, "path": PREPAY })).await;
    let hung = tokio::time::timeout(Duration::from_secs(20), alice.try_payment(&order)).await;
    let hung = hung.expect("a bounded wait");
    assert!(hung.header("retry-after").is_some());
    hung.refused(503, "payment_channel_unavailable");
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

#[tokio::test]
async fn less_than_90_seconds_before_the_deadline_no_payment_is_started() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, _) = started(&app, &alice).await;
    let fresh = alice.order(&[(SKU, 1)]).await;
    app.advance_ms(30 * 60_000 - 90_000);
    alice.start_payment(&order).await;
    app.advance_ms(1);
    for order in [&order, &fresh] {
        alice.try_payment(order).await.refused(409, "payment_window_closing");
    }
    let order = alice.get_order(&fresh).await;
    assert_eq!(order["actions"]["can_pay"]["reason"], "payment_window_closing");
    app.finish().await;
}

#[tokio::test]
async fn an_old_prepay_id_is_renewed_under_the_same_number() {
    let app = TestApp::with(|config| config.orders.pay_minutes = 300).await;
    let (order, first) = started(&app, &app.user("alice").await).await;
    app.advance_minutes(121);
    let alice = app.user("alice").await;
    let renewed = alice.start_payment(&order).await;
    assert_eq!(renewed["out_trade_no"], first["out_trade_no"]);
    assert_ne!(renewed["request_payment"]["package"], first["request_payment"]["package"]);
    app.pay_at_wechat(&renewed).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

#[tokio::test]
async fn what_is_not_mine_or_not_payable_is_refused() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (order, payment) = started(&app, &alice).await;
    bob.try_payment(&order).await.refused(404, "order_not_found");
    let path = format!("/api/v1/orders/{}/payment-methods", order["id"].as_str().expect("an id"));
    bob.client.get(&path).await.refused(404, "order_not_found");
    let methods = alice.client.get(&path).await.ok();
    assert_eq!(methods["items"][0]["available"], true);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    alice.try_payment(&order).await.refused(409, "order_already_paid");
    let methods = alice.client.get(&path).await.ok();
    assert_eq!(methods["items"][0]["reason"], "order_already_paid");
    let cancelled = alice.order(&[(SKU, 1)]).await;
    alice.cancel(&cancelled).await.ok();
    alice.try_payment(&cancelled).await.refused(409, "order_not_payable");
    app.finish_money().await;
}

#[tokio::test]
async fn a_number_that_the_channel_calls_paid_is_asked_about_and_never_paid_twice() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    // Paid, and neither the answer nor the notice reached us.
    app.fault("notify_before_prepay_answer", 1).await;
    app.fault("notify_drop", 1).await;
    app.fault_with(json!({ "kind": "error_after_work", "path": PREPAY })).await;
    alice.try_payment(&order).await.refused(503, "payment_channel_unavailable");
    alice.try_payment(&order).await.refused(409, "payment_closing");
    alice.try_payment(&order).await.refused(409, "payment_closing");
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["SUCCEEDED"]);
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

#[tokio::test]
async fn a_number_used_for_something_else_is_closed_before_a_new_one_is_taken() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.fault_with(json!({ "kind": "error_after_work", "path": PREPAY })).await;
    alice.try_payment(&order).await.refused(503, "payment_channel_unavailable");
    app.execute("UPDATE payment_attempts SET request_body = REPLACE(request_body, '明前', '雨前')").await;
    alice.try_payment(&order).await.refused(409, "payment_closing");
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["CLOSED"]);
    app.advance_ms(1);
    let payment = alice.start_payment(&order).await;
    assert_eq!(app.attempts(&order).await, ["CLOSED", "PREPAID"]);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

/// Edge case 5.
#[tokio::test]
async fn a_callback_that_never_comes_is_asked_for_on_the_schedule() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for (paid_after_s, found_after_s) in [(0, 5), (20, 30), (60, 120), (300, 600), (900, 1_800)] {
        let (order, payment) = started(&app, &alice).await;
        let mut now_s = 0;
        for at_s in [5, 30, 120, 600, 1_800] {
            if now_s <= paid_after_s && paid_after_s < at_s {
                app.advance_ms((paid_after_s - now_s) * 1_000);
                app.fault("notify_drop", 1).await;
                app.pay_at_wechat(&payment).await;
                now_s = paid_after_s;
            }
            app.advance_ms((at_s - now_s) * 1_000 - 1);
            app.drain().await;
            let waits = alice.get_order(&order).await["status"] == "PENDING_PAYMENT";
            assert!(waits, "paid after {paid_after_s} s, nobody asks before {at_s} s");
            app.advance_ms(1);
            app.drain().await;
            now_s = at_s;
            if at_s == found_after_s {
                break;
            }
        }
        assert_eq!(alice.get_order(&order).await["status"], "PAID", "found after {found_after_s} s");
    }
    app.finish_money().await;
}

#[tokio::test]
async fn what_wechats_own_coupon_paid_counts_as_paid() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, payment) = started(&app, &alice).await;
    let mut params = payment["request_payment"].clone();
    params["coupon_amount"] = json!(500);
    let package = params["package"].as_str().expect("a package").to_owned();
    let prepay_id = package.trim_start_matches("prepay_id=");
    app.sandbox_client().post(&format!("/sandbox/payments/{prepay_id}/pay"), &params).await.ok();
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["paid"]), (&json!("PAID"), &order["payable"]));
    app.finish_money().await;
}

/// Edge case 7.
#[tokio::test]
async fn the_clients_word_clears_the_cart_and_asks_but_never_marks_paid() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    alice.put_in_cart(SKU, 1).await;
    alice.put_in_cart(&sku(2), 1).await;
    let (order, payment) = started(&app, &alice).await;
    alice.says(&order, "cancel").await;
    assert_eq!(alice.cart().await.len(), 2, "giving up keeps the cart");
    alice.says(&order, "ok").await;
    app.drain().await;
    assert_eq!(alice.cart().await.len(), 1, "what was bought leaves the cart");
    assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    // However often the client speaks, the schedule of questions stays.
    for _ in 0..6 {
        alice.says(&order, "fail").await;
        app.drain().await;
    }
    app.fault("notify_drop", 1).await;
    app.pay_at_wechat(&payment).await;
    app.advance_ms(5_000);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    // A word about a payment that did arrive asks at once.
    let (order, payment) = started(&app, &alice).await;
    app.fault("notify_drop", 1).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    alice.says(&order, "ok").await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

/// The schedule is for a channel that says "not yet"; one that says nothing is asked again within seconds.
#[tokio::test]
async fn a_question_that_the_channel_did_not_answer_is_asked_again_soon() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, payment) = started(&app, &alice).await;
    app.fault("notify_drop", 1).await;
    app.pay_at_wechat(&payment).await;
    for _ in 0..3 {
        app.fault_with(json!({ "kind": "down", "path": "/v3/pay/transactions/" })).await;
        app.advance_ms(5_000);
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    }
    app.no_faults().await;
    app.advance_ms(8_000);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

/// Two attempts of one order, of which the first was given up by hand.
async fn two_attempts(app: &TestApp, alice: &User) -> (Value, Value, Value) {
    let (order, first) = started(app, alice).await;
    app.give_up_attempt(&order).await;
    app.advance_ms(1);
    let second = alice.start_payment(&order).await;
    assert_ne!(first["out_trade_no"], second["out_trade_no"]);
    assert_eq!(app.attempts(&order).await, ["CLOSED", "PREPAID"]);
    (order, first, second)
}

/// Edge case 3.
#[tokio::test]
async fn of_two_paid_attempts_the_first_wins_and_the_second_goes_back_in_full() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let (order, first, second) = two_attempts(&app, &alice).await;
    app.pay_at_wechat(&second).await;
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["CLOSED", "SUCCEEDED"]);
    app.pay_at_wechat(&first).await;
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["ORPHAN", "SUCCEEDED"]);
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["paid"]), (&json!("PAID"), &order["payable"]));
    assert_eq!(seen["refunded"]["amount"], 0, "an orphan's refund is none of the order's");
    let refunds = alice.refunds(&order).await;
    assert_eq!(refunds.len(), 1);
    assert_eq!((&refunds[0]["kind"], &refunds[0]["status"]), (&json!("ORPHAN"), &json!("SUCCEEDED")));
    assert_eq!(refunds[0]["amount"], order["payable"]);
    assert_eq!(app.stock(SKU).await, (before.0 - 1, before.1, before.2 + 1));
    app.finish_money().await;
}

#[tokio::test]
async fn a_success_of_an_older_attempt_pays_and_closes_the_one_that_is_open() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, first, second) = two_attempts(&app, &alice).await;
    app.pay_at_wechat(&first).await;
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["SUCCEEDED", "CLOSED"]);
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    let at_channel = app.channel_payments().await;
    let closed = at_channel.iter().find(|p| p["out_trade_no"] == second["out_trade_no"]);
    assert_eq!(closed.expect("the second one")["trade_state"], "CLOSED");
    app.finish_money().await;
}

/// An order's completion waits for an orphan's refund, too, and the end of that refund acts on it.
#[tokio::test]
async fn the_end_of_an_orphans_refund_completes_what_waited_for_it() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, first, second) = two_attempts(&app, &alice).await;
    app.pay_at_wechat(&second).await;
    app.drain().await;
    app.ship(&order, &[]).await.expect("shipped");
    app.fault("refund_pending", 1).await;
    app.pay_at_wechat(&first).await;
    app.drain().await;
    let path = format!("/api/v1/orders/{}/confirm-receipt", order["id"].as_str().expect("an id"));
    assert_eq!(alice.client.post(&path, &json!({})).await.ok()["status"], "SHIPPED");
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(alice.get_order(&order).await["status"], "COMPLETED");
    app.finish_money().await;
}

#[tokio::test]
async fn a_definite_no_ends_the_attempt_and_the_next_one_has_a_new_number() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.fault_with(json!({ "kind": "down", "path": PREPAY })).await;
    alice.try_payment(&order).await.refused(503, "payment_channel_unavailable");
    // What is sent again is what was stored; the channel takes no such currency.
    app.execute("UPDATE payment_attempts SET request_body = REPLACE(request_body, 'CNY', 'XXX')").await;
    alice.try_payment(&order).await.refused(502, "payment_refused");
    assert_eq!(app.attempts(&order).await, ["FAILED"]);
    assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'PaymentFailed'").await, 1);
    app.advance_ms(1);
    let payment = alice.start_payment(&order).await;
    assert_eq!(app.attempts(&order).await, ["FAILED", "PREPAID"]);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

/// The server died between asking the channel and writing the answer down: its key is taken over after a while.
#[tokio::test]
async fn a_key_whose_request_died_is_taken_over_when_its_lease_ends() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let key = fresh_key();
    let first = alice.pay_with_key(&order, &key).await.ok();
    let until_ms = app.ctx.clock.now_ms() + 30_000;
    let died = format!(
        "UPDATE idempotency SET state = 'IN_PROGRESS', outcome = '', lease_until_ms = {until_ms} WHERE idem_key = '{key}'"
    );
    assert_eq!(app.execute(&died).await, 1);
    let busy = alice.pay_with_key(&order, &key).await;
    assert_eq!(busy.header("retry-after"), Some("30"));
    busy.refused(409, "idempotency_in_progress");
    app.advance_ms(30_000);
    let again = alice.pay_with_key(&order, &key).await.ok();
    assert_eq!(again["attempt_id"], first["attempt_id"]);
    app.finish().await;
}
