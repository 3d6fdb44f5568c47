//! Several refunds under one number: near the channel's limit of 50 all that wait go out together.

use serde_json::Value;

use crate::support::{SKU, TestApp, User, items, minor, sku};

const REFUND: &str = "/v3/refund/domestic/refunds";

/// An order of six units whose payment has had so many submissions.
async fn tried(app: &TestApp, alice: &User, before: i64) -> Value {
    let order = app.paid_order(alice, &[(&sku(9), 6)]).await;
    let id = order["id"].as_str().expect("an id");
    for n in 0..before {
        app.execute(&format!(
            "INSERT INTO refund_submissions (id, attempt_id, transaction_id, out_refund_no, amount_minor, \
             total_minor, currency, outcome, created_ms) SELECT 'sub_{n:0>26}', id, transaction_id, 'old{n}', 1, \
             amount_minor, 'CNY', 'CLOSED', created_ms FROM payment_attempts WHERE order_id = '{id}'"
        ))
        .await;
    }
    app.advance_minutes(1);
    order
}

/// The same, and refunds of its units, one each.
async fn waiting(app: &TestApp, alice: &User, before: i64, units: usize) -> (Value, Vec<Value>) {
    let order = tried(app, alice, before).await;
    let mut refunds = Vec::new();
    for _ in 0..units {
        refunds.push(alice.try_refund(&order, &[(0, 1)]).await.ok());
    }
    app.drain().await;
    (order, refunds)
}

async fn posted(app: &TestApp) -> usize {
    app.calls(REFUND).await.iter().filter(|call| call["method"] == "POST").count()
}

async fn states(alice: &User, order: &Value) -> Vec<String> {
    let refunds = alice.refunds(order).await;
    refunds.iter().map(|refund| refund["status"].as_str().expect("a status").to_owned()).collect()
}

/// Ends a test whose payments had made-up submissions.
async fn finish(app: TestApp) {
    app.drain().await;
    app.money_agrees().await;
    app.finish().await;
}

#[tokio::test]
async fn below_the_limit_each_refund_has_a_number_and_a_minute_of_its_own() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, _) = waiting(&app, &alice, 39, 2).await;
    // Whichever went out first: both were due.
    let mut standing = states(&alice, &order).await;
    standing.sort_unstable();
    assert_eq!(standing, ["APPROVED", "SUCCEEDED"]);
    // That was the fortieth; there is nobody to go out with.
    app.live_through_minutes(1).await;
    assert_eq!(states(&alice, &order).await, ["SUCCEEDED", "SUCCEEDED"]);
    assert_eq!(posted(&app).await, 2);
    finish(app).await;
}

#[tokio::test]
async fn near_the_limit_all_that_wait_go_out_under_one_number_and_each_is_settled_by_its_own_event() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, refunds) = waiting(&app, &alice, 40, 5).await;
    assert_eq!(states(&alice, &order).await, ["SUCCEEDED"; 5]);
    assert_eq!(posted(&app).await, 1);
    let total: i64 = refunds.iter().map(|refund| minor(&refund["amount"])).sum();
    let at_channel = app.channel_refunds().await;
    assert_eq!((at_channel.len(), minor(&at_channel[0]["amount"])), (1, total));
    assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'").await, 5);
    assert_eq!(app.moves(&order, "refund_ended").await, 5);
    // The number that they share is on each of them.
    let staff = app.staff().await;
    let mut numbers = Vec::new();
    for refund in &refunds {
        let path = format!("/admin/v1/refunds/{}", refund["id"].as_str().expect("an id"));
        let seen = staff.get(&path).await.ok();
        assert_eq!(minor(&seen["submissions"][0]["amount"]), total);
        numbers.push(seen["submissions"][0]["out_refund_no"].clone());
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 1);
    finish(app).await;
}

#[tokio::test]
async fn what_went_out_together_is_asked_about_once_and_comes_back_together() {
    for fault in ["error_after_work", "down"] {
        let app = TestApp::new().await;
        let alice = app.user("alice").await;
        let order = tried(&app, &alice, 40).await;
        app.fault_with(serde_json::json!({ "kind": fault, "path": REFUND })).await;
        app.fault("notify_drop", 1).await;
        for _ in 0..3 {
            alice.try_refund(&order, &[(0, 1)]).await.ok();
        }
        app.drain().await;
        assert_eq!(states(&alice, &order).await, ["PROCESSING"; 3], "{fault}");
        app.live_through_minutes(3).await;
        assert_eq!(states(&alice, &order).await, ["SUCCEEDED"; 3], "{fault}");
        assert_eq!(app.channel_refunds().await.len(), 1, "{fault}");
        finish(app).await;
    }
}

