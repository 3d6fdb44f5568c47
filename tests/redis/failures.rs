//! Redis hangs, dies, comes back, is full, loses a shard: callers are told within the timeout, and nobody has
//! to do anything for it to work again.

use std::time::Duration;

use minimall::config::KvBackend;
use minimall::kernel::Clock;
use minimall::platform::kv::Kv;

use super::arms::cluster;
use super::servers::{RedisServer, wanted};
use super::{kv_config, open, until_back};

/// Calls one after another that would take over three minutes, if each of them waited for its timeout.
async fn calls_that_all_fail(kv: &Kv) {
    let calls = async {
        for n in 0..1_000 {
            assert!(kv.get(&format!("k{n}")).await.is_err());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), calls).await.expect("one waits, the others do not");
}

async fn standalone(server: &RedisServer) -> Kv {
    let (kv, _) = open(&kv_config(KvBackend::Redis, vec![server.url()]), &Clock::system()).await;
    kv.put("k", b"x", 600_000).await.expect("kv answers");
    kv
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_hangs_costs_one_timeout_and_comes_back_by_itself() {
    if !wanted("a_redis_that_hangs_costs_one_timeout_and_comes_back_by_itself") {
        return;
    }
    let server = RedisServer::start();
    let kv = standalone(&server).await;
    for _ in 0..3 {
        server.pause();
        // Many at once: each of them is answered, none waits for another one's timeout.
        let at_once = (0..500).map(|n| {
            let kv = kv.clone();
            async move { kv.put_if_newer(&format!("n{n}"), 1, &[7; 10_000], 1_000).await.is_err() }
        });
        let answered = futures_util::future::join_all(at_once);
        let answered =
            tokio::time::timeout(Duration::from_secs(5), answered).await.expect("within the timeout");
        assert!(answered.into_iter().all(|failed| failed));
        calls_that_all_fail(&kv).await;
        server.resume();
        until_back(&kv).await;
        assert_eq!(kv.get("k").await.expect("kv answers").as_deref(), Some(&b"x"[..]), "it is the same one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_is_killed_and_started_again_is_used_again() {
    if !wanted("a_redis_that_is_killed_and_started_again_is_used_again") {
        return;
    }
    let mut server = RedisServer::start();
    let kv = standalone(&server).await;
    for _ in 0..3 {
        server.kill();
        calls_that_all_fail(&kv).await;
        server.start_again();
        until_back(&kv).await;
        assert_eq!(kv.get("k").await.expect("kv answers"), None, "it is empty");
        kv.put_if_newer("k", 3, b"x", 600_000).await.expect("the script is known again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_is_not_there_at_the_start_is_used_once_it_is() {
    if !wanted("a_redis_that_is_not_there_at_the_start_is_used_once_it_is") {
        return;
    }
    let mut server = RedisServer::start();
    server.kill();
    let (kv, metrics) = open(&kv_config(KvBackend::Redis, vec![server.url()]), &Clock::system()).await;
    calls_that_all_fail(&kv).await;
    assert!(metrics.text().contains("minimall_state{of=\"kv_up\"} 0"));
    assert!(kv.look().await.is_err());
    server.start_again();
    until_back(&kv).await;
    assert!(metrics.text().contains("minimall_state{of=\"kv_up\"} 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_is_full_refuses_writes_and_serves_reads() {
    if !wanted("a_redis_that_is_full_refuses_writes_and_serves_reads") {
        return;
    }
    let server = RedisServer::start();
    let (kv, metrics) = open(&kv_config(KvBackend::Redis, vec![server.url()]), &Clock::system()).await;
    kv.put("k", b"x", 600_000).await.expect("kv answers");
    server.cli(&["config", "set", "maxmemory", "1"]);
    for _ in 0..20 {
        assert!(kv.put("other", b"y", 1_000).await.is_err());
        assert!(kv.put_if_newer("other", 1, b"y", 1_000).await.is_err());
        assert_eq!(kv.get("k").await.expect("reads go on").as_deref(), Some(&b"x"[..]));
    }
    assert!(metrics.text().contains("minimall_kv_calls_total{call=\"put\",outcome=\"refused\"} 20"));
    server.cli(&["config", "set", "maxmemory", "0"]);
    kv.put("other", b"y", 1_000).await.expect("kv answers");
    // Somebody else's key under one of our names: refused, and no reason to think that Redis is gone.
    server.cli(&["rpush", "minimall:list", "x"]);
    assert!(kv.get("list").await.is_err());
    assert!(kv.get("k").await.is_ok());
    server.cli(&["set", "minimall:foreign", "not ours"]);
    assert_eq!(kv.get("foreign").await.expect("kv answers"), None);
    kv.put_if_newer("foreign", 1, b"ours", 1_000).await.expect("kv answers");
    assert!(kv.get("foreign").await.expect("kv answers").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_turned_into_a_replica_counts_as_gone_until_it_takes_writes() {
    if !wanted("a_redis_that_turned_into_a_replica_counts_as_gone_until_it_takes_writes") {
        return;
    }
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let kv = standalone(&server).await;
    server.cli(&["replicaof", "127.0.0.1", &other.port.to_string()]);
    assert!(kv.put("k", b"y", 1_000).await.is_err());
    calls_that_all_fail(&kv).await;
    server.cli(&["replicaof", "no", "one"]);
    until_back(&kv).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_whose_shard_hangs_or_dies_costs_little_and_comes_back() {
    if !wanted("a_cluster_whose_shard_hangs_or_dies_costs_little_and_comes_back") {
        return;
    }
    let mut servers = cluster();
    let urls = servers.iter().map(RedisServer::url).collect();
    let (kv, _) = open(&kv_config(KvBackend::RedisCluster, urls), &Clock::system()).await;
    until_back(&kv).await;
    all_shards(&kv).await;
    servers[1].pause();
    // A key of that shard, whichever it is: from then on nobody waits.
    let stuck = async {
        for n in 0..2_000 {
            let _ = kv.get(&format!("k{n}")).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stuck).await.expect("nobody waits");
    servers[1].resume();
    all_shards(&kv).await;
    servers[2].kill();
    let gone = async {
        while kv.get("k1").await.is_ok() && kv.get("k2").await.is_ok() && kv.get("k3").await.is_ok() {}
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), gone).await;
    servers[2].start_again();
    all_shards(&kv).await;
}

/// Waits until keys all over the cluster can be written.
async fn all_shards(kv: &Kv) {
    super::eventually("all shards are back", || async {
        for n in 0..60 {
            if kv.put(&format!("shard:{n}"), b"x", 60_000).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
}
