//! The kv tier on real servers: Redis alone, behind sentinels, as a cluster, with TLS; hanging, killed,
//! failing over. The embedded one keeps the same contract and is tested beside them.

mod arms;
mod contract;
mod failures;
mod servers;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use minimall::config::{self, Config, KvBackend};
use minimall::kernel::Clock;
use minimall::platform::kv::Kv;
use minimall::telemetry::Metrics;

/// How long a test waits for what has to come, at most. Sentinels alone may take 30 s to make a replica of a master
/// that came back: they ask it every 10 s, and act when it has said for 8 s that it is one.
const PATIENCE: Duration = Duration::from_secs(120);

/// The configuration of a Redis of this kind.
fn kv_config(backend: KvBackend, urls: Vec<String>) -> config::Kv {
    let mut config = Config::defaults().expect("the defaults fit").kv;
    config.backend = backend;
    config.urls = urls;
    config.value_max_kib = 64;
    config
}

async fn open(config: &config::Kv, clock: &Clock) -> (Kv, Arc<Metrics>) {
    let metrics = Arc::<Metrics>::default();
    let kv = Kv::open(config, clock.clone(), metrics.clone()).await.expect("the configuration fits");
    (kv, metrics)
}

/// Waits until it is so.
async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within {} s: {what}", PATIENCE.as_secs()));
}

/// Waits until the kv tier takes writes again.
async fn until_back(kv: &Kv) {
    eventually("kv is back", || async { kv.put("back", b"1", 1_000).await.is_ok() }).await;
}
