//! Stores: nearest first, open hours, the scene of a QR code, and what staff changes is seen at once.

use minimall::kernel::{Actor, Id, StoreId};
use minimall::stores;
use serde_json::{Value, json};

use crate::support::{Answer, ONLINE_STORE, TestApp};

const WULIN: &str = "sto_00000000000000000000000002";
const HUBIN: &str = "sto_00000000000000000000000003";
const BINJIANG: &str = "sto_00000000000000000000000004";

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

/// What an edit takes: the store as staff reads it.
async fn as_staff(app: &TestApp, id: &str) -> Value {
    app.staff().await.get(&format!("/admin/v1/stores/{id}")).await.ok()
}

async fn rename(app: &TestApp, id: &str, name: &str) -> Answer {
    let mut store = as_staff(app, id).await;
    store["name"] = name.into();
    app.staff().await.put(&format!("/admin/v1/stores/{id}"), &store).await
}

#[tokio::test]
async fn the_nearest_store_comes_first_and_the_online_store_last() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let list = user.get("/api/v1/stores?lat=30.2546&lng=120.1640").await.ok();
    assert_eq!(ids(&list), [HUBIN, WULIN, BINJIANG, ONLINE_STORE]);
    let metres: Vec<_> = (0..3).map(|n| list["items"][n]["distance_m"].as_i64().expect("metres")).collect();
    assert!(metres[0] < 200 && (1_800..2_000).contains(&metres[1]), "{metres:?}");
    assert!(list["items"][3].get("distance_m").is_none());
    // A page at a time, walking on in between.
    let mut seen = Vec::new();
    let mut path = "/api/v1/stores?lat=30.2546&lng=120.1640&limit=1&kind=PHYSICAL".to_owned();
    loop {
        let page = user.get(&path).await.ok();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/stores?lat=30.2084&lng=120.2123&limit=1&kind=PHYSICAL&cursor={cursor}");
    }
    assert_eq!(seen, [HUBIN, WULIN, BINJIANG]);
    app.finish().await;
}

#[tokio::test]
async fn without_a_place_stores_come_in_the_order_of_their_opening() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let list = user.get("/api/v1/stores").await.ok();
    assert_eq!(ids(&list), [ONLINE_STORE, WULIN, HUBIN, BINJIANG]);
    let first = user.get("/api/v1/stores?limit=3").await.ok();
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = user.get(&format!("/api/v1/stores?limit=3&cursor={cursor}")).await.ok();
    assert_eq!(ids(&second), [BINJIANG]);
    assert_eq!(ids(&user.get("/api/v1/stores?kind=ONLINE").await.ok()), [ONLINE_STORE]);
    app.finish().await;
}

#[tokio::test]
async fn a_bad_place_or_page_names_its_parameter() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    for (query, field) in [
        ("lat=30", "lng"),
        ("lng=120", "lat"),
        ("lat=91&lng=0", "lat"),
        ("lat=NaN&lng=0", "lat"),
        ("lat=0&lng=-181", "lng"),
        ("lat=north&lng=0", "lat"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=%21%21", "cursor"),
        ("cursor=eA", "cursor"),
        ("lat=0&lng=0&cursor=eA", "cursor"),
        ("kind=MOBILE", "kind"),
    ] {
        let problem = user.get(&format!("/api/v1/stores?{query}")).await.refused(400, "invalid_request");
        assert_eq!(problem["field"], field, "{query}");
    }
    app.client().get("/api/v1/stores").await.refused(401, "unauthenticated");
    user.get("/admin/v1/stores").await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn the_scene_of_a_qr_code_leads_to_its_store() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let store = user.get("/api/v1/stores/by-scene/hz-wulin").await.ok();
    assert_eq!(store["id"], WULIN);
    assert_eq!(store, user.get(&format!("/api/v1/stores/{WULIN}")).await.ok());
    user.get("/api/v1/stores/by-scene/nowhere").await.refused(404, "store_not_found");
    user.get("/api/v1/stores/sto_00000000000000000000000099").await.refused(404, "store_not_found");
    user.get("/api/v1/stores/2").await.refused(400, "invalid_request");
    app.finish().await;
}

