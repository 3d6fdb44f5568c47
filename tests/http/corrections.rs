//! Parcels that are corrected, uploads that WeChat refuses, and money that it holds back.

use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::{Answer, Client, SKU, TestApp, User, fresh_key, items, text};

async fn paid(app: &TestApp, quantity: i64) -> (User, Client, Value) {
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, quantity)]).await;
    (alice, app.staff().await, order)
}

async fn ship(app: &TestApp, staff: &Client, order: &Value, parcel: Value) -> Value {
    let shipped = staff.post(&format!("/admin/v1/orders/{}/ship", text(order, "id")), &parcel).await.ok();
    app.drain().await;
    shipped
}

fn express(number: &str) -> Value {
    json!({ "carrier": "ZTO", "tracking_no": number })
}

fn path_of(order: &Value, parcel: usize) -> String {
    let (id, parcel) = (text(order, "id"), text(&order["parcels"][parcel], "parcel_id"));
    format!("/admin/v1/orders/{id}/parcels/{parcel}/correct-tracking")
}

/// The order's version as it is now.
async fn version(staff: &Client, order: &Value) -> Value {
    staff.get(&format!("/admin/v1/orders/{}", text(order, "id"))).await.ok()["version"].clone()
}

fn correction(carrier: &str, number: &str, version: &Value) -> Value {
    json!({ "carrier": carrier, "tracking_no": number, "version": version, "reason": "抄错了" })
}

async fn correct(staff: &Client, order: &Value, carrier: &str, number: &str) -> Answer {
    let body = correction(carrier, number, &version(staff, order).await);
    staff.post(&path_of(order, 0), &body).await
}

impl TestApp {
    /// The numbers that each upload told, oldest first.
    async fn told(&self) -> Vec<Vec<String>> {
        let calls = self.calls("/wxa/sec/order/upload_shipping_info").await;
        let numbers = |call: &Value| {
            let body: Value = serde_json::from_str(call["request_body"].as_str().unwrap()).unwrap();
            let list = body["shipping_list"].as_array().unwrap().clone();
            list.iter().map(|parcel| text(parcel, "tracking_no")).collect()
        };
        calls.iter().rev().map(numbers).collect()
    }

    async fn upload(&self, order: &Value) -> Value {
        let path = format!("/admin/v1/orders/{}", text(order, "id"));
        self.staff().await.get(&path).await.ok()["upload"].clone()
    }

    /// Changes the sandbox's own database.
    pub async fn at_wechat(&self, sql: &str) {
        let path = format!("sqlite:{}", self.ctx.config.sandbox.database);
        let mut db = sqlx::AnyConnection::connect(&path).await.expect("the sandbox's database");
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut db).await.expect("the statement runs");
    }
}

#[tokio::test]
async fn a_corrected_parcel_is_told_to_the_customer_and_to_wechat_once() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, 1).await;
    let shipped = ship(&app, &staff, &order, express("7311")).await;
    let corrected = correct(&staff, &shipped, "SF", "SF7312").await.ok();
    assert_eq!(corrected["status"], "SHIPPED");
    app.drain().await;
    assert_eq!(app.told().await, [["7311"], ["SF7312"]]);
    let upload = app.upload(&order).await;
    assert_eq!(upload["state"], "ACCEPTED");
    assert!(upload["corrected_at"].is_string());
    let seen = alice.get_order(&order).await;
    let parcel = &seen["parcels"][0];
    assert_eq!((&parcel["carrier_name"], &parcel["tracking_no"]), (&json!("顺丰速运"), &json!("SF7312")));
    assert_eq!(items(&seen["timeline"]).last().unwrap()["text"], "物流信息已更正");
    let notices = items(&alice.client.get("/api/v1/notices").await.ok());
    assert_eq!(notices[0]["kind"], "tracking_corrected");
    assert!(text(&notices[0], "body").contains("SF7312"));
    let timeline =
        items(&staff.get(&format!("/admin/v1/orders/{}", text(&order, "id"))).await.ok()["timeline"]);
    let entry = timeline.iter().rfind(|entry| entry["code"] == "tracking_corrected").unwrap();
    assert_eq!(
        (&entry["code"], &entry["detail"]["reason"]),
        (&json!("tracking_corrected"), &json!("抄错了"))
    );
    assert_eq!(entry["detail"]["from"]["tracking_no"], "7311");
    correct(&staff, &shipped, "SF", "SF7313").await.refused(409, "tracking_corrected_before");
    assert_eq!(alice.get_order(&order).await["parcels"], seen["parcels"]);
    app.finish().await;
}

