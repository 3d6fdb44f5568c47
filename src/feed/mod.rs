//! The feed: what staff is told the moment it happens, on whichever node they are.
//!
//! Owns `feed_entries` and `feed_sequence`. Takes the events of orders that need staff, and turns each into an
//! entry with a number; numbers become visible in their order, without gaps. `FeedGrew` reaches every node, which
//! wakes the streams there; what a lost broadcast left out is found within seconds. A client that comes back with
//! the number that it has seen last misses nothing that is not older than a week. Invariant: entries are numbered
//! up to the sequence.

mod hub;
mod sql;
mod stream;
mod take;

pub use hub::Feed;
pub use stream::{Message, MessageKind, open};
pub use take::{Entry, subscriptions};

use crate::kernel::{Millis, Result, codes, day_ms};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, violations};

codes! {
    FEED_FULL: 503 "feed_full" "As many people as this server takes listen to the feed. Try again in a moment, and use lists meanwhile.";
}

/// How long an entry is kept.
const KEPT_MS: Millis = day_ms(7);
/// Entries that one clean-up looks at.
const CLEAN_UP_BATCH: i64 = 500;

/// Forgets some old entries; the next sweep goes on. Answers how many.
///
/// # Errors
/// The database.
pub async fn sweep(ctx: &Ctx) -> Result<usize> {
    let before_ms = ctx.clock.now_ms() - KEPT_MS;
    let oldest = sql::oldest(&mut *ctx.db.reader().await?, CLEAN_UP_BATCH).await?;
    let old: Vec<i64> =
        oldest.into_iter().take_while(|(_, at_ms)| *at_ms < before_ms).map(|(seq, _)| seq).collect();
    let Some(last) = old.last().copied() else { return Ok(0) };
    ctx.db.write(|tx| Box::pin(sql::delete_up_to(tx, last))).await?;
    Ok(old.len())
}

/// What must be true of the feed.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    violations(conn, &sql::INVARIANTS).await
}
