//! What people decide: mismatched payments, parked notices, whose fault a refund is; and how refusals repeat.

use serde_json::{Value, json};

use crate::support::{Client, PAYMENT_CALLBACK, SKU, TestApp, User, fresh_key, items, paid, sku, text};

/// An order whose payment arrived with another value at `pointer`.
async fn mismatched(app: &TestApp, user: &User, pointer: &str, value: Value) -> (Value, String) {
    let order = user.order(&[(SKU, 1)]).await;
    let payment = user.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    // The channel's own notice is lost; another one comes.
    app.sandbox_client().post("/sandbox/faults", &json!({ "kind": "notify_drop", "times": 20 })).await.ok();
    let mut content = paid(&payment);
    *content.pointer_mut(pointer).expect("a member") = value;
    let transactions = app.channel_payments().await;
    content["transaction_id"] = transactions[0]["transaction_id"].clone();
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    let attempt = payment["attempt_id"].as_str().expect("an id").to_owned();
    (order, attempt)
}

/// What the order's timeline says of the decision, and its reason.
async fn review(staff: &Client, order: &Value) -> (String, String) {
    let trail = items(&staff.get(&format!("/admin/v1/orders/{}", text(order, "id"))).await.ok()["timeline"]);
    let entry = trail.iter().find(|entry| entry["code"] == "payment_reviewed").expect("a row");
    (text(entry, "summary"), text(entry, "reason"))
}

#[tokio::test]
async fn a_mismatched_payment_that_people_call_an_orphan_goes_back_and_the_order_can_be_paid_again() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let (order, attempt) = mismatched(&app, &alice, "/appid", json!("wxffffffffffffffff")).await;
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["mismatched_payments"], 1);
    let can_pay = alice.get_order(&order).await["actions"]["can_pay"].clone();
    assert_eq!(can_pay, json!({ "allowed": false, "reason": "payment_under_review" }));
    let decide = format!("/admin/v1/payments/{attempt}/decide");
    let orphan = json!({ "decision": "ORPHAN", "reason": "来源不明" });
    assert_eq!(staff.post(&decide, &orphan).await.status, 204);
    staff.post(&decide, &orphan).await.refused(409, "payment_not_decidable");
    assert_eq!(
        review(&staff, &order).await,
        ("核对了与订单不符的付款：原路退回".to_owned(), "来源不明".to_owned())
    );
    app.no_faults().await;
    app.drain().await;
    let refunds = app.channel_refunds().await;
    assert_eq!((refunds.len(), &refunds[0]["status"]), (1, &json!("SUCCESS")));
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["mismatched_payments"], 0);
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refunded"]["amount"]), (&json!("PENDING_PAYMENT"), &json!(0)));
    alice.start_payment(&order).await;
    app.finish().await;
}

#[tokio::test]
async fn a_mismatched_payment_pays_the_order_only_if_its_amount_is_what_the_order_asks_for() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let (order, attempt) = mismatched(&app, &alice, "/appid", json!("wxffffffffffffffff")).await;
    let succeeded = json!({ "decision": "SUCCEEDED", "reason": "已核对" });
    assert_eq!(staff.post(&format!("/admin/v1/payments/{attempt}/decide"), &succeeded).await.status, 204);
    let paid = alice.get_order(&order).await;
    assert_eq!(paid["status"], "PAID");
    let reviewed = ("核对了与订单不符的付款：算作本单付款".to_owned(), "已核对".to_owned());
    assert_eq!(review(&staff, &order).await, reviewed);
    assert!(!paid["timeline"].to_string().contains("payment_reviewed"));
    let (other, attempt) = mismatched(&app, &alice, "/amount/total", json!(1)).await;
    let refused = staff.post(&format!("/admin/v1/payments/{attempt}/decide"), &succeeded).await;
    refused.refused(409, "payment_not_decidable");
    assert_eq!(alice.get_order(&other).await["pay_status"], "UNPAID");
    let unknown = "/admin/v1/payments/pay_00000000000000000000000000/decide";
    staff.post(unknown, &succeeded).await.refused(404, "payment_not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_parked_notice_is_listed_and_settles_when_it_is_replayed() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    let number = payment["out_trade_no"].as_str().expect("a number");
    let hidden =
        format!("UPDATE payment_attempts SET out_trade_no = 'hidden' WHERE out_trade_no = '{number}'");
    assert_eq!(app.execute(&hidden).await, 1);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let parked = staff.get("/admin/v1/parked-notices").await.ok();
    assert_eq!(parked["items"].as_array().map(Vec::len), Some(1), "{parked}");
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["parked_notices"], 1);
    app.execute(&format!(
        "UPDATE payment_attempts SET out_trade_no = '{number}' WHERE out_trade_no = 'hidden'"
    ))
    .await;
    let id = parked["items"][0]["id"].as_str().expect("an id");
    let replay = format!("/admin/v1/parked-notices/{id}/replay");
    assert_eq!(staff.post(&replay, &json!({ "reason": "已修正" })).await.status, 204);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    staff.post(&replay, &json!({ "reason": "再来" })).await.refused(404, "notice_not_parked");
    app.finish().await;
}

