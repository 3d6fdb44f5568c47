//! Quotes, placing, cancelling, the deadline.

use serde_json::json;

use crate::support::{SKU, TestApp, fresh_key};

#[tokio::test]
async fn a_quote_becomes_an_order_that_holds_stock_and_waits_for_payment() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let quote = alice.quote(&[(SKU, 2)], &[]).await;
    let order = alice.order(&[(SKU, 2)]).await;
    assert_eq!(order["status"], "PENDING_PAYMENT");
    assert_eq!(order["payable"], quote["payable"]);
    assert_eq!(order["actions"]["can_pay"]["allowed"], true);
    assert_eq!(app.stock(SKU).await, (before.0 - 2, before.1 + 2, before.2));
    app.finish().await;
}

#[tokio::test]
async fn paying_makes_the_order_paid_and_sells_the_stock() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    assert_eq!(order["status"], "PAID");
    assert_eq!(order["paid"], order["payable"]);
    app.finish().await;
}

#[tokio::test]
async fn a_whole_refund_before_shipping_closes_the_order_and_brings_a_coupon() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    alice.refund(&order).await;
    app.drain().await;
    let order = alice.get_order(&order).await;
    assert_eq!(order["status"], "CLOSED");
    assert_eq!(order["refund_status"], "FULL");
    assert_eq!(app.stock(SKU).await, before);
    app.finish().await;
}

#[tokio::test]
async fn placing_needs_an_idempotency_key() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let quote = alice.quote(&[(SKU, 1)], &[]).await;
    let body = json!({ "quote_token": quote["quote_token"] });
    let refused = alice.client.post_without_key("/api/v1/orders", &body).await;
    refused.refused(400, "idempotency_key_required");
    let key = fresh_key();
    let first = alice.client.post_with_key("/api/v1/orders", &key, &body).await.ok();
    let again = alice.client.post_with_key("/api/v1/orders", &key, &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok()["id"], first["id"]);
    app.finish().await;
}
