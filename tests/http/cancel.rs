//! Cancelling: by the customer, by the clock, and against a payment that may be on its way.

use minimall::events::Event;
use minimall::platform::bus::{self, Staged};
use serde_json::{Value, json};

use crate::support::{SKU, TestApp, User, fresh_key, minor};

const CLOSE: &str = "/v3/pay/transactions/out-trade-no";

/// An order with a coupon, and a payment of it that was started.
async fn started(app: &TestApp, user: &User) -> (Value, Value, String) {
    let coupon = app.coupon(user, 1_000).await;
    let order = user.order_with(&[(SKU, 1)], &[&coupon]).await;
    let payment = user.start_payment(&order).await;
    (order, payment, coupon)
}

/// Edge case 16.
#[tokio::test]
async fn an_unpaid_order_that_is_cancelled_gives_back_stock_and_coupon() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let coupon = app.coupon(&alice, 1_000).await;
    let order = alice.order_with(&[(SKU, 2)], &[&coupon]).await;
    assert_eq!(app.coupon_status(&coupon).await, "LOCKED");
    let cancelled = alice.cancel(&order).await.ok();
    assert_eq!((&cancelled["status"], &cancelled["close_reason"]), (&json!("CLOSED"), &json!("user")));
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    assert_eq!(app.stock(SKU).await, before);
    alice.cancel(&order).await.refused(409, "order_not_cancellable");
    let bob = app.user("bob").await;
    bob.cancel(&order).await.refused(404, "order_not_found");
    app.drain().await;
    // The deadline's message finds it closed.
    app.advance_minutes(31);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["close_reason"], "user");
    app.finish().await;
}

/// Edge case 15.
#[tokio::test]
async fn a_coupon_that_expires_while_it_is_locked_comes_back_expired_or_with_days_of_grace() {
    for (grace_days, comes_back) in [(0, "EXPIRED"), (3, "UNUSED")] {
        let app = TestApp::with(|config| config.coupons.grace_days = grace_days).await;
        let alice = app.user("alice").await;
        let coupon = app.coupon(&alice, 1_000).await;
        let soon_ms = app.ctx.clock.now_ms() + 10 * 60_000;
        app.execute(&format!("UPDATE coupons SET valid_until_ms = {soon_ms} WHERE id = '{coupon}'")).await;
        let order = alice.order_with(&[(SKU, 1)], &[&coupon]).await;
        app.live_through_minutes(11).await;
        assert_eq!(app.coupon_status(&coupon).await, "LOCKED");
        alice.cancel(&order).await.ok();
        assert_eq!(app.coupon_status(&coupon).await, comes_back);
        app.finish().await;
    }
}

/// Edge case 1.
#[tokio::test]
async fn a_closing_order_keeps_everything_locked_until_the_channel_has_answered() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let (order, payment, coupon) = started(&app, &alice).await;
    app.fault_with(json!({ "kind": "down", "times": 4, "path": CLOSE })).await;
    assert_eq!(alice.cancel(&order).await.ok()["status"], "CLOSING");
    for _ in 0..2 {
        app.drain().await;
        assert_eq!(alice.get_order(&order).await["status"], "CLOSING");
        assert_eq!(app.coupon_status(&coupon).await, "LOCKED");
        assert_eq!(app.stock(SKU).await, (before.0 - 1, before.1 + 1, before.2));
        alice.try_payment(&order).await.refused(409, "order_not_payable");
        assert_eq!(alice.cancel(&order).await.ok()["status"], "CLOSING", "asked for again, it stays so");
        app.advance_ms(2_000);
    }
    app.drain().await;
    let closed = alice.get_order(&order).await;
    assert_eq!((&closed["status"], &closed["close_reason"]), (&json!("CLOSED"), &json!("user")));
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    assert_eq!(app.stock(SKU).await, before);
    let at_channel = &app.channel_payments().await[0];
    assert_eq!(
        (&at_channel["out_trade_no"], &at_channel["trade_state"]),
        (&payment["out_trade_no"], &json!("CLOSED"))
    );
    app.finish_money().await;
}

#[tokio::test]
async fn a_close_whose_answer_is_lost_is_proved_by_asking() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, _, coupon) = started(&app, &alice).await;
    app.fault_with(json!({ "kind": "error_after_work", "path": CLOSE })).await;
    alice.cancel(&order).await.ok();
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    app.finish_money().await;
}

