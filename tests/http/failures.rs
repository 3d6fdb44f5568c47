//! What stands around the shop fails: the bus, the kv tier, a message, another node's clock.

use std::sync::atomic::{AtomicU32, Ordering};

use minimall::app::App;
use minimall::config::WechatMode;
use minimall::events::Event;
use minimall::kernel::{AttemptId, Clock, Cursor, Id, Limit, OrderId};
use minimall::orders;
use minimall::platform::bus;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ONLINE_STORE, SKU, TestApp};

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_not_kept() {
    let app = TestApp::with(|config| config.server.request_timeout_ms = 100).await;
    let server = app.url.strip_prefix("http://").expect("an address");
    let mut client = TcpStream::connect(server).await.expect("connected");
    // The rest of the body never comes.
    let head = "POST /api/v1/sessions HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n";
    client.write_all(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4_096];
    let mut count = 0;
    while !String::from_utf8_lossy(&answer[..count]).contains("}") {
        count += client.read(&mut answer[count..]).await.expect("an answer");
    }
    let answer = String::from_utf8_lossy(&answer[..count]).to_lowercase();
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains(r#""code":"unavailable""#), "{answer}");
    app.finish().await;
}

/// A node of the version before is started again, or comes back, when the next one has migrated already.
#[tokio::test]
async fn a_node_starts_beside_migrations_of_a_newer_version() {
    let app = TestApp::new().await;
    app.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of a newer version', TRUE, X'00', 0)",
    )
    .await;
    let node = other_node(&app, 0).await;
    assert!(node.ctx.db.is_migrated().await);
    // What it does not have itself is missing all the same.
    app.execute("DELETE FROM _sqlx_migrations WHERE version = 1").await;
    assert!(!node.ctx.db.is_migrated().await);
    app.finish().await;
}

/// Edge case 31.
#[tokio::test]
async fn with_the_bus_down_orders_are_placed_and_their_events_wait() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.drain().await;
    app.ctx.bus.set_available(false);
    let order = alice.order(&[(SKU, 1)]).await;
    app.advance_minutes(2);
    app.drain().await;
    let now_ms = app.ctx.clock.now_ms();
    let lag_ms = bus::lag_ms(&mut app.ctx.db.reader().await.expect("a reader"), now_ms).await.expect("a lag");
    assert_eq!(lag_ms, 120_000, "the lag shows it");
    app.ctx.bus.set_available(true);
    app.drain().await;
    let lag_ms = bus::lag_ms(&mut app.ctx.db.reader().await.expect("a reader"), now_ms).await.expect("a lag");
    assert_eq!(lag_ms, 0);
    app.advance_minutes(28);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED", "its deadline was kept");
    app.finish().await;
}

