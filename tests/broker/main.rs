//! The bus on a real RocketMQ broker, which `tests/services` starts: what only a broker can show. Everything else
//! that the bus promises is tested without one, and the whole suite runs through one, too.
//!
//! Without `MINIMALL_TEST_ROCKETMQ` these tests say that they were skipped.

#![recursion_limit = "512"]

mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use minimall::events::Event;
use minimall::kernel::{CouponTemplateId, Id, OrderId, RefundId, SessionId, UserId};
use minimall::platform::bus::{self, BusState, Staged};
use minimall::telemetry::Stopwatch;
use node::{Node, Recorder, broker, database_server, eventually, prefix};
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::Notify;

fn user() -> UserId {
    UserId::from_tail(&format!("{:0>26}", 7))
}

fn settled(order: &OrderId, n: u32) -> Event {
    Event::RefundSettled {
        refund_id: RefundId::from_tail(&format!("{n:0>26}")),
        order_id: order.clone(),
        user_id: user(),
        whole: true,
        return_coupon: false,
        compensation_template: None::<CouponTemplateId>,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_message_is_seen_when_its_transaction_committed_and_never_when_it_failed() {
    let Some(_broker) = broker() else { return };
    let recorder = Recorder::default();
    let node = Node::start(&prefix("half"), "one", &recorder).await;
    let order: OrderId = node.ctx.new_id();
    let (kept, lost) = (settled(&order, 1), settled(&order, 2));
    let failed: minimall::kernel::Result<()> = node
        .ctx
        .bus
        .in_transaction(&node.ctx, &lost, |_| {
            Box::pin(async { Err(minimall::kernel::Failure::internal("the test", "says no")) })
        })
        .await;
    assert!(failed.is_err());
    node.ctx.bus.in_transaction(&node.ctx, &kept, |_| Box::pin(async { Ok(()) })).await.expect("committed");
    recorder.wait_for(1).await;
    // The broker asks for half messages that nobody ended within seconds: nothing may come of the failed one.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(recorder.events(), [kept]);
    node.stop().await;
}

/// The broker asks while the local transaction is still at work: whoever writes the marker first is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_back_that_comes_before_the_commit_ends_the_transaction() {
    let (Some(_broker), Some(server)) = (broker(), database_server()) else { return };
    let recorder = Recorder::default();
    let node = Node::on_server(&prefix("early"), "one", &recorder, &server).await;
    let event = settled(&node.ctx.new_id(), 1);
    node.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)").await;
    let (asked, db) = (Arc::new(Notify::new()), node.ctx.db.clone());
    let tell = asked.clone();
    tokio::spawn(async move {
        eventually("the broker asks", || async {
            let mut conn = db.reader().await.expect("a reader");
            let row = sqlx::query("SELECT 1 FROM outbox WHERE state = 'ABORTED'").fetch_optional(&mut *conn);
            row.await.expect("an answer").is_some()
        })
        .await;
        tell.notify_one();
    });
    let asked = &asked;
    let refused = node
        .ctx
        .bus
        .in_transaction(&node.ctx, &event, |tx| {
            Box::pin(async move {
                tx.execute("INSERT INTO notes (id) VALUES (1)").await?;
                asked.notified().await;
                Ok(())
            })
        })
        .await;
    assert!(refused.is_err(), "it was told that the message will be seen");
    assert_eq!(node.count("SELECT COUNT(*) FROM notes").await, 0, "what the transaction wrote is undone");
    assert_eq!(node.count("SELECT COUNT(*) FROM outbox WHERE state <> 'ABORTED'").await, 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(recorder.events(), []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_broker_gone_the_local_transaction_is_not_begun_and_staged_events_wait() {
    let Some(broker) = broker() else { return };
    let recorder = Recorder::default();
    let node = Node::start(&prefix("gone"), "one", &recorder).await;
    broker.kill();
    let called = AtomicBool::new(false);
    let event = settled(&node.ctx.new_id(), 1);
    let refused = node
        .ctx
        .bus
        .in_transaction(&node.ctx, &event, |_| {
            called.store(true, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        })
        .await
        .expect_err("no broker");
    assert!(refused.is(&bus::HALF_REFUSED), "{refused}");
    assert!(!called.load(Ordering::SeqCst), "the local closure was called without a half message");
    let registered = Event::UserRegistered { user_id: user() };
    node.stage(&registered, Staged::Now).await;
    eventually("the bus knows that it is down", || async { node.ctx.bus.state() == BusState::Down }).await;
    assert_eq!(recorder.events(), []);
    // Long enough for the connects that fail to be more than the client's circuit breaker allows (trap 2): it would
    // refuse the broker for 30 s after it is back.
    tokio::time::sleep(Duration::from_secs(10)).await;
    broker.start().await;
    let back = Stopwatch::start();
    eventually("half messages are taken again", || async {
        node.ctx.bus.in_transaction(&node.ctx, &event, |_| Box::pin(async { Ok(()) })).await.is_ok()
    })
    .await;
    let took = back.elapsed();
    assert!(took < Duration::from_secs(20), "the broker was refused for {took:?} after it was back");
    recorder.wait_for(2).await;
    assert!(recorder.events().contains(&registered) && recorder.events().contains(&event));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_broker_lost_is_delivered_by_healing() {
    let Some(_broker) = broker() else { return };
    let recorder = Recorder::default();
    let node = Node::start(&prefix("lost"), "one", &recorder).await;
    let event = Event::UserRegistered { user_id: user() };
    let long_ago_ms = node.ctx.clock.now_ms() - 60_000;
    node.stage(&event, Staged::Now).await;
    recorder.wait_for(1).await;
    eventually("it counts as sent", || async {
        node.count("SELECT COUNT(*) FROM outbox WHERE state = 'SENT'").await == 1
    })
    .await;
    // As if it had been sent a minute ago, and nobody had ever got it.
    let (ctx, forget) = (&node.ctx, "DELETE FROM deliveries");
    let age = format!("UPDATE outbox SET expected_ms = {long_ago_ms} WHERE state = 'SENT'");
    let lose = ctx.db.write(|tx| {
        let age = AssertSqlSafe(age.clone());
        Box::pin(async move {
            tx.execute(forget).await?;
            tx.execute(age).await?;
            Ok(())
        })
    });
    lose.await.expect("lost");
    assert_eq!(ctx.bus.heal(ctx).await.expect("healed"), 1);
    recorder.wait_for(2).await;
    assert_eq!(recorder.events(), [event.clone(), event]);
    assert_eq!(ctx.bus.heal(ctx).await.expect("nothing is lost"), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_a_thousand_orders_come_in_order_though_a_consumer_starts_again() {
    let Some(_broker) = broker() else { return };
    const ORDERS: usize = 1_000;
    let recorder = Recorder::default();
    let prefix = prefix("fifo");
    let node = Node::start(&prefix, "one", &recorder).await;
    let orders: Vec<OrderId> = (0..ORDERS).map(|_| node.ctx.new_id()).collect();
    for order_id in &orders {
        let (order_id, user_id) = (order_id.clone(), user());
        let story = [
            Event::OrderPlaced { order_id: order_id.clone(), user_id: user_id.clone() },
            Event::OrderPaid { order_id: order_id.clone(), user_id: user_id.clone() },
            Event::OrderCompleted { order_id: order_id.clone(), user_id },
        ];
        for (event, seq) in story.iter().zip(1..) {
            node.stage(event, Staged::InOrder { key: order_id.as_str(), seq }).await;
        }
    }
    recorder.wait_for(ORDERS / 2).await;
    let database = node.stop_and_keep().await;
    let node = Node::restart(&prefix, "two", &recorder, database).await;
    recorder.wait_for(3 * ORDERS).await;
    for order in &orders {
        let names: Vec<&str> = recorder.events_of(order).iter().map(Event::name).collect();
        assert_eq!(names, ["OrderPlaced", "OrderPaid", "OrderCompleted"], "{order}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_reaches_each_of_three_nodes() {
    let Some(_broker) = broker() else { return };
    let prefix = prefix("cast");
    let recorders: [Recorder; 3] = Default::default();
    let mut nodes = Vec::new();
    for (number, recorder) in recorders.iter().enumerate() {
        nodes.push(Node::start(&prefix, &format!("node{number}"), recorder).await);
    }
    let event = Event::SessionRevoked { session_id: SessionId::from_tail(&format!("{:0>26}", 3)) };
    nodes[0].ctx.bus.broadcast(&nodes[0].ctx, event.clone()).await;
    for recorder in &recorders {
        recorder.wait_for(1).await;
        assert!(recorder.events().iter().all(|seen| *seen == event));
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timed_event_comes_at_its_time_though_the_broker_was_killed_in_between() {
    let Some(broker) = broker() else { return };
    let recorder = Recorder::default();
    let node = Node::start(&prefix("timed"), "one", &recorder).await;
    let order_id: OrderId = node.ctx.new_id();
    let due_ms = node.ctx.clock.now_ms() + 15_000;
    let event = Event::PaymentDeadline { order_id };
    node.stage(&event, Staged::At(due_ms)).await;
    eventually("the broker has it", || async {
        node.count("SELECT COUNT(*) FROM outbox WHERE state = 'SENT' AND kind = 'TIMED'").await == 1
    })
    .await;
    broker.kill();
    broker.start().await;
    recorder.wait_for(1).await;
    let late_ms = node.ctx.clock.now_ms() - due_ms;
    assert!(late_ms > -2_000, "{late_ms} ms is early");
    assert!(late_ms < 30_000, "{late_ms} ms is late: the broker starts in seconds, and goes on where it was");
    assert_eq!(recorder.events(), [event]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_handlers_wait_than_the_client_has_threads_by_default_and_none_is_repeated() {
    let Some(_broker) = broker() else { return };
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let recorder = Recorder::with(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Duration::from_millis(1_500)
    });
    let node = Node::start(&prefix("lane"), "one", &recorder).await;
    for _ in 0..120 {
        node.stage(&Event::UserRegistered { user_id: user() }, Staged::Now).await;
    }
    recorder.wait_for(120).await;
    assert_eq!(tries.load(Ordering::SeqCst), 120, "a message was repeated though its handler only took time");
    // The client's own lane runs twice as many as there are cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (at_once, may) = (recorder.at_once.load(Ordering::SeqCst), node.ctx.config.bus.parallel);
    assert!(at_once > 2 * cores && at_once <= may, "{at_once} handlers at once, of {may}");
    node.stop().await;
}

/// In how many queues of a topic a client has stored its place.
fn stored_queues(client: &str, topic: &str) -> usize {
    let folder = std::env::var("HOME").expect("a home") + "/.rocketmq_offsets";
    let mut folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mine = folders.find(|entry| entry.file_name().to_string_lossy().ends_with(&format!("@{client}")));
    let stored =
        mine.and_then(|mine| std::fs::read_to_string(mine.path().join(topic).join("offsets.json")).ok());
    stored.map_or(0, |text| text.matches("queueId").count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stores_how_far_it_has_heard_each_queue_of_the_broadcasts() {
    let Some(_broker) = broker() else { return };
    let prefix = prefix("stored");
    let recorder = Recorder::default();
    let node = Node::start(&prefix, "one", &recorder).await;
    let event = Event::SessionRevoked { session_id: SessionId::from_tail(&format!("{:0>26}", 3)) };
    node.ctx.bus.broadcast(&node.ctx, event).await;
    recorder.wait_for(1).await;
    // The client makes no folder for them (trap 3), and says nothing of it.
    eventually("its places in all queues are stored", || async {
        stored_queues(&format!("{prefix}-one"), &format!("{prefix}-sessions")) == 8
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_runs_when_the_node_stops_ends_first() {
    let Some(_broker) = broker() else { return };
    let recorder = Recorder::with(|_| Duration::from_secs(3));
    let started = recorder.started.clone();
    let node = Node::start(&prefix("stop"), "one", &recorder).await;
    node.stage(&Event::UserRegistered { user_id: user() }, Staged::Now).await;
    eventually("the handler runs", || async { started.load(Ordering::SeqCst) == 1 }).await;
    node.stop().await;
    assert_eq!(recorder.events().len(), 1, "the handler was abandoned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_of_one_host_share_the_work_and_starve_neither() {
    let Some(_broker) = broker() else { return };
    let prefix = prefix("pair");
    let (one, two) = (Recorder::default(), Recorder::default());
    let first = Node::start(&prefix, "one", &one).await;
    let second = Node::beside(&prefix, "two", &two, &first).await;
    eventually("both take part", || async {
        first.stage(&Event::UserRegistered { user_id: user() }, Staged::Now).await;
        !one.events().is_empty() && !two.events().is_empty()
    })
    .await;
    first.stop().await;
    second.stop().await;
}

#[test]
fn the_tests_of_the_broker_say_when_they_did_not_run() {
    if std::env::var("MINIMALL_TEST_ROCKETMQ").is_err() {
        eprintln!(
            "skipped: MINIMALL_TEST_ROCKETMQ is not set; run `tests/services cargo test --test broker`"
        );
    }
}
