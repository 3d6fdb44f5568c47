//! Stock by hand: once for its key, never below zero, with a row that says who and why.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{SKU, TestApp, sku};

const WULIN: &str = "sto_00000000000000000000000002";

fn moves(sku: &str) -> String {
    format!("/admin/v1/stores/{WULIN}/stock/{sku}/moves")
}

fn change(quantity: i64, kind: &str) -> Value {
    json!({ "quantity": quantity, "kind": kind, "reason": "counted again" })
}

#[tokio::test]
async fn an_adjustment_is_made_once_for_its_key() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let first = staff.post_with_key(&moves(SKU), "k1", &change(10, "SUPPLY")).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    let again = staff.post_with_key(&moves(SKU), "k1", &change(10, "SUPPLY")).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!(first.body["move_id"], again.body["move_id"]);
    assert_eq!(again.body["stock"], json!({ "available": 50, "locked": 0, "sold": 0, "supplied": 50 }));
    let other = staff.post_with_key(&moves(SKU), "k1", &change(11, "SUPPLY")).await;
    other.refused(409, "idempotency_key_reused");
    // A key belongs to one request, its path included.
    let other = staff.post_with_key(&moves(&sku(2)), "k1", &change(10, "SUPPLY")).await;
    other.refused(409, "idempotency_key_reused");
    let none = staff.post_without_key(&moves(SKU), &change(1, "SUPPLY")).await;
    none.refused(400, "idempotency_key_required");
    app.finish().await;
}

#[tokio::test]
async fn stock_never_falls_below_zero_and_a_refusal_is_remembered() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let refused = staff.post_with_key(&moves(SKU), "k1", &change(-41, "ADJUST")).await;
    assert_eq!(refused.refused(409, "stock_too_low")["available"], 40);
    staff.post(&moves(SKU), &change(5, "SUPPLY")).await.ok();
    staff.post_with_key(&moves(SKU), "k1", &change(-41, "ADJUST")).await.refused(409, "stock_too_low");
    staff.post(&moves(SKU), &change(-41, "ADJUST")).await.ok();
    for (body, field) in [
        (change(0, "ADJUST"), "/quantity"),
        (change(-1, "SUPPLY"), "/quantity"),
        (change(1_000_001, "SUPPLY"), "/quantity"),
        (change(1, "DISCREPANCY"), "/kind"),
        (json!({ "quantity": 1, "kind": "ADJUST", "reason": "" }), "/reason"),
        (json!({ "quantity": 1, "kind": "ADJUST" }), "/reason"),
        (json!({ "quantity": 1.5, "kind": "ADJUST", "reason": "x" }), "/quantity"),
    ] {
        let problem = staff.post(&moves(SKU), &body).await.refused(400, "invalid_request");
        assert_eq!(problem["field"], field, "{problem}");
    }
    staff.post(&moves(&sku(99)), &change(1, "SUPPLY")).await.refused(404, "sku_not_found");
    app.finish().await;
}

#[tokio::test]
async fn the_last_items_are_taken_by_as_many_requests_as_there_are() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    staff.post(&moves(SKU), &change(-35, "ADJUST")).await.ok();
    let path = moves(SKU);
    let body = change(-1, "ADJUST");
    let answers = join_all((0..20).map(|_| staff.post(&path, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 5);
    assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 15);
    app.finish().await;
}

#[tokio::test]
async fn one_key_sent_many_times_at_once_moves_the_stock_once() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let (path, body) = (moves(SKU), change(7, "SUPPLY"));
    let answers = join_all((0..10).map(|_| staff.post_with_key(&path, "same", &body))).await;
    let ids: std::collections::BTreeSet<String> =
        answers.into_iter().map(|answer| answer.ok()["move_id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    let stock = staff.get(&format!("/admin/v1/stores/{WULIN}/stock?limit=1")).await.ok();
    assert_eq!(stock["items"][0]["stock"]["available"], 47);
    app.finish().await;
}

#[tokio::test]
async fn staff_sees_what_runs_low_and_who_moved_what() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let low = staff.get(&format!("/admin/v1/stores/{WULIN}/stock?available_below=4")).await.ok();
    let found: Vec<_> = low["items"].as_array().expect("items").iter().map(|item| &item["sku_id"]).collect();
    // Never supplied here (online only), and the fan.
    assert_eq!(found, [&json!(sku(3)), &json!(sku(18)), &json!(sku(19))]);
    assert_eq!((&low["items"][0]["offer_version"], low["items"][0].get("price")), (&json!(0), None));
    app.advance_minutes(1);
    staff.post(&moves(SKU), &change(2, "SUPPLY")).await.ok();
    let list = staff.get(&format!("{}?limit=1", moves(SKU))).await.ok();
    let newest = &list["items"][0];
    assert_eq!((&newest["quantity"], &newest["actor_kind"]), (&json!(2), &json!("staff")));
    let cursor = list["next_cursor"].as_str().expect("a cursor");
    let older = staff.get(&format!("{}?limit=1&cursor={cursor}", moves(SKU))).await.ok();
    assert_eq!(
        (&older["items"][0]["quantity"], &older["items"][0]["actor_kind"]),
        (&json!(40), &json!("system"))
    );
    app.finish().await;
}
