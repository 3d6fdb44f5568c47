//! Refunds: what they take from an order, and what they give back.

use serde_json::{Value, json};

use crate::support::{SKU, TestApp, User, fresh_key, minor, sku};

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
        assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
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
        assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
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
    assert_eq!(alice.refund_status(&order, &first).await, "SUCCEEDED");
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
    assert_eq!(alice.refund_status(&order, &part).await, "SUCCEEDED");
    assert_eq!(app.calls(REFUND).await.len(), 0);
    let rest = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &rest).await, "SUCCEEDED");
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("CLOSED"), &json!("FULL")));
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    app.finish_money().await;
}