#[tokio::test]
async fn a_night_store_is_open_past_midnight_and_says_when_it_opens_and_closes() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let store = user.get(&format!("/api/v1/stores/{BINJIANG}")).await.ok();
    // 10:00 in Hangzhou; it opens at 16:00.
    assert_eq!((&store["open_now"], &store["opens_at"]), (&json!(false), &json!("2026-03-14T08:00:00.000Z")));
    assert_eq!(ids(&user.get("/api/v1/stores?open_now=true").await.ok()), [ONLINE_STORE, WULIN, HUBIN]);
    // 01:00 on the next day, in the middle of its range.
    app.advance_minutes(15 * 60);
    let user = app.bare_user("alice").await.client;
    let store = user.get(&format!("/api/v1/stores/{BINJIANG}")).await.ok();
    assert_eq!((&store["open_now"], &store["closes_at"]), (&json!(true), &json!("2026-03-14T18:00:00.000Z")));
    assert_eq!(ids(&user.get("/api/v1/stores?open_now=true").await.ok()), [ONLINE_STORE, BINJIANG]);
    app.advance_minutes(60);
    assert_eq!(ids(&user.get("/api/v1/stores?open_now=true").await.ok()), [ONLINE_STORE]);
    app.finish().await;
}

#[tokio::test]
async fn an_exception_of_today_closes_the_store_in_every_list_at_once() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    assert_eq!(ids(&user.get("/api/v1/stores?open_now=true").await.ok()).len(), 3);
    let mut store = as_staff(&app, WULIN).await;
    store["hours"]["exceptions"] = json!([{ "date": "2026-03-14", "ranges": [] }]);
    let path = format!("/admin/v1/stores/{WULIN}");
    app.staff().await.put(&path, &store).await.ok();
    assert_eq!(ids(&user.get("/api/v1/stores?open_now=true").await.ok()), [ONLINE_STORE, HUBIN]);
    let near = user.get("/api/v1/stores?open_now=true&lat=30&lng=120").await.ok();
    assert_eq!(ids(&near), [HUBIN, ONLINE_STORE]);
    app.finish().await;
}

#[tokio::test]
async fn what_staff_changes_is_seen_at_once_with_the_kv_tier_up_or_down() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let list = || async { user.get("/api/v1/stores").await.ok()["items"][1]["name"].clone() };
    assert_eq!(list().await, "武林店");
    rename(&app, WULIN, "武林广场店").await.ok();
    assert_eq!(list().await, "武林广场店");
    app.ctx.kv.set_available(false);
    assert_eq!(list().await, "武林广场店");
    rename(&app, WULIN, "武林门店").await.ok();
    assert_eq!(list().await, "武林门店");
    // The kv tier is back with what it had before.
    app.ctx.kv.set_available(true);
    assert_eq!(list().await, "武林门店");
    app.advance_minutes(1);
    assert_eq!(list().await, "武林门店");
    app.finish().await;
}

#[tokio::test]
async fn a_write_whose_broadcast_was_lost_in_a_crash_heals_by_the_staged_event() {
    let app = TestApp::new().await;
    app.drain().await;
    let user = app.bare_user("alice").await.client;
    assert_eq!(ids(&user.get("/api/v1/stores").await.ok()).len(), 4);
    // Committed, and then nothing more: no kv, no broadcast.
    let ctx = &app.ctx;
    let wulin: StoreId = WULIN.parse().expect("an id");
    let old = stores::find(&mut ctx.db.reader().await.expect("a reader"), &wulin).await.expect("read");
    let old = old.expect("the store");
    let details = stores::StoreDetails { scene: "fifth".to_owned(), ..old.details.clone() };
    let new = &stores::NewStore { kind: old.kind, currency: old.currency, details };
    let actor = &Actor::System("test");
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let id = StoreId::from_tail(&"5".repeat(26));
                stores::create(tx, ctx, actor, id, new).await
            })
        })
        .await
        .expect("created");
    assert_eq!(ids(&user.get("/api/v1/stores").await.ok()).len(), 4);
    app.drain().await;
    assert_eq!(ids(&user.get("/api/v1/stores").await.ok()).len(), 5);
    app.finish().await;
}

