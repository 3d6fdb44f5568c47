//! [`Stores`]: what the app reads of stores, from this process, the kv tier or the database.
//!
//! Two caches, whose versions come from the one sequence of all stores: the directory (all rows), and the
//! final bytes of first pages, by minute because of `open_now`. A write commits, puts both into the kv
//! tier and broadcasts; the same broadcast is staged in the outbox, so a crash between heals. A node that
//! hears of a version serves nothing older, from any tier. A broadcast that is lost altogether heals by
//! the local time to live.

use std::sync::Arc;

use bytes::Bytes;

use super::add::changed;
use super::directory::{Directory, minute_of};
use super::{STORES_MAX, Store, StoreQuery, not_found, sql};
use crate::config;
use crate::events::Event;
use crate::kernel::{Failure, Limit, Millis, Result, StoreId, minute_ms};
use crate::platform::bus::{Delivery, Handled};
use crate::platform::cache::{AsBytes, Cached, Versioned};
use crate::platform::caches::Watched;
use crate::platform::ctx::Ctx;

const ALL: &str = "all";

/// A list is of one minute, so the kv tier need not keep it for long.
const LIST_TTL_MS: Millis = minute_ms(2);

/// Cheap to clone.
#[derive(Clone)]
pub struct Stores(Arc<Inner>);

struct Inner {
    directory: Arc<Cached<Directory>>,
    lists: Arc<Cached<Bytes, AsBytes>>,
    has_local_tier: bool,
}

impl Stores {
    pub fn new(ctx: &Ctx) -> Self {
        let config = &ctx.config.cache;
        let lists = config::Cache { kv_ttl_ms: config.kv_ttl_ms.min(LIST_TTL_MS), ..config.clone() };
        let (kv, clock, metrics) = (&ctx.kv, &ctx.clock, &ctx.metrics);
        Self(Arc::new(Inner {
            directory: Cached::new("stores", config, kv.clone(), clock.clone(), metrics.clone()).into(),
            lists: Cached::new("store-lists", &lists, kv.clone(), clock.clone(), metrics.clone()).into(),
            has_local_tier: config.local_ttl_ms > 0,
        }))
    }

    /// At the start of a process: what the kv tier kept from before a lost write is not believed.
    ///
    /// # Errors
    /// The database.
    pub async fn start(&self, ctx: &Ctx) -> Result<()> {
        let newest = sql::newest_version(&mut *ctx.db.reader().await?).await?;
        self.at_least(newest);
        self.0.directory.start().await;
        self.0.lists.start().await;
        Ok(())
    }

    /// Both caches, for people who look at them.
    pub fn caches(&self) -> [Arc<dyn Watched>; 2] {
        [self.0.directory.clone(), self.0.lists.clone()]
    }

    /// Nothing older than `version` is served from here again.
    pub(super) fn at_least(&self, version: i64) {
        self.0.directory.at_least(version);
        self.0.lists.at_least(version);
    }

    async fn directory(&self, ctx: &Ctx) -> Result<Arc<Directory>> {
        let directory = self.0.directory.get(ALL, || load(ctx)).await?;
        directory.ok_or_else(|| Failure::internal("reading the stores", "the list has no value"))
    }

    /// A page of the list, as its final bytes.
    ///
    /// # Errors
    /// The database, when no tier above it has the stores.
    pub async fn list(&self, ctx: &Ctx, query: &StoreQuery) -> Result<Bytes> {
        let now_ms = ctx.clock.now_ms();
        let Some(key) = query.key() else {
            return Ok(query.render(&*self.directory(ctx).await?, now_ms));
        };
        if self.0.has_local_tier {
            // In memory, and as fresh as the local time to live promises: no list is older than this.
            self.0.lists.at_least(self.directory(ctx).await?.version());
        }
        let render = || async {
            let directory = self.directory(ctx).await?;
            let bytes = query.render(&directory, now_ms);
            Ok(Versioned { version: directory.version(), value: Some(bytes) })
        };
        let bytes = self.0.lists.get(&list_key(&key, now_ms), render).await?;
        bytes
            .map(|bytes| Bytes::clone(&bytes))
            .ok_or_else(|| Failure::internal("reading the stores", "a list has no bytes"))
    }

    /// One store, as its final bytes.
    ///
    /// # Errors
    /// `store_not_found`.
    pub async fn by_id(&self, ctx: &Ctx, id: &StoreId) -> Result<Bytes> {
        let directory = self.directory(ctx).await?;
        let index = directory.by_id(id).ok_or_else(|| not_found(id))?;
        Ok(one(&directory, index, ctx.clock.now_ms()))
    }

    /// The store whose QR code carries this scene, as its final bytes.
    ///
    /// # Errors
    /// `store_not_found`.
    pub async fn by_scene(&self, ctx: &Ctx, scene: &str) -> Result<Bytes> {
        let directory = self.directory(ctx).await?;
        let index = directory.by_scene(scene).ok_or_else(|| Failure::new(&super::STORE_NOT_FOUND))?;
        Ok(one(&directory, index, ctx.clock.now_ms()))
    }

    /// After a write was committed: the kv tier, then every node. What fails here is healed by the staged
    /// event, so it is no failure of the write.
    pub(super) async fn publish(&self, ctx: &Ctx, store: &Store) {
        self.at_least(store.version);
        if let Err(failure) = self.put(ctx).await {
            tracing::warn!(store.id = %store.id, "store {} is not in the kv tier yet: {failure}", store.id);
        }
        ctx.bus.broadcast(ctx, changed(store)).await;
    }

    /// Reads the stores again, and puts them and the most wanted list where every node finds them.
    async fn put(&self, ctx: &Ctx) -> Result<()> {
        let row = load(ctx).await?;
        let version = row.version;
        let now_ms = ctx.clock.now_ms();
        let first = StoreQuery::first(None, false, Limit::parse(None)?);
        if let (Some(directory), Some(key)) = (&row.value, first.key()) {
            let value = Some(first.render(directory, now_ms));
            self.0.lists.put(&list_key(&key, now_ms), Versioned { version, value }).await;
        }
        self.0.directory.put(ALL, row).await;
        Ok(())
    }
}

fn list_key(key: &str, now_ms: Millis) -> String {
    format!("{}:{key}", minute_of(now_ms))
}

fn one(directory: &Directory, index: usize, now_ms: Millis) -> Bytes {
    let mut out = String::with_capacity(1_024);
    directory.write(&mut out, index, &directory.minute(now_ms), None);
    out.into()
}

async fn load(ctx: &Ctx) -> Result<Versioned<Directory>> {
    // One statement, so one snapshot: the newest version in it is its own.
    let stores = sql::after(&mut *ctx.db.reader().await?, "", STORES_MAX as i64).await?;
    let directory = Directory::new(stores);
    Ok(Versioned { version: directory.version(), value: Some(directory) })
}

/// Somewhere a store was added or changed: this node drops what is older. Safe to run twice, in any order.
///
/// # Errors
/// None.
pub async fn on_store_changed(stores: &Stores, delivery: &Delivery) -> Result<Handled> {
    if let Event::StoreChanged { version, .. } = &delivery.event {
        stores.at_least(*version);
    }
    Ok(Handled::Done)
}
