//! Refunds: what they take, how they reach the channel, and how they end.

use minimall::kernel::day_ms;
use serde_json::{Value, json};

use crate::support::{REFUND_CALLBACK, SKU, TestApp, User, fresh_key, minor, sku};

const REFUND: &str = "/v3/refund/domestic/refunds";
/// The template that brings a compensation, under an id of these tests' own.
const COMPENSATION: &str = "tpl_00000000000000000000000777";

/// A paid order of these lines, with a coupon of 10 yuan.
async fn paid_with_coupon(app: &TestApp, user: &User, lines: &[(&str, i64)]) -> (Value, String) {
    let coupon = app.coupon(user, 1_000).await;
    let order = user.order_with(lines, &[&coupon]).await;
    let payment = user.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    (user.get_order(&order).await, coupon)
}

async fn finish_at_channel(app: &TestApp, status: &str) {
    let number = app.channel_refunds().await[0]["out_refund_no"].as_str().expect("a number").to_owned();
    let path = format!("/sandbox/refunds/{number}/finish");
    app.sandbox_client().post(&path, &json!({ "status": status })).await.ok();
    app.drain().await;
}

async fn status_of(user: &User, order: &Value, refund: &Value) -> String {
    let refunds = user.refunds(order).await;
    let found = refunds.iter().find(|there| there["id"] == refund["id"]).expect("the refund is listed");
    found["status"].as_str().expect("a status").to_owned()
}

/// Edge cases 20 and 21.
#[tokio::test]
async fn units_over_several_refunds_give_back_every_fen_and_the_freight_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(&sku(9)).await;
    let (order, coupon) = paid_with_coupon(&app, &alice, &[(&sku(9), 3)]).await;
    assert_eq!(minor(&order["paid"]), 5_970 - 1_000 + 800);
    // 4970 over three units: floor(4970/3), floor(2·4970/3) − that, and the rest with the freight.
    for (expected, freight) in [(1_656, 0), (1_657, 0), (1_657 + 800, 800)] {
        let refund = alice.try_refund(&order, &[(0, 1)]).await.ok();
        assert_eq!((minor(&refund["amount"]), minor(&refund["freight"])), (expected, freight));
        app.live_through_minutes(1).await;
        assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED");
    }
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refunded"]), (&json!("CLOSED"), &order["paid"]));
    // Edge case 17: everything was refunded before shipping.
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    assert_eq!(app.stock(&sku(9)).await, before);
    let amounts: Vec<i64> =
        app.channel_refunds().await.iter().map(|refund| minor(&refund["amount"])).collect();
    assert_eq!(amounts, [2_457, 1_657, 1_656]);
    alice.try_refund(&order, &[(0, 1)]).await.refused(409, "order_not_refundable");
    app.finish_money().await;
}

#[tokio::test]
async fn the_freight_of_several_lines_goes_back_with_the_last_unit_whatever_the_order() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(&sku(7), 1), (&sku(9), 2)]).await;
    assert_eq!(minor(&order["freight"]), 800);
    let first = alice.try_refund(&order, &[(1, 2)]).await.ok();
    let second = alice.try_refund(&order, &[(0, 1)]).await.ok();
    assert_eq!((minor(&first["freight"]), minor(&second["freight"])), (0, 800));
    app.live_through_minutes(2).await;
    assert_eq!(alice.get_order(&order).await["refunded"], order["paid"]);
    app.finish_money().await;
}

/// Edge case 18.
#[tokio::test]
async fn a_partial_refund_keeps_the_coupon_and_does_not_pay_out_its_share() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, coupon) = paid_with_coupon(&app, &alice, &[(SKU, 1), (&sku(4), 1)]).await;
    let line = &order["lines"][0];
    let share = minor(&line["shares"][0]["amount"]);
    assert!(share > 0);
    let refund = alice.try_refund(&order, &[(0, 1)]).await.ok();
    assert_eq!(minor(&refund["amount"]), minor(&line["gross"]) - share);
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("PAID"), &json!("PARTIAL")));
    assert_eq!(app.coupon_status(&coupon).await, "USED");
    app.finish_money().await;
}

