//! What every arm promises.

use bytes::Bytes;
use minimall::config::{Config, KvBackend};
use minimall::kernel::Clock;
use minimall::platform::kv::Kv;

use super::{kv_config, open};

const MINUTE_MS: i64 = 60_000;

/// Holds an arm against all of it. `clock` is manual, and the one that the arm was opened with; values are
/// bounded at 64 KiB.
pub async fn keeps(kv: &Kv, clock: &Clock) {
    stores_and_deletes(kv).await;
    expires_by_our_clock(kv, clock).await;
    newer_versions_win(kv, clock).await;
    newest_wins_under_concurrency(kv).await;
    drops_what_is_too_large(kv).await;
    can_be_taken_away(kv).await;
}

async fn get(kv: &Kv, key: &str) -> Option<Bytes> {
    kv.get(key).await.expect("kv answers")
}

async fn put(kv: &Kv, key: &str, version: i64, bytes: &[u8]) {
    kv.put_if_newer(key, version, bytes, MINUTE_MS).await.expect("kv answers");
}

async fn stores_and_deletes(kv: &Kv) {
    assert_eq!(get(kv, "a").await, None);
    // Whatever is in a value: it is bytes.
    for value in [&b""[..], b"one", b"1 2\n3 4\n", &[0, 255, b'\n', b'\r', 0]] {
        kv.put("a", value, MINUTE_MS).await.expect("kv answers");
        assert_eq!(get(kv, "a").await.as_deref(), Some(value));
    }
    // The start of a value, never more than there is.
    kv.put("a", b"one two", MINUTE_MS).await.expect("kv answers");
    for (bytes_max, start) in [(3, &b"one"[..]), (7, b"one two"), (60, b"one two")] {
        assert_eq!(kv.get_start("a", bytes_max).await.expect("kv answers").as_deref(), Some(start));
    }
    assert_eq!(kv.get_start("never", 3).await.expect("kv answers"), None);
    // Keys of all shards, if there are any.
    for n in 0..50 {
        kv.put(&format!("many:{n}"), format!("{n}").as_bytes(), MINUTE_MS).await.expect("kv answers");
    }
    for n in 0..50 {
        assert_eq!(get(kv, &format!("many:{n}")).await.as_deref(), Some(format!("{n}").as_bytes()));
        kv.delete(&format!("many:{n}")).await.expect("kv answers");
        assert_eq!(get(kv, &format!("many:{n}")).await, None);
    }
    kv.delete("never").await.expect("kv answers");
}

async fn expires_by_our_clock(kv: &Kv, clock: &Clock) {
    kv.put("e", b"x", 5_000).await.expect("kv answers");
    put(kv, "f", 9, b"x").await;
    clock.advance(4_999);
    assert!(get(kv, "e").await.is_some());
    clock.advance(1);
    assert_eq!(get(kv, "e").await, None);
    assert_eq!(kv.get_start("e", 1).await.expect("kv answers"), None);
    clock.advance(MINUTE_MS);
    assert_eq!(get(kv, "f").await, None);
    // What has expired keeps nobody out, whatever its version.
    put(kv, "f", 3, b"y").await;
    assert_eq!(get(kv, "f").await.as_deref(), Some(&b"y"[..]));
    kv.put("g", b"x", 0).await.expect("kv answers");
    assert_eq!(get(kv, "g").await, None);
}

async fn newer_versions_win(kv: &Kv, clock: &Clock) {
    for (version, value, wins) in [
        (-5, "a", true),
        (-7, "b", false),
        (2, "c", true),
        (10, "d", true),
        (9, "e", false),
        (10, "f", true),
        (9_007_199_254_740_990, "g", true),
        (9_007_199_254_740_989, "h", false),
    ] {
        put(kv, "v", version, value.as_bytes()).await;
        let is = get(kv, "v").await.expect("an entry");
        assert_eq!(is == value.as_bytes(), wins, "version {version}: {is:?}");
    }
    // A plain write has no version and takes any place; behind it every version is newer.
    kv.put("v", b"plain", MINUTE_MS).await.expect("kv answers");
    put(kv, "v", 1, b"versioned").await;
    assert_eq!(get(kv, "v").await.as_deref(), Some(&b"versioned"[..]));
    // Another node's clock is behind: its write is judged like any other.
    put(kv, "w", 2, b"two").await;
    clock.advance(10);
    put(kv, "w", 1, b"one").await;
    assert_eq!(get(kv, "w").await.as_deref(), Some(&b"two"[..]));
}

