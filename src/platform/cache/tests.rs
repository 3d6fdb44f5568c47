//! The cache against its tiers: one loader counts how often it is asked.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::config::Config;

struct Tiers {
    cache: Cached<String>,
    kv: Kv,
    clock: Clock,
    metrics: Arc<Metrics>,
    loads: AtomicUsize,
}

fn tiers(local_ttl_ms: Millis) -> Tiers {
    let clock = Clock::manual(1_000_000);
    node(Kv::embedded(100, clock.clone()), clock, local_ttl_ms)
}

fn node(kv: Kv, clock: Clock, local_ttl_ms: Millis) -> Tiers {
    let config = config::Cache { local_ttl_ms, ..Config::defaults().unwrap().cache };
    let metrics = Arc::<Metrics>::default();
    let cache = Cached::new("x", &config, kv.clone(), clock.clone(), metrics.clone());
    Tiers { cache, kv, clock, metrics, loads: AtomicUsize::new(0) }
}

/// Shares the kv tier.
fn another_node(other: &Tiers) -> Tiers {
    node(other.kv.clone(), other.clock.clone(), 5_000)
}

impl Tiers {
    /// Reads; the database has `text` under `version`.
    async fn read(&self, version: i64, text: &str) -> Option<String> {
        let load = || async move {
            self.loads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Versioned { version, value: (!text.is_empty()).then(|| text.to_owned()) })
        };
        self.cache.get("k", load).await.unwrap().map(|value| (*value).clone())
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn many_readers_load_once_and_a_second_node_takes_it_from_the_kv_tier() {
    let node = tiers(5_000);
    let reads: Vec<_> = (0..20).map(|_| node.read(1, "one")).collect();
    for found in futures_util::future::join_all(reads).await {
        assert_eq!(found.as_deref(), Some("one"));
    }
    assert_eq!(node.loads(), 1);
    node.clock.advance(2_000);
    let second = another_node(&node);
    assert_eq!(second.read(1, "one").await.as_deref(), Some("one"));
    assert_eq!(second.loads(), 0);
    let text = second.metrics.text();
    assert!(text.contains(r#"cache_reads_total{cache="x",tier="kv"} 1"#), "{text}");
    assert!(text.contains("cache_served_age_seconds_sum{cache=\"x\"} 2"), "{text}");
}

#[tokio::test]
async fn an_invalidation_refuses_older_versions_from_every_tier() {
    let node = tiers(5_000);
    node.read(1, "one").await;
    node.cache.invalidate("k", 2).await;
    // The kv tier still has version 1, and a lagging database too: answered once, never kept.
    assert_eq!(node.read(1, "one").await.as_deref(), Some("one"));
    assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
    assert_eq!(node.loads(), 3);
    node.cache.put("k", Versioned { version: 1, value: Some("one".to_owned()) }).await;
    assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
    assert_eq!(another_node(&node).read(9, "unused").await.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_floor_refuses_older_versions_under_every_key() {
    let node = tiers(5_000);
    node.read(1, "one").await;
    node.cache.at_least(2);
    assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
    assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
    assert_eq!(node.loads(), 2);
}

#[tokio::test]
async fn a_lost_invalidation_heals_after_the_local_time_to_live() {
    let node = tiers(5_000);
    let writer = another_node(&node);
    node.read(1, "one").await;
    writer.cache.put("k", Versioned { version: 2, value: Some("two".to_owned()) }).await;
    assert_eq!(node.read(2, "two").await.as_deref(), Some("one"));
    node.clock.advance(5_000);
    assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
    assert_eq!(node.loads(), 1);
}

#[tokio::test]
async fn a_row_that_does_not_exist_is_remembered_until_it_is_written() {
    let node = tiers(5_000);
    assert_eq!(node.read(0, "").await, None);
    assert_eq!(node.read(0, "").await, None);
    assert_eq!(node.loads(), 1);
    node.cache.put("k", Versioned { version: 1, value: Some("one".to_owned()) }).await;
    assert_eq!(node.read(1, "one").await.as_deref(), Some("one"));
    assert_eq!(node.loads(), 1);
}

#[tokio::test]
async fn without_a_local_tier_every_read_asks_kv_and_without_kv_the_database() {
    let node = tiers(0);
    node.read(1, "one").await;
    node.read(1, "one").await;
    assert_eq!(node.loads(), 1);
    node.kv.set_available(false);
    assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
    node.kv.set_available(true);
    // Version 2 was seen here, so the kv tier's version 1 is refused.
    assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
    assert_eq!(node.loads(), 3);
}

#[tokio::test]
async fn a_load_that_was_running_does_not_bring_the_old_value_back() {
    for whole in [false, true] {
        let node = tiers(5_000);
        let gate = tokio::sync::Notify::new();
        let slow = node.cache.get("k", || async {
            gate.notified().await;
            Ok(Versioned { version: 1, value: Some("one".to_owned()) })
        });
        let written = async {
            tokio::task::yield_now().await;
            gate.notify_one();
            if whole {
                node.cache.at_least(2);
            } else {
                node.cache.invalidate("k", 2).await;
            }
        };
        let (old, ()) = tokio::join!(slow, written);
        // Its reader asked before the write was done; nobody after that gets it.
        assert_eq!(old.unwrap().as_deref().map(String::as_str), Some("one"));
        assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
        assert_eq!(node.read(2, "two").await.as_deref(), Some("two"));
        assert_eq!(node.loads(), 1);
    }
}

#[tokio::test]
async fn what_was_dropped_is_served_from_no_tier_also_not_by_a_node_that_starts_later() {
    let node = tiers(5_000);
    node.read(1, "one").await;
    let second = another_node(&node);
    second.read(1, "one").await;
    node.clock.advance(100);
    // The database was changed by hand: the version stays.
    node.cache.drop_all(node.clock.now_ms()).await;
    // A node that loaded just before puts the old value back.
    let old = Versioned { version: 1, value: Some("one".to_owned()) };
    node.cache.write_kv("k", &old, 1_000_000).await;
    assert_eq!(node.read(1, "two").await.as_deref(), Some("two"));
    let later = another_node(&node);
    later.cache.start().await;
    node.cache.write_kv("k", &old, 1_000_000).await;
    assert_eq!(later.read(1, "two").await.as_deref(), Some("two"));
    // The second node has not heard of it; then it has.
    assert_eq!(second.read(1, "two").await.as_deref(), Some("one"));
    second.cache.drop_one("k").await;
    assert_eq!(second.read(1, "two").await.as_deref(), Some("two"));
    // What was written before the drop is not forgotten: nothing older comes back.
    node.cache.invalidate("k", 7).await;
    node.cache.drop_all(node.clock.now_ms()).await;
    assert_eq!(node.read(6, "older").await.as_deref(), Some("older"));
    assert_eq!(node.read(7, "newest").await.as_deref(), Some("newest"));
}
