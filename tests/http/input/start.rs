//! What the server refuses to start with.

use std::path::PathBuf;
use std::process::Command;

use data_encoding::BASE64;
use minimall::app::App;
use minimall::config::{Config, Mode, WechatMode};
use minimall::kernel::Clock;
use minimall::sandbox::demo;
use serde_json::Value;

use crate::support::{START_MS, fresh_config};

/// A configuration with which a shop could go live: everything is the merchant's own.
fn live_config() -> (Config, PathBuf) {
    let (mut config, folder) = fresh_config();
    config.mode = Mode::Production;
    config.secrets.master_key = "a7".repeat(32);
    config.server.public_url = "https://shop.example.com".to_owned();
    config.wechat.mode = WechatMode::Live;
    config.wechat.appid = "wx0123456789abcdef".to_owned();
    config.wechat.secret = "0123456789abcdef0123456789abcdef".to_owned();
    config.wechat.push_token = "0123456789abcdef".to_owned();
    config.wechat.push_encoding_aes_key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG".to_owned();
    let pay = &mut config.wechat_pay;
    pay.mchid = "1600000000".to_owned();
    pay.merchant_serial = "4D3E10DE30C0FFEE0000000000000000000000AA".to_owned();
    pay.merchant_private_key = private_key();
    pay.apiv3_key = "0123456789abcdef0123456789abcdef".to_owned();
    (config, folder)
}

/// The key of a published example: nobody's, and not the sandbox's.
fn private_key() -> String {
    let vector = include_str!("../../vectors/rsa-sha256-go.json");
    let vector: Value = serde_json::from_str(vector).expect("JSON");
    let pem = vector.pointer("/inputs/private_key_pem");
    pem.and_then(Value::as_str).expect("a key").to_owned()
}

/// Why this configuration does not start; none: it does.
async fn refusal(change: impl FnOnce(&mut Config)) -> Option<String> {
    let (mut config, folder) = live_config();
    change(&mut config);
    let refused = App::build(config, Clock::manual(START_MS)).await.err().map(|failure| failure.to_string());
    let _ = std::fs::remove_dir_all(folder);
    refused
}

#[tokio::test]
async fn production_starts_with_the_merchants_own_keys_and_a_public_address() {
    assert_eq!(refusal(|_| {}).await, None);
    assert_eq!(
        refusal(|config| config.server.public_url = "https://shop.example.com:8443/mall".to_owned()).await,
        None
    );
}

#[tokio::test]
async fn production_refuses_the_sandbox_and_its_keys() {
    let refused = refusal(|config| config.wechat.mode = WechatMode::Sandbox).await.expect("refused");
    assert!(refused.contains("wechat.mode"), "{refused}");
    let demo_key = Config::defaults().expect("the defaults fit").secrets.master_key;
    for key in [demo_key.to_uppercase(), format!(" {demo_key}"), demo_key] {
        let refused = refusal(|config| config.secrets.master_key = key).await.expect("refused");
        assert!(refused.contains("secrets.master_key"), "{refused}");
    }
    let of_sandbox = [
        refusal(|config| config.wechat.secret = demo::APP_SECRET.to_owned()).await,
        refusal(|config| config.wechat_pay.apiv3_key = demo::APIV3_KEY.to_owned()).await,
        refusal(|config| config.wechat_pay.merchant_private_key = demo::MERCHANT_PRIVATE_KEY_PEM.to_owned())
            .await,
    ];
    for refused in of_sandbox {
        let refused = refused.expect("refused");
        assert!(refused.contains("sandbox"), "{refused}");
    }
}

#[tokio::test]
async fn production_refuses_an_address_that_wechat_cannot_call() {
    for url in [
        "",
        "http://shop.example.com",
        "shop.example.com",
        "https://",
        "https://localhost",
        "https://LOCALHOST:8080",
        "https://localhost.",
        "https://shop.localhost",
        "https://127.0.0.1",
        "https://127.1:8443",
        "https://10.0.0.8/mall",
        "https://[::1]",
        "https://[::1]:8443/",
        "https://me@127.0.0.1",
        "https://8.8.8.8",
    ] {
        let refused = refusal(|config| config.server.public_url = url.to_owned()).await;
        let refused = refused.unwrap_or_else(|| panic!("{url} is taken"));
        assert!(refused.contains("server.public_url"), "{url}: {refused}");
    }
}