/// Edge case 17: configurable before shipping, and only the merchant's fault brings it back afterwards.
#[tokio::test]
async fn a_whole_refund_gives_the_coupon_back_before_shipping_if_configured_and_not_after() {
    for (returns, shipped, ends_as) in [(true, false, "UNUSED"), (false, false, "USED"), (true, true, "USED")]
    {
        let app = TestApp::with(|config| config.coupons.return_before_shipping = returns).await;
        let alice = app.user("alice").await;
        let (order, coupon) = paid_with_coupon(&app, &alice, &[(SKU, 1)]).await;
        if shipped {
            app.ship(&order, &[]).await.expect("shipped");
        }
        let refund = alice.refund(&order).await;
        if shipped {
            assert_eq!(refund["status"], "REQUESTED", "goods that are away need a person");
            app.approve(&refund, Some(true)).await.expect("approved");
        }
        app.drain().await;
        assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED");
        assert_eq!(alice.get_order(&order).await["refund_status"], "FULL");
        assert_eq!(app.coupon_status(&coupon).await, ends_as, "{returns} {shipped}");
        app.finish_money().await;
    }
}

#[tokio::test]
async fn one_compensation_coupon_comes_with_the_refund_that_completes_an_order() {
    let app = TestApp::with(|config| config.coupons.compensation_template = COMPENSATION.to_owned()).await;
    app.compensation_template(COMPENSATION).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let compensations =
        format!("SELECT COUNT(*) FROM coupons WHERE source = 'refund' AND template_id = '{COMPENSATION}'");
    for (units, coupons) in [(1, 0), (1, 1)] {
        alice.try_refund(&order, &[(0, units)]).await.ok();
        app.live_through_minutes(1).await;
        assert_eq!(app.number(&compensations).await, coupons);
    }
    // The event once more: the same cause never brings a second one.
    app.execute("UPDATE deliveries SET state = 'PENDING' WHERE subscription = 'coupons.refund'").await;
    app.drain().await;
    assert_eq!(app.number(&compensations).await, 1);
    app.finish_money().await;
}

#[tokio::test]
async fn what_is_rejected_or_withdrawn_is_free_again_for_the_next_refund() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(&sku(9), 3)]).await;
    let first = alice.try_refund(&order, &[(0, 2)]).await.ok();
    assert_eq!(first["status"], "REQUESTED");
    let refused = alice.try_refund(&order, &[(0, 2)]).await;
    refused.refused(409, "quantity_not_refundable");
    app.reject(&first).await.expect("rejected");
    let second = alice.try_refund(&order, &[(0, 3)]).await.ok();
    let path = format!("/api/v1/refunds/{}/withdraw", second["id"].as_str().expect("an id"));
    let bob = app.user("bob").await;
    bob.client.post(&path, &json!({})).await.refused(404, "refund_not_found");
    assert_eq!(alice.client.post(&path, &json!({})).await.ok()["status"], "WITHDRAWN");
    alice.client.post(&path, &json!({})).await.refused(409, "refund_not_withdrawable");
    let third = alice.refund(&order).await;
    app.approve(&third, None).await.expect("approved");
    let late = app.reject(&third).await.expect_err("it is decided");
    assert_eq!(late.code().code, "refund_not_decidable");
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["refunded"], order["paid"]);
    app.finish_money().await;
}

#[tokio::test]
async fn a_refund_that_cannot_be_is_refused() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let unpaid = alice.order(&[(SKU, 1)]).await;
    alice.try_refund(&unpaid, &[(0, 1)]).await.refused(409, "order_not_paid");
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    bob.try_refund(&order, &[(0, 1)]).await.refused(404, "order_not_found");
    alice.try_refund(&order, &[(0, 3)]).await.refused(409, "quantity_not_refundable");
    alice.try_refund(&order, &[(0, 0)]).await.refused(400, "invalid_request");
    alice.try_refund(&order, &[(0, 1), (0, 1)]).await.refused(400, "invalid_request");
    let path = format!("/api/v1/orders/{}/refunds", order["id"].as_str().expect("an id"));
    let key = fresh_key();
    let body = json!({ "reason": "很".repeat(100) });
    let first = alice.client.post_with_key(&path, &key, &body).await.ok();
    let again = alice.client.post_with_key(&path, &key, &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok()["id"], first["id"]);
    app.drain().await;
    // The longest reason fits into what the channel takes.
    assert_eq!(status_of(&alice, &order, &first).await, "SUCCEEDED");
    app.finish_money().await;
}

