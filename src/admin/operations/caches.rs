//! Caches: what is in them, how often they helped, and dropping them.

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::kernel::Millis;
use crate::platform::caches::{CacheState, Caches};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, NoContent, Reply, Tag};
use crate::staff::StaffAuth;

/// How often a cache was asked since this node started, by who answered.
#[derive(Debug, Object)]
pub struct CacheReads {
    /// The memory of this node.
    pub local: u64,
    /// The kv tier.
    pub kv: u64,
    /// Neither: it was read from the database, or asked of WeChat.
    pub loaded: u64,
}

/// A cache as this node has it.
#[derive(Debug, Object)]
pub struct CacheView {
    pub name: String,
    /// Entries in the memory of this node.
    pub entries: u64,
    /// How long ago the oldest of them was read from the database.
    #[oai(skip_serializing_if_is_none)]
    pub oldest_ms: Option<i64>,
    #[oai(skip_serializing_if_is_none)]
    pub newest_ms: Option<i64>,
    pub reads: CacheReads,
    /// Of 100 reads, those that the node's memory or the kv tier answered; absent before the first.
    #[oai(skip_serializing_if_is_none)]
    pub hit_percent: Option<u64>,
}

impl CacheView {
    fn of(ctx: &Ctx, state: CacheState, now_ms: Millis) -> Self {
        let reads = |tier| ctx.metrics.cache_reads(state.name, tier);
        let reads = CacheReads { local: reads("local"), kv: reads("kv"), loaded: reads("database") };
        let hits = reads.local + reads.kv;
        Self {
            name: state.name.to_owned(),
            entries: state.entries,
            oldest_ms: state.read_ms.map(|(oldest, _)| (now_ms - oldest).max(0)),
            newest_ms: state.read_ms.map(|(_, newest)| (now_ms - newest).max(0)),
            hit_percent: (hits * 100).checked_div(hits + reads.loaded),
            reads,
        }
    }
}

/// The caches of the node that answers.
#[derive(Debug, Object)]
pub struct CachesView {
    /// Each node has a memory of its own.
    pub node: String,
    pub items: Vec<CacheView>,
}

/// What is dropped of a cache, and why.
#[derive(Debug, Object)]
#[oai(example)]
pub struct CacheDrop {
    /// One key only; absent: all of it. `sessions` and `carriers` are dropped as a whole, and take none.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub key: Option<String>,
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for CacheDrop {
    fn example() -> Self {
        Self { key: None, reason: "数据库恢复自备份".to_owned() }
    }
}

pub struct CachesApi {
    pub ctx: Ctx,
    pub caches: Caches,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl CachesApi {
    /// State of the caches
    ///
    /// As the node that answers has them: entries, their ages, and how often which tier answered. Changes
    /// nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/caches", method = "get", operation_id = "listCaches")]
    async fn list(&self, _auth: StaffAuth) -> Reply<Json<CachesView>> {
        let now_ms = self.ctx.clock.now_ms();
        let items = self.caches.states().map(|state| CacheView::of(&self.ctx, state, now_ms)).collect();
        Ok(Json(CachesView { node: self.ctx.bus.node_name().to_owned(), items }))
    }

    /// Drop a cache
    ///
    /// All of it or one key, on every node and in the kv tier; it fills itself again from the database. For
    /// when the database was changed by hand or restored. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `cache_not_found`, `invalid_request`.
    #[oai(path = "/caches/:cache/drop", method = "post", operation_id = "dropCache")]
    async fn drop_cache(
        &self,
        auth: StaffAuth,
        /// Its name.
        #[oai(validator(min_length = 1, max_length = 32), example = "example_cache")]
        cache: Path<String>,
        body: Body<CacheDrop>,
    ) -> Reply<NoContent> {
        let (actor, key) = (auth.actor(), body.key.as_deref());
        self.caches.drop_on_every_node(&self.ctx, &actor, &cache, key, &body.reason).await?;
        Ok(NoContent::Done)
    }
}

fn example_cache() -> String {
    "stores".to_owned()
}