#[tokio::test]
async fn what_wechat_has_not_accepted_is_corrected_as_often_as_it_takes() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, 1).await;
    app.fault("upload_10060001", 1_000).await;
    let shipped = ship(&app, &staff, &order, express("1")).await;
    for number in ["2", "3"] {
        correct(&staff, &shipped, "ZTO", number).await.ok();
        app.drain().await;
    }
    app.no_faults().await;
    app.live_through_minutes(2).await;
    assert_eq!(app.told().await.last().unwrap(), &["3"]);
    assert!(app.upload(&order).await["corrected_at"].is_null());
    correct(&staff, &shipped, "ZTO", "4").await.ok();
    app.drain().await;
    assert_eq!(app.told().await.last().unwrap(), &["4"]);
    correct(&staff, &shipped, "ZTO", "5").await.refused(409, "tracking_corrected_before");
    app.finish().await;
}

#[tokio::test]
async fn a_parcel_of_a_part_is_corrected_before_the_rest_goes_and_once_behind_it() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, 2).await;
    let line = order["lines"][0]["line_id"].clone();
    let part = json!({ "carrier": "ZTO", "tracking_no": "1", "lines": [{ "line_id": line, "quantity": 1 }] });
    let shipped = ship(&app, &staff, &order, part).await;
    correct(&staff, &shipped, "ZTO", "1a").await.ok();
    ship(&app, &staff, &order, express("2")).await;
    assert_eq!(app.told().await.last().unwrap(), &["1a", "2"]);
    correct(&staff, &shipped, "ZTO", "1b").await.ok();
    app.drain().await;
    assert_eq!(app.told().await.last().unwrap(), &["1b", "2"]);
    correct(&staff, &shipped, "ZTO", "1c").await.refused(409, "tracking_corrected_before");
    app.finish().await;
}

#[tokio::test]
async fn a_correction_is_refused_where_it_can_not_be_and_done_once_under_its_key() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, 2).await;
    let line = order["lines"][0]["line_id"].clone();
    let part = json!({ "carrier": "ZTO", "tracking_no": "1", "lines": [{ "line_id": line, "quantity": 1 }] });
    ship(&app, &staff, &order, part).await;
    let shipped = ship(&app, &staff, &order, express("2")).await;
    correct(&staff, &shipped, "ZTO", "1").await.refused(409, "parcel_exists");
    correct(&staff, &shipped, "ZTO", "2").await.refused(409, "parcel_exists");
    correct(&staff, &shipped, "NOBODY", "3").await.refused(400, "carrier_unknown");
    let refused = correct(&staff, &shipped, "ZTO", "3 3").await.refused(400, "invalid_request");
    assert_eq!(refused["field"], "/tracking_no");
    let other = app.paid_order(&alice, &[(SKU, 1)]).await;
    let other = ship(&app, &staff, &other, express("9")).await;
    let elsewhere = json!({ "id": order["id"], "parcels": other["parcels"] });
    correct(&staff, &elsewhere, "ZTO", "3").await.refused(404, "parcel_not_found");
    let (key, body) = (fresh_key(), correction("ZTO", "3", &version(&staff, &shipped).await));
    staff.post_with_key(&path_of(&shipped, 0), &key, &body).await.ok();
    let again = staff.post_with_key(&path_of(&shipped, 0), &key, &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(app.moves(&order, "tracking_corrected").await, 1);
    alice
        .client
        .post(&format!("/api/v1/orders/{}/confirm-receipt", text(&other, "id")), &json!({}))
        .await
        .ok();
    correct(&staff, &other, "ZTO", "8").await.refused(409, "tracking_not_correctable");
    app.finish().await;
}

