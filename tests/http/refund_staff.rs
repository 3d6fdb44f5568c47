//! Refunds that staff starts: of an order as a whole, of units, of money alone, of the freight.

use futures_util::future::join_all;
use minimall::config::BelowMinimum;
use minimall::kernel::day_ms;
use minimall::staff::Role;
use serde_json::{Value, json};

use crate::support::{Answer, Client, SKU, TestApp, fresh_key, minor, sku};

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

fn cny(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}

/// Starts a refund, its reason filled in.
async fn start(staff: &Client, order: &Value, mut body: Value) -> Answer {
    body["reason"] = json!("商家补偿");
    staff.post(&format!("/admin/v1/orders/{}/refunds", id(order)), &body).await
}

#[tokio::test]
async fn a_whole_order_goes_back_in_one_step_with_its_freight() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let order = app.paid_order(&alice, &[(&sku(9), 2)]).await;
    let key = fresh_key();
    let path = format!("/admin/v1/orders/{}/refunds", id(&order));
    let body = json!({ "reason": "缺货", "fault": "MERCHANT" });
    let refund = staff.post_with_key(&path, &key, &body).await.ok();
    assert_eq!(
        (&refund["kind"], &refund["status"], &refund["fault"]),
        (&json!("STAFF"), &json!("APPROVED"), &json!("MERCHANT"))
    );
    assert_eq!((&refund["amount"], minor(&refund["freight"])), (&order["paid"], 800));
    let again = staff.post_with_key(&path, &key, &body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body["id"]), (Some("true"), &refund["id"]));
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("CLOSED"), &json!("FULL")));
    assert!(seen["timeline"].as_array().expect("rows").iter().any(|row| row["text"] == "商家为你发起了退款"));
    start(&staff, &order, json!({})).await.refused(409, "quantity_not_refundable");
    // The customer can't take back what the store gives.
    let withdraw = format!("/api/v1/refunds/{}/withdraw", id(&refund));
    alice.client.post(&withdraw, &json!({})).await.refused(409, "refund_not_withdrawable");
    app.finish_money().await;
}

#[tokio::test]
async fn a_clerk_starts_a_refund_that_waits_for_somebody_who_may_approve() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (clerk, finance) = (app.member(Role::Clerk, &[]).await, app.member(Role::Finance, &[]).await);
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let refund = start(&clerk, &order, json!({ "sellable": true })).await.ok();
    assert_eq!((&refund["kind"], &refund["status"]), (&json!("STAFF"), &json!("REQUESTED")));
    let approve = format!("/admin/v1/refunds/{}/approve", id(&refund));
    clerk.post(&approve, &json!({})).await.refused(403, "role_not_allowed");
    assert_eq!(finance.get("/admin/v1/todo").await.ok()["refunds_to_decide"], 1);
    finance.post(&approve, &json!({})).await.ok();
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    app.finish_money().await;
}

#[tokio::test]
async fn units_that_are_out_need_a_word_about_their_state_before_they_are_approved() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let order = app.paid_order(&alice, &[(SKU, 3)]).await;
    app.ship(&order, &[]).await.expect("shipped");
    let line = &order["lines"][0]["line_id"];
    let one = json!([{ "line_id": line, "quantity": 1 }]);
    let unseen = start(&staff, &order, json!({ "lines": one })).await.ok();
    assert_eq!(unseen["status"], "REQUESTED");
    let lost = start(&staff, &order, json!({ "lines": one, "sellable": false })).await.ok();
    assert_eq!(lost["status"], "APPROVED");
    let goods = json!([{ "line_id": line, "sellable": 1 }]);
    let seen = start(&staff, &order, json!({ "lines": one, "goods": goods })).await.ok();
    assert_eq!(seen["status"], "APPROVED");
    app.live_through_minutes(2).await;
    assert_eq!(app.stock(SKU).await.2, 2, "one of three is back on the shelf");
    app.reject(&unseen).await.expect("rejected");
    app.finish_money().await;
}

