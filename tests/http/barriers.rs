//! Races with a barrier between the statements: everybody has read and decided, stands before the row that is
//! wanted, and goes on at the same moment. On MySQL nothing but row locks and conditions keeps them apart.

use futures_util::future::join_all;
use minimall::config::BusBackend;
use serde_json::{Value, json};

use crate::support::{Answer, Client, ONLINE_STORE, SKU, TestApp, User, fresh_key, minor, sku};

const CLAIMABLE: &str = "tpl_00000000000000000000000002";
const RACERS: [&str; 4] = ["a", "b", "c", "d"];

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

/// One got it, and everybody else was told why not.
#[track_caller]
fn one_wins(answers: Vec<Answer>, codes: &[&str]) {
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status < 300);
    assert_eq!(won.len(), 1);
    for answer in lost {
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 409 && codes.contains(&code.as_str()), "{} {code}", answer.status);
    }
}

fn hold_order(order: &Value) -> String {
    format!("UPDATE orders SET guard = guard WHERE id = '{}'", id(order))
}

async fn racers(app: &TestApp) -> Vec<User> {
    join_all(RACERS.map(|name| app.user(name))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_unit_goes_to_one_of_those_who_stand_before_it() {
    let app = TestApp::new().await;
    let users = racers(&app).await;
    let last = sku(3);
    let (available, _, _) = app.stock(&last).await;
    users[0].order(&[(&last, available - 1)]).await;
    let lines = [(&*last, 1)];
    let quotes = join_all(users.iter().map(|user| user.quote(&lines, &[]))).await;
    let hold = format!("UPDATE stock SET locked = locked WHERE sku_id = '{last}'");
    let placing = join_all(users.iter().zip(&quotes).map(|(user, quote)| user.place(quote)));
    one_wins(
        app.at_barrier(&hold, 4, placing).await,
        &["out_of_stock", "quantity_not_available", "quote_changed"],
    );
    assert_eq!(app.stock(&last).await, (0, available, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_coupon_goes_with_one_of_the_orders_that_stand_before_it() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let coupon = app.coupon(&alice, 1_000).await;
    let quotes = [
        alice.quote(&[(&sku(1), 1)], &[&coupon]).await,
        alice.quote(&[(&sku(2), 1)], &[&coupon]).await,
        alice.quote(&[(&sku(5), 1)], &[&coupon]).await,
    ];
    let hold = format!("UPDATE coupons SET status = status WHERE id = '{coupon}'");
    let placing = join_all(quotes.iter().map(|quote| alice.place(quote)));
    one_wins(app.at_barrier(&hold, 3, placing).await, &["coupon_not_usable", "quote_changed"]);
    assert_eq!(app.coupon_status(&coupon).await, "LOCKED");
    assert_eq!(app.number("SELECT COUNT(*) FROM orders").await, 1);
    app.finish().await;
}

async fn claim(user: &User, template: &str) -> Answer {
    user.client.post(&format!("/api/v1/coupon-templates/{template}/claims"), &json!({})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_coupon_goes_to_one_of_those_who_stand_before_it() {
    let app = TestApp::new().await;
    let users = racers(&app).await;
    let left = format!("UPDATE coupon_templates SET total = 1, remaining = 1 WHERE id = '{CLAIMABLE}'");
    app.execute(&left).await;
    let hold = format!("UPDATE coupon_templates SET remaining = remaining WHERE id = '{CLAIMABLE}'");
    let claiming = join_all(users.iter().map(|user| claim(user, CLAIMABLE)));
    one_wins(app.at_barrier(&hold, 4, claiming).await, &["coupon_sold_out"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_of_one_person_that_stand_before_the_template_stay_within_the_limit() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    claim(&alice, CLAIMABLE).await.ok();
    let hold = format!("UPDATE coupon_templates SET remaining = remaining WHERE id = '{CLAIMABLE}'");
    let claiming = join_all((0..4).map(|_| claim(&alice, CLAIMABLE)));
    one_wins(app.at_barrier(&hold, 4, claiming).await, &["coupon_limit_reached"]);
    app.finish().await;
}

/// Edge case 14: under one key and under several.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quote_that_is_placed_several_times_at_once_is_one_order() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let coupon = app.coupon(&alice, 1_000).await;
    for keys in [vec![fresh_key(); 4], (0..4).map(|_| fresh_key()).collect()] {
        let quote = alice.quote(&[(SKU, 1)], &[]).await;
        let body = json!({ "quote_token": quote["quote_token"] });
        let hold = format!("UPDATE stock SET locked = locked WHERE sku_id = '{SKU}'");
        let placing =
            join_all(keys.iter().map(|key| alice.client.post_with_key("/api/v1/orders", key, &body)));
        let answers = app.at_barrier(&hold, 4, placing).await;
        let ids: Vec<Value> = answers.into_iter().map(|answer| answer.ok()["id"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    // With a coupon, which is locked by the first and so not usable in the eyes of the others.
    let quote = alice.quote(&[(SKU, 1)], &[&coupon]).await;
    let hold = format!("UPDATE coupons SET status = status WHERE id = '{coupon}'");
    let placing = join_all((0..4).map(|_| alice.place(&quote)));
    let answers = app.at_barrier(&hold, 4, placing).await;
    let ids: Vec<Value> = answers.into_iter().map(|answer| answer.ok()["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(app.number("SELECT COUNT(*) FROM orders").await, 3);
    app.finish().await;
}

/// Orders that want the same goods in whatever order lock them in one: none waits for the other in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn orders_that_want_the_same_goods_do_not_stand_in_each_others_way() {
    let app = TestApp::new().await;
    let users = racers(&app).await;
    let (one, two) = (sku(1), sku(2));
    for _ in 0..3 {
        let baskets = [[(&*one, 1), (&*two, 1)], [(&*two, 1), (&*one, 1)]];
        let quotes =
            join_all(users.iter().enumerate().map(|(n, user)| user.quote(&baskets[n % 2], &[]))).await;
        let hold = format!("UPDATE stock SET locked = locked WHERE sku_id IN ('{one}', '{two}')");
        let placing = join_all(users.iter().zip(&quotes).map(|(user, quote)| user.place(quote)));
        for answer in app.at_barrier(&hold, 4, placing).await {
            answer.ok();
        }
    }
    app.finish().await;
}

/// Edge case 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelling_and_starting_to_pay_stand_before_the_same_order() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    for _ in 0..3 {
        let order = alice.order(&[(SKU, 1)]).await;
        let both = async { tokio::join!(alice.cancel(&order), alice.try_payment(&order)) };
        let (cancelled, started) = app.at_barrier(&hold_order(&order), 2, both).await;
        let status = cancelled.ok()["status"].clone();
        if status == "CLOSED" {
            started.refused(409, "order_not_payable");
        }
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    }
    assert_eq!(app.stock(SKU).await, before);
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelling_and_a_payment_that_arrived_stand_before_the_same_order() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for _ in 0..3 {
        let order = alice.order(&[(SKU, 1)]).await;
        let payment = alice.start_payment(&order).await;
        app.pay_at_wechat(&payment).await;
        app.sandbox.tick().await;
        let both = async { tokio::join!(alice.cancel(&order), app.app.tick()) };
        let (cancelled, ticked) = app.at_barrier(&hold_order(&order), 2, both).await;
        ticked.expect("the notice is settled");
        app.drain().await;
        app.live_through_minutes(1).await;
        let seen = alice.get_order(&order).await;
        if cancelled.status == 200 {
            assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("CLOSED"), &json!("FULL")));
        } else {
            cancelled.refused(409, "order_not_cancellable");
            assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("PAID"), &json!("NONE")));
        }
    }
    app.finish_money().await;
}

/// Edge case 4: on two nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_stand_before_the_same_order_with_the_same_notice() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.sandbox.tick().await;
    let both = async { tokio::join!(app.app.tick(), app.app.tick()) };
    // With one process for all, both have the notice; of several, one gets it.
    let hold = match app.ctx.config.bus.backend {
        BusBackend::Embedded => hold_order(&order),
        BusBackend::Rocketmq => "UPDATE inbox SET attempts = attempts".to_owned(),
    };
    let (one, two) = app.at_barrier(&hold, 2, both).await;
    one.expect("a tick");
    two.expect("a tick");
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    assert_eq!(app.moves(&order, "payment_succeeded").await, 1);
    app.finish_money().await;
}

/// Edge case 25.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refunds_that_stand_before_the_same_order_take_what_was_paid_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let asking = join_all((0..3).map(|_| alice.try_refund(&order, &[(0, 2)])));
    let answers = app.at_barrier(&hold_order(&order), 3, asking).await;
    one_wins(answers, &["quantity_not_refundable"]);
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["refunded"])), (&json!("CLOSED"), minor(&order["paid"])));
    assert_eq!(app.channel_refunds().await.len(), 1);
    app.finish_money().await;
}

