//! Turns at the one writer of a file. Those that wait for their turn while another works are committed together with
//! it: the disk is made to keep all of them by one sync, which is what a commit costs.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Executor};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::timeout;

use super::{ROLLBACK_TIMEOUT, Wakes, Woken, sqlite};
use crate::kernel::{Failure, Result, common};

/// Writes of one commit. More wait longer for those behind them than the sync that they save would take.
const WRITES_MAX: usize = 64;

/// The mark behind BEGIN is there as long as the transaction is: SQLite gives a transaction up by itself when a disk is
/// full, and the mark of the next turn would begin another. Then nothing can be released, and nothing is committed.
const COMMIT: &str = "RELEASE batch; COMMIT";
const MARK: &str = "SAVEPOINT turn";
const UNDO: &str = "ROLLBACK TO turn; RELEASE turn";

/// What became of a batch: none, it is not decided yet; the error says why none of it happened, or may have.
type Outcome = Option<Result<(), String>>;

/// Writes that are committed together: each has begun where the one before it ended.
struct Batch {
    /// With the open transaction; none: it has not begun.
    conn: Option<PoolConnection<Any>>,
    /// How many have ended well and wait for the commit.
    writes: usize,
    /// Background work that they leave behind.
    wakes: Wakes,
    outcome: watch::Sender<Outcome>,
}

impl Batch {
    fn new() -> Self {
        Self { conn: None, writes: 0, wakes: Wakes::default(), outcome: watch::Sender::new(None) }
    }

    /// Ends this batch, whatever came of it; the next begins.
    fn decide(&mut self, outcome: Result<(), String>) {
        std::mem::replace(self, Self::new()).outcome.send_replace(Some(outcome));
    }

    async fn commit(&mut self, woken: &Woken) {
        let Some(conn) = &mut self.conn else { return };
        match conn.execute(COMMIT).await {
            Ok(_) => {
                woken.notify(&self.wakes);
                self.decide(Ok(()));
            }
            Err(error) => self.roll_back(format!("a commit failed: {error}")).await,
        }
    }

    async fn roll_back(&mut self, why: String) {
        if let Some(mut conn) = self.conn.take() {
            let rolled_back = timeout(ROLLBACK_TIMEOUT, conn.execute("ROLLBACK")).await;
            if !matches!(rolled_back, Ok(Ok(_))) {
                conn.close_on_drop();
            }
        }
        self.decide(Err(why));
    }
}

/// The place of the one who writes, given in the order of asking.
#[derive(Clone)]
pub struct Turns {
    pool: AnyPool,
    /// How long one waits for a turn.
    patience: Duration,
    woken: Woken,
    line: Arc<Mutex<Batch>>,
}

impl Turns {
    pub fn new(pool: AnyPool, patience: Duration, woken: Woken) -> Self {
        Self { pool, patience, woken, line: Arc::new(Mutex::new(Batch::new())) }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// The turn does not come in time, or another process writes for too long.
    pub async fn take(&self) -> Result<Turn> {
        let Ok(batch) = timeout(self.patience, self.line.clone().lock_owned()).await else {
            return Err(sqlx::Error::PoolTimedOut.into());
        };
        let mut turn = Turn { turns: self.clone(), batch: Some(batch), begun: false };
        let batch = turn.batch();
        let (conn, begin) = match &mut batch.conn {
            Some(conn) => (conn, MARK),
            // Kept before it begins: given up in the middle, it is rolled back like any other.
            None => (batch.conn.insert(self.pool.acquire().await?), sqlite::BEGIN),
        };
        conn.execute(begin).await?;
        turn.begun = true;
        Ok(turn)
    }

    /// Commits the batch of this outcome when its place in the line has come, or at once, unless somebody has. Answers
    /// when it is decided, by whomever.
    async fn decided(
        &self,
        at_once: Option<OwnedMutexGuard<Batch>>,
        mut outcome: watch::Receiver<Outcome>,
    ) -> Result<()> {
        let (line, woken, mut decided) = (self.line.clone(), self.woken.clone(), outcome.clone());
        // A task: given up by who asked for it, what was written is still in the batch, and somebody has to commit that.
        tokio::spawn(async move {
            let mut batch = match at_once {
                Some(batch) => batch,
                None => tokio::select! {
                    biased;
                    _ = decided.wait_for(Option::is_some) => return,
                    batch = line.lock_owned() => batch,
                },
            };
            if batch.outcome.subscribe().same_channel(&decided) {
                batch.commit(&woken).await;
            }
        });
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(why))) => Err(Failure::new(&common::UNAVAILABLE).retry_after_s(1).cause(why.clone())),
            Ok(None) | Err(_) => Err(Failure::internal("committing", "nobody decided")),
        }
    }
}

/// The right to write, until it is dropped: what was written since it was taken is then undone.
pub struct Turn {
    turns: Turns,
    /// There until it is committed or dropped.
    batch: Option<OwnedMutexGuard<Batch>>,
    /// There may be something to undo.
    begun: bool,
}

impl Turn {
    /// Ends a turn well: it is committed with all that is in line before its end comes up. After the commit, be
    /// somebody waiting for it or not, the work is woken that it leaves behind.
    ///
    /// # Errors
    /// The commit, of all of them.
    pub async fn commit(mut self, wakes: &Wakes) -> Result<()> {
        let Some(mut batch) = self.batch.take() else { return Ok(()) };
        batch.writes += 1;
        batch.wakes.add(wakes);
        let outcome = batch.outcome.subscribe();
        let at_once = (batch.writes >= WRITES_MAX).then_some(batch);
        self.turns.decided(at_once, outcome).await
    }

    /// Undoes what was written in this turn. Answers when that is decided which it may have seen: those before it.
    ///
    /// # Errors
    /// The commit of those before it: what this turn has seen never was.
    pub async fn undo(mut self) -> Result<()> {
        let Some(batch) = self.batch.take() else { return Ok(()) };
        let before = (batch.writes > 0).then(|| batch.outcome.subscribe());
        tokio::spawn(undo(batch));
        match before {
            Some(outcome) => self.turns.decided(None, outcome).await,
            None => Ok(()),
        }
    }

    fn batch(&mut self) -> &mut Batch {
        self.batch.as_mut().expect("there until it is committed or dropped")
    }
}

impl Deref for Turn {
    type Target = PoolConnection<Any>;
    fn deref(&self) -> &PoolConnection<Any> {
        self.batch.as_ref().and_then(|batch| batch.conn.as_ref()).expect("it has begun")
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut PoolConnection<Any> {
        self.batch().conn.as_mut().expect("it has begun")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        if batch.writes > 0 && !self.begun {
            // Nothing was written since the one before; a mark too many does no harm.
            return;
        }
        tokio::spawn(undo(batch));
    }
}

async fn undo(mut batch: OwnedMutexGuard<Batch>) {
    let is_first = batch.writes == 0;
    let undone = match &mut batch.conn {
        Some(conn) if !is_first => conn.execute(UNDO).await.is_ok(),
        _ => false,
    };
    if !undone {
        // The first of its batch; or SQLite has given up the whole transaction.
        batch.roll_back("a write beside it failed, and took the whole transaction along".to_owned()).await;
    }
}

#[cfg(test)]
mod tests;
