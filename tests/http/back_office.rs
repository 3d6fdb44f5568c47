//! What staff sees and decides: orders, refunds, dead letters, alerts, the audit log.

use serde_json::{Value, json};

use crate::support::{Client, ONLINE_STORE, SKU, TestApp, User, fresh_key};

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

impl TestApp {
    /// An order that a coupon pays for in full, freight included: it is PAID as soon as it is placed.
    pub async fn free_order(&self, user: &User) -> Value {
        let staff = self.staff().await;
        let free = "UPDATE stores SET freight_minor = 0";
        self.ctx
            .db
            .write(|tx| Box::pin(async move { Ok(sqlx::query(free).execute(&mut **tx).await?) }))
            .await
            .unwrap();
        let money = |amount: i64| json!({ "amount": amount, "currency": "CNY" });
        let template = json!({
            "name": "全额券", "benefit": { "kind": "AMOUNT", "amount": money(10_000_000) },
            "threshold": money(0), "issue": "GRANT", "validity": { "days": 30 },
        });
        let template = staff.post("/admin/v1/coupon-templates", &template).await.ok();
        let grant = json!({ "template_id": id(&template), "reason": "test" });
        let coupon = staff.post(&format!("/admin/v1/users/{}/coupons", user.id), &grant).await.ok();
        user.order_with(&[(SKU, 1)], &[id(&coupon)]).await
    }
}

async fn found(staff: &Client, query: &str) -> Vec<String> {
    let list = staff.get(&format!("/admin/v1/orders?{query}")).await.ok();
    list["items"].as_array().unwrap().iter().map(|order| id(order).to_owned()).collect()
}

#[tokio::test]
async fn staff_finds_orders_by_number_phone_status_store_and_time() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let paid = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.advance_minutes(5);
    let waiting = alice.order(&[(SKU, 1)]).await;
    let attempt = &paid["attempts"][0];
    for number in
        [id(&paid), attempt["out_trade_no"].as_str().unwrap(), attempt["transaction_id"].as_str().unwrap()]
    {
        assert_eq!(found(&staff, &format!("number={number}")).await, [id(&paid)], "{number}");
    }
    assert!(found(&staff, "number=nothing").await.is_empty());
    assert_eq!(found(&staff, "phone=13800138000").await, [id(&waiting), id(&paid)]);
    assert!(found(&staff, "phone=13900139000").await.is_empty());
    assert_eq!(found(&staff, "status=PAID").await, [id(&paid)]);
    assert_eq!(found(&staff, &format!("store_id={ONLINE_STORE}")).await.len(), 2);
    let from = waiting["placed_at"].as_str().unwrap();
    assert_eq!(found(&staff, &format!("placed_from={from}")).await, [id(&waiting)]);
    assert_eq!(found(&staff, &format!("placed_until={from}")).await, [id(&paid)]);
    let first = staff.get("/admin/v1/orders?limit=1").await.ok();
    let next = first["next_cursor"].as_str().unwrap();
    assert_eq!(found(&staff, &format!("limit=1&cursor={next}")).await, [id(&paid)]);
    let refused = staff.get("/admin/v1/orders?placed_from=yesterday").await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "placed_from");
    alice.client.get("/admin/v1/orders").await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn the_order_page_shows_each_side_its_own() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let told: Vec<_> =
        order["timeline"].as_array().unwrap().iter().map(|entry| entry["code"].as_str().unwrap()).collect();
    assert_eq!(told, ["placed", "payment_succeeded"]);
    assert!(order["timeline"][0].get("actor_id").is_none());
    let path = format!("/api/v1/orders/{}", id(&order));
    bob.client.get(&path).await.refused(404, "order_not_found");
    let number = order["attempts"][0]["out_trade_no"].as_str().unwrap();
    let by_payment = format!("/api/v1/orders/by-payment/{number}");
    assert_eq!(alice.client.get(&by_payment).await.ok(), order);
    bob.client.get(&by_payment).await.refused(404, "order_not_found");
    alice.client.get("/api/v1/orders/by-payment/mm0").await.refused(404, "order_not_found");
    let staff = app.staff().await;
    let seen = staff.get(&format!("/admin/v1/orders/{}", id(&order))).await.ok();
    assert_eq!(seen["user_id"], alice.id);
    assert_eq!(seen["timeline"][0]["actor_id"], alice.id);
    assert_eq!(seen["timeline"].as_array().unwrap().len(), 3);
    assert_eq!(seen["staff_actions"]["can_ship"], true);
    let missing = staff.get("/admin/v1/orders/ord_00000000000000000000000009").await;
    missing.refused(404, "order_not_found");
    app.finish().await;
}