#[tokio::test]
async fn an_edit_of_an_old_version_is_refused_and_changes_nothing() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let store = as_staff(&app, WULIN).await;
    rename(&app, WULIN, "one").await.ok();
    let path = format!("/admin/v1/stores/{WULIN}");
    let problem = staff.put(&path, &store).await.refused(409, "version_conflict");
    let now = as_staff(&app, WULIN).await;
    assert_eq!((&now["name"], &now["version"]), (&json!("one"), &problem["version"]));
    staff.post(&format!("{path}/pause"), &json!({ "version": 1 })).await.refused(409, "version_conflict");
    let missing = "/admin/v1/stores/sto_00000000000000000000000099";
    staff.put(missing, &store).await.refused(404, "store_not_found");
    app.finish().await;
}

#[tokio::test]
async fn two_edits_at_the_same_moment_are_one_edit_and_one_conflict() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let seen = as_staff(&app, WULIN).await;
    let edit = |name: &'static str| {
        let (staff, mut store) = (staff.clone(), seen.clone());
        store["name"] = name.into();
        async move { staff.put(&format!("/admin/v1/stores/{WULIN}"), &store).await }
    };
    let (one, two) = tokio::join!(edit("one"), edit("two"));
    let (winner, loser) = if one.status == 200 { (one, two) } else { (two, one) };
    let name = winner.ok()["name"].clone();
    loser.refused(409, "version_conflict");
    let user = app.bare_user("alice").await.client;
    assert_eq!(user.get(&format!("/api/v1/stores/{WULIN}")).await.ok()["name"], name);
    app.finish().await;
}

#[tokio::test]
async fn a_paused_store_is_shown_as_closed_until_it_is_resumed() {
    let app = TestApp::new().await;
    let (user, staff) = (app.bare_user("alice").await.client, app.staff().await);
    let path = format!("/admin/v1/stores/{WULIN}");
    let version = staff.get(&path).await.ok()["version"].clone();
    let paused = staff.post(&format!("{path}/pause"), &json!({ "version": version })).await.ok();
    let shown = user.get(&format!("/api/v1/stores/{WULIN}")).await.ok();
    assert_eq!((&shown["paused"], &shown["open_now"]), (&json!(true), &json!(false)));
    staff.post(&format!("{path}/resume"), &json!({ "version": paused["version"] })).await.ok();
    let shown = user.get(&format!("/api/v1/stores/{WULIN}")).await.ok();
    assert_eq!((&shown["paused"], &shown["open_now"]), (&json!(false), &json!(true)));
    app.finish().await;
}

#[tokio::test]
async fn a_new_store_is_listed_at_once_and_its_scene_is_its_own() {
    let app = TestApp::new().await;
    let (user, staff) = (app.bare_user("alice").await.client, app.staff().await);
    let mut store = as_staff(&app, WULIN).await;
    staff.post("/admin/v1/stores", &store).await.refused(409, "scene_taken");
    store["scene"] = "hz-chengxi".into();
    let made = staff.post("/admin/v1/stores", &store).await;
    assert_eq!(made.status, 201);
    let id = made.ok()["id"].clone();
    assert_eq!(user.get("/api/v1/stores/by-scene/hz-chengxi").await.ok()["id"], id);
    assert_eq!(ids(&user.get("/api/v1/stores").await.ok()).len(), 5);
    assert_eq!(ids(&staff.get("/admin/v1/stores?limit=4").await.ok()).len(), 4);
    app.finish().await;
}

