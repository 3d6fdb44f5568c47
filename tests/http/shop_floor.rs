//! What staff does in passing: notes, reasons that customers read, pauses, and the sold-out switch.

use serde_json::{Value, json};

use crate::support::{Clerk, SKU, START_MS, TestApp, WULIN, items, sku, text};

#[tokio::test]
async fn a_note_is_for_staff_alone() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = alice.order(&[(SKU, 1)]).await;
    let noted = clerk.act(&order, "notes", &json!({ "text": "周六来取" })).await;
    assert_eq!(noted.status, 201);
    let row = items(&noted.ok()["timeline"]).pop().expect("a row");
    assert_eq!(
        (&row["code"], &row["detail"]["text"], &row["actor_kind"]),
        (&json!("note_added"), &json!("周六来取"), &json!("staff"))
    );
    assert_eq!(row["text"], Value::Null, "nothing for the customer");
    assert!(items(&alice.get_order(&order).await["timeline"]).iter().all(|row| row["code"] != "note_added"));
    clerk.act(&order, "notes", &json!({ "text": "" })).await.refused(400, "invalid_request");
    // At any time.
    alice.cancel(&order).await.ok();
    clerk.act(&order, "notes", &json!({ "text": "来电说明" })).await.ok();
    let audited = "SELECT COUNT(*) FROM audit WHERE operation = 'addOrderNote'";
    assert_eq!((app.moves(&order, "note_added").await, app.number(audited).await), (2, 2));
    app.finish().await;
}

#[tokio::test]
async fn why_staff_cancelled_is_told_also_when_the_channel_had_to_be_asked_first() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let at_once = alice.order(&[(SKU, 1)]).await;
    let later = alice.order(&[(SKU, 1)]).await;
    alice.start_payment(&later).await;
    for order in [&at_once, &later] {
        clerk.act(order, "cancel", &json!({ "reason": "茶叶受潮，无法发货" })).await.ok();
        app.drain().await;
        let seen = alice.get_order(order).await;
        assert_eq!((&seen["status"], &seen["close_reason"]), (&json!("CLOSED"), &json!("staff")));
        let last = items(&seen["timeline"]).pop().expect("a row");
        assert_eq!(last["text"], "商家取消了订单：茶叶受潮，无法发货");
        let notice = &items(&alice.client.get("/api/v1/notices").await.ok())[0];
        assert!(text(notice, "body").contains("商家取消：茶叶受潮，无法发货"), "{notice}");
    }
    // A customer's own reason is for the store.
    let own = alice.order(&[(SKU, 1)]).await;
    let path = format!("/api/v1/orders/{}/cancel", text(&own, "id"));
    alice.client.post(&path, &json!({ "reason": "买错了" })).await.ok();
    app.drain().await;
    assert_eq!(items(&alice.get_order(&own).await["timeline"]).pop().expect("a row")["text"], "你取消了订单");
    app.finish().await;
}

fn at(minutes: i64) -> String {
    minimall::kernel::rfc3339(START_MS + minutes * 60_000)
}

#[tokio::test]
async fn a_pause_keeps_orders_out_until_it_ends_by_itself_and_what_was_ordered_is_fetched() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let fetched = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let quote = alice.try_quote_in(WULIN, "PICKUP", &[(SKU, 1)]).await.ok();
    let path = format!("/admin/v1/stores/{WULIN}");
    let version = clerk.0.get(&path).await.ok()["version"].clone();
    for wrong in [at(0), at(-1), at(60 * 24 * 367), "tomorrow".to_owned()] {
        let body = json!({ "version": version, "until": wrong });
        let refused = clerk.0.post(&format!("{path}/pause"), &body).await.refused(400, "invalid_request");
        assert_eq!(refused["field"], "/until", "{wrong}");
    }
    // Half a minute is rounded up: what is shown changes with the minute.
    let until = minimall::kernel::rfc3339(START_MS + 29 * 60_000 + 30_000);
    let paused =
        clerk.0.post(&format!("{path}/pause"), &json!({ "version": version, "until": until })).await.ok();
    assert_eq!((&paused["paused"], &paused["paused_until"]), (&json!(true), &json!(at(30))));
    for fulfilment in ["PICKUP", "IN_STORE"] {
        let refused = alice.try_quote_in(WULIN, fulfilment, &[(SKU, 1)]).await.refused(409, "store_paused");
        assert_eq!((&refused["field"], &refused["paused_until"]), (&json!("/store_id"), &json!(at(30))));
    }
    alice.place(&quote).await.refused(409, "store_paused");
    let list = items(&alice.client.get("/api/v1/stores?kind=PHYSICAL").await.ok());
    let shown = list.iter().find(|store| store["id"] == WULIN).expect("it is listed");
    assert_eq!((&shown["paused"], &shown["open_now"]), (&json!(true), &json!(false)));
    assert_eq!((&shown["paused_until"], &shown["opens_at"]), (&json!(at(30)), &json!(at(30))));
    let open = items(&alice.client.get("/api/v1/stores?open_now=true").await.ok());
    assert!(open.iter().all(|store| store["id"] != WULIN));
    clerk.serve(WULIN, &alice.code(&fetched).await).await.ok();

    app.advance_minutes(29);
    alice.try_quote_in(WULIN, "PICKUP", &[(SKU, 1)]).await.refused(409, "store_paused");
    app.advance_minutes(1);
    alice.order_in(WULIN, "PICKUP", &[(SKU, 1)]).await;
    let shown = alice.client.get(&format!("/api/v1/stores/{WULIN}")).await.ok();
    assert_eq!(
        (&shown["paused"], &shown["open_now"], &shown["paused_until"]),
        (&json!(false), &json!(true), &Value::Null)
    );
    let seen = clerk.0.get(&path).await.ok();
    assert_eq!((&seen["paused"], &seen["paused_until"]), (&json!(false), &Value::Null));
    // Without an end it lasts until somebody ends it.
    let body = json!({ "version": seen["version"] });
    let paused = clerk.0.post(&format!("{path}/pause"), &body).await.ok();
    app.advance_minutes(60);
    let refused = alice.try_quote_in(WULIN, "PICKUP", &[(SKU, 1)]).await.refused(409, "store_paused");
    assert_eq!(refused.get("paused_until"), None);
    clerk.0.post(&format!("{path}/resume"), &json!({ "version": paused["version"] })).await.ok();
    alice.try_quote_in(WULIN, "PICKUP", &[(SKU, 1)]).await.ok();
    app.finish_money().await;
}

