//! Another price before payment: what is open at the old one is closed first, and nobody pays twice.

use serde_json::{Value, json};

use crate::support::{
    Clerk, PAYMENT_CALLBACK, SKU, TestApp, fresh_key, items, minor, money, paid, sku, text,
};

fn events(detail: &Value) -> Vec<String> {
    items(&detail["timeline"]).iter().map(|row| text(row, "code")).collect()
}

#[tokio::test]
async fn staff_takes_something_off_and_the_customer_pays_the_rest() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1), (&sku(9), 3)]).await;
    app.drain().await;
    assert_eq!(minor(&order["payable"]), 12_800 + 3 * 1_990);
    let repriced = clerk.reprice(&order, json!({ "discount": money(1_000) })).await.ok();
    assert_eq!((minor(&repriced["payable"]), minor(&repriced["discount"])), (17_770, 1_000));
    let seen = alice.get_order(&order).await;
    let shares: Vec<(Value, Value, i64)> = items(&seen["lines"])
        .iter()
        .map(|line| {
            (
                line["shares"][0]["rule"].clone(),
                line["shares"][0]["name"].clone(),
                minor(&line["shares"][0]["amount"]),
            )
        })
        .collect();
    // By largest remainder: 12800 and 5970 of 18770.
    assert_eq!(shares, [(json!("staff"), json!("商家优惠"), 682), (json!("staff"), json!("商家优惠"), 318)]);
    // Another discount takes the place of the first, beside a new price of a line.
    let cake = json!([{ "line_id": order["lines"][1]["line_id"], "unit_price": money(1_500) }]);
    let repriced = clerk.reprice(&order, json!({ "lines": cake, "discount": money(300) })).await.ok();
    assert_eq!(minor(&repriced["payable"]), 12_800 + 4_500 - 300);
    assert_eq!(minor(&repriced["lines"][1]["unit_price"]), 1_500);
    let repriced = clerk.reprice(&order, json!({ "lines": cake })).await.ok();
    assert_eq!((minor(&repriced["payable"]), minor(&repriced["discount"])), (17_300, 0));
    app.drain().await;
    let notices = items(&alice.client.get("/api/v1/notices").await.ok());
    assert_eq!(notices.iter().filter(|notice| notice["title"] == "订单价格已修改").count(), 3);
    let staff = clerk.detail(&order).await;
    let row = items(&staff["timeline"]).into_iter().find(|row| row["code"] == "repriced").expect("a row");
    assert_eq!((&row["actor_kind"], &row["detail"]["reason"]), (&json!("staff"), &json!("老顾客")));
    assert_eq!((&row["detail"]["from_minor"], &row["detail"]["to_minor"]), (&json!(18_770), &json!(17_770)));
    let payment = alice.start_payment(&order).await;
    assert_eq!(minor(&payment["amount"]), 17_300);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["paid"])), (&json!("PAID"), 17_300));
    clerk.reprice(&order, json!({ "discount": money(1) })).await.refused(409, "order_already_paid");
    alice.refund(&order).await;
    app.drain().await;
    assert_eq!(minor(&alice.get_order(&order).await["refunded"]), 17_300, "to the fen");
    assert_eq!(app.number("SELECT COUNT(*) FROM audit WHERE operation = 'repriceOrder'").await, 3);
    app.finish_money().await;
}

#[tokio::test]
async fn a_coupon_stays_as_it_was_whatever_the_new_prices_are() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let coupon = app.coupon(&alice, 1_000).await;
    app.execute("UPDATE coupon_templates SET threshold_minor = 10000 WHERE name = '测试券'").await;
    let order = alice.order_with(&[(SKU, 1)], &[&coupon]).await;
    let line = order["lines"][0]["line_id"].clone();
    let price = |amount: i64| json!({ "lines": [{ "line_id": line, "unit_price": money(amount) }] });
    // Far below its threshold.
    let repriced = clerk.reprice(&order, price(2_000)).await.ok();
    assert_eq!((minor(&repriced["goods"]), minor(&repriced["discount"])), (1_000, 1_000));
    assert_eq!(app.coupon_status(&coupon).await, "LOCKED");
    let below = clerk.reprice(&order, price(999)).await.refused(400, "invalid_request");
    assert_eq!(below["field"], "/lines/0/unit_price/amount");
    app.pay(&alice, &order).await;
    assert_eq!(app.coupon_status(&coupon).await, "USED");
    app.finish_money().await;
}

