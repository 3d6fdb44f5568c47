//! Staff changes a store, pauses it, or opens it again. Each names the version that it saw.

use super::add::changed;
use super::{Store, StoreDetails, Stores, VERSION_CONFLICT, not_found, sql};
use crate::kernel::{Actor, Failure, Millis, Result, StoreId, day_ms, minute_ms, rfc3339};
use crate::platform::audit;
use crate::platform::bus::{Staged, stage};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// Writes all details: to the database, then to the kv tier, then every node hears of it.
///
/// # Errors
/// `store_not_found`, `version_conflict` when the store is not at `expected` any more, `scene_taken`, a
/// field that can't be.
pub async fn edit(
    ctx: &Ctx,
    stores: &Stores,
    actor: &Actor,
    id: &StoreId,
    expected: i64,
    details: &StoreDetails,
) -> Result<Store> {
    details.check()?;
    let work = |before: &Store, version| Store { details: details.clone(), version, ..before.clone() };
    let work = &work;
    let after = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                let (before, version) = take(tx, id, expected).await?;
                let after = work(&before, version);
                let written = sql::update(tx, &after, expected, ctx.clock.now_ms()).await?;
                finish(tx, ctx, actor, "updateStore", written, &before, after).await
            })
        })
        .await?;
    stores.publish(ctx, &after).await;
    Ok(after)
}

/// The longest pause that ends by itself.
const PAUSE_MAX_MS: Millis = day_ms(366);

/// How long a store takes no orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// `None`: until somebody resumes it. Otherwise a whole minute.
    pub until_ms: Option<Millis>,
}

impl Pause {
    /// A pause that lasts until the end of the minute of `until_ms`, since what a store shows changes with the
    /// minute; or until somebody resumes the store.
    ///
    /// # Errors
    /// An end that is over, or more than 366 days away.
    pub fn parse(until_ms: Option<Millis>, now_ms: Millis) -> Result<Self> {
        let Some(until_ms) = until_ms else { return Ok(Self { until_ms: None }) };
        if until_ms <= now_ms || until_ms > now_ms + PAUSE_MAX_MS {
            let why = format!("must be after {} and within 366 days", rfc3339(now_ms));
            return Err(Failure::invalid("/until", why));
        }
        let minute = minute_ms(1);
        Ok(Self { until_ms: Some((until_ms + minute - 1).div_euclid(minute) * minute) })
    }
}

/// A paused store is shown and takes no orders; what was ordered goes on, and can be fetched. `None` resumes
/// it. What is so already is not changed.
///
/// # Errors
/// `store_not_found`, `version_conflict`.
pub async fn set_paused(
    ctx: &Ctx,
    stores: &Stores,
    actor: &Actor,
    id: &StoreId,
    expected: i64,
    pause: Option<Pause>,
) -> Result<Store> {
    let operation = if pause.is_some() { "pauseStore" } else { "resumeStore" };
    let after = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                let (before, version) = take(tx, id, expected).await?;
                let paused_until_ms = pause.and_then(|pause| pause.until_ms);
                if before.paused == pause.is_some() && before.paused_until_ms == paused_until_ms {
                    return Ok(before);
                }
                let after = Store { paused: pause.is_some(), paused_until_ms, version, ..before.clone() };
                let written = sql::set_paused(tx, &after, expected, ctx.clock.now_ms()).await?;
                finish(tx, ctx, actor, operation, written, &before, after).await
            })
        })
        .await?;
    stores.publish(ctx, &after).await;
    Ok(after)
}

/// The store as it is, and the version that the write will give it.
async fn take(tx: &mut Tx<'_>, id: &StoreId, expected: i64) -> Result<(Store, i64)> {
    // First the sequence: it holds back other writers, so that what is read here stays true.
    let version = sql::next_version(tx).await?;
    let before = sql::find(tx, id).await?.ok_or_else(|| not_found(id))?;
    if before.version == expected { Ok((before, version)) } else { Err(conflict(before.version)) }
}

async fn finish(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    operation: &str,
    written: bool,
    before: &Store,
    after: Store,
) -> Result<Store> {
    if !written {
        return Err(Failure::new(&VERSION_CONFLICT));
    }
    let object = after.id.as_str();
    let entry = audit::Entry { actor, operation, object, before: Some(before), after: Some(&after) };
    audit::record(tx, ctx, entry).await?;
    stage(tx, ctx, &changed(&after), Staged::Now).await?;
    Ok(after)
}

fn conflict(version: i64) -> Failure {
    Failure::new(&VERSION_CONFLICT).with("version", version.into())
}