#[tokio::test]
async fn a_number_that_the_channel_closed_is_followed_by_another_one_for_all() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.fault("refund_closed", 1).await;
    let (order, _) = waiting(&app, &alice, 40, 3).await;
    assert_eq!(states(&alice, &order).await, ["CLOSED"; 3]);
    app.live_through_minutes(2).await;
    assert_eq!(states(&alice, &order).await, ["SUCCEEDED"; 3]);
    assert_eq!(app.channel_refunds().await.len(), 2);
    finish(app).await;
}

/// Edge case 27.
#[tokio::test]
async fn with_too_little_money_the_shared_number_is_kept_and_tried_again() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.fault("refund_not_enough", 1).await;
    let (order, _) = waiting(&app, &alice, 40, 3).await;
    assert_eq!(states(&alice, &order).await, ["APPROVED"; 3]);
    assert_eq!(alice.refunds(&order).await[0]["text"], "退款处理中");
    assert_eq!(app.alerts("refunds_paused").await, 1);
    app.live_through_minutes(10).await;
    assert_eq!(states(&alice, &order).await, ["SUCCEEDED"; 3]);
    assert_eq!((posted(&app).await, app.alerts("refunds_paused").await), (2, 0));
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_submissions").await, 41, "one number for both tries");
    finish(app).await;
}

/// Edge case 28.
#[tokio::test]
async fn what_the_channel_can_not_pay_out_together_waits_for_people_one_by_one() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.fault("refund_abnormal", 1).await;
    let (order, _) = waiting(&app, &alice, 40, 2).await;
    assert_eq!(states(&alice, &order).await, ["MANUAL"; 2]);
    assert_eq!(app.alerts("refund_manual").await, 2);
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(states(&alice, &order).await, ["SUCCEEDED"; 2]);
    finish(app).await;
}

/// Edge case 28.
#[tokio::test]
async fn the_fiftieth_number_is_the_last() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, _) = waiting(&app, &alice, 49, 2).await;
    assert_eq!(states(&alice, &order).await, ["SUCCEEDED"; 2], "together");
    app.advance_minutes(1);
    alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.drain().await;
    assert_eq!(states(&alice, &order).await, ["SUCCEEDED", "SUCCEEDED", "MANUAL"]);
    finish(app).await;
}

/// The queue rests for money, and what it asks about meanwhile does not wake it.
#[tokio::test]
async fn only_an_accepted_refund_ends_the_pause() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let pending = app.paid_order(&alice, &[(SKU, 1)]).await;
    let resting = app.paid_order(&bob, &[(SKU, 1)]).await;
    app.fault("refund_pending", 1).await;
    alice.refund(&pending).await;
    app.drain().await;
    app.fault("refund_not_enough", 1).await;
    let refund = bob.refund(&resting).await;
    app.drain().await;
    assert_eq!(app.alerts("refunds_paused").await, 1);
    // How it stands is not to be closed by hand, or the next one would be submitted at once.
    let staff = app.staff().await;
    let alerts = items(&staff.get("/admin/v1/alerts").await.ok());
    let paused = alerts.iter().find(|alert| alert["kind"] == "refunds_paused").expect("the alert");
    let path = format!("/admin/v1/alerts/{}/close", paused["id"].as_str().expect("an id"));
    let reason = serde_json::json!({ "reason": "看过了" });
    staff.post(&path, &reason).await.refused(409, "alert_closes_itself");
    // The one that is at the channel is asked about in between.
    app.live_through_minutes(5).await;
    assert!(app.calls(REFUND).await.iter().any(|call| call["method"] == "GET"));
    assert_eq!(bob.refund_status(&resting, &refund).await, "APPROVED");
    assert_eq!(app.alerts("refunds_paused").await, 1);
    app.live_through_minutes(5).await;
    assert_eq!(bob.refund_status(&resting, &refund).await, "SUCCEEDED");
    assert_eq!(app.alerts("refunds_paused").await, 0);
    app.finish().await;
}
