//! `minimall doctor` and `minimall health`: what they see of a set-up, and that the doctor changes nothing.

use minimall::config::{Config, KvBackend, Mode, WechatMode};
use minimall::doctor::{self, Findings, Level};
use minimall::kernel::Clock;
use minimall::platform::db::Db;

use crate::support::{TestApp, fresh_config};

fn level(findings: &Findings, what: &str) -> Level {
    let levels = findings.list.iter().filter(|finding| finding.what == what).map(|finding| finding.level);
    levels.max().unwrap_or_else(|| panic!("nothing was said of {what}: {findings:#?}"))
}

/// Of the app's own set-up, with a change.
async fn look(app: &TestApp, change: impl FnOnce(&mut Config)) -> Findings {
    let mut config = app.ctx.config.clone();
    change(&mut config);
    let findings = doctor::look(&config, app.ctx.clock.clone()).await;
    for finding in &findings.list {
        assert_eq!(finding.advice.is_empty(), finding.level == Level::Ok, "{finding:?}");
    }
    findings
}

#[tokio::test]
async fn a_set_up_to_try_things_on_works_and_is_told_what_is_not_for_production() {
    let app = TestApp::new().await;
    let findings = look(&app, |_| {}).await;
    assert!(findings.is_healthy(), "{findings:#?}");
    for (what, is) in [
        ("mode", Level::Warn),
        ("secrets", Level::Warn),
        ("tables", Level::Ok),
        ("bus", Level::Ok),
        ("wechat", Level::Ok),
    ] {
        assert_eq!(level(&findings, what), is, "{what}: {findings:#?}");
    }
    // A server is told about when it is slow, or is there for several nodes that could not share the bus.
    let is_embedded = [!app.has_server(), app.ctx.config.kv.backend == KvBackend::Embedded];
    for (what, is_embedded) in ["database", "kv"].into_iter().zip(is_embedded) {
        let worst = if is_embedded { Level::Ok } else { Level::Warn };
        assert!(level(&findings, what) <= worst, "{what}: {findings:#?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_a_process_could_take_is_held_against_what_the_database_server_has() {
    let app = TestApp::new().await;
    if app.has_server() {
        let findings = look(&app, |_| {}).await;
        assert_eq!(level(&findings, "connections"), Level::Ok);
        assert_eq!(level(&findings, "statements"), Level::Ok);
        let greedy = |config: &mut Config| {
            config.database.connections = 1_000;
            config.database.statements = 10_000;
        };
        let findings = look(&app, greedy).await;
        assert_eq!(level(&findings, "connections"), Level::Fail);
        assert_eq!(level(&findings, "statements"), Level::Fail);
    }
    app.finish().await;
}

#[tokio::test]
async fn with_the_real_wechat_its_token_keys_and_certificates_are_tried() {
    let app = TestApp::new().await;
    // The sandbox speaks the same protocol, so it stands in for the real one.
    let live = |config: &mut Config| config.wechat.mode = WechatMode::Live;
    let findings = look(&app, live).await;
    for what in ["keys", "wechat", "wechat pay", "certificates", "templates", "public url"] {
        assert_eq!(level(&findings, what), Level::Ok, "{what}: {findings:#?}");
    }
    let certificates = findings.list.iter().find(|finding| finding.what == "certificates").expect("a line");
    assert!(certificates.detail.contains("PUB_KEY_ID_"), "{}", certificates.detail);
    assert!(certificates.detail.contains(" until 20"), "{}", certificates.detail);

    type Change = fn(&mut Config);
    let wrong: [(&str, Change); 6] = [
        ("wechat", |config| config.wechat.secret = "another secret of 32 characters.".to_owned()),
        ("wechat pay", |config| config.wechat_pay.mchid = "1999999999".to_owned()),
        ("certificates", |config| {
            config.wechat_pay.apiv3_key = "another key of 32 characters....".to_owned()
        }),
        ("keys", |config| config.wechat_pay.merchant_private_key = "/no/such/file".to_owned()),
        ("templates", |config| config.wechat.templates.refund.clear()),
        ("public url", |config| config.server.public_url = "http://127.0.0.1:9".to_owned()),
    ];
    for (what, change) in wrong {
        let findings = look(&app, |config| {
            live(config);
            change(config);
        })
        .await;
        assert!(level(&findings, what) > Level::Ok, "{what}: {findings:#?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn production_fails_for_demo_secrets_and_for_parts_that_do_not_answer() {
    let app = TestApp::new().await;
    let findings = look(&app, |config| config.mode = Mode::Production).await;
    assert_eq!((level(&findings, "secrets"), level(&findings, "config")), (Level::Fail, Level::Fail));
    let findings = look(&app, |config| {
        config.kv.backend = KvBackend::Redis;
        config.kv.urls = vec!["redis://user:geheim@127.0.0.1:9".to_owned()];
    })
    .await;
    assert_eq!(level(&findings, "kv"), Level::Fail);
    assert!(!format!("{findings:?}").contains("geheim"), "{findings:#?}");
    let findings = look(&app, |config| config.database.url = "sqlite:/proc/no/such/place".to_owned()).await;
    assert_eq!(level(&findings, "ports"), Level::Fail);
    app.finish().await;
}

#[tokio::test]
async fn the_doctor_makes_no_tables_and_says_that_there_are_none() {
    let (config, folder) = fresh_config();
    let findings = doctor::look(&config, Clock::system()).await;
    assert_eq!(level(&findings, "tables"), Level::Warn, "{findings:#?}");
    let db = Db::open(&config.database).await.expect("it opens");
    assert!(!db.is_migrated().await);
    db.close().await;
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn health_asks_the_program_of_the_same_configuration() {
    let app = TestApp::new().await;
    let mut config = app.ctx.config.clone();
    config.server.listen = app.url.trim_start_matches("http://").to_owned();
    assert!(doctor::health(&config).await.expect("it answers"));
    config.server.listen = config.server.listen.replace("127.0.0.1", "0.0.0.0");
    assert!(doctor::health(&config).await.expect("it answers"));
    config.server.metrics_listen = "127.0.0.1:9".to_owned();
    assert!(doctor::health(&config).await.is_err());
    app.finish().await;
}
