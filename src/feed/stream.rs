//! One person's stream: reads what is behind the number that was told last, tells what is of the stores that they
//! are there for at that moment, and sleeps until there is more.

use std::collections::VecDeque;

use futures_util::stream::{BoxStream, StreamExt, unfold};
use poem_openapi::Object;

use super::hub::Place;
use super::{Entry, Feed, sql};
use crate::kernel::{Millis, Money, OrderId, RefundId, Result, StaffSessionId, StoreId, rfc3339, text_enum};
use crate::orders::Fulfilment;
use crate::platform::ctx::Ctx;
use crate::platform::patience::{WORK_LIMIT, within};
use crate::staff::{self, StaffMember};

/// Entries that one look reads.
const BATCH: i64 = 200;
/// A broadcast may be lost: there is a look after this in any case.
const LOOK_MS: Millis = 5_000;
/// Nothing was told for so long: a heartbeat is.
const HEARTBEAT_MS: Millis = 15_000;

text_enum! {
    /// What a message is about; also the type of the event.
    pub enum MessageKind {
        /// The first one. What comes behind it is new, or was missed.
        Hello = "hello",
        /// What was missed is not kept any more: read the lists anew.
        Reset = "reset",
        /// Nothing has happened for 15 s.
        Heartbeat = "heartbeat",
        OrderPaid = "order_paid",
        /// Cancelled and paid at the same moment: it goes back by itself, and is not to be shipped.
        OrderOnHold = "order_on_hold",
        RefundRequested = "refund_requested",
    }
}

/// A message of the feed.
#[derive(Debug, Clone, Object)]
pub struct Message {
    /// Send it as `Last-Event-ID` to go on behind it.
    pub seq: i64,
    pub kind: MessageKind,
    pub at: String,
    #[oai(skip_serializing_if_is_none)]
    pub order_id: Option<OrderId>,
    #[oai(skip_serializing_if_is_none)]
    pub store_id: Option<StoreId>,
    #[oai(skip_serializing_if_is_none)]
    pub fulfilment: Option<Fulfilment>,
    #[oai(skip_serializing_if_is_none)]
    pub refund_id: Option<RefundId>,
    /// What was paid, or is asked back.
    #[oai(skip_serializing_if_is_none)]
    pub amount: Option<Money>,
}

impl From<Entry> for Message {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            kind: entry.kind,
            at: rfc3339(entry.at_ms),
            order_id: Some(entry.order_id),
            store_id: Some(entry.store_id),
            fulfilment: Some(entry.fulfilment),
            refund_id: entry.refund_id,
            amount: Some(Money::new(entry.amount_minor, entry.currency)),
        }
    }
}

/// What a look has found.
#[derive(PartialEq, Eq)]
enum Look {
    /// The session has ended.
    Ended,
    /// As many entries as one look reads: there may be more.
    More,
    /// Everything that there is.
    All,
}

/// What a stream knows.
struct Listener {
    ctx: Ctx,
    place: Place,
    session: StaffSessionId,
    /// The last number that was read.
    seen: i64,
    told_ms: Millis,
    waiting: VecDeque<Message>,
}

/// Opens a stream for a staff member: behind `after`, or from now on. It ends when the session does, and when
/// the server stops.
///
/// # Errors
/// `feed_full`.
pub async fn open(
    ctx: &Ctx,
    feed: &Feed,
    member: &StaffMember,
    after: Option<i64>,
) -> Result<BoxStream<'static, Message>> {
    let place = feed.place()?;
    let conn = &mut *ctx.db.reader().await?;
    let latest = sql::latest(conn).await?;
    let oldest = sql::oldest(conn, 1).await?.first().map_or(latest + 1, |(seq, _)| *seq);
    let (seen, kind) = match after {
        None => (latest, MessageKind::Hello),
        Some(after) if after <= latest && after + 1 >= oldest => (after, MessageKind::Hello),
        Some(_) => (latest, MessageKind::Reset),
    };
    let mut listener = Listener {
        ctx: ctx.clone(),
        place,
        session: member.session_id.clone(),
        seen,
        told_ms: ctx.clock.now_ms(),
        waiting: VecDeque::new(),
    };
    listener.waiting.push_back(listener.bare(kind));
    let messages = unfold(listener, |mut listener| async move {
        let message = listener.next().await?;
        Some((message, listener))
    });
    Ok(messages.boxed())
}

impl Listener {
    /// The next message; `None`: the stream ends.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if *self.place.closing.borrow() {
                return None;
            }
            if let Some(message) = self.waiting.pop_front() {
                self.told_ms = self.ctx.clock.now_ms();
                return Some(message);
            }
            // Before the look: what grows during it is looked at again.
            self.place.grown.mark_unchanged();
            let look = match self.look().await {
                Ok(Look::Ended) => return None,
                Ok(look) => look,
                Err(failure) => {
                    // The client comes back, and misses nothing.
                    tracing::warn!("a feed ends: {failure}");
                    return None;
                }
            };
            // Behind many entries of other stores one may wait that is to be told.
            if self.waiting.is_empty() && look == Look::All {
                self.rest().await;
            }
        }
    }

    /// Reads what is new.
    async fn look(&mut self) -> Result<Look> {
        within(WORK_LIMIT, "a look at the feed", self.read()).await
    }

    async fn read(&mut self) -> Result<Look> {
        let conn = &mut *self.ctx.db.reader().await?;
        let member = staff::member_of_session(conn, &self.session, self.ctx.clock.now_ms()).await?;
        let Some(StaffMember { scope, .. }) = member else { return Ok(Look::Ended) };
        let entries = sql::behind(conn, self.seen, BATCH).await?;
        let look = if entries.len() as i64 == BATCH { Look::More } else { Look::All };
        for entry in entries {
            self.seen = entry.seq;
            if scope.has(&entry.store_id) {
                self.waiting.push_back(entry.into());
            }
        }
        Ok(look)
    }

    /// Sleeps until there may be more to tell.
    async fn rest(&mut self) {
        let now_ms = self.ctx.clock.now_ms();
        let beat_ms = self.told_ms + HEARTBEAT_MS;
        if now_ms >= beat_ms {
            self.waiting.push_back(self.bare(MessageKind::Heartbeat));
            return;
        }
        tokio::select! {
            _ = self.place.grown.changed() => {}
            _ = self.place.closing.changed() => {}
            () = self.ctx.clock.sleep_until(beat_ms.min(now_ms + LOOK_MS)) => {}
        }
    }

    fn bare(&self, kind: MessageKind) -> Message {
        Message {
            seq: self.seen,
            kind,
            at: rfc3339(self.ctx.clock.now_ms()),
            order_id: None,
            store_id: None,
            fulfilment: None,
            refund_id: None,
            amount: None,
        }
    }
}