/// Edge case 24.
#[tokio::test]
async fn a_unit_is_shipped_or_refunded_and_never_both() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 3)]).await;
    let line = order["lines"][0]["line_id"].as_str().expect("an id");
    let refund = alice.try_refund(&order, &[(0, 2)]).await.ok();
    let refused = app.ship(&order, &[(line, 2)]).await.expect_err("two are reserved");
    assert_eq!(refused.code().code, "quantity_not_shippable");
    app.ship(&order, &[]).await.expect("the rest");
    assert_eq!(alice.get_order(&order).await["status"], "PARTIALLY_SHIPPED");
    app.approve(&refund, None).await.expect("approved");
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!(seen["status"], "SHIPPED", "what was shipped is everything now");
    assert_eq!((&seen["lines"][0]["shipped"], &seen["lines"][0]["cancelled"]), (&json!(1), &json!(2)));
    // The shipped one comes back, cannot be sold again, and the order keeps its place.
    let back = alice.try_refund(&order, &[(0, 1)]).await.ok();
    let undecided = app.approve(&back, None).await.expect_err("its condition is not known");
    assert_eq!(undecided.code().code, "goods_condition_required");
    let before = app.stock(SKU).await;
    app.approve(&back, Some(false)).await.expect("approved");
    app.live_through_minutes(1).await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("SHIPPED"), &json!("FULL")));
    assert_eq!(app.stock(SKU).await, before);
    app.finish_money().await;
}

#[tokio::test]
async fn completion_waits_for_a_refund_and_happens_at_its_end() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    app.ship(&order, &[]).await.expect("shipped");
    let refund = alice.try_refund(&order, &[(0, 1)]).await.ok();
    let path = format!("/api/v1/orders/{}/confirm-receipt", order["id"].as_str().expect("an id"));
    assert_eq!(alice.client.post(&path, &json!({})).await.ok()["status"], "SHIPPED");
    app.reject(&refund).await.expect("rejected");
    assert_eq!(alice.get_order(&order).await["status"], "COMPLETED");
    app.finish_money().await;
}

/// Edge case 26.
#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_asked_about_and_paid_out_once() {
    for fault in ["error_after_work", "down_after_work", "slow", "down", "rate_limit"] {
        let app = TestApp::with(|config| config.wechat_pay.timeout_ms = 1_500).await;
        let alice = app.user("alice").await;
        let order = app.paid_order(&alice, &[(SKU, 1)]).await;
        // Neither the answer nor the notice of the first call arrives.
        app.fault("notify_drop", 1).await;
        app.fault_with(json!({ "kind": fault, "delay_ms": 3_000, "path": REFUND })).await;
        let refund = alice.refund(&order).await;
        app.drain().await;
        assert_eq!(status_of(&alice, &order, &refund).await, "PROCESSING", "{fault}");
        app.live_through_minutes(3).await;
        assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED", "{fault}");
        assert_eq!(app.channel_refunds().await.len(), 1, "{fault}");
        assert_eq!(app.number("SELECT COUNT(*) FROM refund_submissions").await, 1, "{fault}: one number");
        assert_eq!(app.moves(&order, "refund_ended").await, 1, "{fault}");
        app.finish_money().await;
    }
}

#[tokio::test]
async fn two_refunds_of_one_payment_are_a_minute_apart() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let first = alice.try_refund(&order, &[(0, 1)]).await.ok();
    let second = alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.drain().await;
    let states = [status_of(&alice, &order, &first).await, status_of(&alice, &order, &second).await];
    assert_eq!(states, ["SUCCEEDED", "APPROVED"]);
    app.advance_ms(59_999);
    app.drain().await;
    assert_eq!(app.calls(REFUND).await.len(), 1, "the channel is not even asked");
    app.advance_ms(1);
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &second).await, "SUCCEEDED");
    app.finish_money().await;
}

/// Edge case 27.
#[tokio::test]
async fn with_too_little_money_the_queue_rests_and_its_oldest_resumes_it() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (of_alice, of_bob) =
        (app.paid_order(&alice, &[(SKU, 1)]).await, app.paid_order(&bob, &[(SKU, 1)]).await);
    app.fault("refund_not_enough", 2).await;
    let first = alice.refund(&of_alice).await;
    app.drain().await;
    assert_eq!(status_of(&alice, &of_alice, &first).await, "APPROVED");
    assert_eq!(app.alerts("refunds_paused").await, 1);
    app.advance_ms(1);
    let second = bob.refund(&of_bob).await;
    app.drain().await;
    assert_eq!(app.calls(REFUND).await.len(), 1, "the younger one is not tried");
    app.advance_minutes(10);
    app.drain().await;
    assert_eq!(app.calls(REFUND).await.len(), 2, "the oldest alone is tried");
    assert_eq!(status_of(&bob, &of_bob, &second).await, "APPROVED");
    app.advance_minutes(10);
    app.drain().await;
    assert_eq!(status_of(&alice, &of_alice, &first).await, "SUCCEEDED");
    assert_eq!(status_of(&bob, &of_bob, &second).await, "SUCCEEDED");
    assert_eq!(app.alerts("refunds_paused").await, 0);
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_submissions").await, 2, "each under its first number");
    app.finish_money().await;
}

