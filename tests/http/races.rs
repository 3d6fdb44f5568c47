//! Races: real requests at the same moment, and every order of their effects is a right one.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, PAYMENT_CALLBACK, SKU, TestApp, User, fresh_key, minor, sku};

/// A SKU that nobody else here wants.
const LAST: &str = "sku_00000000000000000000000003";

fn winners(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| (200..300).contains(&answer.status)).count()
}

/// Everybody who lost was told so, with one of these codes.
#[track_caller]
fn losers_are_told(answers: Vec<Answer>, codes: &[&str]) {
    for answer in answers.into_iter().filter(|answer| answer.status >= 300) {
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 409 && codes.contains(&code.as_str()), "{} {code}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_coupon_goes_with_one_of_two_orders() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for _ in 0..5 {
        let coupon = app.coupon(&alice, 1_000).await;
        let quotes =
            [alice.quote(&[(SKU, 1)], &[&coupon]).await, alice.quote(&[(&sku(2), 1)], &[&coupon]).await];
        let answers = join_all(quotes.iter().map(|quote| alice.place(quote))).await;
        assert_eq!(winners(&answers), 1);
        losers_are_told(answers, &["coupon_not_usable", "quote_changed"]);
        assert_eq!(app.coupon_status(&coupon).await, "LOCKED");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_item_goes_to_one_of_many() {
    let app = TestApp::new().await;
    let users = join_all(["a", "b", "c", "d", "e", "f"].map(|name| app.user(name))).await;
    let (available, _, _) = app.stock(LAST).await;
    users[0].order(&[(LAST, available - 1)]).await;
    let quotes = join_all(users.iter().map(|user| user.quote(&[(SKU, 1), (LAST, 1)], &[]))).await;
    let answers = join_all(users.iter().zip(&quotes).map(|(user, quote)| user.place(quote))).await;
    assert_eq!(winners(&answers), 1);
    losers_are_told(answers, &["quantity_not_available", "out_of_stock", "quote_changed"]);
    assert_eq!(app.stock(LAST).await, (0, available, 0));
    app.finish().await;
}

/// Edge case 14.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quote_placed_many_times_at_once_is_one_order() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let coupon = app.coupon(&alice, 1_000).await;
    let quote = alice.quote(&[(SKU, 1)], &[&coupon]).await;
    // Half of them with a key of their own, half with one and the same.
    let shared = fresh_key();
    let body = json!({ "quote_token": quote["quote_token"] });
    let keys: Vec<String> = (0..8).map(|n| if n % 2 == 0 { fresh_key() } else { shared.clone() }).collect();
    let answers =
        join_all(keys.iter().map(|key| alice.client.post_with_key("/api/v1/orders", key, &body))).await;
    let mut ids: Vec<Value> = answers.into_iter().map(|answer| answer.ok()["id"].clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM orders").await, 1);
    assert_eq!(app.stock(SKU).await, (before.0 - 1, before.1 + 1, before.2));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pressing_pay_many_times_at_once_makes_one_attempt() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let answers = join_all((0..6).map(|_| alice.try_payment(&order))).await;
    let payments: Vec<Value> = answers.into_iter().map(Answer::ok).collect();
    assert!(payments.iter().all(|payment| payment["attempt_id"] == payments[0]["attempt_id"]));
    assert_eq!(app.channel_payments().await.len(), 1);
    // Two phones pay: the channel takes one of them.
    let package = payments[0]["request_payment"]["package"].as_str().expect("a package").to_owned();
    let path = format!("/sandbox/payments/{}/pay", package.trim_start_matches("prepay_id="));
    let sandbox = app.sandbox_client();
    let paid =
        join_all(payments.iter().map(|payment| sandbox.post(&path, &payment["request_payment"]))).await;
    assert_eq!(winners(&paid), 1);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_used_many_times_at_once_asks_the_channel_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let key = fresh_key();
    let answers = join_all((0..6).map(|_| alice.pay_with_key(&order, &key))).await;
    assert!(winners(&answers) >= 1);
    losers_are_told(answers, &["idempotency_in_progress"]);
    assert_eq!(app.calls("/v3/pay/transactions/jsapi").await.len(), 1);
    app.finish().await;
}

/// Edge case 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancel_against_start_pay_ends_closed_with_everything_back() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    for _ in 0..8 {
        let order = alice.order(&[(SKU, 1)]).await;
        let (cancelled, started) = tokio::join!(alice.cancel(&order), alice.try_payment(&order));
        assert!(["CLOSED", "CLOSING"].contains(&cancelled.ok()["status"].as_str().expect("a status")));
        // Whoever got something to pay got it before the cancellation was decided.
        losers_are_told(vec![started], &["order_not_payable", "payment_closing", "order_changed"]);
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
        assert!(app.attempts(&order).await.iter().all(|status| status == "CLOSED"));
    }
    assert_eq!(app.stock(SKU).await, before);
    app.finish_money().await;
}

/// A prepay answer that comes after the cancellation gives the client nothing to pay with.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_prepay_answer_that_comes_after_the_cancellation_is_kept_back() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.fault_with(json!({ "kind": "slow", "delay_ms": 1_500, "path": "/v3/pay/transactions/jsapi" })).await;
    // Payments hear of the cancellation later than the channel answers.
    app.ctx.bus.set_available(false);
    let cancelling = async {
        while app.attempts(&order).await.is_empty() {
            tokio::task::yield_now().await;
        }
        alice.cancel(&order).await.ok()
    };
    let (started, cancelled) = tokio::join!(alice.try_payment(&order), cancelling);
    assert_eq!(cancelled["status"], "CLOSING");
    started.refused(409, "order_not_payable");
    app.ctx.bus.set_available(true);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish_money().await;
}