#[tokio::test]
async fn a_store_that_can_not_be_is_refused_with_its_field() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let good = as_staff(&app, WULIN).await;
    let overlap = json!([
        { "weekday": "MONDAY", "from": "09:00", "to": "12:00" },
        { "weekday": "MONDAY", "from": "11:00", "to": "13:00" },
    ]);
    for (pointer, value, field) in [
        ("/name", json!(""), "/name"),
        ("/name", json!(7), "/name"),
        ("/lat", json!(90.5), "/lat"),
        ("/lng", json!("east"), "/lng"),
        ("/time_zone", json!("Mars/Olympus"), "/time_zone"),
        ("/hours/weekly/0/from", json!("24:00"), "/hours/weekly/0/from"),
        ("/hours/weekly/0/weekday", json!("FUNDAY"), "/hours/weekly/0/weekday"),
        ("/hours/weekly", overlap, "/hours/weekly"),
        ("/hours/exceptions/0/date", json!("2026-02-30"), "/hours/exceptions/0/date"),
        ("/freight/amount", json!(-1), "/freight/amount"),
        ("/freight/currency", json!("USD"), "/freight/currency"),
        ("/scene", json!("百分号%"), "/scene"),
        ("/image", json!("http://example.com/a.jpg"), "/image"),
        ("/version", json!("2"), "/version"),
    ] {
        let mut store = good.clone();
        *store.pointer_mut(pointer).expect(pointer) = value;
        let refused = staff.put(&format!("/admin/v1/stores/{WULIN}"), &store).await;
        let problem = refused.refused(400, "invalid_request");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let mut store = good.clone();
    store.as_object_mut().expect("an object").remove("hours");
    let refused = staff.put(&format!("/admin/v1/stores/{WULIN}"), &store).await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "/hours");
    assert_eq!(as_staff(&app, WULIN).await, good);
    app.finish().await;
}

#[tokio::test]
async fn the_qr_code_of_a_store_is_an_image_drawn_by_wechat() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let image = staff.get(&format!("/admin/v1/stores/{WULIN}/qr-code?width=430")).await;
    assert_eq!(image.status, 200, "{}", String::from_utf8_lossy(&image.bytes));
    let kind = image.header("content-type").expect("a content type");
    let magic: &[u8] = if kind == "image/png" { b"\x89PNG" } else { b"\xff\xd8" };
    assert!(image.bytes.starts_with(magic), "{kind}");
    let wide = staff.get(&format!("/admin/v1/stores/{WULIN}/qr-code?width=2000")).await;
    assert_eq!(wide.refused(400, "invalid_request")["field"], "width");
    let missing = "/admin/v1/stores/sto_00000000000000000000000099/qr-code";
    staff.get(missing).await.refused(404, "store_not_found");
    app.finish().await;
}

#[tokio::test]
async fn what_wechat_says_to_a_qr_code_is_told_and_its_silence_is_no_error_of_ours() {
    // A leading slash: there is no such page for WeChat.
    let app = TestApp::with(|config| config.wechat.store_page = "/pages/store/index".to_owned()).await;
    let staff = app.staff().await;
    let path = format!("/admin/v1/stores/{WULIN}/qr-code");
    assert_eq!(staff.get(&path).await.refused(409, "qr_code_refused")["errcode"], 41_030);
    app.fault("down", 10).await;
    let silent = staff.get(&path).await;
    assert!(silent.header("retry-after").is_some());
    silent.refused(503, "qr_code_unavailable");
    app.no_faults().await;
    app.finish().await;
}

#[tokio::test]
async fn every_change_of_a_store_leaves_an_audit_row_with_before_and_after() {
    let app = TestApp::new().await;
    rename(&app, WULIN, "one").await.ok();
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let (actor, before, after): (String, String, String) = sqlx::query_as(
        "SELECT actor_kind, before_json, after_json FROM audit WHERE object = ? AND operation = 'updateStore'",
    )
    .bind(WULIN)
    .fetch_one(conn)
    .await
    .expect("one row");
    let name = |json: &str| serde_json::from_str::<Value>(json).expect("JSON")["name"].clone();
    assert_eq!((actor.as_str(), name(&before), name(&after)), ("staff", json!("武林店"), json!("one")));
    app.finish().await;
}

#[tokio::test]
async fn the_metrics_say_which_tier_answered_and_how_old_it_was() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    for _ in 0..3 {
        user.get("/api/v1/stores").await.ok();
    }
    let text = app.ctx.metrics.text();
    for line in [
        r#"cache_reads_total{cache="stores",tier="database"} 1"#,
        r#"cache_reads_total{cache="store-lists",tier="database"} 1"#,
        r#"cache_reads_total{cache="store-lists",tier="local"} 2"#,
        r#"cache_served_age_seconds_count{cache="store-lists"} 3"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    app.finish().await;
}
