//! The master key is changed while the shop serves.

use minimall::app::App;
use minimall::config::WechatMode;
use minimall::routes;
use serde_json::json;

use crate::support::{Client, SKU, TestApp, serve};

/// A node of the same shop with these keys, and who asks it.
async fn node(app: &TestApp, master_key: &str, old: &[&str]) -> Client {
    let mut config = app.ctx.config.clone();
    config.server.listen = "127.0.0.1:0".to_owned();
    // The sandbox runs already.
    config.wechat.mode = WechatMode::Live;
    config.secrets.master_key = master_key.to_owned();
    config.secrets.old_master_keys = old.iter().map(|key| (*key).to_owned()).collect();
    let node = App::build(config, app.ctx.clock.clone()).await.expect("a node");
    Client::new(&serve(routes::routes(&node.surface)).await)
}

#[tokio::test]
async fn with_the_old_key_at_hand_a_new_one_reads_finds_and_accepts_what_was_before() {
    let app = TestApp::new().await;
    let old_key = app.ctx.config.secrets.master_key.clone();
    let new_key = "c0ffee".repeat(10) + "c0ff";
    let ready = node(&app, &old_key, &[&new_key]).await;
    let changed = node(&app, &new_key, &[&old_key]).await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let before = alice.order(&[(SKU, 1)]).await;
    let quote = alice.quote(&[(SKU, 1)], &[]).await;
    let here = |client: &Client, of: &Client| client.with_token(of.token.as_deref().expect("a token"));
    // A quote of the one is an order at the other.
    let after = here(&changed, &alice.client)
        .post("/api/v1/orders", &json!({ "quote_token": quote["quote_token"] }))
        .await
        .ok();
    for order in [&before, &after] {
        let path = format!("/api/v1/orders/{}", order["id"].as_str().expect("an id"));
        for node in [&ready, &changed] {
            let seen = here(node, &alice.client).get(&path).await.ok();
            assert_eq!(seen["address"]["phone_masked"], "138****8000", "{seen}");
            assert_eq!(seen["address"]["recipient"], "林小满", "{seen}");
        }
    }
    for node in [&ready, &changed] {
        let found = here(node, &staff).get("/admin/v1/orders?phone=13800138000").await.ok();
        assert_eq!(found["items"].as_array().map(Vec::len), Some(2), "{found}");
        assert_eq!(here(node, &alice.client).get("/api/v1/addresses").await.status, 200);
    }
    app.finish().await;
}
