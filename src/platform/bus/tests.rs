//! What consumers do with messages, without a broker: the outbox decides, whatever arrives, and how often.

use std::sync::{Arc, Mutex};

use super::{DeliveryState, Envelope, Handled, Staged, Subscription, outbox, sql};
use crate::events::Event;
use crate::kernel::{Failure, OrderId, UserId};
use crate::platform::ctx::Ctx;
use crate::platform::test_db::{NOW_MS, TestDb};

const TAKER: &str = "tests.orders";

/// What handlers were called with, and what they are to say.
#[derive(Default)]
struct Seen {
    events: Vec<String>,
    fail: Vec<&'static str>,
}

struct World {
    ctx: Ctx,
    seen: Arc<Mutex<Seen>>,
    order: OrderId,
    /// Its folder lives as long as this.
    _db: Option<TestDb>,
}

impl World {
    async fn new() -> Self {
        let db = TestDb::new(&[]).await;
        let ctx = db.ctx.clone();
        let seen = Arc::<Mutex<Seen>>::default();
        let handled = seen.clone();
        let taker = Subscription::new(TAKER, &["OrderPlaced", "OrderPaid", "OrderClosed"], move |ctx, d| {
            let seen = handled.clone();
            Box::pin(async move {
                if seen.lock().unwrap().fail.contains(&d.event.name()) {
                    return Err(Failure::internal("handling", "told to fail"));
                }
                let first =
                    ctx.db.write(|tx| Box::pin(async move { d.begin(tx, ctx.clock.now_ms()).await })).await?;
                if first {
                    seen.lock().unwrap().events.push(d.event.name().to_owned());
                }
                Ok(Handled::Done)
            })
        });
        ctx.bus.subscribe(&ctx, vec![taker]);
        Self { order: ctx.new_id(), ctx, seen, _db: Some(db) }
    }

    /// An event of the order that was sent to the broker, as its message.
    async fn sent(&self, event: Event, seq: i64) -> Envelope {
        let how = Staged::InOrder { key: self.order.as_str(), seq };
        let row = sql::NewEvent {
            state: "SENT",
            expected_ms: Some(NOW_MS),
            ..outbox::row(&self.ctx, &event, how).unwrap()
        };
        let row = &row;
        self.ctx.db.write(|tx| Box::pin(async move { outbox::insert(tx, row).await })).await.unwrap();
        Envelope::of_new(row)
    }

    async fn story(&self) -> [Envelope; 3] {
        let (order_id, user_id) = (self.order.clone(), self.ctx.new_id::<UserId>());
        let placed = Event::OrderPlaced { order_id: order_id.clone(), user_id: user_id.clone() };
        let paid = Event::OrderPaid { order_id: order_id.clone(), user_id: user_id.clone() };
        let closed = Event::OrderClosed { order_id, user_id, reason: "refunded".to_owned() };
        [self.sent(placed, 1).await, self.sent(paid, 2).await, self.sent(closed, 3).await]
    }

    async fn receive(&self, message: &Envelope) {
        self.ctx.bus.receive(&self.ctx, message).await.unwrap();
    }

    async fn states(&self, message: &Envelope) -> Vec<(String, DeliveryState)> {
        sql::deliveries_of(&mut self.ctx.db.reader().await.unwrap(), &message.id).await.unwrap()
    }

