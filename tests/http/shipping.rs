//! Parcels, what WeChat is told about them, and what WeChat pushes back.

use serde_json::{Value, json};

use crate::support::{Answer, Client, SKU, TestApp, User, fresh_key, sku};

const UPLOAD: &str = "/wxa/sec/order/upload_shipping_info";

fn id(order: &Value) -> &str {
    order["id"].as_str().expect("an order")
}

async fn ship(staff: &Client, order: &Value, parcel: Value) -> Answer {
    staff.post(&format!("/admin/v1/orders/{}/ship", id(order)), &parcel).await
}

fn express(number: &str) -> Value {
    json!({ "carrier": "ZTO", "tracking_no": number })
}

impl TestApp {
    /// The bodies of the uploads that reached WeChat, oldest first.
    pub async fn uploads(&self) -> Vec<Value> {
        let calls = self.sandbox_client().get("/sandbox/calls?limit=500").await.ok();
        let calls = calls.as_array().expect("a list");
        let uploads = calls.iter().filter(|call| call["target"].as_str().unwrap().starts_with(UPLOAD));
        let body = |call: &Value| serde_json::from_str(call["request_body"].as_str().unwrap()).unwrap();
        uploads.rev().map(body).collect()
    }

    /// What WeChat believes of the only payment: 1 to ship, 2 shipped, 4 complete.
    async fn order_state(&self) -> i64 {
        self.channel_payments().await[0]["order_state"].as_i64().expect("a paid order")
    }

    async fn fault_at(&self, kind: &str, times: u32, path: &str) {
        let body = json!({ "kind": kind, "times": times, "path": path });
        self.sandbox_client().post("/sandbox/faults", &body).await.ok();
    }

    async fn open_alerts(&self, kind: &str) -> Vec<Value> {
        let list = self.staff().await.get("/admin/v1/alerts").await.ok();
        list["items"].as_array().unwrap().iter().filter(|alert| alert["kind"] == kind).cloned().collect()
    }

    async fn upload_of(&self, order: &Value) -> Value {
        let detail = self.staff().await.get(&format!("/admin/v1/orders/{}", id(order))).await.ok();
        detail["upload"].clone()
    }
}

async fn paid(app: &TestApp, lines: &[(&str, i64)]) -> (User, Client, Value) {
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, lines).await;
    (alice, app.staff().await, order)
}

#[tokio::test]
async fn a_parcel_with_everything_ships_the_order_and_is_uploaded_at_once() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, &[(SKU, 2)]).await;
    let shipped = ship(&staff, &order, express("7311")).await;
    assert_eq!(shipped.status, 201);
    let shipped = shipped.ok();
    assert_eq!(shipped["status"], "SHIPPED");
    assert_eq!(shipped["upload"]["state"], "PENDING");
    app.drain().await;
    let uploads = app.uploads().await;
    assert_eq!(uploads.len(), 1);
    assert_eq!(uploads[0]["delivery_mode"], 1);
    assert_eq!(uploads[0]["logistics_type"], 1);
    assert_eq!(uploads[0]["shipping_list"][0]["express_company"], "ZTO");
    assert_eq!(app.order_state().await, 2);
    assert_eq!(app.upload_of(&order).await["state"], "ACCEPTED");
    let seen = alice.get_order(&order).await;
    assert_eq!(seen["parcels"][0]["tracking_no"], "7311");
    assert_eq!(seen["parcels"][0]["carrier_name"], "中通快递");
    assert_eq!(seen["parcels"][0]["lines"][0]["quantity"], 2);
    assert_eq!(seen["lines"][0]["shipped"], 2);
    app.finish().await;
}

#[tokio::test]
async fn parcels_in_parts_are_uploaded_with_all_so_far_and_the_last_says_all_delivered() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, &[(SKU, 3)]).await;
    let line = order["lines"][0]["line_id"].clone();
    let part = json!({
        "carrier": "SF", "tracking_no": "SF-1", "lines": [{ "line_id": line, "quantity": 1 }],
    });
    assert_eq!(ship(&staff, &order, part).await.ok()["status"], "PARTIALLY_SHIPPED");
    app.drain().await;
    assert_eq!(app.order_state().await, 1);
    assert_eq!(ship(&staff, &order, express("Z-2")).await.ok()["status"], "SHIPPED");
    app.drain().await;
    let uploads = app.uploads().await;
    let said: Vec<_> = uploads
        .iter()
        .map(|upload| (&upload["delivery_mode"], &upload["is_all_delivered"]))
        .map(|(mode, all)| (mode.as_i64().unwrap(), all.as_bool().unwrap()))
        .collect();
    assert_eq!(said, [(2, false), (2, true)]);
    assert_eq!(uploads[1]["shipping_list"].as_array().unwrap().len(), 2);
    // SF Express wants to know whom to call; the number is masked.
    assert_eq!(uploads[0]["shipping_list"][0]["contact"]["receiver_contact"], "138****8000");
    assert_eq!(app.order_state().await, 2);
    app.finish().await;
}