#[tokio::test]
async fn of_two_clerks_who_correct_a_parcel_at_once_the_second_looks_again_first() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, 2).await;
    let line = order["lines"][0]["line_id"].clone();
    let part = json!({ "carrier": "ZTO", "tracking_no": "1", "lines": [{ "line_id": line, "quantity": 1 }] });
    let shipped = ship(&app, &staff, &order, part).await;
    let seen = version(&staff, &shipped).await;
    staff.post(&path_of(&shipped, 0), &correction("ZTO", "2", &seen)).await.ok();
    let stale = staff.post(&path_of(&shipped, 0), &correction("ZTO", "3", &seen)).await;
    assert_eq!(stale.refused(409, "order_changed")["version"], version(&staff, &shipped).await);
    let blind = json!({ "carrier": "ZTO", "tracking_no": "3", "reason": "抄错了" });
    let blind = staff.post(&path_of(&shipped, 0), &blind).await.refused(400, "invalid_request");
    assert_eq!(blind["field"], "/version");
    assert_eq!(alice.get_order(&order).await["parcels"][0]["tracking_no"], "2");
    app.finish().await;
}

#[tokio::test]
async fn an_upload_of_an_order_that_can_not_be_read_is_a_failed_try_that_people_see() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, 1).await;
    let address = app.texts("SELECT address_sealed FROM orders").await.remove(0);
    app.execute("UPDATE orders SET address_sealed = 'damaged'").await;
    ship(&app, &staff, &order, express("1")).await;
    let failed = items(&staff.get("/admin/v1/shipping-uploads/failed").await.ok());
    assert_eq!((&failed[0]["order_id"], &failed[0]["tries"]), (&order["id"], &json!(1)));
    assert!(text(&failed[0], "error").contains("can't be read") && failed[0]["next_try_at"].is_string());
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["failed_uploads"], 1);
    assert_eq!(app.alerts("shipping_not_uploaded").await, 0);
    app.live_through_minutes(2).await;
    assert_eq!(app.alerts("shipping_not_uploaded").await, 1);
    assert_eq!(app.moves(&order, "upload_failed").await, 1);
    assert!(app.told().await.is_empty());
    // Mended from a backup.
    app.execute(&format!("UPDATE orders SET address_sealed = '{address}'")).await;
    let retry = format!("/admin/v1/shipping-uploads/{}/retry", text(&order, "id"));
    staff.post(&retry, &json!({})).await.ok();
    app.drain().await;
    assert_eq!(
        (app.told().await, app.alerts("shipping_not_uploaded").await),
        (vec![vec!["1".to_owned()]], 0)
    );
    let seen = alice.get_order(&order).await["timeline"].to_string();
    assert!(!seen.contains("upload"), "{seen}");
    app.finish().await;
}

#[tokio::test]
async fn a_correction_that_wechat_does_not_take_is_shown_to_a_person() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, 1).await;
    let shipped = ship(&app, &staff, &order, express("1")).await;
    correct(&staff, &shipped, "ZTO", "2").await.ok();
    app.drain().await;
    // Somebody corrected it in WeChat's own console, so to speak.
    app.execute("UPDATE shipping_uploads SET corrected_ms = NULL").await;
    correct(&staff, &shipped, "ZTO", "3").await.ok();
    app.drain().await;
    assert_eq!(app.upload(&order).await["state"], "REFUSED");
    assert_eq!(app.alerts("shipping_not_uploaded").await, 1);
    let failed = items(&staff.get("/admin/v1/shipping-uploads/failed").await.ok());
    assert_eq!(failed[0]["order_id"], order["id"]);
    assert!(text(&failed[0], "error").contains("10060003"));
    assert_eq!(
        (app.moves(&order, "upload_accepted").await, app.moves(&order, "upload_given_up").await),
        (2, 1)
    );
    app.finish().await;
}

