//! What the unit tests of this feature and of those behind it stand on, and its own.

use super::*;
use crate::kernel::{Actor, Id};
use crate::platform::test_db::TestDb;

/// Another process on the same database and kv tier: its own memory.
fn another_node(db: &TestDb) -> Stores {
    Stores::new(&db.ctx)
}

pub(crate) const STAFF: Actor = Actor::System("test");

fn store_id(n: u8) -> StoreId {
    StoreId::from_tail(&format!("{n:0>26}"))
}

pub(crate) fn new_store(kind: StoreKind, name: &str, lat: f64, lng: f64) -> NewStore {
    let range = OpenRange { from: TimeOfDay::new(9, 0).unwrap(), to: TimeOfDay::new(22, 0).unwrap() };
    NewStore {
        kind,
        currency: Currency::Cny,
        details: StoreDetails {
            name: name.to_owned(),
            phone: "0571-87000000".to_owned(),
            province: "浙江省".to_owned(),
            city: "杭州市".to_owned(),
            district: "拱墅区".to_owned(),
            address: "延安路 1 号".to_owned(),
            lat,
            lng,
            time_zone: "Asia/Shanghai".to_owned(),
            hours: OpenHours::every_day(&[range]),
            freight_minor: 800,
            free_freight_from_minor: Some(9_900),
            scene: format!("scene-{name}"),
            image: None,
        },
    }
}

