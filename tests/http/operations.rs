//! What the people who run the shop look at: dead letters with their tries, what waits on the bus, caches, the
//! audit log, and everything that happened under one request.

use minimall::app::App;
use minimall::routes;
use minimall::staff::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, SKU, TestApp, fresh_key, items, serve};

const STORE: &str = "sto_00000000000000000000000002";

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

impl TestApp {
    /// Something that is done to the database by hand.
    async fn by_hand(&self, query: &'static str) {
        let write =
            self.ctx.db.write(|tx| Box::pin(async move { Ok(sqlx::query(query).execute(&mut **tx).await?) }));
        write.await.expect("a change by hand");
    }

    /// Lives until what can't be delivered is parked.
    async fn give_up(&self) {
        // An event that waits for the one before it is tried after that was given up.
        for _ in 0..2 * self.ctx.config.bus.attempts_max + 5 {
            self.drain().await;
            self.advance_minutes(1);
        }
    }
}

#[tokio::test]
async fn a_dead_letter_shows_the_event_the_error_and_each_try() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = alice.order(&[(SKU, 1)]).await;
    app.by_hand("ALTER TABLE notices RENAME TO notices_away").await;
    app.give_up().await;
    let letter = items(&staff.get("/admin/v1/dead-letters?event=OrderPlaced").await.ok())[0].clone();
    let (event, subscription) = (text(&letter, "event_id"), text(&letter, "subscription"));
    assert_eq!(subscription, "notifications.notice");
    let path = format!("/admin/v1/dead-letters/{event}/{subscription}");
    let detail = staff.get(&path).await.ok();
    assert_eq!(detail["body"]["order_id"], order["id"]);
    let tries = detail["tries"].as_array().expect("tries").clone();
    assert_eq!(tries.len() as i64, app.ctx.config.bus.attempts_max);
    for failed in &tries {
        assert!(text(failed, "error").contains("notices"), "{failed}");
        assert_eq!(failed["node"], app.ctx.bus.node_name());
    }
    let times: Vec<String> = tries.iter().map(|failed| text(failed, "at")).collect();
    assert!(times.is_sorted() && times[0] < times[1], "{times:?}");

    // The same on the page of the event, where the other subscriptions are done.
    let seen = staff.get(&format!("/admin/v1/events/{event}")).await.ok();
    let deliveries = seen["deliveries"].as_array().expect("deliveries").clone();
    let of = |name: &str| deliveries.iter().find(|d| d["subscription"] == name).expect("a delivery").clone();
    assert_eq!((&of(&subscription)["state"], &of(&subscription)["tries"]), (&json!("PARKED"), &json!(tries)));
    assert_eq!((&seen["event"], &seen["state"]), (&json!("OrderPlaced"), &json!("SENT")));

    // The tries of before a replay stay, and only the last 20 are kept.
    for _ in 0..2 {
        let decision = json!({ "event_id": event, "subscription": subscription, "reason": "再试" });
        staff.post("/admin/v1/dead-letters/replay", &decision).await.ok();
        app.give_up().await;
    }
    let again = app.staff().await.get(&path).await.ok()["tries"].as_array().expect("tries").clone();
    assert_eq!(again.len(), 20);
    assert!(text(&again[0], "at") > text(&tries[0], "at"));

    app.by_hand("ALTER TABLE notices_away RENAME TO notices").await;
    let staff = app.staff().await;
    let decision = json!({ "event_id": event, "subscription": subscription, "reason": "不再需要" });
    staff.post("/admin/v1/dead-letters/discard", &decision).await.ok();
    staff.get(&path).await.refused(404, "dead_letter_not_found");
    staff.get("/admin/v1/events/evt_zzzzzzzzzzzzzzzzzzzzzzzzzz").await.refused(404, "event_not_found");
    let of_order = items(&staff.get("/admin/v1/dead-letters").await.ok());
    let rest: Vec<String> = of_order.iter().map(|letter| text(letter, "event")).collect();
    assert_eq!(rest, ["OrderClosed"]);
    replay_all(&staff, &json!({ "reason": "表已恢复" })).await;
    app.finish().await;
}

async fn replay_all(staff: &Client, body: &Value) -> Value {
    staff.post("/admin/v1/dead-letters/replay-many", body).await.ok()
}

