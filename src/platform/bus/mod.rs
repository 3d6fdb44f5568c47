//! The bus port. One contract on every backend: an event is visible if and only if its transaction
//! committed, at least once, in order per key.
//!
//! Nearly everything is staged in the outbox, in the transaction that makes it true, and sent on by the
//! relay: embedded, straight into rows of `deliveries`; with RocketMQ, to a topic, whose consumers make
//! those rows. A handled delivery is a row of `deliveries`, written in the handler's own transaction: it
//! makes the handler idempotent, it is the retry and the dead letter, and it is what tests wait for.

mod dead_letters;
mod deliver;
mod heal;
mod inspect;
mod outbox;
mod receive;
mod relay;
#[cfg(feature = "rocketmq")]
mod rocketmq;
mod sql;
mod tries;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub use dead_letters::{
    DeadLetter, Wanted, discard, find as dead_letter, list as dead_letters, replay, replay_many,
};
pub use inspect::{
    StoredDelivery, StoredEvent, Waiting, deliveries, event, events_of_request, on_its_way, waiting,
    waiting_deliveries, waiting_events,
};
pub use outbox::{Staged, stage};
pub use receive::Envelope;
pub use sql::{count_parked, delete_old, lag_ms, overdue};
pub use tries::{TRIES_KEPT, Try, tries};

use super::ctx::Ctx;
use super::db::{BoxFuture, Tx};
use crate::config::{self, BusBackend};
use crate::events::Event;
use crate::kernel::{Clock, EventId, Failure, Millis, Result, codes, text_enum};

codes! {
    HALF_REFUSED: 503 "bus_unavailable" "The message bus does not take messages now. Nothing was done; it is tried again.";
    EVENT_NOT_FOUND: 404 "event_not_found" "There is no such event, or it was handled long ago and is forgotten.";
    DEAD_LETTER_NOT_FOUND: 404 "dead_letter_not_found" "There is no dead letter of this event and subscription.";
}

/// The shape in which events are written now. Older ones stay readable.
pub const SCHEMA_VERSION: i64 = 1;

text_enum! {
    /// Where a delivery stands.
    pub enum DeliveryState {
        Pending = "PENDING",
        Done = "DONE",
        /// Given up after the last try, or refused by its handler: a dead letter.
        Parked = "PARKED",
        /// Looked at by a person, who decided that it is not to be delivered.
        Discarded = "DISCARDED",
    }
}

/// How long a broadcast is waited for: its event is in the outbox, too.
#[cfg(feature = "rocketmq")]
const BROADCAST_WITHIN: std::time::Duration = std::time::Duration::from_millis(200);

/// What a handler says when it did not fail.
#[derive(Debug, PartialEq, Eq)]
pub enum Handled {
    Done,
    /// Not to be tried again: a person has to look. With the reason.
    Park(String),
}

/// An event on its way to one subscription.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: EventId,
    pub event: Event,
    pub subscription: &'static str,
    /// The request that caused the event.
    pub request_id: String,
    /// When the event was staged.
    pub created_ms: Millis,
    place: Place,
}

/// Where a delivery is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Its row waits for it.
    Row,
    /// It came as a message, and its row is to be written: by the handler's transaction, or after it.
    Message { fifo_key: Option<String>, seq: Option<i64>, due_ms: Millis },
    /// Nowhere: broadcasts reach every node, and the first node's row would silence the others.
    Nowhere,
}

impl Place {
    /// The row that a delivery which came as a message gets; none where it has one, or needs none.
    fn new_row<'a>(
        &'a self,
        event_id: &'a EventId,
        subscription: &'a str,
        state: DeliveryState,
        at_ms: Millis,
    ) -> Option<sql::NewDelivery<'a>> {
        let Self::Message { fifo_key, seq, due_ms } = self else { return None };
        let (fifo_key, seq, due_ms) = (fifo_key.as_deref(), *seq, *due_ms);
        let row = sql::NewDelivery {
            event_id,
            subscription,
            state,
            fifo_key,
            seq,
            attempts: 0,
            next_ms: at_ms,
            due_ms,
            error: None,
        };
        Some(row)
    }
}