/// Edge case 1: with the money on its way, and the channel asked at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancel_against_paid_ends_paid_or_refunded_and_never_between() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for round in 0..8 {
        let order = alice.order(&[(SKU, 1)]).await;
        let payment = alice.start_payment(&order).await;
        let cancelled = if round % 2 == 0 {
            let paying = async {
                app.pay_at_wechat(&payment).await;
                app.drain().await;
            };
            tokio::join!(alice.cancel(&order), paying).0
        } else {
            app.pay_at_wechat(&payment).await;
            tokio::join!(alice.cancel(&order), app.drain()).0
        };
        app.drain().await;
        app.live_through_minutes(1).await;
        let seen = alice.get_order(&order).await;
        let states =
            (seen["status"].as_str().expect("a status"), seen["refund_status"].as_str().expect("one"));
        if cancelled.status == 200 {
            assert_eq!(states, ("CLOSED", "FULL"), "the cancellation came first");
        } else {
            cancelled.refused(409, "order_not_cancellable");
            assert_eq!(states, ("PAID", "NONE"), "the payment came first");
        }
        app.check().await;
    }
    app.finish_money().await;
}

/// Edge case 4.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_callback_many_times_at_once_pays_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    app.fault("notify_bad_signature", 1).await;
    app.pay_at_wechat(&payment).await;
    app.sandbox.tick().await;
    // The sandbox's own content, signed right, from eight sides, while the query asks, too.
    let mut content = crate::support::paid(&payment);
    let at_channel = app.channel_payments().await;
    content["transaction_id"] = at_channel[0]["transaction_id"].clone();
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
    app.advance_ms(5_000);
    let sending = join_all((0..8).map(|_| app.send_notice(PAYMENT_CALLBACK, &notice)));
    let (answers, (), ()) = tokio::join!(sending, app.drain(), app.drain());
    assert!(answers.iter().all(|answer| answer.status == 204));
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    assert_eq!(app.moves(&order, "payment_succeeded").await, 1);
    assert_eq!(app.stock(SKU).await, (before.0 - 1, before.1, before.2 + 1));
    app.finish_money().await;
}

/// Edge case 25.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refunds_never_take_more_than_was_paid() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(&sku(9), 4)]).await;
    let answers = join_all((0..8).map(|_| alice.try_refund(&order, &[(0, 1)]))).await;
    assert_eq!(winners(&answers), 4);
    losers_are_told(answers, &["quantity_not_refundable"]);
    app.check().await;
    let refunds = alice.refunds(&order).await;
    let approved = join_all(refunds.iter().map(|refund| app.approve(refund, None))).await;
    assert!(approved.iter().all(Result::is_ok));
    app.live_through_minutes(6).await;
    let refunds = alice.refunds(&order).await;
    assert!(refunds.iter().all(|refund| refund["status"] == "SUCCEEDED"), "{refunds:?}");
    let freights: Vec<i64> =
        refunds.iter().map(|refund| minor(&refund["freight"])).filter(|f| *f > 0).collect();
    assert_eq!(freights, [800], "once");
    assert_eq!(alice.get_order(&order).await["refunded"], order["paid"]);
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_refunds_of_the_same_units_are_one() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let answers = join_all((0..4).map(|_| alice.try_refund(&order, &[(0, 2)]))).await;
    assert_eq!(winners(&answers), 1);
    losers_are_told(answers, &["quantity_not_refundable"]);
    let (_, _) = tokio::join!(app.drain(), app.drain());
    assert_eq!(app.channel_refunds().await.len(), 1);
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish_money().await;
}

/// Edge case 24.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refund_against_ship_shares_the_units_out() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    for _ in 0..6 {
        let order = app.paid_order(&alice, &[(SKU, 1)]).await;
        let (refund, shipped) = tokio::join!(alice.try_refund(&order, &[(0, 1)]), app.ship(&order, &[]));
        let refund = refund.ok();
        let gives_back = refund["lines"][0]["returned"] == 1;
        assert_eq!(
            shipped.is_ok(),
            gives_back,
            "shipped first: it comes back; reserved first: it stays here"
        );
        app.check().await;
    }
    app.finish_money().await;
}

/// Three workers of one kind at once, as on three nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_workers_at_once_do_everything_once() {
    let app = TestApp::new().await;
    let users: Vec<User> = join_all(["a", "b", "c", "d"].map(|name| app.user(name))).await;
    let orders = join_all(users.iter().map(|user| user.order(&[(SKU, 1)]))).await;
    let payments = join_all(users.iter().zip(&orders).map(|(user, order)| user.start_payment(order))).await;
    join_all(payments.iter().map(|payment| app.pay_at_wechat(payment))).await;
    tokio::join!(app.drain(), app.drain(), app.drain());
    join_all(users.iter().zip(&orders).map(|(user, order)| user.refund(order))).await;
    tokio::join!(app.drain(), app.drain(), app.drain());
    for (user, order) in users.iter().zip(&orders) {
        assert_eq!(user.get_order(order).await["status"], "CLOSED");
        assert_eq!(app.moves(order, "payment_succeeded").await, 1);
        assert_eq!(app.moves(order, "refund_ended").await, 1);
    }
    assert_eq!(app.channel_refunds().await.len(), 4);
    app.finish_money().await;
}
