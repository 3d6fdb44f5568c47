//! What the broker lost: events that were sent, and after a while have no delivery for one of their
//! subscriptions, get one. That is a lost message, a half message whose producer died and that the broker
//! gave up asking for, or a subscription that only a newer version of the program knows, while an older
//! node took the message.

use std::collections::HashMap;

use super::sql::{self, OutboxRow};
use super::{Bus, relay};
use crate::kernel::{Millis, Result, day_ms, minute_ms};
use crate::platform::ctx::Ctx;
use crate::platform::db::Work;

/// How far back a node looks when it starts: as long as a broker keeps messages.
pub(super) const LOOK_BACK_MS: Millis = day_ms(3);
/// How long a message may be on its way until it counts as lost.
const LOST_AFTER_MS: Millis = 30_000;
/// What is committed late, or by a slower clock, comes in behind the mark by so much at most, beside the time that a
/// write may take.
const BEHIND_MS: Millis = minute_ms(1);
/// Events that one look reads.
const BATCH: i64 = 500;

/// Up to where the outbox was looked at: expected time and id.
pub(super) type Mark = (Millis, String);

impl Bus {
    /// Gives lost deliveries their rows. Answers how many there were.
    ///
    /// # Errors
    /// The database.
    pub async fn heal(&self, ctx: &Ctx) -> Result<usize> {
        if !self.is_shared() {
            return Ok(0);
        }
        let behind_ms = BEHIND_MS + ctx.config.database.write_timeout_ms as Millis;
        let mark = self.0.healed.lock().map(|mark| mark.clone()).unwrap_or_default();
        let mut mark = (mark.0 - behind_ms, String::new());
        let mut healed = 0;
        loop {
            let now_ms = ctx.clock.now_ms();
            let (missing, end) = self.undelivered(ctx, mark, now_ms - LOST_AFTER_MS).await?;
            let missing = &missing;
            if !missing.is_empty() {
                healed += ctx
                    .db
                    .write(|tx| {
                        Box::pin(async move {
                            let mut made = 0;
                            for (event, subscription) in missing {
                                let row = relay::pending(event, subscription, now_ms);
                                made += usize::from(sql::insert_delivery(tx, &row).await?);
                            }
                            tx.wake(Work::Bus);
                            Ok(made)
                        })
                    })
                    .await?;
            }
            let Some(end) = end else { break };
            if let Ok(mut kept) = self.0.healed.lock() {
                kept.clone_from(&end);
            }
            mark = end;
        }
        if healed > 0 {
            tracing::warn!("{healed} deliveries had no message and were made from the outbox");
        }
        Ok(healed)
    }

    /// Sent events without a delivery for one of their subscriptions, from the mark on, a bounded number;
    /// and the mark behind those that were looked at, if there were any.
    pub(super) async fn undelivered(
        &self,
        ctx: &Ctx,
        mark: Mark,
        until_ms: Millis,
    ) -> Result<(Vec<(OutboxRow, &'static str)>, Option<Mark>)> {
        let conn = &mut *ctx.db.reader().await?;
        let sent = sql::sent(conn, (mark.0, &mark.1), until_ms, BATCH).await?;
        let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return Ok((vec![], None)) };
        let range = (first.expected_ms.unwrap_or_default(), last.expected_ms.unwrap_or_default());
        let mut there: HashMap<_, Vec<String>> = HashMap::new();
        for (event, subscription) in sql::delivered_between(conn, range.0, range.1).await? {
            there.entry(event).or_default().push(subscription);
        }
        let end = (range.1, last.id.to_string());
        let mut missing = Vec::new();
        for event in sent {
            let has = there.get(&event.id);
            for subscription in self.takers(&event.event) {
                if !has.is_some_and(|names| names.iter().any(|name| name == subscription.name)) {
                    missing.push((event.clone(), subscription.name));
                }
            }
        }
        Ok((missing, Some(end)))
    }
}