/// A number whose prepay never arrived is closed at the channel, too: a query that finds nothing proves nothing.
#[tokio::test]
async fn an_attempt_that_the_channel_never_saw_is_closed_there_before_the_order_is() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.fault_with(json!({ "kind": "down", "path": "/v3/pay/transactions/jsapi" })).await;
    alice.try_payment(&order).await.refused(503, "payment_channel_unavailable");
    assert_eq!(alice.cancel(&order).await.ok()["status"], "CLOSING");
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    let closes = app.calls(CLOSE).await.into_iter().filter(|call| call["method"] == "POST");
    assert_eq!(closes.count(), 1);
    app.finish_money().await;
}

/// Edge case 1: the customer was in time.
#[tokio::test]
async fn an_order_closing_by_timeout_that_turns_out_paid_is_paid() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, _, coupon) = started(&app, &alice).await;
    app.fault("pay_during_close", 1).await;
    app.advance_minutes(30);
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["on_hold"]), (&json!("PAID"), &json!(false)));
    assert!(seen["close_reason"].is_null(), "{seen}");
    assert_eq!(app.moves(&order, "closing").await, 1, "it was closing before");
    assert_eq!(app.coupon_status(&coupon).await, "USED");
    assert_eq!(alice.refunds(&order).await.len(), 0);
    app.ship(&order, &[]).await.expect("nothing holds it back");
    app.finish_money().await;
}

/// Edge case 1: cancelled and paid at the same moment.
#[tokio::test]
async fn an_order_closing_by_its_customer_that_turns_out_paid_is_held_and_refunded_with_its_coupon() {
    let app = TestApp::with(|config| config.coupons.return_before_shipping = false).await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let (order, _, coupon) = started(&app, &alice).await;
    app.fault("pay_during_close", 1).await;
    app.fault("refund_pending", 1).await;
    assert_eq!(alice.cancel(&order).await.ok()["status"], "CLOSING");
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["on_hold"]), (&json!("PAID"), &json!(true)));
    assert_eq!(app.coupon_status(&coupon).await, "USED");
    let refused = app.ship(&order, &[]).await.expect_err("it is on hold");
    assert_eq!(refused.code().code, "order_not_shippable");
    let refunds = alice.refunds(&order).await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(refunds[0]["amount"], order["payable"]);
    app.channel_ends_refund("SUCCESS").await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["on_hold"]), (&json!("CLOSED"), &json!(false)));
    assert_eq!((&seen["close_reason"], &seen["refund_status"]), (&json!("refunded"), &json!("FULL")));
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED", "it always comes back");
    assert_eq!(app.stock(SKU).await, before);
    app.finish_money().await;
}

#[tokio::test]
async fn a_customer_who_asks_for_the_refund_of_a_held_order_first_does_not_poison_its_event() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, payment, coupon) = started(&app, &alice).await;
    app.pay_at_wechat(&payment).await;
    assert_eq!(alice.cancel(&order).await.ok()["status"], "CLOSING");
    // The notice is settled, and the event that asks for the refund waits.
    app.sandbox.tick().await;
    app.ctx.bus.set_available(false);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["on_hold"], true);
    app.fault("refund_pending", 1).await;
    alice.refund(&order).await;
    app.ctx.bus.set_available(true);
    app.live_through_minutes(12).await;
    assert_eq!(app.number("SELECT COUNT(*) FROM deliveries WHERE state <> 'DONE'").await, 0);
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    assert_eq!(alice.refunds(&order).await.len(), 1);
    app.finish_money().await;
}

#[tokio::test]
async fn a_channel_that_stays_away_is_tried_with_pauses_and_alerted_until_it_answers() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, _, coupon) = started(&app, &alice).await;
    app.fault_with(json!({ "kind": "down", "times": 1_000, "path": CLOSE })).await;
    alice.cancel(&order).await.ok();
    app.live_through_minutes(12).await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSING");
    assert_eq!(app.coupon_status(&coupon).await, "LOCKED");
    assert_eq!(app.alerts("payment_not_closed").await, 1);
    assert_eq!(app.moves(&order, "channel_unreachable").await, 1);
    app.no_faults().await;
    app.live_through_minutes(2).await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    assert_eq!(app.alerts("payment_not_closed").await, 0, "answered");
    app.finish_money().await;
}

/// Edge case 2.
#[tokio::test]
async fn money_that_comes_after_the_order_was_closed_goes_back_in_full() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let (order, payment, coupon) = started(&app, &alice).await;
    app.fault_with(json!({ "kind": "notify_delay", "delay_ms": 60_000 })).await;
    app.pay_at_wechat(&payment).await;
    alice.cancel(&order).await.ok();
    app.give_up_attempt(&order).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.live_through_minutes(1).await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["pay_status"]), (&json!("CLOSED"), &json!("UNPAID")));
    assert_eq!((minor(&seen["paid"]), minor(&seen["refunded"])), (0, 0), "nothing of the order's counters");
    assert_eq!(seen["close_reason"], "user");
    assert_eq!(app.attempts(&order).await, ["ORPHAN"]);
    assert_eq!(app.moves(&order, "payment_orphaned").await, 1);
    let refunds = alice.refunds(&order).await;
    assert_eq!((&refunds[0]["kind"], &refunds[0]["status"]), (&json!("ORPHAN"), &json!("SUCCEEDED")));
    assert_eq!((refunds.len(), &refunds[0]["amount"]), (1, &order["payable"]));
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    assert_eq!(app.stock(SKU).await, before);
    app.finish_money().await;
}