/// Edge case 27.
#[tokio::test]
async fn staff_who_retry_a_resting_queue_try_its_oldest_now() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (of_alice, of_bob) =
        (app.paid_order(&alice, &[(SKU, 1)]).await, app.paid_order(&bob, &[(SKU, 1)]).await);
    app.fault("refund_not_enough", 1).await;
    let first = alice.refund(&of_alice).await;
    app.drain().await;
    app.advance_ms(1);
    let second = bob.refund(&of_bob).await;
    app.drain().await;
    assert_eq!(status_of(&alice, &of_alice, &first).await, "APPROVED");
    app.retry(&second).await.expect("tried");
    app.drain().await;
    assert_eq!(status_of(&alice, &of_alice, &first).await, "SUCCEEDED");
    assert_eq!(status_of(&bob, &of_bob, &second).await, "SUCCEEDED");
    let over = app.retry(&first).await.expect_err("it is over");
    assert_eq!(over.code().code, "refund_not_retryable");
    app.finish_money().await;
}

/// Edge case 28.
#[tokio::test]
async fn an_abnormal_refund_waits_for_a_person_until_the_channel_pays_it() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_abnormal", 1).await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &refund).await, "MANUAL");
    assert_eq!(app.alerts("refund_manual").await, 1);
    assert_eq!(alice.get_order(&order).await["status"], "PAID", "nothing is settled");
    assert_eq!(minor(&alice.get_order(&order).await["refunded"]), 0);
    app.live_through_minutes(30).await;
    assert_eq!(app.calls(REFUND).await.iter().filter(|call| call["method"] == "POST").count(), 1);
    finish_at_channel(&app, "SUCCESS").await;
    assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED");
    assert_eq!(app.alerts("refund_manual").await, 0);
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish_money().await;
}

/// Edge case 28.
#[tokio::test]
async fn a_payment_older_than_365_days_is_refunded_by_people() {
    let app = TestApp::new().await;
    let order = app.paid_order(&app.user("alice").await, &[(SKU, 1)]).await;
    app.advance_ms(day_ms(365) + 1);
    app.drain().await;
    let alice = app.user("alice").await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &refund).await, "MANUAL");
    assert_eq!(app.calls(REFUND).await.len(), 0, "the channel would refuse it");
    assert_eq!(app.alerts("refund_manual").await, 1);
    app.finish_money().await;
}

/// Edge case 28.
#[tokio::test]
async fn a_payment_with_50_refunds_takes_no_further_one() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    for n in 0..50 {
        app.execute(&format!(
            "INSERT INTO refund_submissions (id, attempt_id, transaction_id, out_refund_no, amount_minor, \
             total_minor, currency, outcome, created_ms) SELECT 'sub_{n:0>26}', id, transaction_id, 'old{n}', 1, \
             amount_minor, 'CNY', 'CLOSED', created_ms FROM payment_attempts"
        ))
        .await;
    }
    let refund = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &refund).await, "MANUAL");
    assert_eq!(app.calls(REFUND).await.len(), 0);
    app.finish_money().await;
}

#[tokio::test]
async fn a_refund_that_the_channel_closes_is_submitted_again_three_times_under_new_numbers() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_closed", 4).await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &refund).await, "CLOSED");
    assert_eq!(minor(&alice.get_order(&order).await["refunded"]), 0);
    app.live_through_minutes(20).await;
    assert_eq!(status_of(&alice, &order, &refund).await, "MANUAL");
    assert_eq!(app.number("SELECT COUNT(DISTINCT out_refund_no) FROM refund_submissions").await, 4);
    assert_eq!(app.channel_refunds().await.len(), 4);
    assert_eq!(app.alerts("refund_manual").await, 1);
    app.finish_money().await;
}

#[tokio::test]
async fn a_refund_that_the_channel_closed_once_is_paid_out_once_by_its_next_number() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_closed", 1).await;
    let refund = alice.refund(&order).await;
    app.live_through_minutes(3).await;
    assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED");
    let mut at_channel: Vec<Value> =
        app.channel_refunds().await.iter().map(|r| r["status"].clone()).collect();
    at_channel.sort_by_key(Value::to_string);
    assert_eq!(at_channel, ["CLOSED", "SUCCESS"]);
    app.finish_money().await;
}