#[tokio::test]
async fn many_dead_letters_are_paged_narrowed_and_replayed_some_at_a_time() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.by_hand("ALTER TABLE notices RENAME TO notices_away").await;
    for _ in 0..3 {
        let order = alice.order(&[(SKU, 1)]).await;
        alice.cancel(&order).await.ok();
    }
    app.give_up().await;
    let staff = app.staff().await;
    let all = items(&staff.get("/admin/v1/dead-letters?subscription=notifications.notice").await.ok());
    assert_eq!(all.len(), 6);
    assert!(items(&staff.get("/admin/v1/dead-letters?subscription=nobody").await.ok()).is_empty());
    assert_eq!(items(&staff.get("/admin/v1/dead-letters?event=OrderClosed").await.ok()).len(), 3);
    let mut paged = Vec::new();
    let mut path = "/admin/v1/dead-letters?limit=4".to_owned();
    loop {
        let page = staff.get(&path).await.ok();
        paged.extend(items(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/admin/v1/dead-letters?limit=4&cursor={next}");
    }
    assert_eq!(paged, all);
    // A cursor of another list.
    let other = items(&staff.get("/admin/v1/audit?limit=1").await.ok()).len();
    assert_eq!(other, 1);
    let cursor = text(&staff.get("/admin/v1/audit?limit=1").await.ok(), "next_cursor");
    let refused = staff.get(&format!("/admin/v1/dead-letters?cursor={cursor}")).await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "cursor");

    app.by_hand("ALTER TABLE notices_away RENAME TO notices").await;
    let some = json!({ "event": "OrderPlaced", "limit": 2, "reason": "表已恢复" });
    let done = replay_all(&staff, &some).await;
    assert_eq!((&done["replayed"], &done["left"]), (&json!(2), &json!(4)));
    app.drain().await;
    assert_eq!(items(&alice.client.get("/api/v1/notices").await.ok()).len(), 2);
    let done =
        replay_all(&staff, &json!({ "subscription": "notifications.notice", "reason": "表已恢复" })).await;
    assert_eq!((&done["replayed"], &done["left"]), (&json!(4), &json!(0)));
    app.drain().await;
    assert_eq!(items(&alice.client.get("/api/v1/notices").await.ok()).len(), 6);
    let log = items(&staff.get("/admin/v1/audit?operation=replayDeadLetters").await.ok());
    assert_eq!(log.len(), 6);
    let too_many =
        staff.post("/admin/v1/dead-letters/replay-many", &json!({ "limit": 101, "reason": "x" })).await;
    assert_eq!(too_many.refused(400, "invalid_request")["field"], "/limit");
    let done = staff.changing_nothing();
    assert_eq!(replay_all(&done, &json!({ "reason": "x" })).await["replayed"], 0);
    app.finish().await;
}

#[tokio::test]
async fn what_waits_on_the_bus_is_listed_and_counted() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    app.drain().await;
    app.ctx.bus.set_available(false);
    let order = alice.order(&[(SKU, 1)]).await;
    app.advance_minutes(1);
    let outbox = staff.get("/admin/v1/outbox").await.ok();
    assert_eq!((&outbox["lag_ms"], &outbox["available"]), (&json!(60_000), &json!(false)));
    assert_eq!((&outbox["waiting"], &outbox["timed"]), (&json!(1), &json!(1)));
    let waiting = items(&staff.get("/admin/v1/outbox/events").await.ok());
    let names: Vec<String> = waiting.iter().map(|event| text(event, "event")).collect();
    assert_eq!(names, ["OrderPlaced", "PaymentDeadline"]);
    assert_eq!(waiting[0]["key"], order["id"]);
    let first = staff.get("/admin/v1/outbox/events?limit=1").await.ok();
    let next = text(&first, "next_cursor");
    let rest = staff.get(&format!("/admin/v1/outbox/events?limit=1&cursor={next}")).await.ok();
    assert_eq!(items(&rest), waiting[1..]);

    // With the bus back the event is sent, and a delivery that fails waits for its next try.
    app.ctx.bus.set_available(true);
    app.by_hand("ALTER TABLE notices RENAME TO notices_away").await;
    app.drain().await;
    let waiting = items(&staff.get("/admin/v1/outbox/deliveries").await.ok());
    assert_eq!((waiting.len(), &waiting[0]["subscription"]), (1, &json!("notifications.notice")));
    assert_eq!((&waiting[0]["state"], &waiting[0]["attempts"]), (&json!("PENDING"), &json!(1)));
    assert!(text(&waiting[0], "next_at").as_str() > "2026-03-14T02:01:00");
    assert_eq!(staff.get("/admin/v1/outbox").await.ok()["deliveries"], 1);
    app.by_hand("ALTER TABLE notices_away RENAME TO notices").await;
    app.advance_minutes(1);
    app.drain().await;
    assert!(items(&staff.get("/admin/v1/outbox/deliveries").await.ok()).is_empty());
    app.finish().await;
}

