//! The rows, each in a file of its own.

mod broadcast;
mod cancel_lag;
mod events;
mod mixed;
mod order_list;
mod place_order;
mod start;
mod store_list;

use std::pin::Pin;

use crate::support::report::{Measured, Target};
use crate::support::services::{Need, Services};

/// A measurement, and the lines of the report that it makes.
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    pub needs: &'static [Need],
    /// The lines and what each has to reach.
    pub lines: &'static [(&'static str, Target)],
    pub run: Run,
}

type Run = fn(Services) -> Pin<Box<dyn Future<Output = Vec<Measured>>>>;

impl Row {
    pub fn not_run(&self, why: &str) -> Vec<Measured> {
        self.lines.iter().map(|(name, target)| Measured::not_run(name, why, *target)).collect()
    }

    /// It panicked, and said why on standard error.
    pub fn broken(&self) -> Vec<Measured> {
        let why = Err("it could not be measured to its end".to_owned());
        self.not_run("to its end").into_iter().map(|row| row.checked(&why)).collect()
    }
}

pub const ALL: &[Row] = &[
    store_list::LOCAL,
    store_list::REDIS,
    place_order::SQLITE,
    place_order::MYSQL,
    mixed::EMBEDDED,
    mixed::REAL,
    start::ROW,
    events::EMBEDDED,
    events::ROCKETMQ,
    broadcast::ROW,
    cancel_lag::ROW,
    order_list::ROW,
];
