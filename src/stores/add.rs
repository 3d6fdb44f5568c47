//! Staff opens a store.

use super::{SCENE_TAKEN, STORES_MAX, Store, StoreDetails, StoreKind, Stores, TOO_MANY_STORES, sql};
use crate::events::Event;
use crate::kernel::{Actor, Currency, Failure, Result, StoreId};
use crate::platform::audit;
use crate::platform::bus::{Staged, stage};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// A store to open.
#[derive(Debug, Clone)]
pub struct NewStore {
    pub kind: StoreKind,
    pub currency: Currency,
    pub details: StoreDetails,
}

/// Adds a store: to the database, then to the kv tier, then every node hears of it.
///
/// # Errors
/// A field that can't be, `scene_taken`, `too_many_stores`.
pub async fn add(ctx: &Ctx, stores: &Stores, actor: &Actor, new: &NewStore) -> Result<Store> {
    let id: StoreId = ctx.new_id();
    let id = &id;
    let store =
        ctx.db.write(|tx| Box::pin(async move { create(tx, ctx, actor, id.clone(), new).await })).await?;
    stores.publish(ctx, &store).await;
    Ok(store)
}

/// The row, its audit row and its event.
///
/// # Errors
/// As [`add`].
pub async fn create(tx: &mut Tx<'_>, ctx: &Ctx, actor: &Actor, id: StoreId, new: &NewStore) -> Result<Store> {
    new.details.check()?;
    let store = Store {
        id,
        kind: new.kind,
        currency: new.currency,
        details: new.details.clone(),
        paused: false,
        paused_until_ms: None,
        version: sql::next_version(tx).await?,
        created_ms: ctx.clock.now_ms(),
    };
    if sql::count(tx).await? >= STORES_MAX as i64 {
        return Err(Failure::new(&TOO_MANY_STORES));
    }
    if !sql::insert(tx, &store).await? {
        return Err(Failure::new(&SCENE_TAKEN).field("/scene"));
    }
    let entry = audit::Entry {
        actor,
        operation: "createStore",
        object: store.id.as_str(),
        before: None::<Store>,
        after: Some(&store),
    };
    audit::record(tx, ctx, entry).await?;
    stage(tx, ctx, &changed(&store), Staged::Now).await?;
    Ok(store)
}

pub(super) fn changed(store: &Store) -> Event {
    Event::StoreChanged { store_id: store.id.clone(), version: store.version }
}
