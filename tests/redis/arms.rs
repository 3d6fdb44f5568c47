//! The contract on each kind of Redis.

use std::path::Path;
use std::process::Command;

use minimall::config::KvBackend;
use minimall::kernel::Clock;
use minimall::platform::kv::Kv;

use super::servers::{RedisServer, free_port, wanted, words};
use super::{contract, eventually, kv_config, open, until_back};

const START_MS: i64 = 1_773_453_600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_alone_keeps_the_contract() {
    if !wanted("redis_alone_keeps_the_contract") {
        return;
    }
    let server = RedisServer::start();
    let clock = Clock::manual(START_MS);
    let (kv, metrics) = open(&kv_config(KvBackend::Redis, vec![server.url()]), &clock).await;
    contract::keeps(&kv, &clock).await;
    assert!(metrics.text().contains("minimall_state{of=\"kv_up\"} 1"));
    // Nothing stays for ever, and nothing is outside of the prefix.
    for key in server.cli(&["keys", "*"]).lines() {
        assert!(key.starts_with("minimall:"), "{key}");
        let left_ms: i64 = server.cli(&["pttl", key]).parse().expect("a number");
        assert!(left_ms > 0 && left_ms <= 120_000, "{key} stays for {left_ms} ms");
    }
    // Scripts are gone after a restart, or a flush.
    server.cli(&["script", "flush"]);
    kv.put_if_newer("s", 1, b"x", 1_000).await.expect("kv answers");
    let look = kv.look().await.expect("it answers").expect("it is a Redis");
    assert!(look.version.starts_with(|digit: char| digit.is_ascii_digit()), "{}", look.version);
    assert_eq!(look.maxmemory_policy, "noeviction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_deployments_share_a_redis_and_see_nothing_of_each_other() {
    if !wanted("two_deployments_share_a_redis_and_see_nothing_of_each_other") {
        return;
    }
    let server = RedisServer::start();
    let clock = Clock::manual(START_MS);
    let mut config = kv_config(KvBackend::Redis, vec![format!("{}/3", server.url())]);
    let (one, _) = open(&config, &clock).await;
    config.key_prefix = "other.shop:".to_owned();
    let (other, _) = open(&config, &clock).await;
    one.put("k", b"one", 1_000).await.expect("kv answers");
    assert_eq!(other.get("k").await.expect("kv answers"), None);
    other.put("k", b"other", 1_000).await.expect("kv answers");
    assert_eq!(one.get("k").await.expect("kv answers").as_deref(), Some(&b"one"[..]));
    assert_eq!(server.cli(&["-n", "3", "exists", "other.shop:k"]), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_of_three_keeps_the_contract() {
    if !wanted("a_cluster_of_three_keeps_the_contract") {
        return;
    }
    let servers = cluster();
    let clock = Clock::manual(START_MS);
    // One of the nodes is enough to find the others.
    let (kv, _) = open(&kv_config(KvBackend::RedisCluster, vec![servers[0].url()]), &clock).await;
    until_back(&kv).await;
    contract::keeps(&kv, &clock).await;
    let with_keys = servers.iter().filter(|server| server.cli(&["dbsize"]) != "0").count();
    assert_eq!(with_keys, 3, "keys are on all of them");
    assert!(kv.look().await.expect("it answers").is_some());
}

/// Three masters.
pub fn cluster() -> Vec<RedisServer> {
    let options = |_: &Path, _: u16| {
        // The default bus port, 10000 above, may not be one.
        let mut options = words(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        options.extend(words(&["--cluster-port", &free_port().to_string()]));
        options
    };
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::with(options)).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]);
    create.args(servers.iter().map(|server| format!("127.0.0.1:{}", server.port)));
    let made = create.arg("--cluster-yes").output().expect("redis-cli");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    servers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_sentinels_the_contract_is_kept_and_a_failover_is_followed() {
    if !wanted("behind_sentinels_the_contract_is_kept_and_a_failover_is_followed") {
        return;
    }
    let (mut master, sentinels, replica) = sentinels();
    let clock = Clock::manual(START_MS);
    let mut config = kv_config(KvBackend::RedisSentinel, sentinels.iter().map(RedisServer::url).collect());
    config.sentinel_master = "shop".to_owned();
    let (kv, _) = open(&config, &clock).await;
    contract::keeps(&kv, &clock).await;
    kv.put("kept", b"x", 600_000).await.expect("kv answers");
    eventually("the replica has it", || async { replica.cli(&["exists", "minimall:kept"]) == "1" }).await;
    master.kill();
    until_back(&kv).await;
    assert_eq!(replica.cli(&["exists", "minimall:back"]), "1", "the replica is the master now");
    assert_eq!(kv.get("kept").await.expect("kv answers").as_deref(), Some(&b"x"[..]));
    // The old master comes back as a replica and does not confuse anybody.
    master.start_again();
    eventually("the old master follows", || async { master.cli(&["exists", "minimall:kept"]) == "1" }).await;
    kv.put("kept", b"y", 600_000).await.expect("kv answers");
    // One that hangs is failed over, too.
    replica.pause();
    until_back(&kv).await;
    assert_eq!(master.cli(&["exists", "minimall:back"]), "1");
    replica.resume();
}

/// A master, three sentinels that know each other and the replica, and the replica.
fn sentinels() -> (RedisServer, Vec<RedisServer>, RedisServer) {
    let master = RedisServer::start();
    let of = master.port.to_string();
    let replica = RedisServer::with(|_, _| words(&["--replicaof", "127.0.0.1", &of]));
    let sentinels: Vec<RedisServer> = (0..3).map(|_| RedisServer::sentinel(master.port, 2)).collect();
    for _ in 0..600 {
        let ready = sentinels.iter().all(|sentinel| {
            let info = sentinel.cli(&["info", "sentinel"]);
            info.contains("slaves=1") && info.contains("sentinels=3") && info.contains("status=ok")
        });
        if ready && replica.cli(&["info", "replication"]).contains("master_link_status:up") {
            return (master, sentinels, replica);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the sentinels do not find each other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tls_with_a_password_keeps_the_contract_and_a_stranger_is_refused() {
    if !wanted("tls_with_a_password_keeps_the_contract_and_a_stranger_is_refused") {
        return;
    }
    let server = RedisServer::with(|folder, port| {
        certificates(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        let mut options = words(&["--port", "0", "--tls-port", &port.to_string()]);
        options.extend(words(&[
            "--tls-cert-file",
            &file("server.crt"),
            "--tls-key-file",
            &file("server.key"),
        ]));
        options.extend(words(&["--tls-ca-cert-file", &file("ca.crt"), "--tls-auth-clients", "no"]));
        options.extend(words(&["--requirepass", "geheim"]));
        options.extend(words(&["--user", "shop", "on", ">p,w", "~minimall:*", "&*", "+@all"]));
        options
    });
    let clock = Clock::manual(START_MS);
    let place = format!("127.0.0.1:{}", server.port);
    let ca = server.folder().join("ca.crt").display().to_string();
    let with = |url: &str, ca: &str| {
        let mut config = kv_config(KvBackend::Redis, vec![url.replace("HERE", &place)]);
        config.tls_ca = ca.to_owned();
        // A handshake in a debug build on a busy machine takes its time.
        config.timeout_ms = 2_000;
        config
    };
    for url in ["rediss://shop:p%2Cw@HERE", "rediss://:geheim@HERE/0"] {
        let (kv, _) = open(&with(url, &ca), &clock).await;
        kv.put("k", url.as_bytes(), 1_000).await.expect("kv answers");
        assert_eq!(kv.get("k").await.expect("kv answers").as_deref(), Some(url.as_bytes()));
    }
    let (kv, _) = open(&with("rediss://shop:p%2Cw@HERE", &ca), &clock).await;
    contract::keeps(&kv, &clock).await;
    // A wrong password, a certificate of an authority that nobody named, no TLS at all.
    for (url, ca) in
        [("rediss://shop:p@HERE", ca.as_str()), ("rediss://:geheim@HERE", ""), ("redis://:geheim@HERE", "")]
    {
        let (kv, metrics) = open(&with(url, ca), &clock).await;
        assert!(kv.get("k").await.is_err(), "{url}");
        assert!(metrics.text().contains("minimall_state{of=\"kv_up\"} 0"));
        let why = kv.look().await.err().expect("a reason").to_string();
        assert!(!why.contains("geheim") && !why.contains(":p@"), "{why}");
    }
    let unreadable = with("rediss://:geheim@HERE", "/no/such/file");
    assert!(Kv::open(&unreadable, clock, Default::default()).await.is_err());
}

/// A certificate authority, and a certificate of 127.0.0.1.
fn certificates(folder: &Path) {
    let script = r#"
set -e
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr
printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > server.ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt
"#;
    let made = Command::new("bash").args(["-c", script]).current_dir(folder).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