impl Delivery {
    /// Marks the delivery as handled, in the handler's transaction. False: somebody was here first, and
    /// the handler changes nothing.
    ///
    /// # Errors
    /// The database.
    pub async fn begin(&self, tx: &mut Tx<'_>, now_ms: Millis) -> Result<bool> {
        match self.place.new_row(&self.id, self.subscription, DeliveryState::Done, now_ms) {
            Some(row) => sql::insert_delivery(tx, &row).await,
            None if self.place == Place::Row => sql::complete(tx, &self.id, self.subscription, now_ms).await,
            None => Ok(true),
        }
    }
}

/// A handler of events. It is safe to run twice: [`Delivery::begin`] says whether the work is still to do.
pub type Handler = Arc<dyn for<'x> Fn(&'x Ctx, &'x Delivery) -> BoxFuture<'x, Result<Handled>> + Send + Sync>;

/// Who takes which events. The list of all of them is in `app`.
#[derive(Clone)]
pub struct Subscription {
    /// Stable: it is the key of the delivery rows.
    pub name: &'static str,
    /// Names of events.
    pub events: &'static [&'static str],
    pub handler: Handler,
}

impl Subscription {
    pub fn new<F>(name: &'static str, events: &'static [&'static str], handler: F) -> Self
    where
        F: for<'x> Fn(&'x Ctx, &'x Delivery) -> BoxFuture<'x, Result<Handled>> + Send + Sync + 'static,
    {
        debug_assert!(
            events.iter().all(|event| Event::NAMES.contains(event)),
            "{name} takes an unknown event"
        );
        Self { name, events, handler: Arc::new(handler) }
    }

    fn takes(&self, event: &str) -> bool {
        self.events.contains(&event)
    }
}

/// How the bus is doing, for `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusState {
    /// Takes and delivers messages.
    Up,
    /// Connecting, or waiting for its first queues: a node that has just started.
    Starting,
    /// The broker does not answer: events wait in the outbox.
    Down,
}

/// The bus: its backend, and who listens.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    backend: Backend,
    node_name: String,
    subscriptions: OnceLock<Vec<Subscription>>,
    /// Up to where sent events were seen to have their deliveries.
    healed: Mutex<(Millis, String)>,
    up: AtomicBool,
}

enum Backend {
    /// Events go to the subscribers in this process.
    Embedded,
    #[cfg(feature = "rocketmq")]
    RocketMq(rocketmq::Node),
}

impl Bus {
    /// Opens the backend that the configuration names. A broker that does not answer is no error: it is
    /// looked for again, and events wait in the outbox meanwhile.
    ///
    /// # Errors
    /// A configuration that can't work.
    pub fn open(config: &config::Config, clock: &Clock) -> Result<Self> {
        let backend = match config.bus.backend {
            BusBackend::Embedded => Backend::Embedded,
            #[cfg(feature = "rocketmq")]
            BusBackend::Rocketmq => Backend::RocketMq(rocketmq::Node::open(config, clock)?),
            #[cfg(not(feature = "rocketmq"))]
            BusBackend::Rocketmq => {
                let what = "this program was built without RocketMQ (cargo feature `rocketmq`)";
                return Err(Failure::internal("opening the bus: bus.backend is \"rocketmq\"", what));
            }
        };
        Ok(Self(Arc::new(Inner {
            backend,
            node_name: node_name(config),
            subscriptions: OnceLock::new(),
            healed: Mutex::new((clock.now_ms() - heal::LOOK_BACK_MS, String::new())),
            up: AtomicBool::new(true),
        })))
    }

    /// Names the subscribers, and begins to listen. Called once, by `app`.
    pub fn subscribe(&self, ctx: &Ctx, subscriptions: Vec<Subscription>) {
        let first = self.0.subscriptions.set(subscriptions).is_ok();
        debug_assert!(first, "the list of subscriptions is given once");
        match &self.0.backend {
            Backend::Embedded => {}
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => node.listen(ctx),
        }
        let _ = ctx;
    }

    /// The name of this node.
    pub fn node_name(&self) -> &str {
        &self.0.node_name
    }

    fn subscriptions(&self) -> &[Subscription] {
        self.0.subscriptions.get().map_or(&[], Vec::as_slice)
    }

    fn takers<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Subscription> {
        self.subscriptions().iter().filter(move |subscription| subscription.takes(event))
    }

    /// Do several processes share the database, so that work is claimed before it is done?
    pub(in crate::platform) fn is_shared(&self) -> bool {
        !matches!(self.0.backend, Backend::Embedded)
    }

    /// Makes the backend refuse everything, as a broker that is down does, until it is set back.
    pub fn set_available(&self, up: bool) {
        self.0.up.store(up, Ordering::SeqCst);
    }