#[tokio::test]
async fn staff_cancels_an_unpaid_order_and_the_audit_log_knows() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = alice.order(&[(SKU, 1)]).await;
    let path = format!("/admin/v1/orders/{}/cancel", id(&order));
    let refused = staff.post(&path, &json!({})).await.refused(400, "invalid_request");
    assert_eq!(refused["field"], "/reason");
    let key = fresh_key();
    let cancelled = staff.post_with_key(&path, &key, &json!({ "reason": "缺货" })).await.ok();
    assert_eq!((&cancelled["status"], &cancelled["close_reason"]), (&json!("CLOSED"), &json!("staff")));
    let again = staff.post_with_key(&path, &key, &json!({ "reason": "缺货" })).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    staff.post(&path, &json!({ "reason": "缺货" })).await.refused(409, "order_not_cancellable");
    let release = format!("/admin/v1/orders/{}/release-hold", id(&order));
    staff.post(&release, &json!({ "reason": "x" })).await.refused(409, "order_not_on_hold");
    let log = staff.get(&format!("/admin/v1/audit?object={}", id(&order))).await.ok();
    let rows = log["items"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["operation"], &rows[0]["after"]["reason"]),
        (&json!("cancelOrderByStaff"), &json!("缺货"))
    );
    let request = rows[0]["request_id"].as_str().unwrap();
    let by_request = staff.get(&format!("/admin/v1/audit?request_id={request}")).await.ok();
    assert_eq!(by_request["items"], log["items"]);
    app.finish().await;
}

#[tokio::test]
async fn staff_decides_refunds_after_shipping() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    staff.post(&format!("/admin/v1/orders/{}/ship", id(&order)), &json!({})).await.ok();
    app.drain().await;
    let refund = alice.refund(&order).await;
    assert_eq!(refund["status"], "REQUESTED");
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["refunds_to_decide"], 1);
    let list = staff.get("/admin/v1/refunds?status=REQUESTED").await.ok();
    assert_eq!(list["items"][0]["id"], refund["id"]);
    let path = format!("/admin/v1/refunds/{}", id(&refund));
    let refused = staff.post(&format!("{path}/approve"), &json!({})).await;
    assert_eq!(refused.refused(400, "goods_condition_required")["field"], "/sellable");
    staff.post(&format!("{path}/retry"), &json!({})).await.refused(409, "refund_not_retryable");
    let before = app.stock(SKU).await;
    staff.post(&format!("{path}/approve"), &json!({ "sellable": true, "note": "完好" })).await.ok();
    app.drain().await;
    assert_eq!(staff.get(&path).await.ok()["status"], "SUCCEEDED");
    assert_eq!(app.stock(SKU).await, (before.0 + 2, before.1, before.2 - 2));
    staff
        .post(&format!("{path}/reject"), &json!({ "reason": "x" }))
        .await
        .refused(409, "refund_not_decidable");
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("SHIPPED"), &json!("FULL")));
    let missing = staff.get("/admin/v1/refunds/rfd_00000000000000000000000009").await;
    missing.refused(404, "refund_not_found");
    app.finish().await;
}

#[tokio::test]
async fn case_33_a_poison_message_is_a_dead_letter_that_is_shown_and_replayed_with_a_reason() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = alice.order(&[(SKU, 1)]).await;
    // The lines of the order can't be read for a while: whoever writes the notice fails.
    let sql = async |query: &'static str| {
        let write =
            app.ctx.db.write(|tx| Box::pin(async move { Ok(sqlx::query(query).execute(&mut **tx).await?) }));
        write.await.unwrap();
    };
    sql("ALTER TABLE notices RENAME TO notices_away").await;
    for _ in 0..app.ctx.config.bus.attempts_max + 5 {
        app.drain().await;
        app.advance_minutes(1);
    }
    let letters = staff.get("/admin/v1/dead-letters").await.ok();
    let letter = letters["items"][0].clone();
    assert_eq!(
        (&letter["subscription"], &letter["event"]),
        (&json!("notifications.notice"), &json!("OrderPlaced"))
    );
    assert_eq!(letter["body"]["order_id"], order["id"]);
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["dead_letters"], 1);
    assert_eq!(staff.get("/admin/v1/outbox").await.ok()["parked"], 1);
    sql("ALTER TABLE notices_away RENAME TO notices").await;
    let mut decision = json!({
        "event_id": letter["event_id"], "subscription": "notifications.notice", "reason": "表已恢复",
    });
    staff.post("/admin/v1/dead-letters/replay", &decision).await.ok();
    app.drain().await;
    assert_eq!(alice.client.get("/api/v1/notices").await.ok()["items"].as_array().unwrap().len(), 1);
    assert_eq!(staff.get("/admin/v1/dead-letters").await.ok()["items"], json!([]));
    let again = staff.post("/admin/v1/dead-letters/replay", &decision).await;
    again.refused(404, "dead_letter_not_found");
    decision["subscription"] = json!("nobody");
    staff.post("/admin/v1/dead-letters/discard", &decision).await.refused(404, "dead_letter_not_found");
    let event = letter["event_id"].as_str().unwrap();
    let log = staff.get(&format!("/admin/v1/audit?object={event}")).await.ok();
    assert_eq!(log["items"][0]["after"]["reason"], "表已恢复");
    app.finish().await;
}

#[tokio::test]
async fn an_alert_is_closed_with_a_reason() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.paid_order(&alice, &[(SKU, 1)]).await;
    app.advance_minutes(49 * 60);
    app.drain().await;
    let staff = app.staff().await;
    let alerts = staff.get("/admin/v1/alerts").await.ok();
    assert_eq!(alerts["items"].as_array().unwrap().len(), 1);
    let path = format!("/admin/v1/alerts/{}/close", id(&alerts["items"][0]));
    staff.post(&path, &json!({ "reason": "已联系顾客" })).await.ok();
    assert_eq!(staff.get("/admin/v1/todo").await.ok()["alerts"], 0);
    staff.post(&path, &json!({ "reason": "再来" })).await.refused(404, "alert_not_found");
    app.finish().await;
}