/// Two refunds of one order are settled at the same moment: each has its own event, and the customer is told twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refunds_of_one_order_that_are_settled_at_once_are_both_told() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1), (&sku(2), 1)]).await;
    alice.try_refund(&order, &[(0, 1)]).await.ok();
    alice.try_refund(&order, &[(1, 1)]).await.ok();
    app.drain().await;
    app.live_through_minutes(3).await;
    let refunds = alice.refunds(&order).await;
    assert!(refunds.iter().all(|refund| refund["status"] == "SUCCEEDED"), "{refunds:?}");
    app.execute("DELETE FROM messages").await;
    app.execute("DELETE FROM notices").await;
    app.execute("UPDATE deliveries SET state = 'PENDING', fifo_key = NULL WHERE subscription = 'notifications.notice'")
        .await;
    let deliveries = app.number("SELECT COUNT(*) FROM deliveries WHERE state = 'PENDING'").await;
    app.drain().await;
    assert!(deliveries > 3, "several events of one order are taken at the same moment");
    let attempts = "SELECT MAX(attempts) FROM deliveries WHERE subscription = 'notifications.notice'";
    assert_eq!(app.number(attempts).await, 0, "none had to be tried again");
    assert_eq!(app.number("SELECT COUNT(*) FROM notices WHERE kind = 'refund'").await, 2);
    app.finish_money().await;
}

