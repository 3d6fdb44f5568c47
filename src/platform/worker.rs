//! Background work: each kind is a `tick` that does what is due, awake when a transaction has left work
//! behind and when something becomes due. Tests call the ticks themselves.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::ctx::Ctx;
use super::db::{BoxFuture, Work};
use super::patience::{WORK_LIMIT, within};
use crate::kernel::{Millis, Result, minute_ms};

/// The longest sleep: whatever wake-up was lost, work is looked for again.
const LONGEST_REST_MS: Millis = minute_ms(1);
/// The same where other processes make work, too: their wake-ups don't reach this one, and what one of them had
/// taken when it died is found by looking.
const LONGEST_REST_SHARED_MS: Millis = 5_000;
/// The shortest: a due row that another node has claimed is looked at again then.
const SHORTEST_REST_MS: Millis = 20;
/// The pause after a tick that failed.
const PAUSE_MS: Millis = 1_000;

type Tick = Arc<dyn for<'x> Fn(&'x Ctx) -> BoxFuture<'x, Result<usize>> + Send + Sync>;
type NextDue = Arc<dyn for<'x> Fn(&'x Ctx) -> BoxFuture<'x, Result<Option<Millis>>> + Send + Sync>;

/// Does pieces of work side by side, each under the id of what it is about. Answers how much was done.
///
/// One that fails is logged, and keeps none of the others from their end: dropped in flight, a call would be cut off
/// in the middle, and nobody would look at its row again before its lease has run out. The one that failed comes back
/// when its own lease has.
pub async fn side_by_side<T, F>(what: &str, work: Vec<(&str, F)>) -> usize
where
    T: Into<usize>,
    F: Future<Output = Result<T>>,
{
    let mut running: FuturesUnordered<_> =
        work.into_iter().map(|(id, work)| async move { (id, work.await) }).collect();
    let mut done = 0;
    while let Some((id, result)) = running.next().await {
        match result {
            Ok(some) => done += some.into(),
            Err(failure) => tracing::error!("{what} {id} could not be worked on: {failure}"),
        }
    }
    done
}

/// One kind of background work.
#[derive(Clone)]
pub struct Worker {
    pub name: &'static str,
    work: Work,
    tick: Tick,
    next_due: NextDue,
}

impl Worker {
    pub fn new<T, N>(name: &'static str, work: Work, tick: T, next_due: N) -> Self
    where
        T: for<'x> Fn(&'x Ctx) -> BoxFuture<'x, Result<usize>> + Send + Sync + 'static,
        N: for<'x> Fn(&'x Ctx) -> BoxFuture<'x, Result<Option<Millis>>> + Send + Sync + 'static,
    {
        Self { name, work, tick: Arc::new(tick), next_due: Arc::new(next_due) }
    }

    /// Does what is due. Answers how much was done.
    ///
    /// # Errors
    /// The database.
    pub async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        (self.tick)(ctx).await
    }

    /// Ticks until `stop` says so; a tick that has begun is finished, unless it takes too long.
    pub async fn run(&self, ctx: &Ctx, mut stop: watch::Receiver<bool>) {
        let longest_ms = if ctx.bus.is_shared() { LONGEST_REST_SHARED_MS } else { LONGEST_REST_MS };
        while !*stop.borrow() {
            let now_ms = ctx.clock.now_ms();
            let wake_ms = match within(WORK_LIMIT, self.name, self.tick(ctx)).await {
                Ok(0) => match within(WORK_LIMIT, self.name, (self.next_due)(ctx)).await {
                    // Due, and yet nothing was done: somebody else has it.
                    Ok(Some(due_ms)) => due_ms.clamp(now_ms + SHORTEST_REST_MS, now_ms + longest_ms),
                    Ok(None) => now_ms + longest_ms,
                    Err(_) => now_ms + PAUSE_MS,
                },
                Ok(_) => continue,
                Err(failure) => {
                    tracing::error!("{} could not work: {failure}", self.name);
                    now_ms + PAUSE_MS
                }
            };
            tokio::select! {
                () = ctx.db.woken(self.work) => {}
                () = ctx.clock.sleep_until(wake_ms) => {}
                _ = stop.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
