//! Scan to buy: from the code at the door over the shelf and the phone to the check at the exit.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Clerk, HUBIN, SKU, TestApp, WULIN, items, minor, sku, text};

async fn discrepancies(clerk: &Clerk, store: &str) -> Vec<Value> {
    items(&clerk.0.get(&format!("/admin/v1/stores/{store}/discrepancies")).await.ok())
}

#[tokio::test]
async fn somebody_scans_the_door_and_the_goods_pays_and_is_checked_out() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let store = alice.client.get("/api/v1/stores/by-scene/hz-wulin").await.ok();
    let store_id = text(&store, "id");
    let found =
        alice.client.get(&format!("/api/v1/skus/by-barcode/6975612340018?store_id={store_id}")).await.ok();
    let line = json!({ "store_id": store_id, "quantity": 2 });
    alice.client.put(&format!("/api/v1/cart/lines/{}", text(&found, "id")), &line).await.ok();
    let quote = json!({ "store_id": store_id, "fulfilment": "IN_STORE" });
    let quote = alice.client.post("/api/v1/quotes", &quote).await.ok();
    assert_eq!((minor(&quote["freight"]), minor(&quote["payable"])), (0, 25_600));
    let order = alice.place(&quote).await.ok();
    let seen = app.pay(&alice, &order).await;
    assert_eq!((&seen["status"], &seen["pickup"]["code_is_open"]), (&json!("PAID"), &json!(true)));
    assert!(
        seen["timeline"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|t| t["text"] == "付款成功，请在出口出示取货码")
    );
    clerk.ready(&order).await.refused(409, "ready_not_possible");
    clerk.act(&order, "ship", &json!({})).await.refused(409, "order_not_shippable");
    let stale = clerk.act(&order, "exit-check", &json!({ "version": 1 })).await.refused(409, "order_changed");
    assert_eq!(stale["version"], clerk.detail(&order).await["version"]);
    let done = clerk.exit_check(&order).await.ok();
    assert_eq!((&done["status"], &done["lines"][0]["shipped"]), (&json!("COMPLETED"), &json!(2)));
    let again = clerk.exit_check(&order).await.refused(409, "already_handed_over");
    assert!(again["handed_over_at"].is_string());
    app.drain().await;
    assert_eq!(app.uploads().await[0]["logistics_type"], 4);
    assert!(discrepancies(&clerk, WULIN).await.is_empty(), "the stock knew of it");
    app.finish_money().await;
}

#[tokio::test]
async fn the_code_on_the_phone_checks_out_too() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = app.paid_in(&alice, WULIN, "IN_STORE", &[(SKU, 1)]).await;
    let code = alice.code(&order).await;
    assert_eq!(clerk.verify(WULIN, &code).await.ok()["fulfilment"], "IN_STORE");
    assert_eq!(clerk.serve(WULIN, &code).await.ok()["status"], "COMPLETED");
    assert_eq!((app.moves(&order, "exit_checked").await, app.moves(&order, "picked_up").await), (1, 0));
    app.finish_money().await;
}

#[tokio::test]
async fn nobody_leaves_with_goods_whose_money_is_going_back() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = app.paid_in(&alice, WULIN, "IN_STORE", &[(SKU, 1)]).await;
    let refund = alice.try_refund(&order, &[(0, 1)]).await.ok();
    clerk.exit_check(&order).await.refused(409, "refund_open");
    app.reject(&refund).await.expect("rejected");
    clerk.exit_check(&order).await.ok();
    app.finish_money().await;
}