/// Edge case 20.
#[tokio::test]
async fn money_alone_is_bounded_by_what_is_left_and_later_units_give_back_only_the_rest() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let order = app.paid_order(&alice, &[(&sku(9), 3), (&sku(7), 1)]).await;
    let (line, net) = (order["lines"][1]["line_id"].clone(), minor(&order["lines"][1]["net"]));
    assert_eq!(net, 5_970);
    let refund =
        start(&staff, &order, json!({ "lines": [{ "line_id": line, "amount": cny(1_000) }] })).await.ok();
    assert_eq!((minor(&refund["amount"]), &refund["lines"][0]["quantity"]), (1_000, &json!(0)));
    app.drain().await;
    // floor(5970/3) is 1990, of which 1000 are gone; the second unit is worth the whole of its 1990.
    for expected in [990, 1_990] {
        let unit = alice.try_refund(&order, &[(1, 1)]).await.ok();
        assert_eq!(minor(&unit["amount"]), expected);
    }
    let rest =
        start(&staff, &order, json!({ "lines": [{ "line_id": line, "amount": cny(9_999) }] })).await.ok();
    assert_eq!(minor(&rest["amount"]), 1_990, "no more than is left");
    let nothing = start(&staff, &order, json!({ "lines": [{ "line_id": line, "amount": cny(1) }] })).await;
    assert_eq!(nothing.refused(409, "refund_exceeds_paid")["field"], "/lines/0/amount");
    // The last unit is worth nothing any more, and settles without the channel.
    let last = alice.try_refund(&order, &[(1, 1)]).await.ok();
    assert_eq!(minor(&last["amount"]), 0);
    app.live_through_minutes(4).await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["refunded"])), (&json!("PAID"), 5_970));
    app.finish_money().await;
}

#[tokio::test]
async fn an_amount_of_the_order_is_spread_over_its_lines_and_then_its_freight() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let order = app.paid_order(&alice, &[(&sku(9), 1), (&sku(7), 1)]).await;
    let nets: Vec<i64> = order["lines"].as_array().expect("lines").iter().map(|l| minor(&l["net"])).collect();
    let goods: i64 = nets.iter().sum();
    let refund = start(&staff, &order, json!({ "amount": cny(1_001) })).await.ok();
    let parts: Vec<i64> =
        refund["lines"].as_array().expect("lines").iter().map(|l| minor(&l["amount"])).collect();
    assert_eq!((parts.iter().sum::<i64>(), minor(&refund["freight"])), (1_001, 0));
    for (part, net) in parts.iter().zip(&nets) {
        let exact = 1_001.0 * *net as f64 / goods as f64;
        assert!((*part as f64 - exact).abs() <= 1.0, "{part} of {exact}");
    }
    let rest = start(&staff, &order, json!({ "amount": cny(1_000_000) })).await.ok();
    assert_eq!((minor(&rest["amount"]), minor(&rest["freight"])), (goods - 1_001 + 800, 800));
    app.live_through_minutes(2).await;
    let seen = alice.get_order(&order).await;
    assert_eq!(
        (&seen["status"], &seen["refunded"]),
        (&json!("CLOSED"), &order["paid"]),
        "the last money takes the units along"
    );
    start(&staff, &order, json!({ "amount": cny(1) })).await.refused(409, "refund_exceeds_paid");
    app.finish_money().await;
}