/// Edge case 13: nothing but the timed event acts here; no test runs the sweep by itself.
#[tokio::test]
async fn the_timed_event_cancels_at_the_deadline_without_any_sweep() {
    let app = TestApp::with(|config| config.sweep.enabled = false).await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let coupon = app.coupon(&alice, 1_000).await;
    let order = alice.order_with(&[(SKU, 1)], &[&coupon]).await;
    app.advance_ms(30 * 60_000 - 1);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    app.advance_ms(1);
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["close_reason"]), (&json!("CLOSED"), &json!("timeout")));
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    assert_eq!(app.stock(SKU).await, before);
    app.finish().await;
}

/// Edge case 13: lost.
#[tokio::test]
async fn the_sweep_cancels_what_a_lost_deadline_message_left_behind() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let paying = alice.order(&[(SKU, 1)]).await;
    alice.start_payment(&paying).await;
    assert_eq!(app.execute("DELETE FROM outbox WHERE event = 'PaymentDeadline'").await, 2);
    app.advance_minutes(30);
    app.drain().await;
    app.app.sweep().await.expect("a sweep");
    assert_eq!(
        alice.get_order(&order).await["status"],
        "PENDING_PAYMENT",
        "the message has two minutes of its own"
    );
    app.advance_minutes(2);
    app.app.sweep().await.expect("a sweep");
    app.drain().await;
    for order in [&order, &paying] {
        let seen = alice.get_order(order).await;
        assert_eq!((&seen["status"], &seen["close_reason"]), (&json!("CLOSED"), &json!("timeout")));
    }
    app.finish().await;
}

/// Edge case 13: late, and then twice.
#[tokio::test]
async fn a_late_or_repeated_deadline_message_finds_nothing_to_do() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.drain().await;
    app.ctx.bus.set_available(false);
    app.advance_minutes(32);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    app.app.sweep().await.expect("a sweep");
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.ctx.bus.set_available(true);
    app.drain().await;
    for _ in 0..3 {
        let again = "UPDATE deliveries SET state = 'PENDING' WHERE subscription = 'orders.payment-deadline'";
        assert_eq!(app.execute(again).await, 1);
        app.drain().await;
    }
    assert_eq!(app.moves(&order, "cancelled").await, 1);
    app.finish().await;
}

/// Edge case 13: early.
#[tokio::test]
async fn an_early_deadline_message_is_staged_again_for_its_time() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    // The message of the right time is lost, and one comes too early.
    app.execute("DELETE FROM outbox WHERE event = 'PaymentDeadline'").await;
    let early =
        Event::PaymentDeadline { order_id: order["id"].as_str().expect("an id").parse().expect("an id") };
    let (ctx, early) = (&app.ctx, &early);
    let staged = ctx.db.write(|tx| {
        Box::pin(async move { bus::stage(tx, ctx, early, Staged::At(ctx.clock.now_ms())).await })
    });
    staged.await.expect("staged");
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    app.advance_minutes(30);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish().await;
}

#[tokio::test]
async fn a_cancelled_order_can_be_ordered_and_paid_anew() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (order, _, coupon) = started(&app, &alice).await;
    alice.cancel(&order).await.ok();
    app.drain().await;
    let again = alice.order_with(&[(SKU, 1)], &[&coupon]).await;
    let payment = alice.start_payment(&again).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&again).await["status"], "PAID");
    assert_eq!(app.coupon_status(&coupon).await, "USED");
    app.finish_money().await;
}

#[tokio::test]
async fn a_cancelled_order_hands_out_nothing_to_pay_even_before_the_channel_is_asked() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let key = fresh_key();
    alice.pay_with_key(&order, &key).await.ok();
    app.ctx.bus.set_available(false);
    assert_eq!(alice.cancel(&order).await.ok()["status"], "CLOSING");
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["PREPAID"], "nobody has told payments yet");
    alice.pay_with_key(&order, &key).await.refused(409, "order_not_payable");
    alice.try_payment(&order).await.refused(409, "order_not_payable");
    app.ctx.bus.set_available(true);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish_money().await;
}