    /// Rows that wait are delivered, also those whose pause must end first.
    async fn settle(&self) {
        for _ in 0..20 {
            while self.ctx.bus.deliver_due(&self.ctx).await.unwrap() > 0 {}
            self.ctx.clock.advance(60_000);
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().events.clone()
    }

    fn fail(&self, events: &[&'static str]) {
        self.seen.lock().unwrap().fail = events.to_vec();
    }
}

#[tokio::test]
async fn a_message_that_comes_again_is_handled_once() {
    let world = World::new().await;
    let [placed, ..] = world.story().await;
    for _ in 0..3 {
        world.receive(&placed).await;
    }
    assert_eq!(world.seen(), ["OrderPlaced"]);
    assert_eq!(world.states(&placed).await, [(TAKER.to_owned(), DeliveryState::Done)]);
}

#[tokio::test]
async fn a_message_that_overtook_others_waits_until_they_were_handled_from_the_outbox() {
    let world = World::new().await;
    let [_, paid, closed] = world.story().await;
    world.receive(&closed).await;
    assert_eq!(world.seen(), Vec::<String>::new());
    world.settle().await;
    assert_eq!(world.seen(), ["OrderPlaced", "OrderPaid", "OrderClosed"]);
    world.receive(&paid).await;
    assert_eq!(world.seen().len(), 3, "the message that was overtaken changes nothing any more");
}

#[tokio::test]
async fn what_fails_holds_back_its_own_order_only_and_is_tried_again() {
    let world = World::new().await;
    let [placed, paid, closed] = world.story().await;
    let other =
        World { order: world.ctx.new_id(), ctx: world.ctx.clone(), seen: world.seen.clone(), _db: None };
    let [other_placed, ..] = other.story().await;
    world.receive(&placed).await;
    world.fail(&["OrderPaid"]);
    world.receive(&paid).await;
    world.receive(&closed).await;
    world.receive(&other_placed).await;
    assert_eq!(world.seen(), ["OrderPlaced", "OrderPlaced"]);
    world.fail(&[]);
    world.settle().await;
    assert_eq!(world.seen(), ["OrderPlaced", "OrderPlaced", "OrderPaid", "OrderClosed"]);
}

#[tokio::test]
async fn a_poison_message_is_parked_after_its_tries_and_the_order_goes_on() {
    let world = World::new().await;
    let [placed, paid, closed] = world.story().await;
    world.fail(&["OrderPaid"]);
    for message in [&placed, &paid, &closed] {
        world.receive(message).await;
    }
    world.settle().await;
    assert_eq!(world.states(&paid).await, [(TAKER.to_owned(), DeliveryState::Parked)]);
    assert_eq!(world.seen(), ["OrderPlaced", "OrderClosed"]);
}

#[tokio::test]
async fn an_event_that_this_version_does_not_know_is_kept_and_shown() {
    let world = World::new().await;
    let [placed, ..] = world.story().await;
    let newer = Envelope { name: "OrderGiftWrapped".to_owned(), ..placed.clone() };
    world.receive(&newer).await;
    world.receive(&newer).await;
    assert_eq!(world.states(&newer).await, [("unknown-event".to_owned(), DeliveryState::Parked)]);
    assert_eq!(world.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn an_event_whose_body_this_version_can_not_read_is_a_dead_letter_of_its_subscription() {
    let world = World::new().await;
    let [placed, ..] = world.story().await;
    world
        .receive(&Envelope { body: r#"{"event":"OrderPlaced","order":7}"#.to_owned(), ..placed.clone() })
        .await;
    assert_eq!(world.states(&placed).await, [(TAKER.to_owned(), DeliveryState::Parked)]);
}

#[tokio::test]
async fn an_unreadable_message_is_kept_by_its_key() {
    let world = World::new().await;
    let [placed, ..] = world.story().await;
    world.ctx.bus.keep_unreadable(&world.ctx, placed.id.as_str(), "not JSON").await.unwrap();
    assert_eq!(world.states(&placed).await, [("unknown-event".to_owned(), DeliveryState::Parked)]);
}

#[tokio::test]
async fn events_that_were_sent_and_never_came_are_seen_in_the_outbox() {
    let world = World::new().await;
    let [placed, ..] = world.story().await;
    world.receive(&placed).await;
    assert_eq!(world.ctx.bus.in_flight(&world.ctx).await.unwrap(), 2);
    let (missing, end) =
        world.ctx.bus.undelivered(&world.ctx, (NOW_MS - 1, String::new()), NOW_MS).await.unwrap();
    assert_eq!(missing.len(), 2);
    let (missing, _) = world.ctx.bus.undelivered(&world.ctx, end.unwrap(), NOW_MS).await.unwrap();
    assert!(missing.is_empty(), "what was looked at is not looked at again");
}

/// The messages of every released version, one a line, in `tests/events`.
#[test]
fn messages_of_every_released_version_are_readable() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/events");
    let mut names = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let envelope: Envelope =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{path:?}: {e}: {line}"));
            let event: Event = serde_json::from_str(&envelope.body)
                .unwrap_or_else(|e| panic!("{path:?}: {e}: {}", envelope.body));
            assert_eq!(event.name(), envelope.name);
            names.insert(envelope.name);
        }
    }
    let missing: Vec<_> = Event::NAMES.iter().filter(|name| !names.contains(**name)).collect();
    assert!(missing.is_empty(), "tests/events has no message of {missing:?}");
}