/// Edge case 32.
#[tokio::test]
async fn with_the_bus_down_a_refund_stays_processing_and_settles_once_when_it_is_back() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let coupon = app.coupon(&alice, 1_000).await;
    let order = alice.order_with(&[(SKU, 1)], &[&coupon]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let before = app.stock(SKU).await;
    app.ctx.bus.set_available(false);
    alice.refund(&order).await;
    for round in 1..=4 {
        app.drain().await;
        assert_eq!(app.channel_refunds().await[0]["status"], "SUCCESS", "the channel has paid");
        assert_eq!(alice.refunds(&order).await[0]["status"], "PROCESSING");
        let seen = alice.get_order(&order).await;
        assert_eq!((&seen["status"], &seen["refunded"]["amount"]), (&json!("PAID"), &json!(0)));
        assert_eq!(app.stock(SKU).await, before);
        assert_eq!(app.coupon_status(&coupon).await, "USED");
        assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'").await, 0);
        let tried =
            app.number("SELECT MAX(attempts) FROM inbox WHERE kind = 'refund' AND state = 'NEW'").await;
        assert!(tried >= round, "the stored notice is tried again: {tried}");
        app.advance_minutes(1);
    }
    app.check().await;
    app.ctx.bus.set_available(true);
    app.live_through_minutes(1).await;
    assert_eq!(alice.refunds(&order).await[0]["status"], "SUCCEEDED");
    assert_eq!(app.coupon_status(&coupon).await, "UNUSED");
    assert_eq!(app.moves(&order, "refund_ended").await, 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'").await, 1);
    app.finish_money().await;
}

/// Edge case 32, the bus's own contract.
#[tokio::test]
async fn a_refused_half_message_does_not_call_its_transaction() {
    let app = TestApp::new().await;
    let called = AtomicU32::new(0);
    let (ctx, called) = (&app.ctx, &called);
    let event = &Event::RefundSettled {
        refund_id: ctx.new_id(),
        order_id: ctx.new_id(),
        user_id: ctx.new_id(),
        whole: false,
        return_coupon: false,
        compensation_template: None,
    };
    let send = || {
        ctx.bus.in_transaction(ctx, event, |_| {
            Box::pin(async move {
                called.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        })
    };
    ctx.bus.set_available(false);
    let refused = send().await.expect_err("the bus is down");
    assert_eq!(refused.code().code, "bus_unavailable");
    assert_eq!(called.load(Ordering::SeqCst), 0);
    let staged = "SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'";
    assert_eq!(app.number(staged).await, 0);
    ctx.bus.set_available(true);
    send().await.expect("sent");
    assert_eq!(called.load(Ordering::SeqCst), 1);
    assert_eq!(app.number(staged).await, 1);
    app.finish().await;
}

async fn parked(app: &TestApp) -> Vec<bus::DeadLetter> {
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let limit = Limit::parse(None).expect("a limit");
    bus::dead_letters(conn, &bus::Wanted::default(), None::<&Cursor>, limit).await.expect("a list").items
}

/// The poison reaches everybody who subscribes; the tests look at one of them.
async fn poisoned(app: &TestApp) -> Vec<bus::DeadLetter> {
    let mut letters = parked(app).await;
    letters.retain(|letter| letter.subscription == "refunds.orphan");
    letters
}

async fn replay(app: &TestApp, letter: &bus::DeadLetter) {
    let (ctx, id, subscription) = (&app.ctx, &letter.event_id, letter.subscription.as_str());
    let replayed = ctx.db.write(|tx| Box::pin(async move { bus::replay(tx, ctx, id, subscription).await }));
    replayed.await.expect("replayed");
}

/// Edge case 33.
#[tokio::test]
async fn a_message_that_nobody_can_read_is_a_dead_letter_that_can_be_replayed() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.drain().await;
    let order = alice.order(&[(SKU, 1)]).await;
    let id = order["id"].as_str().expect("an id");
    let body = app.texts("SELECT body FROM outbox WHERE event = 'PaymentDeadline'").await.remove(0);
    app.execute("UPDATE outbox SET body = '{\"event\":' WHERE event = 'PaymentDeadline'").await;
    app.advance_minutes(30);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PENDING_PAYMENT");
    let letters = parked(&app).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].subscription.as_str(), letters[0].event.as_str()),
        ("orders.payment-deadline", "PaymentDeadline")
    );
    assert!(letters[0].error.contains("can't be read"), "{}", letters[0].error);
    assert!(body.contains(id));
    app.execute(&format!("UPDATE outbox SET body = '{body}' WHERE event = 'PaymentDeadline'")).await;
    replay(&app, &letters[0]).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    assert!(parked(&app).await.is_empty());
    app.finish().await;
}

/// Stages an event that its handler can't work off: an orphaned payment that does not exist.
async fn stage_poison(app: &TestApp, order: &Value) {
    let id: OrderId = order["id"].as_str().expect("an id").parse().expect("an id");
    let (ctx, id) = (&app.ctx, &id);
    let staged = ctx.db.write(|tx| {
        Box::pin(async move {
            let mut order = orders::hold(tx, id).await?;
            let event = Event::PaymentOrphaned {
                order_id: id.clone(),
                user_id: order.user_id.clone(),
                attempt_id: AttemptId::from_tail(&"z".repeat(26)),
            };
            orders::stage(tx, ctx, &mut order, event).await
        })
    });
    staged.await.expect("staged");
}

/// Edge cases 33 and 34.
#[tokio::test]
async fn a_poison_message_is_retried_with_pauses_holds_its_order_back_and_then_parks() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (order, other) = (alice.order(&[(SKU, 1)]).await, bob.order(&[(SKU, 1)]).await);
    app.drain().await;
    stage_poison(&app, &order).await;
    stage_poison(&app, &order).await;
    let tries =
        "SELECT CAST(attempts AS CHAR) FROM deliveries WHERE subscription = 'refunds.orphan' ORDER BY seq";
    app.drain().await;
    assert_eq!(app.texts(tries).await, ["1", "0"], "the second waits behind the first");
    app.drain().await;
    assert_eq!(app.texts(tries).await, ["1", "0"], "not before its pause is over");
    // Another order is not held back.
    assert_eq!(bob.cancel(&other).await.ok()["status"], "CLOSED");
    app.live_through_minutes(20).await;
    let letters = poisoned(&app).await;
    assert_eq!(letters.len(), 2, "each is given up after its tries");
    assert!(letters.iter().all(|letter| letter.attempts == app.ctx.config.bus.attempts_max));
    replay(&app, &letters[1]).await;
    app.drain().await;
    assert_eq!(
        app.number(
            "SELECT COUNT(*) FROM deliveries WHERE state = 'PENDING' AND subscription = 'refunds.orphan'"
        )
        .await,
        1,
        "it is tried anew"
    );
    let (ctx, id) = (&app.ctx, &letters[0].event_id);
    let discarded =
        ctx.db.write(|tx| Box::pin(async move { bus::discard(tx, ctx, id, "refunds.orphan").await }));
    discarded.await.expect("discarded");
    app.live_through_minutes(9).await;
    assert_eq!(poisoned(&app).await.len(), 1, "and parked again");
    app.finish().await;
}