/// Edge case 21.
#[tokio::test]
async fn freight_goes_back_by_staff_when_the_merchant_is_at_fault_and_once() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let order = app.paid_order(&alice, &[(&sku(9), 2)]).await;
    for body in [json!({ "only_freight": true }), json!({ "freight": true, "fault": "NONE" })] {
        let refused = start(&staff, &order, body).await.refused(409, "freight_not_refundable");
        assert_eq!(refused["field"], "/freight");
    }
    let freight = json!({ "only_freight": true, "fault": "MERCHANT" });
    let refund = start(&staff, &order, freight.clone()).await.ok();
    assert_eq!((minor(&refund["amount"]), minor(&refund["freight"])), (800, 800));
    assert_eq!(refund["lines"], json!([]));
    app.drain().await;
    start(&staff, &order, freight).await.refused(409, "freight_not_refundable");
    // Everything else goes back without it.
    let rest = alice.refund(&order).await;
    assert_eq!((minor(&rest["amount"]), minor(&rest["freight"])), (3_980, 0));
    app.live_through_minutes(1).await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    // With units it comes in one refund, and is not added a second time.
    let other = app.paid_order(&alice, &[(&sku(9), 1)]).await;
    let both = start(&staff, &other, json!({ "freight": true, "fault": "MERCHANT" })).await.ok();
    assert_eq!((&both["amount"], minor(&both["freight"])), (&other["paid"], 800));
    app.live_through_minutes(1).await;
    app.finish_money().await;
}

#[tokio::test]
async fn a_finished_order_is_refunded_by_staff_only_and_after_a_year_by_people() {
    let app = TestApp::with(|config| config.orders.after_sale_days = 1).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    app.ship(&order, &[]).await.expect("shipped");
    app.drain().await;
    let confirm = format!("/api/v1/orders/{}/confirm-receipt", id(&order));
    alice.client.post(&confirm, &json!({})).await.ok();
    app.advance_ms(day_ms(1));
    app.drain().await;
    let alice = app.user("alice").await;
    assert_eq!(alice.get_order(&order).await["status"], "FINISHED");
    alice.try_refund(&order, &[(0, 1)]).await.refused(409, "order_not_refundable");
    let staff = app.member(Role::Manager, &[]).await;
    let line = order["lines"][0]["line_id"].clone();
    let money = json!({ "lines": [{ "line_id": line, "amount": cny(100) }] });
    let refund = start(&staff, &order, money.clone()).await.ok();
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    app.advance_ms(day_ms(365));
    app.drain().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let late = start(&staff, &order, money).await.ok();
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &late).await, "MANUAL");
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["refunds_manual"], 1);
    let seen = alice.get_order(&order).await;
    assert_eq!(seen["status"], "FINISHED");
    assert_eq!(app.channel_refunds().await.len(), 1);
    app.finish_money().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_its_place() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let unpaid = alice.order(&[(SKU, 1)]).await;
    start(&staff, &unpaid, json!({})).await.refused(409, "order_not_paid");
    let missing = json!({ "id": "ord_00000000000000000000000009" });
    start(&staff, &missing, json!({})).await.refused(404, "order_not_found");
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let line = &order["lines"][0]["line_id"];
    let lines = |line: Value| json!({ "lines": [line] });
    for (body, field) in [
        (lines(json!({ "line_id": line })), "/lines/0"),
        (lines(json!({ "line_id": line, "quantity": 1, "amount": cny(1) })), "/lines/0"),
        (lines(json!({ "line_id": line, "amount": cny(0) })), "/lines/0/amount/amount"),
        (
            lines(json!({ "line_id": line, "amount": { "amount": 1, "currency": "USD" } })),
            "/lines/0/amount/currency",
        ),
        (json!({ "lines": [{ "line_id": line, "quantity": 1 }], "amount": cny(1) }), "/amount"),
        (json!({ "amount": cny(1), "freight": true, "fault": "MERCHANT" }), "/freight"),
        (json!({ "amount": cny(1), "only_freight": true }), "/only_freight"),
        (json!({ "amount": cny(-1) }), "/amount/amount"),
    ] {
        let refused = start(&staff, &order, body.clone()).await.refused(400, "invalid_request");
        assert_eq!(refused["field"], field, "{body}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refund_is_approved_once_however_many_people_do_it_at_once() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    let staff = join_all((0..4).map(|_| app.member(Role::Manager, &[]))).await;
    for _ in 0..3 {
        let order = app.paid_order(&alice, &[(&sku(9), 1)]).await;
        let refund = alice.refund(&order).await;
        let path = |verb: &str| format!("/admin/v1/refunds/{}/{verb}", id(&refund));
        let (approve, reject) = (path("approve"), path("reject"));
        let (nothing, why) = (json!({}), json!({ "reason": "不符合条件" }));
        let answers = tokio::join!(
            staff[0].post(&approve, &nothing),
            staff[1].post(&approve, &nothing),
            staff[2].post(&approve, &nothing),
            staff[3].post(&reject, &why),
        );
        let answers: [Answer; 4] = answers.into();
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1);
        for answer in answers.into_iter().filter(|answer| answer.status != 200) {
            answer.refused(409, "refund_not_decidable");
        }
        app.live_through_minutes(1).await;
        let ended = alice.refund_status(&order, &refund).await;
        assert!(["SUCCEEDED", "REJECTED"].contains(&ended.as_str()), "{ended}");
        assert_eq!(app.moves(&order, "refund_ended").await, 1);
    }
    app.finish_money().await;
}