async fn newest_wins_under_concurrency(kv: &Kv) {
    for round in 0..5 {
        let key = format!("race:{round}");
        // 1..=101 in an order that jumps about.
        let writes = (0..101).map(|n| (n * 37 % 101) + 1).map(|version| {
            let (kv, key) = (kv.clone(), key.clone());
            tokio::spawn(async move { put(&kv, &key, version, version.to_string().as_bytes()).await })
        });
        for done in futures_util::future::join_all(writes).await {
            done.expect("a write");
        }
        assert_eq!(get(kv, &key).await.as_deref(), Some(&b"101"[..]));
    }
}

async fn drops_what_is_too_large(kv: &Kv) {
    let (fits, too_large) = (vec![7; 64 * 1_024], vec![7; 64 * 1_024 + 1]);
    kv.put("l", &fits, MINUTE_MS).await.expect("kv answers");
    assert_eq!(get(kv, "l").await.map(|bytes| bytes.len()), Some(fits.len()));
    kv.put("l", &too_large, MINUTE_MS).await.expect("no error");
    assert_eq!(get(kv, "l").await, None, "the older value is not served in its place");
    put(kv, "l", 5, &fits).await;
    put(kv, "l", 4, &too_large).await;
    assert!(get(kv, "l").await.is_some(), "a newer one stays");
    put(kv, "l", 6, &too_large).await;
    assert_eq!(get(kv, "l").await, None);
}

async fn can_be_taken_away(kv: &Kv) {
    put(kv, "t", 1, b"x").await;
    kv.set_available(false);
    assert!(kv.get("t").await.is_err());
    assert!(kv.put("t", b"y", MINUTE_MS).await.is_err());
    assert!(kv.put_if_newer("t", 2, b"y", MINUTE_MS).await.is_err());
    assert!(kv.delete("t").await.is_err());
    kv.set_available(true);
    assert_eq!(get(kv, "t").await.as_deref(), Some(&b"x"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_embedded_arm_keeps_the_contract() {
    let clock = Clock::manual(1_773_453_600_000);
    let (kv, metrics) = open(&kv_config(KvBackend::Embedded, vec![]), &clock).await;
    keeps(&kv, &clock).await;
    let text = metrics.text();
    for line in [
        "minimall_kv_calls_total{call=\"put\",outcome=\"too_large\"} 1",
        "minimall_kv_calls_total{call=\"put_if_newer\",outcome=\"too_large\"} 2",
        "minimall_kv_calls_total{call=\"get\",outcome=\"down\"} 1",
        "minimall_kv_seconds_count{call=\"get\"}",
        "minimall_state{of=\"kv_up\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn urls_are_a_list_in_a_file_and_have_commas_in_the_environment() {
    // The only test of this process that looks at the configuration's environment.
    let file = std::env::temp_dir().join(format!("minimall-kv-{}.toml", std::process::id()));
    let load = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        Config::load(Some(&file)).map(|config| config.kv.urls).map_err(|failure| failure.to_string())
    };
    let two = ["redis://a:1", "rediss://user:p%2Cw@b:2/3"];
    assert_eq!(
        load("[kv]\nbackend = \"redis-cluster\"\nurls = [\"redis://a:1\", \"rediss://user:p%2Cw@b:2/3\"]"),
        Ok(two.map(str::to_owned).to_vec())
    );
    assert_eq!(
        load("[kv]\nbackend = \"redis-cluster\"\nurls = \"redis://a:1, rediss://user:p%2Cw@b:2/3\""),
        Ok(two.map(str::to_owned).to_vec())
    );
    for (refused, names) in [
        ("backend = \"redis\"", "kv.urls"),
        ("backend = \"redis\"\nurls = \"http://a\"", "kv.urls"),
        ("backend = \"redis\"\nurls = \"redis://a,redis://b\"", "kv.urls"),
        ("backend = \"redis-sentinel\"\nurls = \"redis://a,redis://b\"", "kv.sentinel_master"),
        ("timeout_ms = 5", "kv.timeout_ms"),
        ("value_max_kib = 0", "kv.value_max_kib"),
        ("key_prefix = \"{a}\"", "kv.key_prefix"),
    ] {
        let why = load(&format!("[kv]\n{refused}")).expect_err(refused);
        assert!(why.contains(names), "{refused}: {why}");
    }
    std::fs::remove_file(&file).expect("removed");
}