#[tokio::test]
async fn the_unshipped_rest_is_refunded_and_wechat_learns_that_all_is_delivered() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, &[(SKU, 3)]).await;
    let line = order["lines"][0]["line_id"].clone();
    let part = json!({ "carrier": "ZTO", "tracking_no": "1", "lines": [{ "line_id": line, "quantity": 2 }] });
    ship(&staff, &order, part).await.ok();
    app.drain().await;
    let asked = json!({ "reason": "等不及了", "lines": [{ "line_id": line, "quantity": 1 }] });
    let path = format!("/api/v1/orders/{}/refunds", id(&order));
    let refund = alice.client.post(&path, &asked).await.ok();
    let approve = format!("/admin/v1/refunds/{}/approve", id(&refund));
    staff.post(&approve, &json!({})).await.ok();
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "SHIPPED");
    let uploads = app.uploads().await;
    assert_eq!(uploads.len(), 2);
    assert_eq!(uploads[1]["is_all_delivered"], true);
    assert_eq!(app.order_state().await, 2);
    app.finish().await;
}

#[tokio::test]
async fn case_43_an_upload_right_after_the_payment_is_refused_and_retried() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, &[(SKU, 1)]).await;
    app.fault("upload_10060001", 2).await;
    ship(&staff, &order, express("1")).await.ok();
    app.drain().await;
    let upload = app.upload_of(&order).await;
    assert_eq!((&upload["state"], &upload["tries"]), (&json!("PENDING"), &json!(1)));
    app.live_through_minutes(2).await;
    assert_eq!(app.upload_of(&order).await["state"], "ACCEPTED");
    assert_eq!(app.uploads().await.len(), 3);
    assert!(app.open_alerts("shipping_not_uploaded").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn case_43_paid_for_a_day_without_an_accepted_upload_is_an_alert_until_it_is_accepted() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, &[(SKU, 1)]).await;
    app.fault("upload_10060001", 1_000).await;
    ship(&staff, &order, express("1")).await.ok();
    app.drain().await;
    app.live_through_minutes(30).await;
    assert!(app.open_alerts("shipping_not_uploaded").await.is_empty());
    app.advance_minutes(24 * 60);
    app.drain().await;
    let alerts = app.open_alerts("shipping_not_uploaded").await;
    assert_eq!(alerts[0]["object"], order["id"]);
    app.check().await;
    app.no_faults().await;
    app.advance_minutes(61);
    app.drain().await;
    assert!(app.open_alerts("shipping_not_uploaded").await.is_empty());
    assert_eq!(app.order_state().await, 2);
    app.finish().await;
}

#[tokio::test]
async fn case_43_the_stores_own_courier_in_parts_is_one_upload_when_complete() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, &[(SKU, 2)]).await;
    let line = order["lines"][0]["line_id"].clone();
    ship(&staff, &order, json!({ "lines": [{ "line_id": line, "quantity": 1 }] })).await.ok();
    app.drain().await;
    assert!(app.uploads().await.is_empty());
    ship(&staff, &order, json!({})).await.ok();
    app.drain().await;
    let uploads = app.uploads().await;
    assert_eq!(uploads.len(), 1);
    assert_eq!((&uploads[0]["logistics_type"], &uploads[0]["delivery_mode"]), (&json!(2), &json!(1)));
    assert_eq!(app.order_state().await, 2);
    assert_eq!(alice.get_order(&order).await["parcels"][0]["carrier_name"], "商家自送");
    app.finish().await;
}

#[tokio::test]
async fn case_43_an_order_without_wechat_payment_is_not_uploaded() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.free_order(&alice).await;
    assert_eq!(order["status"], "PAID");
    ship(&app.staff().await, &order, express("1")).await.ok();
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "SHIPPED");
    assert!(app.uploads().await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_was_lost_after_the_work_ends_well_when_nothing_changed() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, &[(SKU, 1)]).await;
    app.fault_at("error_after_work", 1, UPLOAD).await;
    ship(&staff, &order, express("1")).await.ok();
    app.drain().await;
    assert_eq!(app.upload_of(&order).await["state"], "PENDING");
    app.live_through_minutes(1).await;
    assert_eq!(app.upload_of(&order).await["state"], "ACCEPTED");
    app.finish().await;
}