#[tokio::test]
async fn a_key_that_is_missing_or_unusable_is_named() {
    let too_short = refusal(|config| config.secrets.master_key = "a7".repeat(31)).await.expect("refused");
    assert!(too_short.contains("secrets.master_key"), "{too_short}");
    let none = refusal(|config| config.wechat.appid.clear()).await.expect("refused");
    assert!(none.contains("[wechat]") && none.contains("appid"), "{none}");
    let no_push = refusal(|config| config.wechat.push_token.clear()).await.expect("refused");
    assert!(no_push.contains("wechat.push_token"), "{no_push}");
    let key = BASE64.encode(&[7; 64]);
    let no_key = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    let unusable = refusal(|config| config.wechat_pay.merchant_private_key = no_key).await.expect("refused");
    assert!(unusable.contains("[wechat_pay]") && unusable.contains("merchant_private_key"), "{unusable}");
    assert!(!unusable.contains(&key), "{unusable}");
}

/// Loads a file with this text.
fn load(text: &str) -> Result<Config, String> {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("minimall-config-{}-{number}.toml", std::process::id()));
    std::fs::write(&path, text).expect("a file");
    let loaded = Config::load(Some(&path)).map_err(|failure| failure.to_string());
    let _ = std::fs::remove_file(&path);
    loaded
}

#[test]
fn a_file_goes_over_the_defaults() {
    let config = load("[orders]\npay_minutes = 45\n").expect("loaded");
    assert_eq!((config.orders.pay_minutes, config.orders.complete_days), (45, 10));
}

#[test]
fn an_unknown_key_a_wrong_type_and_a_value_out_of_bounds_are_errors_that_name_it() {
    for (text, named) in [
        ("[orders]\npay_minuts = 45\n", "pay_minuts"),
        ("[order]\npay_minutes = 45\n", "order"),
        ("listen = \"127.0.0.1:80\"\n", "listen"),
        ("[wechat.templates]\nwait = \"x\"\n", "wait"),
        ("[orders]\npay_minutes = \"soon\"\n", "pay_minutes"),
        ("[orders]\npay_minutes = 1\n", "orders.pay_minutes"),
        ("[session]\ntoken_minutes = 0\n", "session.token_minutes"),
        ("mode = \"producton\"\n", "producton"),
        ("[kv]\nbackend = \"memcached\"\n", "memcached"),
    ] {
        let refused = load(text).expect_err(text);
        assert!(refused.contains(named), "{text}: {refused}");
    }
    assert!(load("[orders\n").is_err());
    let missing = Config::load(Some(std::path::Path::new("/no/such/file.toml"))).expect_err("no such file");
    assert!(missing.to_string().contains("/no/such/file"), "{missing}");
}

/// What the program says on standard error, when it fails as it should.
fn failing(environment: &[(&str, &str)]) -> String {
    let (config, folder) = fresh_config();
    std::fs::create_dir_all(&folder).expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_minimall"))
        .arg("migrate")
        .current_dir(&folder)
        .env("MINIMALL__DATABASE__URL", &config.database.url)
        .envs(environment.iter().copied())
        .output()
        .expect("the program runs");
    let _ = std::fs::remove_dir_all(folder);
    assert!(!output.status.success(), "{environment:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_environment_is_held_to_the_same_rules() {
    for (key, value, named) in [
        ("MINIMALL__ORDERS__PAY_MINUTS", "45", "pay_minuts"),
        ("MINIMALL__ORDERS__PAY_MINUTES", "1", "orders.pay_minutes"),
        ("MINIMALL__NO_SUCH__KEY", "1", "no_such"),
    ] {
        let said = failing(&[(key, value)]);
        assert!(said.contains(named), "{key}: {said}");
    }
}