#[tokio::test]
async fn refused_uploads_are_listed_with_the_reason_and_tried_again_one_or_all() {
    let app = TestApp::new().await;
    let (alice, staff, first) = paid(&app, 1).await;
    let second = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("upload_10060001", 1_000).await;
    for order in [&first, &second] {
        ship(&app, &staff, order, json!({})).await;
    }
    let list = "/admin/v1/shipping-uploads/failed";
    let failed = items(&staff.get(list).await.ok());
    assert_eq!(failed.len(), 2);
    assert_eq!((&failed[0]["order_id"], &failed[0]["tries"]), (&second["id"], &json!(1)));
    assert!(text(&failed[0], "error").contains("10060001") && failed[0]["next_try_at"].is_string());
    let page = staff.get(&format!("{list}?limit=1")).await.ok();
    let next = staff.get(&format!("{list}?limit=1&cursor={}", text(&page, "next_cursor"))).await.ok();
    assert_eq!(next["items"][0]["order_id"], first["id"]);
    app.no_faults().await;
    let retry = |order: &Value| format!("/admin/v1/shipping-uploads/{}/retry", text(order, "id"));
    staff.post(&retry(&first), &json!({})).await.ok();
    app.drain().await;
    assert_eq!(app.upload(&first).await["state"], "ACCEPTED");
    staff.post(&retry(&first), &json!({})).await.refused(404, "upload_not_failed");
    // Given up for good, and tried again all the same.
    app.execute("UPDATE shipping_uploads SET state = 'GIVEN_UP', next_ms = NULL WHERE failed_ms IS NOT NULL")
        .await;
    let all = staff.post("/admin/v1/shipping-uploads/retry-failed", &json!({})).await.ok();
    assert_eq!(all["retried"], 1);
    app.drain().await;
    assert_eq!(app.upload(&second).await["state"], "ACCEPTED");
    assert!(items(&staff.get(list).await.ok()).is_empty());
    for order in [&first, &second] {
        for step in ["upload_failed", "upload_retried", "upload_accepted"] {
            assert_eq!(app.moves(order, step).await, 1, "{step}");
        }
    }
    let log = staff.get("/admin/v1/audit?object=shipping_uploads").await.ok();
    assert_eq!(log["items"][0]["after"]["uploads"], 1);
    app.finish().await;
}

#[tokio::test]
async fn money_that_wechat_holds_back_is_an_alert_until_it_is_settled() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, 1).await;
    ship(&app, &staff, &order, express("1")).await;
    app.at_wechat("UPDATE shipments SET confirm_due_ms = NULL").await;
    alice
        .client
        .post(&format!("/api/v1/orders/{}/confirm-receipt", text(&order, "id")), &json!({}))
        .await
        .ok();
    app.advance_minutes(12 * 24 * 60 - 1);
    app.drain().await;
    assert_eq!(app.alerts("wechat_money_held").await, 0);
    app.advance_minutes(1);
    app.drain().await;
    assert_eq!(app.alerts("wechat_money_held").await, 1);
    let alerts = items(&app.staff().await.get("/admin/v1/alerts").await.ok());
    assert!(text(&alerts[0], "detail").contains("12 days"), "{alerts:?}");
    assert_eq!((app.moves(&order, "money_held").await, app.moves(&order, "money_released").await), (1, 0));
    let confirm = format!("/sandbox/shipments/{}/confirm", text(&order["attempts"][0], "out_trade_no"));
    app.sandbox_client().post(&confirm, &json!({})).await.ok();
    app.drain().await;
    assert_eq!(app.alerts("wechat_money_held").await, 0);
    assert!(app.upload(&order).await["settled_at"].is_string());
    assert_eq!((app.moves(&order, "money_held").await, app.moves(&order, "money_released").await), (1, 1));
    app.finish().await;
}

#[tokio::test]
async fn a_settlement_whose_push_was_lost_is_asked_for_and_completes_the_order() {
    // The shop itself would wait longer.
    let app = TestApp::with(|config| config.orders.complete_days = 30).await;
    let (_, staff, order) = paid(&app, 1).await;
    let status = async || app.user("alice").await.get_order(&order).await["status"].clone();
    ship(&app, &staff, &order, express("1")).await;
    app.at_wechat("UPDATE shipments SET confirm_due_ms = NULL, confirmed_ms = 1").await;
    app.fault_with(json!({ "kind": "down", "times": 1, "path": "/wxa/sec/order/get_order" })).await;
    app.advance_minutes(12 * 24 * 60);
    app.drain().await;
    assert_eq!(status().await, "SHIPPED");
    app.advance_minutes(60);
    app.drain().await;
    assert_eq!(status().await, "COMPLETED");
    assert_eq!(app.alerts("wechat_money_held").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn nobody_asks_about_money_that_went_back() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, 1).await;
    ship(&app, &staff, &order, express("1")).await;
    let refund = alice.refund(&order).await;
    let approve = format!("/admin/v1/refunds/{}/approve", text(&refund, "id"));
    staff.post(&approve, &json!({ "sellable": true })).await.ok();
    app.drain().await;
    app.advance_minutes(12 * 24 * 60);
    app.drain().await;
    assert_eq!(app.alerts("wechat_money_held").await, 0);
    assert_eq!(
        app.number("SELECT COUNT(*) FROM shipping_uploads WHERE settle_check_ms IS NOT NULL").await,
        0
    );
    app.finish().await;
}