#[tokio::test]
async fn everything_of_one_request_is_on_one_page() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let send = async |client: &Client, path: &str, id: &str, body: &Value| {
        let request = client.request(Method::POST, path).header("X-Request-Id", id);
        let request =
            request.header("Idempotency-Key", fresh_key()).header("Content-Type", "application/json");
        client.send(request.body(body.to_string())).await
    };
    let trace = async |id: &str| staff.get(&format!("/admin/v1/trace?request_id={id}")).await.ok();
    let quote = alice.quote(&[(SKU, 1)], &[]).await;
    let body = json!({ "quote_token": quote["quote_token"] });
    let order = send(&alice.client, "/api/v1/orders", "place-1", &body).await.ok();
    app.drain().await;
    let seen = trace("place-1").await;
    assert_eq!(
        (&seen["timeline"][0]["order_id"], &seen["timeline"][0]["code"]),
        (&order["id"], &json!("placed"))
    );
    let names: Vec<String> = seen["events"].as_array().unwrap().iter().map(|e| text(e, "event")).collect();
    assert_eq!(names, ["OrderPlaced", "PaymentDeadline"]);
    let delivered = &seen["events"][0]["deliveries"];
    assert!(delivered.as_array().unwrap().iter().any(|d| d["subscription"] == "notifications.notice"));
    assert_eq!(seen["notices"], json!([]));

    // What a notice of WeChat settled goes under the request that brought it.
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let path = format!("/admin/v1/orders/{}", text(&order, "id"));
    let timeline = staff.get(&path).await.ok()["timeline"].as_array().unwrap().clone();
    let paid = timeline.iter().find(|entry| entry["code"] == "payment_succeeded").expect("paid");
    let request = text(paid, "request_id");
    assert!(!request.is_empty());
    let seen = trace(&request).await;
    assert_eq!((&seen["notices"][0]["state"], &seen["notices"][0]["attempts"]), (&json!("DONE"), &json!(0)));
    assert_eq!(seen["timeline"][0]["code"], "payment_succeeded");
    assert_eq!(seen["events"][0]["event"], "OrderPaid");

    // An act of staff, with its audit row.
    send(&staff, &format!("{path}/ship"), "ship-1", &json!({})).await.ok();
    let seen = trace("ship-1").await;
    assert_eq!(
        (&seen["audit"][0]["operation"], &seen["timeline"][0]["code"]),
        (&json!("shipOrder"), &json!("shipped_all"))
    );
    let nothing = trace("nobody-knows").await;
    for part in ["timeline", "audit", "events", "notices"] {
        assert_eq!(nothing[part], json!([]));
    }
    staff.get("/admin/v1/trace").await.refused(400, "invalid_request");
    app.finish().await;
}

async fn store_name(client: &Client) -> String {
    text(&client.get(&format!("/api/v1/stores/{STORE}")).await.ok(), "name")
}

#[tokio::test]
async fn a_dropped_cache_shows_what_the_database_says_on_every_node() {
    let app = TestApp::with(|config| config.cache.local_ttl_ms = 3_600_000).await;
    let node = App::build(app.ctx.config.clone(), app.ctx.clock.clone()).await.expect("a second node");
    let (here, staff) = (app.bare_user("alice").await.client, app.staff().await);
    let token = here.token.clone().expect("a token");
    let other = Client::new(&serve(routes::routes(&node.surface)).await).with_token(&token);
    let before = store_name(&here).await;
    assert_eq!(store_name(&other).await, before);
    here.get("/api/v1/stores").await.ok();
    let caches = async || {
        let list = staff.get("/admin/v1/caches").await.ok();
        assert_eq!(list["node"], app.ctx.bus.node_name());
        items(&list)
    };
    let of = |list: &[Value], name: &str| list.iter().find(|c| c["name"] == name).expect("a cache").clone();
    let list = caches().await;
    let names: Vec<String> = list.iter().map(|cache| text(cache, "name")).collect();
    assert_eq!(names, ["stores", "store-lists", "sessions", "carriers"]);
    let stores = of(&list, "stores");
    assert_eq!((&stores["entries"], &stores["oldest_ms"]), (&json!(1), &json!(0)));
    assert_eq!(stores["reads"]["loaded"], 1);
    let local = stores["reads"]["local"].as_u64().expect("a count");
    store_name(&here).await;
    let stores = of(&caches().await, "stores");
    assert_eq!(stores["reads"]["local"], local + 1);
    assert!(stores["hit_percent"].as_u64().expect("a rate") >= 50);

    // Somebody changes the database behind the program's back.
    app.by_hand("UPDATE stores SET name = '武林路新店' WHERE id = 'sto_00000000000000000000000002'").await;
    app.advance_ms(1_000);
    assert_eq!(store_name(&here).await, before);
    let drop = json!({ "reason": "手工改了数据" });
    staff.post("/admin/v1/caches/stores/drop", &drop).await.ok();
    assert_eq!(of(&caches().await, "stores").get("oldest_ms"), None);
    assert_eq!(store_name(&here).await, "武林路新店");
    // The second node of an embedded bus is told by hand what a broker would tell it.
    assert_eq!(store_name(&other).await, before);
    let at_ms = app.ctx.clock.now_ms();
    let event = minimall::events::Event::CacheDropped { cache: "stores".to_owned(), key: None, at_ms };
    node.ctx.bus.broadcast(&node.ctx, event).await;
    assert_eq!(store_name(&other).await, "武林路新店");

    // One key, and the list that was rendered from it.
    app.by_hand("UPDATE stores SET name = '武林路老店' WHERE id = 'sto_00000000000000000000000002'").await;
    let one = json!({ "key": "all", "reason": "手工改了数据" });
    staff.post("/admin/v1/caches/stores/drop", &one).await.ok();
    assert_eq!(store_name(&here).await, "武林路老店");
    staff.post("/admin/v1/caches/store-lists/drop", &drop).await.ok();
    let list = here.get("/api/v1/stores").await.ok().to_string();
    assert!(list.contains("武林路老店"), "{list}");
    for cache in ["sessions", "carriers"] {
        staff.post(&format!("/admin/v1/caches/{cache}/drop"), &drop).await.ok();
    }
    for cache in ["sessions", "carriers"] {
        let refused = staff.post(&format!("/admin/v1/caches/{cache}/drop"), &one).await;
        assert_eq!(refused.refused(400, "invalid_request")["field"], "/key");
    }
    staff.post("/admin/v1/caches/nothing/drop", &drop).await.refused(404, "cache_not_found");
    let log = items(&staff.get("/admin/v1/audit?operation=dropCache&object=stores").await.ok());
    assert_eq!((log.len(), &log[0]["after"]["key"]), (2, &json!("all")));
    app.finish().await;
}

