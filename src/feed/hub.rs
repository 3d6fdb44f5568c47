//! What the streams of one node share: who is told that there is more, and how many may listen.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::FEED_FULL;
use crate::events::Event;
use crate::kernel::{Failure, Result};
use crate::platform::bus::{Handled, Subscription};

/// The streams of this node. Clones share them.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    /// The highest number that this node heard of.
    grown: watch::Sender<i64>,
    closing: watch::Sender<bool>,
    places: Arc<Semaphore>,
}

/// A stream's place among the others; dropped, somebody else may have it.
pub(super) struct Place {
    pub grown: watch::Receiver<i64>,
    pub closing: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// For at most so many streams at once.
    pub fn new(connections_max: usize) -> Self {
        Self(Arc::new(Inner {
            grown: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            places: Arc::new(Semaphore::new(connections_max)),
        }))
    }

    /// Hears on this node that there is more.
    pub fn subscription(&self) -> Subscription {
        let feed = self.clone();
        Subscription::new("feed.grew", &["FeedGrew"], move |_, delivery| {
            let feed = feed.clone();
            Box::pin(async move {
                if let Event::FeedGrew { seq } = delivery.event {
                    feed.0.grown.send_modify(|highest| *highest = seq.max(*highest));
                }
                Ok(Handled::Done)
            })
        })
    }

    /// Ends all streams: the server is about to stop.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }

    pub(super) fn place(&self) -> Result<Place> {
        let permit = self.0.places.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Failure::new(&FEED_FULL).retry_after_s(10))?;
        Ok(Place { grown: self.0.grown.subscribe(), closing: self.0.closing.subscribe(), _permit: permit })
    }
}