#[tokio::test]
async fn prices_that_can_not_be_are_refused_with_their_field() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1)]).await;
    let line = order["lines"][0]["line_id"].clone();
    let priced = |line: &Value, money: Value| json!({ "lines": [{ "line_id": line, "unit_price": money }] });
    let other = json!("lin_00000000000000000000000000");
    let twice = json!([
        { "line_id": line, "unit_price": money(1) }, { "line_id": line, "unit_price": money(2) },
    ]);
    for (change, field) in [
        (json!({}), "/lines"),
        (priced(&other, money(1)), "/lines/0/line_id"),
        (json!({ "lines": twice }), "/lines/1/line_id"),
        (priced(&line, json!({ "amount": 1, "currency": "USD" })), "/lines/0/unit_price/currency"),
        (priced(&line, money(-1)), "/lines/0/unit_price/amount"),
        (priced(&line, money(i64::MAX)), "/lines/0/unit_price/amount"),
        (priced(&line, money(0)), "/lines"),
        (json!({ "discount": money(12_801) }), "/discount/amount"),
        (json!({ "discount": money(-1) }), "/discount/amount"),
        (json!({ "discount": money(12_800) }), "/discount/amount"),
        (json!({ "discount": { "amount": 1, "currency": "EUR" } }), "/discount/currency"),
        (json!({ "discount": money(1), "reason": "" }), "/reason"),
    ] {
        let refused = clerk.reprice(&order, change.clone()).await.refused(400, "invalid_request");
        assert_eq!(refused["field"], field, "{change}");
    }
    let stale = clerk.reprice(&order, json!({ "version": 99, "discount": money(1) })).await;
    assert_eq!(stale.refused(409, "order_changed")["version"], 1);
    clerk.reprice(&json!({ "id": order["id"] }), json!({ "discount": money(1) })).await.ok();
    alice.cancel(&order).await.ok();
    clerk.reprice(&order, json!({ "discount": money(1) })).await.refused(409, "order_not_repriceable");
    app.finish_money().await;
}

/// Edge case 9.
#[tokio::test]
async fn an_open_payment_is_closed_at_the_channel_before_the_price_changes() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1)]).await;
    let key = fresh_key();
    let old = alice.pay_with_key(&order, &key).await.ok();
    let waiting = clerk.reprice(&order, json!({ "discount": money(800) })).await.ok();
    assert_eq!((minor(&waiting["payable"]), minor(&waiting["reprice_pending_to"])), (12_800, 12_000));
    // Nothing can be paid now: not anew, and not by a repeat.
    let reason = &alice.get_order(&order).await["actions"]["can_pay"]["reason"];
    assert_eq!(reason, "payment_closing");
    alice.try_payment(&order).await.refused(409, "payment_closing");
    alice.pay_with_key(&order, &key).await.refused(409, "order_not_payable");
    app.drain().await;
    let seen = clerk.detail(&order).await;
    assert_eq!((minor(&seen["payable"]), &seen["reprice_pending_to"]), (12_000, &Value::Null));
    assert_eq!(events(&seen)[1..], ["payment_started", "reprice_requested", "payment_ended", "repriced"]);
    let applied = items(&seen["timeline"]).pop().expect("a row");
    assert_eq!((&applied["actor_kind"], &applied["detail"]["reason"]), (&json!("staff"), &json!("老顾客")));
    assert_eq!(app.attempts(&order).await, ["CLOSED"]);
    let prepay = text(&old["request_payment"], "package").replace("prepay_id=", "");
    let late =
        app.sandbox_client().post(&format!("/sandbox/payments/{prepay}/pay"), &old["request_payment"]).await;
    assert!(late.status >= 400, "the channel takes no money for it any more");
    let payment = alice.start_payment(&order).await;
    assert_eq!(minor(&payment["amount"]), 12_000);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

/// Edge case 10: the money of the old amount arrives at last, from wherever it was on its way.
#[tokio::test]
async fn money_at_the_old_price_never_pays_the_new_one() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1)]).await;
    let old = alice.start_payment(&order).await;
    app.pay_at_wechat(&old).await;
    // People have proof that it was closed; the channel thinks otherwise.
    app.fault("notify_drop", 50).await;
    clerk.reprice(&order, json!({ "discount": money(800) })).await.ok();
    app.give_up_attempt(&order).await;
    assert_eq!(minor(&alice.get_order(&order).await["payable"]), 12_000);
    let mut content = paid(&old);
    content["transaction_id"] = app.channel_payments().await[0]["transaction_id"].clone();
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &notice).await.status, 204);
    app.no_faults().await;
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["ORPHAN"]);
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["paid"])), (&json!("PENDING_PAYMENT"), 0));
    assert_eq!(minor(&app.channel_refunds().await[0]["amount"]), 12_800, "it goes back in full");
    app.pay(&alice, &order).await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["paid"])), (&json!("PAID"), 12_000));
    app.finish_money().await;
}

#[tokio::test]
async fn who_paid_before_the_channel_closed_has_paid_the_old_price_and_staff_is_told() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1)]).await;
    alice.start_payment(&order).await;
    app.fault("pay_during_close", 1).await;
    clerk.reprice(&order, json!({ "discount": money(800) })).await.ok();
    app.live_through_minutes(1).await;
    let seen = clerk.detail(&order).await;
    assert_eq!((&seen["status"], minor(&seen["paid"])), (&json!("PAID"), 12_800));
    let dropped = items(&seen["timeline"]).into_iter().find(|row| row["code"] == "reprice_dropped");
    let dropped = dropped.expect("a row");
    assert_eq!(
        (&dropped["detail"]["why"], &dropped["detail"]["to_minor"]),
        (&json!("paid_before"), &json!(12_000))
    );
    assert_eq!(seen["reprice_pending_to"], Value::Null);
    assert_eq!(app.alerts("reprice_dropped").await, 1);
    assert!(events(&alice.get_order(&order).await).iter().all(|code| code != "reprice_dropped"));
    app.finish_money().await;
}

