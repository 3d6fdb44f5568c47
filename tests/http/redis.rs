//! The shop on a Redis that hangs, dies and comes back: every answer is right all the while, and the cache
//! works again afterwards.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../redis/servers.rs"]
mod servers;

use std::time::Duration;

use minimall::config::{Config, KvBackend};
use minimall::identity::Sessions;
use minimall::routes::{self, Surface};
use serde_json::{Value, json};

use crate::support::{Client, SKU, TestApp, serve};
use servers::{RedisServer, wanted};

/// A shop whose kv tier is this server, with no cache in the process: each read asks it.
async fn shop_on(server: &RedisServer) -> TestApp {
    let use_it = |config: &mut Config| {
        config.kv.backend = KvBackend::Redis;
        config.kv.urls = vec![server.url()];
        config.kv.timeout_ms = 200;
        config.cache.local_ttl_ms = 0;
    };
    TestApp::with(use_it).await
}

/// Another node of the same shop, which remembers no session.
async fn other_node(app: &TestApp, client: &Client) -> Client {
    let surface = Surface { sessions: Sessions::default(), ..app.app.surface.clone() };
    let node = Client::new(&serve(routes::routes(&surface)).await);
    node.with_token(client.token.as_deref().expect("a token"))
}

/// How often a cache was answered by a tier.
fn reads(app: &TestApp, cache: &str, tier: &str) -> u64 {
    let text = app.ctx.metrics.text();
    let line = format!("minimall_cache_reads_total{{cache=\"{cache}\",tier=\"{tier}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
}

async fn readiness(app: &TestApp) -> (u16, Value) {
    let answer = app.client().get("/readyz").await;
    (answer.status, answer.body)
}

/// Sign in, look, order, pay; log out on one node and see the token refused on another.
async fn a_day_at_the_shop(app: &TestApp, name: &str) {
    let user = app.user(name).await;
    user.client.get("/api/v1/stores").await.ok();
    let stores = user.client.get("/api/v1/stores").await.ok();
    assert!(stores["items"].as_array().is_some_and(|items| items.len() > 3), "{stores}");
    let order = app.paid_order(&user, &[(SKU, 1)]).await;
    assert_eq!(order["status"], "PAID");
    let path = format!("/api/v1/orders/{}/payments", order["id"].as_str().expect("an id"));
    let again = user.client.post(&path, &json!({ "provider": "WECHAT_PAY" })).await;
    again.refused(409, "order_already_paid");
    let waits = user.order(&[(SKU, 1)]).await;
    assert_eq!(user.cancel(&waits).await.ok()["status"], "CLOSED");
    let node = other_node(app, &user.client).await;
    assert_eq!(node.get("/api/v1/me").await.status, 200);
    assert_eq!(user.client.delete("/api/v1/sessions/current").await.status, 204);
    let node = other_node(app, &user.client).await;
    node.get("/api/v1/me").await.refused(401, "unauthenticated");
    app.client().with_token("nobody's").get("/api/v1/me").await.refused(401, "unauthenticated");
}

async fn until_ready(app: &TestApp) {
    let ready = async {
        while readiness(app).await.1["dependencies"]["kv"] != "ok" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ready).await.expect("redis is found again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_redis_hanging_and_killed_every_answer_is_right_and_then_the_cache_works_again() {
    if !wanted("with_redis_hanging_and_killed_every_answer_is_right_and_then_the_cache_works_again") {
        return;
    }
    let mut server = RedisServer::start();
    let app = shop_on(&server).await;
    a_day_at_the_shop(&app, "alice").await;
    assert!(reads(&app, "sessions", "kv") > 0 && reads(&app, "store-lists", "kv") > 0);
    assert_eq!(readiness(&app).await, (200, ready("ok", "ok")));

    server.pause();
    a_day_at_the_shop(&app, "bob").await;
    assert_eq!(readiness(&app).await, (200, ready("degraded", "down")), "named, and still ready");
    server.resume();
    until_ready(&app).await;
    a_day_at_the_shop(&app, "carol").await;

    server.kill();
    a_day_at_the_shop(&app, "dave").await;
    assert_eq!(readiness(&app).await, (200, ready("degraded", "down")));
    server.start_again();
    until_ready(&app).await;
    let before = reads(&app, "store-lists", "kv");
    a_day_at_the_shop(&app, "erin").await;
    assert!(reads(&app, "store-lists", "kv") > before, "the cache works again");
    app.finish().await;
}

fn ready(status: &str, kv: &str) -> Value {
    json!({ "status": status, "dependencies": { "database": "ok", "kv": kv, "bus": "ok" } })
}

/// Edge case 39: an entry in kv from before does not open a session that ended while kv was gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_ended_while_redis_was_gone_stays_ended_on_every_node_within_a_minute() {
    if !wanted("a_session_that_ended_while_redis_was_gone_stays_ended_on_every_node_within_a_minute") {
        return;
    }
    let server = RedisServer::start();
    let app = shop_on(&server).await;
    let alice = app.user("alice").await;
    assert_eq!(other_node(&app, &alice.client).await.get("/api/v1/me").await.status, 200);
    server.pause();
    assert_eq!(alice.client.delete("/api/v1/sessions/current").await.status, 204);
    let node = other_node(&app, &alice.client).await;
    node.get("/api/v1/me").await.refused(401, "unauthenticated");
    server.resume();
    until_ready(&app).await;
    app.advance_minutes(1);
    let node = other_node(&app, &alice.client).await;
    node.get("/api/v1/me").await.refused(401, "unauthenticated");
    app.finish().await;
}