#[tokio::test]
async fn a_dropped_session_cache_signs_nobody_out_and_believes_no_old_entry() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.bare_user("alice").await, app.staff().await);
    alice.client.get("/api/v1/me").await.ok();
    app.by_hand("UPDATE sessions SET ended_ms = 1").await;
    // Both tiers still know the session.
    alice.client.get("/api/v1/me").await.ok();
    staff.post("/admin/v1/caches/sessions/drop", &json!({ "reason": "x" })).await.ok();
    alice.client.get("/api/v1/me").await.refused(401, "unauthenticated");
    app.advance_ms(1);
    let again = app.bare_user("alice").await;
    again.client.get("/api/v1/me").await.ok();
    staff.post("/admin/v1/caches/sessions/drop", &json!({ "reason": "x" })).await.ok();
    again.client.get("/api/v1/me").await.ok();
    app.finish().await;
}

#[tokio::test]
async fn the_audit_log_is_narrowed_by_who_what_and_when() {
    let app = TestApp::new().await;
    let (owner, manager) = (app.staff().await, app.member(Role::Manager, &[]).await);
    let id = text(&manager.get("/admin/v1/me").await.ok(), "id");
    let path = format!("/admin/v1/stores/{STORE}");
    let version = manager.get(&path).await.ok()["version"].clone();
    app.advance_minutes(1);
    let paused = manager.post(&format!("{path}/pause"), &json!({ "version": version })).await.ok();
    app.advance_minutes(1);
    let body = json!({ "version": paused["version"] });
    owner.post(&format!("{path}/resume"), &body).await.ok();

    let found = async |query: &str| {
        let log = items(&owner.get(&format!("/admin/v1/audit?{query}")).await.ok());
        log.iter().map(|row| text(row, "operation")).collect::<Vec<_>>()
    };
    assert_eq!(found(&format!("actor={id}")).await, ["pauseStore"]);
    assert_eq!(found(&format!("object={STORE}&limit=2")).await, ["resumeStore", "pauseStore"]);
    assert_eq!(found("operation=resumeStore").await, ["resumeStore"]);
    let minute = "from=2026-03-14T02:01:00Z&until=2026-03-14T02:02:00Z";
    assert_eq!(found(minute).await, ["pauseStore"]);
    assert_eq!(found("from=2026-03-14T02:02:00Z").await, ["resumeStore"]);
    assert!(found(&format!("actor={id}&operation=resumeStore")).await.is_empty());
    let row = items(&owner.get("/admin/v1/audit?operation=pauseStore").await.ok())[0].clone();
    assert!(row["before"] != row["after"] && row["before"].is_object(), "{row}");
    let refused = owner.get("/admin/v1/audit?from=yesterday").await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "from");
    app.finish().await;
}