    /// Can events be sent now?
    pub fn is_available(&self) -> bool {
        self.state() == BusState::Up
    }

    pub fn state(&self) -> BusState {
        if !self.0.up.load(Ordering::SeqCst) {
            return BusState::Down;
        }
        match &self.0.backend {
            Backend::Embedded => BusState::Up,
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => node.state(),
        }
    }

    /// Sends what is due and makes the due deliveries. Answers how much was done.
    ///
    /// # Errors
    /// The database.
    pub async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        if !self.0.up.load(Ordering::SeqCst) {
            return Ok(0);
        }
        let sent = self.send_due(ctx).await?;
        let delivered = self.deliver_due(ctx).await?;
        Ok(sent + delivered)
    }

    /// When the next event or delivery is due.
    ///
    /// # Errors
    /// The database.
    pub async fn next_due(&self, ctx: &Ctx) -> Result<Option<Millis>> {
        let conn = &mut *ctx.db.reader().await?;
        let now_ms = ctx.clock.now_ms();
        let send = sql::next_send(conn, now_ms, self.timed_ahead_ms(ctx)).await?;
        let deliver = sql::next_delivery(conn).await?;
        Ok([send, deliver].into_iter().flatten().min())
    }

    /// Reaches every node; whoever needs it to survive a crash stages the same event, too.
    pub async fn broadcast(&self, ctx: &Ctx, event: Event) {
        // This node need not wait for the way through the broker, nor depend on it.
        self.deliver_broadcast(ctx, &event).await;
        match &self.0.backend {
            Backend::Embedded => {}
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => {
                let envelope = Envelope::of_broadcast(ctx, &event);
                let why = match tokio::time::timeout(BROADCAST_WITHIN, node.publish(&envelope)).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "the broker takes its time".to_owned(),
                };
                tracing::warn!("{} was not broadcast, the outbox sends it later: {why}", event.name());
            }
        }
    }

    /// The transactional message: `work` and the event become true together, or neither does. With the
    /// bus down `work` is not called at all.
    ///
    /// # Errors
    /// `bus_unavailable`, or what `work` answers; either way nothing is published.
    pub async fn in_transaction<'a, T, F>(&self, ctx: &'a Ctx, event: &'a Event, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
        T: Send,
    {
        if !self.0.up.load(Ordering::SeqCst) {
            return Err(Failure::new(&HALF_REFUSED));
        }
        match &self.0.backend {
            Backend::Embedded => {
                let row = outbox::row(ctx, event, Staged::Now)?;
                let attempt = || async {
                    let mut tx = ctx.db.begin().await?;
                    let worked = async {
                        let value = work(&mut tx).await?;
                        outbox::insert(&mut tx, &row).await?;
                        Ok(value)
                    };
                    let worked = worked.await;
                    ctx.db.end(tx, worked).await
                };
                ctx.db.retrying(attempt).await
            }
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => node.in_transaction(ctx, event, work).await,
        }
    }

    /// Events that were sent and have not reached each of their subscriptions: messages in flight.
    ///
    /// # Errors
    /// The database.
    pub async fn in_flight(&self, ctx: &Ctx) -> Result<usize> {
        let (mut mark, mut count) = ((0, String::new()), 0);
        loop {
            let (missing, end) = self.undelivered(ctx, mark, ctx.clock.now_ms()).await?;
            count += missing.len();
            let Some(end) = end else { return Ok(count) };
            mark = end;
        }
    }

    /// A message to the broker and back: for people who look at a set-up.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub async fn probe(&self) -> std::result::Result<String, String> {
        match &self.0.backend {
            Backend::Embedded => Ok("in this process".to_owned()),
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => node.probe().await,
        }
    }

    /// Lets handlers that run end, and leaves the broker.
    pub async fn close(&self) {
        match &self.0.backend {
            Backend::Embedded => {}
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => node.close().await,
        }
    }
}

#[cfg(test)]
mod tests;

/// The name of this node that the configuration gives, or host name and port.
fn node_name(config: &config::Config) -> String {
    if !config.bus.node_name.is_empty() {
        return config.bus.node_name.clone();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    match config.server.listen.rsplit(':').next() {
        Some(port) if port != "0" => format!("{host}-{port}"),
        _ => format!("{host}-{}", std::process::id()),
    }
}