/// Edge case 42.
#[tokio::test]
async fn goods_in_the_hand_are_sold_although_the_stock_says_none() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let (cake, fan) = (sku(9), sku(19));
    assert_eq!(app.stock_in(HUBIN, &fan).await, (3, 0, 0, 3));
    let to_be_sent = json!({
        "store_id": HUBIN, "fulfilment": "DELIVERY", "lines": [{ "sku_id": fan, "quantity": 5 }],
        "address_id": alice.address,
    });
    alice.client.post("/api/v1/quotes", &to_be_sent).await.refused(409, "quantity_not_available");
    let order = alice.order_in(HUBIN, "IN_STORE", &[(&cake, 2), (&fan, 5)]).await;
    assert_eq!(app.stock_in(HUBIN, &cake).await, (0, 2, 0, 2));
    assert_eq!(app.stock_in(HUBIN, &fan).await, (0, 5, 0, 5), "two were missing, and two came");
    let listed = discrepancies(&clerk, HUBIN).await;
    let short: Vec<(String, i64)> =
        listed.iter().map(|row| (text(row, "sku_id"), row["quantity"].as_i64().expect("a number"))).collect();
    assert_eq!(short, [(fan.clone(), 2), (cake.clone(), 2)], "newest first");
    assert!(listed.iter().all(|row| row["order_id"] == order["id"]));
    assert!(discrepancies(&clerk, WULIN).await.is_empty());
    let moves = clerk.0.get(&format!("/admin/v1/stores/{HUBIN}/stock/{cake}/moves")).await.ok();
    assert_eq!(
        (&moves["items"][0]["kind"], &moves["items"][0]["actor_kind"]),
        (&json!("DISCREPANCY"), &json!("user"))
    );

    // Nobody has paid, so nothing speaks for them: what came goes again, and nobody can make stock out of nothing.
    alice.cancel(&order).await.ok();
    assert_eq!(app.stock_in(HUBIN, &fan).await, (3, 0, 0, 3));
    assert_eq!(app.stock_in(HUBIN, &cake).await, (0, 0, 0, 0));
    let rows: Vec<i64> = discrepancies(&clerk, HUBIN)
        .await
        .iter()
        .map(|row| row["quantity"].as_i64().expect("a number"))
        .collect();
    assert_eq!(rows.iter().sum::<i64>(), 0, "{rows:?}");

    // Paid for, they were there: they stay when the money goes back.
    let order = app.paid_in(&alice, HUBIN, "IN_STORE", &[(&fan, 5)]).await;
    assert_eq!(app.stock_in(HUBIN, &fan).await, (0, 0, 5, 5));
    alice.refund(&order).await;
    app.drain().await;
    assert_eq!(app.stock_in(HUBIN, &fan).await, (5, 0, 0, 5));
    app.finish_money().await;
}

#[tokio::test]
async fn goods_that_the_store_never_counted_are_sold_from_the_hand() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let cake = sku(9);
    assert_eq!(
        app.number(&format!("SELECT COUNT(*) FROM stock WHERE store_id = '{HUBIN}' AND sku_id = '{cake}'"))
            .await,
        0
    );
    let order = app.paid_in(&alice, HUBIN, "IN_STORE", &[(&cake, 3)]).await;
    assert_eq!(app.stock_in(HUBIN, &cake).await, (0, 0, 3, 3));
    clerk.exit_check(&order).await.ok();
    // What the store does not sell is not sold from the hand either.
    let unknown = alice.try_quote_in(HUBIN, "IN_STORE", &[(&sku(3), 1)]).await;
    unknown.refused(409, "sku_not_sold");
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_hands_with_the_last_goods_are_all_served_and_the_shortfall_is_exact() {
    let app = TestApp::new().await;
    let clerk = Clerk::of(&app).await;
    let fan = sku(19);
    let users = join_all(["a", "b", "c", "d", "e", "f"].map(|name| app.user(name))).await;
    let lines = [(fan.as_str(), 2)];
    let orders = join_all(users.iter().map(|user| user.order_in(HUBIN, "IN_STORE", &lines))).await;
    assert_eq!(orders.len(), 6);
    assert_eq!(app.stock_in(HUBIN, &fan).await, (0, 12, 0, 12), "3 were there, 9 were missing");
    let listed = discrepancies(&clerk, HUBIN).await;
    assert_eq!(listed.iter().map(|row| row["quantity"].as_i64().expect("a number")).sum::<i64>(), 9);
    app.finish().await;
}