#[tokio::test]
async fn shipping_is_refused_where_it_can_not_be() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let staff = app.staff().await;
    let unpaid = alice.order(&[(SKU, 1)]).await;
    ship(&staff, &unpaid, express("1")).await.refused(409, "order_not_shippable");
    let order = app.paid_order(&alice, &[(&sku(2), 2)]).await;
    let path = format!("/admin/v1/orders/{}/ship", id(&order));
    app.client().post(&path, &express("1")).await.refused(401, "unauthenticated");
    alice.client.post(&path, &express("1")).await.refused(401, "unauthenticated");
    staff.post_without_key(&path, &express("1")).await.refused(400, "idempotency_key_required");
    let line = order["lines"][0]["line_id"].clone();
    let with_lines = |lines: Value| json!({ "carrier": "ZTO", "tracking_no": "1", "lines": lines });
    let too_many = with_lines(json!([{ "line_id": line, "quantity": 3 }]));
    let refused = ship(&staff, &order, too_many).await.refused(409, "quantity_not_shippable");
    assert_eq!(refused["field"], "/lines/0/quantity");
    let twice = json!([{ "line_id": line, "quantity": 1 }, { "line_id": line, "quantity": 1 }]);
    let refused = ship(&staff, &order, with_lines(twice)).await.refused(400, "invalid_request");
    assert_eq!(refused["field"], "/lines/1/line_id");
    let unknown = json!({ "carrier": "NOBODY", "tracking_no": "1" });
    ship(&staff, &order, unknown).await.refused(400, "carrier_unknown");
    let refused = ship(&staff, &order, json!({ "carrier": "ZTO" })).await.refused(400, "invalid_request");
    assert_eq!(refused["field"], "/tracking_no");
    let elsewhere = json!({ "id": "ord_00000000000000000000000009" });
    ship(&staff, &elsewhere, express("1")).await.refused(404, "order_not_found");
    assert_eq!(alice.get_order(&order).await["status"], "PAID");
    app.finish().await;
}

#[tokio::test]
async fn the_same_parcel_is_shipped_once() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, &[(SKU, 3)]).await;
    let line = order["lines"][0]["line_id"].clone();
    let path = format!("/admin/v1/orders/{}/ship", id(&order));
    let part = json!({ "carrier": "ZTO", "tracking_no": "1", "lines": [{ "line_id": line, "quantity": 1 }] });
    let key = fresh_key();
    staff.post_with_key(&path, &key, &part).await.ok();
    let again = staff.post_with_key(&path, &key, &part).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    again.ok();
    staff.post(&path, &part).await.refused(409, "parcel_exists");
    let seen = alice.get_order(&order).await;
    assert_eq!(seen["parcels"].as_array().unwrap().len(), 1);
    assert_eq!(seen["lines"][0]["shipped"], 1);
    app.finish().await;
}

#[tokio::test]
async fn two_people_who_ship_the_rest_at_once_ship_it_once() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, &[(SKU, 2)]).await;
    let (first, second) =
        tokio::join!(ship(&staff, &order, express("1")), ship(&staff, &order, express("2")));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["lines"][0]["shipped"], 2);
    app.finish().await;
}

#[tokio::test]
async fn carriers_are_asked_for_once_and_the_usual_ones_are_known_while_wechat_is_away() {
    let app = TestApp::new().await;
    let (_, staff, order) = paid(&app, &[(SKU, 2)]).await;
    let known = async |id: &str| {
        let carriers = staff.get("/admin/v1/carriers").await.ok();
        carriers["items"].as_array().unwrap().iter().any(|carrier| carrier["id"] == id)
    };
    app.fault_at("down", 1, "/cgi-bin/express").await;
    assert!(known("ZTO").await && !known("CAINIAO").await);
    // Nobody waits for WeChat a second time within a minute, and a carrier that nobody can look up is taken.
    let line = order["lines"][0]["line_id"].clone();
    let part = json!({ "carrier": "XX", "tracking_no": "1", "lines": [{ "line_id": line, "quantity": 1 }] });
    ship(&staff, &order, part).await.ok();
    app.advance_minutes(1);
    assert!(known("CAINIAO").await);
    app.fault_at("down", 1, "/cgi-bin/express").await;
    assert!(known("CAINIAO").await);
    ship(&staff, &order, json!({ "carrier": "XX", "tracking_no": "2" }))
        .await
        .refused(400, "carrier_unknown");
    app.no_faults().await;
    app.finish().await;
}

