//! The bus port. One contract on every backend: an event is visible if and only if its transaction
//! committed, at least once, in order per key.
//!
//! Nearly everything is staged in the outbox, in the transaction that makes it true, and sent from there.
//! A handled delivery is a row of `deliveries`, written in the handler's own transaction: it makes the
//! handler idempotent, it is the dead letter, and it is what tests wait for.

mod dead_letters;
mod embedded;
mod outbox;
mod sql;

use std::sync::Arc;

pub use dead_letters::{DeadLetter, discard, list as dead_letters, replay};
pub use outbox::{Staged, stage};
pub use sql::{count_parked, delete_old, lag_ms, overdue};

use super::ctx::Ctx;
use super::db::{BoxFuture, Tx};
use crate::events::Event;
use crate::kernel::{EventId, Failure, Millis, Result, codes, text_enum};

codes! {
    HALF_REFUSED: 503 "bus_unavailable" "The message bus does not take messages now. Nothing was done; it is tried again.";
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
}

impl Delivery {
    /// Marks the delivery as handled, in the handler's transaction. False: somebody was here first, and
    /// the handler changes nothing.
    ///
    /// # Errors
    /// The database.
    pub async fn begin(&self, tx: &mut Tx<'_>, now_ms: Millis) -> Result<bool> {
        sql::complete(tx, &self.id, self.subscription, now_ms).await
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
}

/// The bus: its backend, and who listens.
#[derive(Clone)]
pub enum Bus {
    Embedded(Arc<embedded::Embedded>),
}

impl Bus {
    /// Events go to the subscribers in this process.
    pub fn embedded() -> Self {
        Self::Embedded(Arc::default())
    }

    fn backend(&self) -> &embedded::Embedded {
        let Self::Embedded(embedded) = self;
        embedded
    }

    /// Names the subscribers. Called once, by `app`.
    pub fn subscribe(&self, subscriptions: Vec<Subscription>) {
        self.backend().subscribe(subscriptions);
    }

    /// Makes the backend refuse everything, as a broker that is down does, until it is set back.
    pub fn set_available(&self, up: bool) {
        self.backend().set_available(up);
    }

    pub fn is_available(&self) -> bool {
        self.backend().is_available()
    }

    /// Sends what is due and makes the due deliveries. Answers how much was done.
    ///
    /// # Errors
    /// The database.
    pub async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        self.backend().tick(ctx).await
    }

    /// When the next event or delivery is due.
    ///
    /// # Errors
    /// The database.
    pub async fn next_due(&self, ctx: &Ctx) -> Result<Option<Millis>> {
        self.backend().next_due(ctx).await
    }

    /// Reaches every node at once; whoever needs it to survive a crash stages the same event, too.
    pub async fn broadcast(&self, ctx: &Ctx, event: Event) {
        self.backend().broadcast(ctx, &event).await;
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
        if !self.is_available() {
            return Err(Failure::new(&HALF_REFUSED));
        }
        ctx.db
            .retrying(|| async {
                let mut tx = ctx.db.begin().await?;
                let value = work(&mut tx).await?;
                outbox::stage_half(&mut tx, ctx, event).await?;
                ctx.db.commit(tx).await?;
                Ok(value)
            })
            .await
    }
}
