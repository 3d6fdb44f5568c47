//! Refunds at the channel: submitted, asked about, refused, closed, and proved.

use minimall::kernel::day_ms;
use serde_json::{Value, json};

use crate::support::{REFUND_CALLBACK, SKU, TestApp, minor};

const REFUND: &str = "/v3/refund/domestic/refunds";

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
        assert_eq!(alice.refund_status(&order, &refund).await, "PROCESSING", "{fault}");
        app.live_through_minutes(3).await;
        assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED", "{fault}");
        assert_eq!(app.channel_refunds().await.len(), 1, "{fault}");
        assert_eq!(app.number("SELECT COUNT(*) FROM refund_submissions").await, 1, "{fault}: one number");
        assert_eq!(app.moves(&order, "refund_ended").await, 1, "{fault}");
        app.finish_money().await;
    }
}

/// Nodes settle what they are told at the same moment: what a notice is worth is asked behind the refund's end, or
/// money that was expected would be taken from the order a second time.
#[tokio::test]
async fn a_part_that_is_told_again_and_again_is_counted_once_and_never_adopted() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 3)]).await;
    alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.drain().await;
    let news = refund_news(&app, "SUCCESS").await;
    for together in [1, 4] {
        for _ in 0..together {
            let notice = app.seal_notice("REFUND.SUCCESS", &news);
            assert_eq!(app.send_notice(REFUND_CALLBACK, &notice).await.status, 204);
        }
        app.drain().await;
        assert_eq!(app.number("SELECT COUNT(*) FROM refunds").await, 1);
        assert_eq!(app.number("SELECT COUNT(*) FROM refund_discrepancies").await, 0);
        assert_eq!(app.number("SELECT COUNT(*) FROM inbox WHERE state <> 'DONE'").await, 0);
    }
    app.finish_money().await;
}

#[tokio::test]
async fn two_refunds_of_one_payment_are_a_minute_apart() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let first = alice.try_refund(&order, &[(0, 1)]).await.ok();
    let second = alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.drain().await;
    let mut states = [alice.refund_status(&order, &first).await, alice.refund_status(&order, &second).await];
    states.sort_unstable();
    assert_eq!(states, ["APPROVED", "SUCCEEDED"]);
    app.advance_ms(59_999);
    app.drain().await;
    assert_eq!(app.calls(REFUND).await.len(), 1, "the channel is not even asked");
    app.advance_ms(1);
    app.drain().await;
    for refund in [&first, &second] {
        assert_eq!(alice.refund_status(&order, refund).await, "SUCCEEDED");
    }
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
    assert_eq!(alice.refund_status(&of_alice, &first).await, "APPROVED");
    assert_eq!(app.alerts("refunds_paused").await, 1);
    app.advance_ms(1);
    let second = bob.refund(&of_bob).await;
    app.drain().await;
    assert_eq!(app.calls(REFUND).await.len(), 1, "the younger one is not tried");
    app.advance_minutes(10);
    app.drain().await;
    assert_eq!(app.calls(REFUND).await.len(), 2, "the oldest alone is tried");
    assert_eq!(bob.refund_status(&of_bob, &second).await, "APPROVED");
    app.advance_minutes(10);
    app.drain().await;
    assert_eq!(alice.refund_status(&of_alice, &first).await, "SUCCEEDED");
    assert_eq!(bob.refund_status(&of_bob, &second).await, "SUCCEEDED");
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
    assert_eq!(alice.refund_status(&of_alice, &first).await, "APPROVED");
    app.retry(&second).await.expect("tried");
    app.drain().await;
    assert_eq!(alice.refund_status(&of_alice, &first).await, "SUCCEEDED");
    assert_eq!(bob.refund_status(&of_bob, &second).await, "SUCCEEDED");
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
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
    assert_eq!(app.alerts("refund_manual").await, 1);
    assert_eq!(alice.get_order(&order).await["status"], "PAID", "nothing is settled");
    assert_eq!(minor(&alice.get_order(&order).await["refunded"]), 0);
    app.live_through_minutes(30).await;
    assert_eq!(app.calls(REFUND).await.iter().filter(|call| call["method"] == "POST").count(), 1);
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
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
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
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
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
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
    assert_eq!(alice.refund_status(&order, &refund).await, "CLOSED");
    assert_eq!(minor(&alice.get_order(&order).await["refunded"]), 0);
    app.live_through_minutes(20).await;
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
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
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
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
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
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
        assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED", "{status}");
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
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL", "people have to look");
    assert_eq!(app.alerts("notice_parked").await, 1);
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
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