/// Edge case 24.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refund_and_a_parcel_stand_before_the_same_order() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    for _ in 0..3 {
        let order = app.paid_order(&alice, &[(SKU, 1)]).await;
        let both = async { tokio::join!(alice.try_refund(&order, &[(0, 1)]), app.ship(&order, &[])) };
        let (refund, shipped) = app.at_barrier(&hold_order(&order), 2, both).await;
        assert_eq!(shipped.is_ok(), refund.ok()["lines"][0]["returned"] == 1);
        app.check().await;
    }
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_of_the_staff_stand_before_the_same_refund() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let refund = alice.refund(&order).await;
    let both = async { tokio::join!(app.approve(&refund, None), app.reject(&refund)) };
    let (approved, rejected) = app.at_barrier(&hold_order(&order), 2, both).await;
    assert_ne!(approved.is_ok(), rejected.is_ok());
    app.drain().await;
    let status = alice.refund_status(&order, &refund).await;
    assert_eq!(status, if approved.is_ok() { "SUCCEEDED" } else { "REJECTED" });
    app.finish_money().await;
}

async fn put(client: &Client, sku: &str) -> Answer {
    let line = json!({ "store_id": ONLINE_STORE, "quantity": 1 });
    client.put(&format!("/api/v1/cart/lines/{sku}"), &line).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_line_of_a_cart_is_added_by_one_of_those_who_stand_before_it() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    put(&alice.client, SKU).await.ok();
    for n in 0..98 {
        app.execute(&format!(
            "INSERT INTO cart_lines (user_id, store_id, sku_id, quantity, seen_price_minor, added_ms) \
             VALUES ('{}', '{ONLINE_STORE}', 'sku_9{n:0>25}', 1, 100, 0)",
            alice.id
        ))
        .await;
    }
    let skus = [sku(2), sku(3), sku(4)];
    let adding = join_all(skus.iter().map(|sku| put(&alice.client, sku)));
    one_wins(app.at_barrier("UPDATE carts SET guard = guard", 3, adding).await, &["cart_full"]);
    assert_eq!(app.number("SELECT COUNT(*) FROM cart_lines").await, 100);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_sku_of_a_product_is_added_by_one_of_those_who_stand_before_it() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let product = "prd_00000000000000000000000001";
    let there = app.number(&format!("SELECT COUNT(*) FROM skus WHERE product_id = '{product}'")).await;
    for n in there..99 {
        app.execute(&format!(
            "INSERT INTO skus (id, product_id, name, version, created_ms, updated_ms) \
             VALUES ('sku_9{n:0>25}', '{product}', 'n{n}', 1, 0, 0)"
        ))
        .await;
    }
    let path = format!("/admin/v1/products/{product}/skus");
    let new = json!({ "name": "新" });
    let adding = join_all((0..3).map(|_| staff.post(&path, &new)));
    let hold = format!("UPDATE products SET version = version WHERE id = '{product}'");
    one_wins(app.at_barrier(&hold, 3, adding).await, &["too_many_skus"]);
    app.finish().await;
}