/// Edge case 29: the process died between its call and the answer, and the notice is there first.
#[tokio::test]
async fn a_refund_notice_before_our_call_returned_settles_it_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_pending", 1).await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    let submitted = "UPDATE refunds SET status = 'SUBMITTED', next_ms = next_ms + 25000";
    assert_eq!(app.execute(submitted).await, 1);
    finish_at_channel(&app, "SUCCESS").await;
    assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED");
    app.live_through_minutes(2).await;
    assert_eq!(app.moves(&order, "refund_ended").await, 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'").await, 1);
    app.finish_money().await;
}

#[tokio::test]
async fn the_same_refund_notice_many_times_settles_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("notify_duplicate", 1).await;
    alice.refund(&order).await;
    app.drain().await;
    let captured = app.captured_notice().await;
    for _ in 0..3 {
        assert_eq!(app.send_notice(REFUND_CALLBACK, &captured).await.status, 204);
        app.drain().await;
    }
    assert_eq!(app.moves(&order, "refund_ended").await, 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'").await, 1);
    app.finish_money().await;
}

/// What a refund notification says.
async fn refund_news(app: &TestApp, status: &str) -> Value {
    let refund = &app.channel_refunds().await[0];
    let payment = &app.channel_payments().await[0];
    json!({
        "mchid": minimall::sandbox::demo::MCHID, "transaction_id": payment["transaction_id"],
        "out_trade_no": refund["out_trade_no"], "refund_id": refund["refund_id"],
        "out_refund_no": refund["out_refund_no"], "refund_status": status,
        "user_received_account": "支付用户零钱",
        "amount": { "total": payment["total"], "refund": refund["amount"], "payer_total": payment["total"],
                    "payer_refund": refund["amount"] },
    })
}

/// Edge case 8, for refunds.
#[tokio::test]
async fn a_refund_that_failed_after_it_succeeded_stays_succeeded() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    for (event, status) in [("REFUND.ABNORMAL", "ABNORMAL"), ("REFUND.CLOSED", "CLOSED")] {
        let notice = app.seal_notice(event, &refund_news(&app, status).await);
        assert_eq!(app.send_notice(REFUND_CALLBACK, &notice).await.status, 204);
        app.drain().await;
        assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED", "{status}");
    }
    assert_eq!(app.alerts("refund_manual").await, 0);
    app.finish_money().await;
}

#[tokio::test]
async fn a_refund_notice_of_another_amount_settles_nothing() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_pending", 1).await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    let mut news = refund_news(&app, "SUCCESS").await;
    news["amount"]["refund"] = json!(1);
    let notice = app.seal_notice("REFUND.SUCCESS", &news);
    assert_eq!(app.send_notice(REFUND_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &refund).await, "PROCESSING");
    assert_eq!(app.alerts("notice_parked").await, 1);
    finish_at_channel(&app, "SUCCESS").await;
    assert_eq!(status_of(&alice, &order, &refund).await, "SUCCEEDED");
    app.finish_money().await;
}

/// Edge case 41.
#[tokio::test]
async fn an_unknown_refund_is_stored_acknowledged_parked_and_alerted() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    alice.refund(&order).await;
    app.drain().await;
    let mut news = refund_news(&app, "SUCCESS").await;
    news["out_refund_no"] = json!("WXnobodyknowsit");
    news["out_trade_no"] = json!("mmNobodyKnowsThisNumber");
    news["transaction_id"] = json!("4200000000000000000000000000");
    let notice = app.seal_notice("REFUND.SUCCESS", &news);
    assert_eq!(app.send_notice(REFUND_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    assert_eq!(app.number("SELECT COUNT(*) FROM inbox WHERE state = 'PARKED'").await, 1);
    assert_eq!(app.alerts("notice_parked").await, 1);
    app.finish_money().await;
}

#[tokio::test]
async fn a_refund_of_nothing_settles_without_the_channel() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    // All of it is paid by the coupon; freight falls away above the threshold of free freight.
    let coupon = app.coupon(&alice, 1_000_000).await;
    let order = alice.order_with(&[(SKU, 2)], &[&coupon]).await;
    if minor(&order["payable"]) == 0 {
        assert_eq!(order["status"], "PAID");
    } else {
        let payment = alice.start_payment(&order).await;
        app.pay_at_wechat(&payment).await;
        app.drain().await;
    }
    let part = alice.try_refund(&order, &[(0, 1)]).await.ok();
    assert_eq!(minor(&part["amount"]), 0);
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &part).await, "SUCCEEDED");
    assert_eq!(app.calls(REFUND).await.len(), 0);
    let rest = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(status_of(&alice, &order, &rest).await, "SUCCEEDED");
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("CLOSED"), &json!("FULL")));
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    app.finish_money().await;
}
