//! Every event on one page: what it says, the topic it travels on, and how it is delivered.
//!
//! An event is a fact, small and in the past tense. Whoever wants to know subscribes in `app`; the
//! sender knows nobody. A released shape is never changed: new fields are optional, a new meaning is a
//! new name, so that an old consumer beside a new producer loses nothing.

use serde::{Deserialize, Serialize};

use crate::kernel::{AttemptId, CouponTemplateId, OrderId, ParcelId, RefundId, SessionId, StoreId, UserId};

/// How an event travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each subscription takes it once, in any order.
    Normal,
    /// Each subscription takes the events of one key in their order.
    Fifo,
    /// Like `Normal`, from its due time on.
    Timed,
    /// Published together with a local transaction, by the bus itself and not by the outbox.
    Half,
    /// Every node takes it; handlers are idempotent by version.
    Broadcast,
}

impl Kind {
    /// As the outbox stores it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Fifo => "FIFO",
            Self::Timed => "TIMED",
            Self::Half => "HALF",
            Self::Broadcast => "BROADCAST",
        }
    }
}

/// Every topic, and how its events travel: a topic has events of one kind.
pub const TOPICS: &[(&str, Kind)] = &[
    ("identity", Kind::Normal),
    ("sessions", Kind::Broadcast),
    ("stores", Kind::Broadcast),
    ("caches", Kind::Broadcast),
    ("feed", Kind::Broadcast),
    ("orders", Kind::Fifo),
    ("order-deadlines", Kind::Timed),
    ("refunds", Kind::Half),
];

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident on $topic:literal as $kind:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty),+ $(,)?
    })+) => {
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "event")]
        pub enum Event {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type),+ },)+
        }

        impl Event {
            /// The names of all events.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Name, topic and kind of each.
            pub const ALL: &'static [(&'static str, &'static str, Kind)] =
                &[$((stringify!($name), $topic, Kind::$kind)),+];

            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)+ }
            }

            pub const fn topic(&self) -> &'static str {
                match self { $(Self::$name { .. } => $topic,)+ }
            }

            pub const fn kind(&self) -> Kind {
                match self { $(Self::$name { .. } => Kind::$kind,)+ }
            }
        }
    };
}

events! {
    /// A person signed in for the first time.
    UserRegistered on "identity" as Normal { user_id: UserId }
    /// A session ended before its time: nodes forget it.
    SessionRevoked on "sessions" as Broadcast { session_id: SessionId }
    /// A store was added or edited: nodes drop what is older than `version`.
    StoreChanged on "stores" as Broadcast { store_id: StoreId, version: i64 }

    /// Staff has more to read: nodes wake who listens.
    FeedGrew on "feed" as Broadcast { seq: i64 }
    /// A person dropped a cache, or one key of it: nodes serve nothing of it that was read until then.
    CacheDropped on "caches" as Broadcast { cache: String, key: Option<String>, at_ms: i64 }

    OrderPlaced on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    OrderPaid on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    /// Cancelled, but a payment may be on its way: the channel is to be closed first.
    OrderClosing on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    /// `reason` is user, staff, timeout or refunded.
    OrderClosed on "orders" as Fifo { order_id: OrderId, user_id: UserId, reason: String }
    /// `all`: nothing is left to ship.
    OrderShipped on "orders" as Fifo { order_id: OrderId, user_id: UserId, parcel_id: ParcelId, all: bool }
    /// A parcel is with another carrier, or has another number, than was told before.
    TrackingCorrected on "orders" as Fifo { order_id: OrderId, user_id: UserId, parcel_id: ParcelId }
    /// It can be fetched.
    OrderReadyForPickup on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    /// It was not fetched for a while, and the customer is to be reminded.
    PickupReminded on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    /// Staff gave it another price before it was paid.
    OrderRepriced on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    OrderCompleted on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    OrderFinished on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    /// The unshipped rest was refunded: what was shipped before is now everything.
    OrderRestRefunded on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    /// The person gave up or the channel refused; the order still waits.
    PaymentFailed on "orders" as Fifo { order_id: OrderId, user_id: UserId, attempt_id: AttemptId }
    /// Money came that the order can't take: it goes back in full.
    PaymentOrphaned on "orders" as Fifo { order_id: OrderId, user_id: UserId, attempt_id: AttemptId }
    /// Cancelled by a person, and paid at the same moment: the full refund is requested.
    CancelledOrderPaid on "orders" as Fifo { order_id: OrderId, user_id: UserId }
    RefundRequested on "orders" as Fifo { order_id: OrderId, user_id: UserId, refund_id: RefundId }
    RefundRejected on "orders" as Fifo { order_id: OrderId, user_id: UserId, refund_id: RefundId }
    /// The goods are to be sent back before anything is refunded.
    ReturnRequired on "orders" as Fifo { order_id: OrderId, user_id: UserId, refund_id: RefundId }
    /// Ended without money, and nobody rejected it: the goods did not come back in time, or it was given up.
    RefundDropped on "orders" as Fifo { order_id: OrderId, user_id: UserId, refund_id: RefundId }

    /// The time to pay is over.
    PaymentDeadline on "order-deadlines" as Timed { order_id: OrderId }
    /// A shipped order is completed unless somebody objects.
    CompletionDue on "order-deadlines" as Timed { order_id: OrderId }
    /// An order that is ready to be fetched is looked at again.
    PickupReminderDue on "order-deadlines" as Timed { order_id: OrderId }
    /// The after-sale window is over.
    AfterSaleEnded on "order-deadlines" as Timed { order_id: OrderId }
    /// Goods that were to come back are to be on their way by now.
    ReturnDue on "order-deadlines" as Timed { refund_id: RefundId }

    /// A refund has ended well. What follows from it was decided when it was settled, and is all here.
    RefundSettled on "refunds" as Half {
        refund_id: RefundId,
        order_id: OrderId,
        user_id: UserId,
        /// Everything is refunded now.
        whole: bool,
        /// The coupon that the order used comes back.
        return_coupon: bool,
        /// The template of the compensation coupon, if this refund brings one.
        compensation_template: Option<CouponTemplateId>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_events_of_one_kind() {
        for (name, topic, kind) in Event::ALL {
            assert!(
                TOPICS.contains(&(topic, *kind)),
                "{name} is {kind:?} on {topic}, which TOPICS does not say"
            );
        }
    }
}
