//! What every verb is given: the ports, the clock, the configuration. No client of an outside service:
//! a verb that calls out takes it as a further argument.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::bus::Bus;
use super::crypto;
use super::db::Db;
use super::kv::Kv;
use super::secrets::Secrets;
use crate::config::Config;
use crate::kernel::{Clock, Code, Id, Millis, time_ordered};
use crate::telemetry::Metrics;

/// The parts of [`Ctx`].
pub struct Parts {
    pub db: Db,
    pub kv: Kv,
    pub bus: Bus,
    pub clock: Clock,
    pub config: Config,
    pub secrets: Secrets,
    pub metrics: Arc<Metrics>,
    /// The catalogue: every code that the program can answer.
    pub codes: Vec<&'static Code>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Ctx(Arc<Inner>);

/// A context that somebody else keeps: whoever listens for a program must not keep it alive.
#[derive(Clone)]
pub struct WeakCtx(Weak<Inner>);

impl WeakCtx {
    /// None once the program has ended.
    pub fn upgrade(&self) -> Option<Ctx> {
        self.0.upgrade().map(Ctx)
    }
}

struct Inner {
    parts: Parts,
    /// Milliseconds and, in the lower 16 bits, a count: the last id that was given.
    last_id: AtomicU64,
}

impl Ctx {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, last_id: AtomicU64::new(0) }))
    }

    pub fn downgrade(&self) -> WeakCtx {
        WeakCtx(Arc::downgrade(&self.0))
    }

    /// A fresh id of now, behind all that this process gave before: what is listed by id is listed in the
    /// order in which it was made.
    pub fn new_id<T: Id>(&self) -> T {
        let now = (self.clock.now_ms().max(0) as u64) << 16;
        let next = |last: u64| (last + 1).max(now);
        let last = self.0.last_id.update(Ordering::Relaxed, Ordering::Relaxed, next);
        let given = next(last);
        T::from_tail(&time_ordered((given >> 16) as Millis, given as u16, crypto::random()))
    }
}

impl Deref for Ctx {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