/// Edge case 19.
#[tokio::test]
async fn a_refund_that_breaks_the_minimum_spend_is_kept_or_priced_anew_as_configured() {
    for reprice in [false, true] {
        let app = TestApp::with(|config| {
            config.refunds.below_minimum_spend =
                if reprice { BelowMinimum::Reprice } else { BelowMinimum::Keep };
        })
        .await;
        let alice = app.user("alice").await;
        // Three at 19.90: 59.70 reach 50 yuan, and the coupon takes 12 yuan off; two alone do not reach it.
        let coupon = app.coupon_from(&alice, 1_200, 5_000).await;
        let order = alice.order_with(&[(&sku(9), 3)], &[&coupon]).await;
        let payment = alice.start_payment(&order).await;
        app.pay_at_wechat(&payment).await;
        app.drain().await;
        let order = alice.get_order(&order).await;
        assert_eq!(minor(&order["lines"][0]["net"]), 4_770);
        let mut refunded = 0;
        // Priced anew: two cost 39.80 without the coupon, so the first gives back 47.70 − 39.80.
        let expected = if reprice { [790, 1_990, 1_990] } else { [1_590, 1_590, 1_590] };
        for amount in expected {
            let refund = alice.try_refund(&order, &[(0, 1)]).await.ok();
            assert_eq!(minor(&refund["amount"]) - minor(&refund["freight"]), amount, "{reprice}");
            refunded += minor(&refund["amount"]);
            app.live_through_minutes(1).await;
        }
        assert_eq!(refunded, minor(&order["paid"]), "in the end everything has gone back");
        assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
        app.finish_money().await;
    }
}

/// Edge case 19: what an earlier refund held back comes with the last one, on whichever line it was.
#[tokio::test]
async fn what_was_held_back_for_the_minimum_spend_comes_back_with_the_last_unit() {
    let app = TestApp::with(|config| config.refunds.below_minimum_spend = BelowMinimum::Reprice).await;
    let alice = app.user("alice").await;
    let coupon = app.coupon_from(&alice, 1_200, 3_000).await;
    let order = alice.order_with(&[(&sku(9), 1), (&sku(7), 1)], &[&coupon]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let order = alice.get_order(&order).await;
    let goods: i64 = order["lines"].as_array().expect("lines").iter().map(|line| minor(&line["net"])).sum();
    // The line whose unit stays costs its full price then.
    let (first, kept) = if minor(&order["lines"][0]["gross"]) < 3_000 { (1, 0) } else { (0, 1) };
    assert!(minor(&order["lines"][kept]["gross"]) < 3_000, "{order}");
    let refund = alice.try_refund(&order, &[(first, 1)]).await.ok();
    assert_eq!(minor(&refund["amount"]), (goods - minor(&order["lines"][kept]["gross"])).max(0));
    app.live_through_minutes(1).await;
    let rest = alice.refund(&order).await;
    assert_eq!(minor(&refund["amount"]) + minor(&rest["amount"]), minor(&order["paid"]));
    app.live_through_minutes(1).await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish_money().await;
}