#[tokio::test]
async fn after_shipping_the_coupon_comes_back_only_when_the_merchant_is_at_fault() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    for (fault, expected) in [("NONE", "USED"), ("MERCHANT", "UNUSED")] {
        let coupon = app.coupon(&alice, if fault == "NONE" { 500 } else { 600 }).await;
        let order = alice.order_with(&[(SKU, 1)], &[&coupon]).await;
        let payment = alice.start_payment(&order).await;
        app.pay_at_wechat(&payment).await;
        app.drain().await;
        app.ship(&order, &[]).await.expect("shipped");
        let refund = alice.refund(&order).await;
        let approve = format!("/admin/v1/refunds/{}/approve", refund["id"].as_str().expect("an id"));
        let body = json!({ "sellable": true, "fault": fault });
        assert_eq!(staff.post(&approve, &body).await.ok()["fault"], fault);
        app.drain().await;
        assert_eq!(app.coupon_status(&coupon).await, expected, "{fault}");
        app.live_through_minutes(2).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_repeats_with_all_that_it_said_and_says_that_it_repeats() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let quote = alice.quote(&[(SKU, 2)], &[]).await;
    let other = app.user("bob").await;
    let (available, ..) = app.stock(SKU).await;
    other.order(&[(SKU, available - 1)]).await;
    let key = fresh_key();
    let body = json!({ "quote_token": quote["quote_token"] });
    let first = alice.client.post_with_key("/api/v1/orders", &key, &body).await;
    let again = alice.client.post_with_key("/api/v1/orders", &key, &body).await;
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true"))
    );
    assert_eq!(first.body["available"], 1);
    for member in ["code", "status", "detail", "field", "available", "sku_id"] {
        assert_eq!(first.body[member], again.body[member], "{member}");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_error_names_the_line_as_the_client_sent_it() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (late, early) = (sku(9), sku(3));
    let body = alice.quote_body(&[(&late, 1), (&early, 900)], &[]);
    let refused = alice.client.post("/api/v1/quotes", &body).await.refused(409, "quantity_not_available");
    assert_eq!((&refused["field"], &refused["sku_id"]), (&json!("/lines/1/quantity"), &json!(early)));
    app.finish().await;
}

#[tokio::test]
async fn a_paid_order_of_somebody_else_is_not_there_for_paying_either() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    bob.try_payment(&order).await.refused(404, "order_not_found");
    alice.try_payment(&order).await.refused(409, "order_already_paid");
    app.finish().await;
}

#[tokio::test]
async fn money_of_another_merchant_is_only_recorded_and_lets_the_order_be_paid_again() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let (order, attempt) = mismatched(&app, &alice, "/mchid", json!("1900000999")).await;
    let decide = format!("/admin/v1/payments/{attempt}/decide");
    for decision in ["ORPHAN", "SUCCEEDED"] {
        let body = json!({ "decision": decision, "reason": "x" });
        staff.post(&decide, &body).await.refused(409, "payment_not_decidable");
    }
    let list = staff.get("/admin/v1/payments?waiting=true").await.ok();
    assert_eq!(
        (&list["items"][0]["attempt_id"], &list["items"][0]["is_ours"], &list["items"][0]["mchid"]),
        (&json!(attempt), &json!(false), &json!("1900000999"))
    );
    let not_ours = json!({ "decision": "NOT_OURS", "reason": "收款方不是本店" });
    assert_eq!(staff.post(&decide, &not_ours).await.status, 204);
    staff.post(&decide, &not_ours).await.refused(409, "payment_not_decidable");
    assert_eq!(staff.get("/admin/v1/payments?waiting=true").await.ok()["items"], json!([]));
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["mismatched_payments"], 0);
    assert_eq!(app.alerts("payment_mismatch").await, 0);
    let all = staff.get("/admin/v1/payments?status=MISMATCH").await.ok();
    assert!(all["items"][0]["reviewed_at"].is_string(), "{all}");
    app.no_faults().await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    let (other, attempt) = mismatched(&app, &alice, "/amount/total", json!(1)).await;
    let refused = staff.post(&format!("/admin/v1/payments/{attempt}/decide"), &not_ours).await;
    refused.refused(409, "payment_not_decidable");
    assert_eq!(alice.get_order(&other).await["pay_status"], "UNPAID");
    app.finish().await;
}