#[tokio::test]
async fn wechats_settlement_push_completes_the_order_once() {
    let app = TestApp::new().await;
    let (alice, staff, order) = paid(&app, &[(SKU, 1)]).await;
    ship(&staff, &order, express("1")).await.ok();
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "SHIPPED");
    let number = order["attempts"][0]["out_trade_no"].as_str().unwrap();
    let confirm = format!("/sandbox/shipments/{number}/confirm");
    app.sandbox_client().post(&confirm, &json!({})).await.ok();
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!(seen["status"], "COMPLETED");
    let sent = app.sandbox_client().get("/sandbox/notifications").await.ok();
    let pushes: Vec<_> = sent.as_array().unwrap().iter().filter(|n| n["kind"] == "push").collect();
    assert!(pushes.len() == 2 && pushes.iter().all(|push| push["state"] == "DELIVERED"), "{pushes:?}");
    app.sandbox_client()
        .post(&format!("/sandbox/notifications/{}/resend", pushes[0]["id"]), &json!({}))
        .await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["timeline"], seen["timeline"]);
    app.finish().await;
}

#[tokio::test]
async fn wechats_reminder_of_an_order_that_waits_for_shipping_is_an_alert_until_it_is_shipped() {
    let app = TestApp::new().await;
    let (_, _, order) = paid(&app, &[(SKU, 1)]).await;
    app.advance_minutes(49 * 60);
    app.drain().await;
    assert_eq!(app.open_alerts("shipping_reminder").await[0]["object"], order["id"]);
    ship(&app.staff().await, &order, express("1")).await.ok();
    app.drain().await;
    assert!(app.open_alerts("shipping_reminder").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_push_that_wechat_did_not_sign_is_refused_and_nothing_is_stored() {
    let app = TestApp::new().await;
    let forged =
        "/callbacks/wechat/messages?signature=00&timestamp=1&nonce=n&msg_signature=00&encrypt_type=aes";
    for body in [json!({ "ToUserName": "x", "Encrypt": "AAAA" }), json!({ "Event": "x" }), json!(null)] {
        assert_eq!(app.client().post(forged, &body).await.status, 401);
    }
    let bare = app.client().post("/callbacks/wechat/messages", &json!({})).await;
    assert_eq!(bare.status, 401);
    let (stored,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM inbox")
        .fetch_one(&mut *app.ctx.db.reader().await.unwrap())
        .await
        .unwrap();
    assert_eq!(stored, 0);
    app.finish().await;
}

/// Signs as WeChat does for the check of the URL, by hand: the test vector of the demo's token.
#[tokio::test]
async fn the_check_of_the_push_url_is_answered_with_its_echo() {
    use minimall::wechat::push::push_signature;
    let app = TestApp::new().await;
    let signature = push_signature(&[&app.ctx.config.wechat.push_token, "1700000000", "nonce"]);
    let url = |signature: &str| {
        format!(
            "/callbacks/wechat/messages?signature={signature}&timestamp=1700000000&nonce=nonce&echostr=8%2F<7"
        )
    };
    let checked = app.client().get(&url(&signature)).await;
    assert_eq!((checked.status, checked.bytes.as_slice()), (200, &b"8/<7"[..]));
    assert!(checked.header("content-type").unwrap().starts_with("text/plain"));
    assert_eq!(app.client().get(&url("00")).await.status, 401);
    app.finish().await;
}

#[tokio::test]
async fn case_41_a_settlement_of_an_unknown_payment_is_stored_parked_and_alerted() {
    use minimall::wechat::push::{Push, PushOptions};
    let app = TestApp::new().await;
    let wechat = &app.ctx.config.wechat;
    let push = Push::new(PushOptions {
        appid: wechat.appid.clone(),
        token: wechat.push_token.clone(),
        encoding_aes_key: Some(wechat.push_encoding_aes_key.clone()),
    })
    .unwrap();
    let event = json!({
        "Event": "trade_manage_order_settlement", "transaction_id": "4200000000000000000000000000",
        "merchant_id": "1900009191", "merchant_trade_no": "mm0", "settlement_time": 1_700_000_000,
    });
    let sealed = push.seal(event.to_string().as_bytes(), "1700000000", "n", [7; 16]).unwrap();
    let url = format!(
        "/callbacks/wechat/messages?timestamp=1700000000&nonce=n&encrypt_type=aes&msg_signature={}",
        sealed.msg_signature
    );
    let body = json!({ "ToUserName": "gh_1", "Encrypt": sealed.encrypt });
    let answer = app.client().post(&url, &body).await;
    assert_eq!((answer.status, answer.bytes.as_slice()), (200, &b"success"[..]));
    app.drain().await;
    assert_eq!(app.open_alerts("notice_parked").await.len(), 1);
    app.finish().await;
}