#[tokio::test]
async fn what_is_sold_out_can_not_be_ordered_and_its_stock_stays() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let cake = sku(9);
    let before = app.stock_in(WULIN, &cake).await;
    let quote = alice.try_quote_in(WULIN, "PICKUP", &[(&cake, 1)]).await.ok();
    let line = json!({ "store_id": WULIN, "quantity": 1 });
    alice.client.put(&format!("/api/v1/cart/lines/{cake}"), &line).await.ok();
    let path = format!("/admin/v1/stores/{WULIN}/offers/{cake}/sold-out");
    let offer = clerk.0.put(&path, &json!({ "sold_out": true })).await.ok();
    assert_eq!((&offer["sold_out"], &offer["on_sale"]), (&json!(true), &json!(true)));
    clerk.0.put(&path, &json!({ "sold_out": true })).await.ok();
    let refused = alice.try_quote_in(WULIN, "PICKUP", &[(SKU, 1), (&cake, 1)]).await.refused(409, "sold_out");
    assert_eq!((&refused["field"], &refused["sku_id"]), (&json!("/lines/1"), &json!(cake)));
    let sent = json!({ "store_id": WULIN, "fulfilment": "DELIVERY", "address_id": alice.address });
    alice.client.post("/api/v1/quotes", &sent).await.refused(409, "sold_out");
    alice.place(&quote).await.refused(409, "sold_out");
    let cart = alice.client.get(&format!("/api/v1/cart?store_id={WULIN}")).await.ok();
    assert_eq!(
        (&cart["lines"][0]["flags"], &cart["lines"][0]["offer"]["available"]),
        (&json!(["sold_out"]), &json!(0))
    );
    let shelf = items(&alice.client.get(&format!("/api/v1/products?store_id={WULIN}&limit=100")).await.ok());
    let shown = shelf.iter().find(|product| product["name"] == "定胜糕").expect("it is shown");
    assert_eq!(shown["stock"], "OUT_OF_STOCK");
    let stock = clerk.0.get(&format!("/admin/v1/stores/{WULIN}/stock?q=定胜糕")).await.ok();
    assert_eq!(
        (&stock["items"][0]["sold_out"], &stock["items"][0]["stock"]["available"]),
        (&json!(true), &json!(before.0))
    );
    assert_eq!(app.stock_in(WULIN, &cake).await, before);
    // What somebody holds in the hand is there all the same; a new price leaves the switch alone.
    alice.try_quote_in(WULIN, "IN_STORE", &[(&cake, 1)]).await.ok();
    let version = stock["items"][0]["offer_version"].clone();
    let terms =
        json!({ "price": { "amount": 2_000, "currency": "CNY" }, "on_sale": true, "version": version });
    let offer = clerk.0.put(&format!("/admin/v1/stores/{WULIN}/offers/{cake}"), &terms).await.ok();
    assert_eq!(offer["sold_out"], true);
    clerk.0.put(&path, &json!({ "sold_out": false })).await.ok();
    alice.try_quote_in(WULIN, "PICKUP", &[(&cake, 1)]).await.ok();
    assert_eq!(app.number("SELECT COUNT(*) FROM audit WHERE operation = 'setSoldOut'").await, 2);
    let unsold = format!("/admin/v1/stores/{WULIN}/offers/{}/sold-out", sku(3));
    clerk.0.put(&unsold, &json!({ "sold_out": true })).await.refused(409, "sku_not_sold");
    let unknown = format!("/admin/v1/stores/sto_00000000000000000000000099/offers/{cake}/sold-out");
    clerk.0.put(&unknown, &json!({ "sold_out": true })).await.refused(404, "store_not_found");
    app.finish().await;
}
