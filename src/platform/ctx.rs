//! What every verb is given: the ports, the clock, the configuration. No client of an outside service:
//! a verb that calls out takes it as a further argument.

use std::ops::Deref;
use std::sync::Arc;

use super::bus::Bus;
use super::crypto;
use super::db::Db;
use super::kv::Kv;
use super::secrets::Secrets;
use crate::config::Config;
use crate::kernel::{Clock, Code, Id, time_ordered};
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
pub struct Ctx(Arc<Parts>);

impl Ctx {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A fresh id of now.
    pub fn new_id<T: Id>(&self) -> T {
        T::from_tail(&time_ordered(self.clock.now_ms(), crypto::random()))
    }
}

impl Deref for Ctx {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}