/// Edge case 34: two events of one order come in their order, whatever their ids say.
#[tokio::test]
async fn events_of_one_order_keep_their_order_and_a_replayed_one_goes_straight() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    alice.start_payment(&order).await;
    app.drain().await;
    stage_poison(&app, &order).await;
    app.drain().await;
    // The order goes on for everybody else who listens: only this subscription waits.
    alice.cancel(&order).await.ok();
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.live_through_minutes(9).await;
    let letters = poisoned(&app).await;
    assert_eq!(letters.len(), 1);
    replay(&app, &letters[0]).await;
    let straight =
        "SELECT COUNT(*) FROM deliveries WHERE subscription = 'refunds.orphan' AND fifo_key IS NULL";
    assert_eq!(app.number(straight).await, 1);
    app.live_through_minutes(9).await;
    app.finish().await;
}

/// Edge case 39.
#[tokio::test]
async fn with_the_kv_tier_down_the_whole_story_goes_on() {
    let app = TestApp::new().await;
    app.ctx.kv.set_available(false);
    let alice = app.user("alice").await;
    app.drain().await;
    let before = app.stock(SKU).await;
    alice.client.get("/api/v1/stores").await.ok();
    alice.client.get(&format!("/api/v1/products?store_id={ONLINE_STORE}")).await.ok();
    alice.put_in_cart(SKU, 2).await;
    let coupon = app.coupon(&alice, 1_000).await;
    let cancelled = alice.order(&[(SKU, 1)]).await;
    alice.cancel(&cancelled).await.ok();
    let order = alice.order_with(&[(SKU, 2)], &[&coupon]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    assert!(alice.cart().await.is_empty());
    alice.try_payment(&order).await.refused(409, "order_already_paid");
    alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.drain().await;
    app.ship(&order, &[]).await.expect("shipped");
    assert_eq!(alice.get_order(&order).await["status"], "SHIPPED");
    let back = alice.refund(&order).await;
    app.approve(&back, Some(true)).await.expect("approved");
    app.live_through_minutes(1).await;
    assert_eq!(alice.get_order(&order).await["refunded"], order["payable"]);
    assert_eq!(app.stock(SKU).await, before);
    app.finish_money().await;
}

/// Edge case 39: nothing fails open, and a lost gate changes nothing.
#[tokio::test]
async fn a_kv_tier_that_goes_and_comes_back_lets_nothing_through_twice() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.ctx.kv.set_available(false);
    app.drain().await;
    app.ctx.kv.set_available(true);
    alice.try_payment(&order).await.refused(409, "order_already_paid");
    assert_eq!(app.attempts(&order).await, ["SUCCEEDED"]);
    app.finish_money().await;
}

/// A second node on the same database and the same channel, whose clock is ahead of ours.
async fn other_node(app: &TestApp, ahead_ms: i64) -> App {
    let mut config = app.ctx.config.clone();
    config.server.listen = "127.0.0.1:0".to_owned();
    config.wechat.mode = WechatMode::Live;
    let clock = Clock::manual(app.ctx.clock.now_ms() + ahead_ms);
    App::build(config, clock).await.expect("a second node")
}

/// Edge case 40: another node, whose clock is ahead, thinks that the time to pay is over.
#[tokio::test]
async fn a_node_whose_clock_is_ahead_cannot_close_what_was_paid_nor_refund_twice() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (paid, unpaid) = (alice.order(&[(SKU, 1)]).await, alice.order(&[(SKU, 1)]).await);
    let payment = alice.start_payment(&paid).await;
    app.live_through_minutes(27).await;
    let ahead = other_node(&app, 4 * 60_000).await;
    app.fault_with(json!({ "kind": "notify_delay", "delay_ms": 30_000 })).await;
    app.pay_at_wechat(&payment).await;
    // By its clock both are overdue: one is closed, the other turns out to be paid.
    for _ in 0..6 {
        ahead.tick().await.expect("background work");
    }
    assert_eq!(alice.get_order(&unpaid).await["status"], "CLOSED");
    assert_eq!(alice.get_order(&paid).await["status"], "PAID");
    app.live_through_minutes(1).await;
    ahead.sweep().await.expect("a sweep");
    alice.refund(&paid).await;
    for _ in 0..4 {
        let (there, ()) = tokio::join!(ahead.tick(), app.drain());
        there.expect("background work");
    }
    app.live_through_minutes(2).await;
    assert_eq!(alice.refunds(&paid).await[0]["status"], "SUCCEEDED");
    assert_eq!(app.channel_refunds().await.len(), 1);
    assert_eq!(app.moves(&paid, "payment_succeeded").await, 1);
    app.finish_money().await;
}