/// Four stores: online, and three that lie 0, about 1.1 and about 2.2 km north of 30, 120.
async fn shop(db: &TestDb) -> Stores {
    let stores = Stores::new(&db.ctx);
    let ctx = &db.ctx;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                for (n, kind, lat) in [
                    (1, StoreKind::Online, 30.0),
                    (2, StoreKind::Physical, 30.02),
                    (3, StoreKind::Physical, 30.0),
                    (4, StoreKind::Physical, 30.01),
                ] {
                    let new = new_store(kind, &format!("s{n}"), lat, 120.0);
                    create(tx, ctx, &STAFF, store_id(n), &new).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
    stores
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

fn names(bytes: &[u8]) -> Vec<String> {
    let list = json(bytes);
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

fn query(from: Option<(f64, f64)>, limit: u32, cursor: Option<&serde_json::Value>) -> StoreQuery {
    let from = from.map(|(lat, lng)| Location::new(lat, lng, "").unwrap());
    let cursor = cursor.map(|text| text.as_str().unwrap().parse::<Cursor>().unwrap());
    StoreQuery::parse(None, false, from, Some(limit), cursor.as_ref()).unwrap()
}

async fn first_page(db: &TestDb, stores: &Stores) -> Vec<String> {
    names(&stores.list(&db.ctx, &query(None, 20, None)).await.unwrap())
}

async fn rename(db: &TestDb, stores: &Stores, name: &str) -> Store {
    let store = find(&mut db.ctx.db.reader().await.unwrap(), &store_id(2)).await.unwrap().unwrap();
    let details = StoreDetails { name: name.to_owned(), ..store.details.clone() };
    edit(&db.ctx, stores, &STAFF, &store.id, store.version, &details).await.unwrap()
}

#[tokio::test]
async fn the_bytes_are_what_the_schema_says() {
    use poem_openapi::types::{ParseFromJSON, ToJSON};
    let db = TestDb::new(CODES).await;
    let stores = shop(&db).await;
    let list = json(&stores.list(&db.ctx, &query(Some((30.0, 120.0)), 20, None)).await.unwrap());
    for item in list["items"].as_array().unwrap() {
        let view =
            StoreView::parse_from_json(Some(item.clone())).unwrap_or_else(|e| panic!("{}", e.message()));
        assert_eq!(view.to_json().unwrap(), *item);
        assert!(view.open_now);
        assert_eq!(view.closes_at.as_deref(), Some("2026-03-02T14:00:00.000Z"));
    }
    let one = json(&stores.by_scene(&db.ctx, "scene-s3").await.unwrap());
    assert_eq!(one["id"], store_id(3).as_str());
    assert_eq!(one, json(&stores.by_id(&db.ctx, &store_id(3)).await.unwrap()));
}

#[tokio::test]
async fn nearest_come_first_and_pages_neither_miss_nor_repeat_while_somebody_walks() {
    let db = TestDb::new(CODES).await;
    let stores = shop(&db).await;
    let mut seen = Vec::new();
    let mut cursor = None;
    for page in 0..4 {
        // Each page is asked for from another place.
        let from = Some((30.0 + f64::from(page), 120.0));
        let bytes = stores.list(&db.ctx, &query(from, 1, cursor.as_ref())).await.unwrap();
        seen.extend(names(&bytes));
        cursor = json(&bytes).get("next_cursor").cloned();
        assert_eq!(cursor.is_some(), page < 3);
    }
    assert_eq!(seen, ["s3", "s4", "s2", "s1"]);
    let list = json(&stores.list(&db.ctx, &query(Some((30.0, 120.0)), 20, None)).await.unwrap());
    assert_eq!(list["items"][1]["distance_m"], 1_112);
    assert!(list["items"][3].get("distance_m").is_none());
}

#[tokio::test]
async fn pages_without_a_place_follow_the_order_of_opening() {
    let db = TestDb::new(CODES).await;
    let stores = shop(&db).await;
    let first = stores.list(&db.ctx, &query(None, 3, None)).await.unwrap();
    let cursor = json(&first)["next_cursor"].clone();
    let second = stores.list(&db.ctx, &query(None, 3, Some(&cursor))).await.unwrap();
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["s1".into(), "s2".into(), "s3".into()], vec!["s4".into()])
    );
    assert!(json(&second).get("next_cursor").is_none());
    let wrong = StoreQuery::parse(
        None,
        false,
        Some(Location { lat: 0.0, lng: 0.0 }),
        None,
        Some(&Cursor::after("x")),
    );
    assert!(wrong.is_err());
}

#[tokio::test]
async fn open_now_changes_with_the_minute() {
    let db = TestDb::new(CODES).await;
    let stores = shop(&db).await;
    let open = || StoreQuery::parse(None, true, None, None, None).unwrap();
    assert_eq!(names(&stores.list(&db.ctx, &open()).await.unwrap()).len(), 4);
    db.ctx.clock.advance(crate::kernel::hour_ms(10));
    assert!(names(&stores.list(&db.ctx, &open()).await.unwrap()).is_empty());
    let closed = json(&stores.by_id(&db.ctx, &store_id(2)).await.unwrap());
    assert_eq!(
        (&closed["open_now"], &closed["opens_at"]),
        (&false.into(), &"2026-03-03T01:00:00.000Z".into())
    );
}

#[tokio::test]
async fn the_writer_and_a_node_that_hears_of_it_never_show_the_old_list() {
    let db = TestDb::new(CODES).await;
    let writer = shop(&db).await;
    let (listener, deaf) = (another_node(&db), another_node(&db));
    for node in [&writer, &listener, &deaf] {
        assert_eq!(first_page(&db, node).await, ["s1", "s2", "s3", "s4"]);
    }
    let store = rename(&db, &writer, "new").await;
    assert_eq!(first_page(&db, &writer).await, ["s1", "new", "s3", "s4"]);
    listener.at_least(store.version);
    assert_eq!(first_page(&db, &listener).await, ["s1", "new", "s3", "s4"]);
    assert_eq!(json(&listener.by_id(&db.ctx, &store_id(2)).await.unwrap())["name"], "new");
    // Its broadcast was lost: the local time to live heals it.
    assert_eq!(first_page(&db, &deaf).await, ["s1", "s2", "s3", "s4"]);
    db.ctx.clock.advance(db.ctx.config.cache.local_ttl_ms);
    assert_eq!(first_page(&db, &deaf).await, ["s1", "new", "s3", "s4"]);
}

#[tokio::test]
async fn a_write_that_missed_the_kv_tier_is_not_undone_by_it() {
    let db = TestDb::new(CODES).await;
    let writer = shop(&db).await;
    let listener = another_node(&db);
    first_page(&db, &listener).await;
    db.ctx.kv.set_available(false);
    let store = rename(&db, &writer, "new").await;
    assert_eq!(first_page(&db, &writer).await, ["s1", "new", "s3", "s4"]);
    db.ctx.kv.set_available(true);
    // The kv tier is back with the old list: a node that heard of the write refuses it, and so does one
    // that starts now.
    listener.at_least(store.version);
    let started = another_node(&db);
    started.start(&db.ctx).await.unwrap();
    for node in [&writer, &listener, &started] {
        assert_eq!(first_page(&db, node).await, ["s1", "new", "s3", "s4"]);
    }
}

#[tokio::test]
async fn a_write_that_changed_nothing_leaves_the_caches_warm() {
    let db = TestDb::new(CODES).await;
    let stores = shop(&db).await;
    let store = rename(&db, &stores, "new").await;
    set_paused(&db.ctx, &stores, &STAFF, &store.id, store.version, None).await.unwrap();
    let started = another_node(&db);
    started.start(&db.ctx).await.unwrap();
    first_page(&db, &started).await;
    let text = db.ctx.metrics.text();
    assert!(!text.contains(r#"tier="database""#), "{text}");
}

#[tokio::test]
async fn without_the_kv_tier_the_database_answers() {
    let db = TestDb::new(CODES).await;
    let stores = shop(&db).await;
    db.ctx.kv.set_available(false);
    assert_eq!(first_page(&db, &stores).await, ["s1", "s2", "s3", "s4"]);
}

#[tokio::test]
async fn a_second_edit_of_the_same_version_is_refused_and_a_scene_is_unique() {
    let db = TestDb::new(CODES).await;
    let stores = shop(&db).await;
    let store = rename(&db, &stores, "new").await;
    let stale = edit(&db.ctx, &stores, &STAFF, &store.id, store.version - 1, &store.details).await;
    assert!(stale.unwrap_err().is(&VERSION_CONFLICT));
    let taken = StoreDetails { scene: "scene-s1".to_owned(), ..store.details.clone() };
    let refused = edit(&db.ctx, &stores, &STAFF, &store.id, store.version, &taken).await;
    assert!(refused.unwrap_err().is(&SCENE_TAKEN));
    let same = add(&db.ctx, &stores, &STAFF, &new_store(StoreKind::Physical, "s1", 30.0, 120.0)).await;
    assert!(same.unwrap_err().is(&SCENE_TAKEN));
    // A refused write takes no version and leaves no event.
    let paused =
        set_paused(&db.ctx, &stores, &STAFF, &store.id, store.version, Some(Pause { until_ms: None }))
            .await
            .unwrap();
    assert_eq!(paused.version, store.version + 1);
    let list = json(&stores.list(&db.ctx, &query(None, 20, None)).await.unwrap());
    assert_eq!((&list["items"][1]["paused"], &list["items"][1]["open_now"]), (&true.into(), &false.into()));
}

#[tokio::test]
async fn details_that_can_not_be_are_refused_with_their_field() {
    let good = new_store(StoreKind::Physical, "x", 30.0, 120.0).details;
    good.check().unwrap();
    type Spoil = fn(&mut StoreDetails);
    let wrong: [(&str, Spoil); 7] = [
        ("/name", |d| d.name = "  ".into()),
        ("/lat", |d| d.lat = 91.0),
        ("/time_zone", |d| d.time_zone = "Mars/Olympus".into()),
        ("/freight/amount", |d| d.freight_minor = -1),
        ("/free_freight_from/amount", |d| d.free_freight_from_minor = Some(0)),
        ("/scene", |d| d.scene = "门店".into()),
        ("/image", |d| d.image = Some("http://example.com/a.jpg".into())),
    ];
    for (field, spoil) in wrong {
        let mut details = good.clone();
        spoil(&mut details);
        let problem = details.check().unwrap_err().problem("");
        assert_eq!(problem["field"], field);
    }
}