#[tokio::test]
async fn with_the_channel_gone_the_price_waits_and_a_cancelled_order_forgets_it() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1)]).await;
    alice.start_payment(&order).await;
    app.fault("down", 100).await;
    clerk.reprice(&order, json!({ "discount": money(800) })).await.ok();
    app.live_through_minutes(2).await;
    assert_eq!(minor(&clerk.detail(&order).await["reprice_pending_to"]), 12_000);
    // Staff thinks again: the later word counts.
    clerk.reprice(&order, json!({ "discount": money(300) })).await.ok();
    assert_eq!(minor(&clerk.detail(&order).await["reprice_pending_to"]), 12_500);
    app.no_faults().await;
    app.live_through_minutes(2).await;
    let seen = clerk.detail(&order).await;
    assert_eq!((minor(&seen["payable"]), app.moves(&order, "repriced").await), (12_500, 1));

    alice.start_payment(&order).await;
    app.fault("down", 100).await;
    clerk.reprice(&order, json!({ "discount": money(1) })).await.ok();
    assert_eq!(alice.cancel(&order).await.ok()["status"], "CLOSING");
    let seen = clerk.detail(&order).await;
    assert_eq!(
        (seen["reprice_pending_to"].clone(), app.moves(&order, "reprice_dropped").await),
        (Value::Null, 1)
    );
    app.no_faults().await;
    app.live_through_minutes(2).await;
    let seen = clerk.detail(&order).await;
    assert_eq!((&seen["status"], minor(&seen["payable"])), (&json!("CLOSED"), 12_500));
    assert_eq!(app.alerts("reprice_dropped").await, 0, "nothing is left to be seen to");
    app.finish_money().await;
}

#[tokio::test]
async fn a_payment_under_review_is_decided_before_the_price_changes() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    app.fault("notify_drop", 50).await;
    app.pay_at_wechat(&payment).await;
    // A price is asked for, and then money comes that is not what the attempt asked for.
    clerk.reprice(&order, json!({ "discount": money(800) })).await.ok();
    let mut content = paid(&payment);
    content["transaction_id"] = app.channel_payments().await[0]["transaction_id"].clone();
    content["appid"] = json!("wxffffffffffffffff");
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["MISMATCH"]);
    assert_eq!((app.moves(&order, "reprice_dropped").await, app.moves(&order, "repriced").await), (1, 0));
    assert_eq!(minor(&clerk.detail(&order).await["payable"]), 12_800);
    clerk.reprice(&order, json!({ "discount": money(1) })).await.refused(409, "payment_under_review");
    // It is what the order asked for all the time.
    let decide = format!("/admin/v1/payments/{}/decide", text(&payment, "attempt_id"));
    let paid = json!({ "decision": "SUCCEEDED", "reason": "已核对" });
    assert_eq!(clerk.0.post(&decide, &paid).await.status, 204);
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["paid"])), (&json!("PAID"), 12_800));
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reprice_against_pay_ends_at_one_price_or_the_other() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    for round in 0..8 {
        let order = alice.order(&[(SKU, 1)]).await;
        let payment = alice.start_payment(&order).await;
        let paying = async {
            app.pay_at_wechat(&payment).await;
            app.drain().await;
        };
        let change = json!({ "discount": money(800) });
        if round % 2 == 0 {
            tokio::join!(clerk.reprice(&order, change), paying);
        } else {
            app.pay_at_wechat(&payment).await;
            tokio::join!(clerk.reprice(&order, change), app.drain());
        }
        app.live_through_minutes(1).await;
        let seen = clerk.detail(&order).await;
        assert_eq!(
            (&seen["status"], minor(&seen["paid"])),
            (&json!("PAID"), 12_800),
            "the money was on its way"
        );
        app.check().await;
    }
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reprice_against_start_pay_leaves_no_payment_at_the_old_price() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    for _ in 0..8 {
        let order = alice.order(&[(SKU, 1)]).await;
        let (repriced, _) =
            tokio::join!(clerk.reprice(&order, json!({ "discount": money(800) })), alice.try_payment(&order));
        if repriced.status != 200 {
            repriced.refused(409, "order_changed");
            clerk.reprice(&order, json!({ "discount": money(800) })).await.ok();
        }
        app.drain().await;
        let payment = alice.start_payment(&order).await;
        assert_eq!(minor(&payment["amount"]), 12_000);
        app.pay_at_wechat(&payment).await;
        app.drain().await;
        assert_eq!(minor(&alice.get_order(&order).await["paid"]), 12_000);
    }
    app.finish_money().await;
}
