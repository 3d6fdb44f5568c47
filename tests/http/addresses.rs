//! The address book: one default, a limit, and nobody else's.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, SKU, TestApp, User};

const PATH: &str = "/api/v1/addresses";
const PHONE: &str = "13912345678";

fn address(detail: &str, is_default: bool) -> Value {
    json!({
        "recipient": "林晓", "phone": PHONE, "province": "浙江省", "city": "杭州市", "district": "西湖区",
        "detail": detail, "postal_code": "310013", "is_default": is_default,
    })
}

fn without(mut body: Value, name: &str) -> Value {
    body.as_object_mut().expect("an object").remove(name);
    body
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

async fn add(user: &User, detail: &str, is_default: bool) -> Value {
    let answer = user.client.post(PATH, &address(detail, is_default)).await;
    assert_eq!(answer.status, 201);
    answer.ok()
}

async fn book(user: &User) -> Vec<Value> {
    user.client.get(PATH).await.ok()["items"].as_array().cloned().expect("items")
}

/// Details in the order of the list, the default marked.
async fn shown(user: &User) -> Vec<String> {
    let line = |entry: &Value| {
        let mark = if entry["is_default"] == true { "*" } else { "" };
        format!("{mark}{}", entry["detail"].as_str().expect("a detail"))
    };
    book(user).await.iter().map(line).collect()
}

fn path(entry: &Value) -> String {
    format!("{PATH}/{}", entry["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn the_first_address_becomes_the_default_and_there_is_always_exactly_one() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    assert!(book(&alice).await.is_empty());
    let first = add(&alice, "one", false).await;
    assert_eq!(first["is_default"], true);
    app.advance_ms(1);
    let second = add(&alice, "two", false).await;
    app.advance_ms(1);
    assert_eq!(shown(&alice).await, ["*one", "two"]);
    let third = add(&alice, "three", true).await;
    assert_eq!(shown(&alice).await, ["*three", "two", "one"]);

    // Taking the mark away does not help: some other one has to get it.
    let kept = alice.client.put(&path(&third), &address("3", false)).await.ok();
    assert_eq!((&kept["is_default"], &kept["detail"]), (&json!(true), &json!("3")));
    alice.client.put(&path(&first), &address("1", true)).await.ok();
    assert_eq!(shown(&alice).await, ["*1", "3", "two"]);

    assert_eq!(alice.client.delete(&path(&first)).await.status, 204);
    assert_eq!(shown(&alice).await, ["*3", "two"]);
    assert_eq!(alice.client.delete(&path(&second)).await.status, 204);
    assert_eq!(alice.client.delete(&path(&third)).await.status, 204);
    assert!(book(&alice).await.is_empty());
    alice.client.delete(&path(&third)).await.refused(404, "address_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_book_holds_fifty_addresses_and_one_default_however_many_are_added_at_once() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let bodies: Vec<Value> = (0..60).map(|n| address(&format!("{n}"), n % 3 == 0)).collect();
    let answers = join_all(bodies.iter().map(|body| alice.client.post(PATH, body))).await;
    let (added, refused): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((added.len(), refused.len()), (50, 10));
    for answer in refused {
        answer.refused(409, "address_limit");
    }
    let entries = book(&alice).await;
    assert_eq!(entries.len(), 50);
    assert_eq!(entries.iter().filter(|entry| entry["is_default"] == true).count(), 1);
    assert_eq!(entries[0]["is_default"], true);

    let paths: Vec<String> = entries.iter().map(path).collect();
    let gone = join_all(paths[..49].iter().map(|path| alice.client.delete(path))).await;
    assert!(gone.iter().all(|answer| answer.status == 204));
    let left = book(&alice).await;
    assert_eq!((left.len(), &left[0]["is_default"]), (1, &json!(true)));
    add(&alice, "room again", false).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn defaults_set_at_the_same_moment_leave_one() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    for n in 0..6 {
        add(&alice, &format!("{n}"), false).await;
    }
    let entries = book(&alice).await;
    let changes: Vec<(String, Value)> =
        entries.iter().map(|entry| (path(entry), address("moved", true))).collect();
    let answers = join_all(changes.iter().map(|(path, body)| alice.client.put(path, body))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let marked = book(&alice).await.iter().filter(|entry| entry["is_default"] == true).count();
    assert_eq!(marked, 1);
    app.finish().await;
}

#[tokio::test]
async fn an_address_of_somebody_else_does_not_exist() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.bare_user("alice").await, app.user("bob").await);
    let hers = add(&alice, "龙井路 1 号", false).await;
    bob.client.put(&path(&hers), &address("mine now", true)).await.refused(404, "address_not_found");
    bob.client.delete(&path(&hers)).await.refused(404, "address_not_found");
    let mut quote = bob.quote_body(&[(SKU, 1)], &[]);
    quote["address_id"] = hers["id"].clone();
    let refused = bob.client.post("/api/v1/quotes", &quote).await.refused(404, "address_not_found");
    assert_eq!(refused["field"], "/address_id");
    assert_eq!(book(&bob).await.len(), 1);
    assert_eq!(shown(&alice).await, ["*龙井路 1 号"]);
    app.client().get(PATH).await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn the_recipients_phone_number_is_masked_stored_encrypted_and_stays_when_it_is_not_sent() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let added = add(&alice, "one", false).await;
    let changed = alice.client.put(&path(&added), &without(address("two", false), "phone")).await.ok();
    let listed = book(&alice).await;
    for answer in [&added, &changed, &listed[0]] {
        assert_eq!(answer["phone"], "139****5678");
        assert!(!answer.to_string().contains(PHONE));
    }
    let stored = app.stored().await;
    assert!(stored.has("浙江省"), "the search finds what is stored in clear");
    assert!(!stored.has(PHONE));

    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let (sealed,): (String,) =
        sqlx::query_as("SELECT phone_sealed FROM addresses").fetch_one(conn).await.expect("one address");
    assert_eq!(app.ctx.secrets.open("address_phone", &sealed).expect("sealed for this purpose"), PHONE);

    let other = with(address("three", false), "phone", json!("+852 9123 4567"));
    assert_eq!(alice.client.put(&path(&added), &other).await.ok()["phone"], "+85****567");
    app.finish().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_is_refused_with_its_field() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let good = || address("龙井路 1 号", false);
    for (body, field) in [
        (without(good(), "phone"), "/phone"),
        (with(good(), "phone", json!("12345678901")), "/phone"),
        (with(good(), "phone", json!("1380013800a")), "/phone"),
        (with(good(), "phone", json!(13_800_138_000_i64)), "/phone"),
        (without(good(), "recipient"), "/recipient"),
        (with(good(), "recipient", json!("  ")), "/recipient"),
        (with(good(), "province", json!(null)), "/province"),
        (with(good(), "city", json!("")), "/city"),
        (with(good(), "district", json!("西".repeat(41))), "/district"),
        (with(good(), "detail", json!("one\ntwo")), "/detail"),
        (with(good(), "detail", json!("a\u{0}b")), "/detail"),
        (with(good(), "postal_code", json!("31/0013")), "/postal_code"),
        (with(good(), "is_default", json!("yes")), "/is_default"),
    ] {
        let problem = alice.client.post(PATH, &body).await.refused(400, "invalid_request");
        assert_eq!(problem["field"], field, "{problem}");
    }
    assert!(book(&alice).await.is_empty());
    let entry = add(&alice, "one", false).await;
    let blank = with(good(), "city", json!(" "));
    let problem = alice.client.put(&path(&entry), &blank).await.refused(400, "invalid_request");
    assert_eq!(problem["field"], "/city");
    alice.client.delete("/api/v1/addresses/nope").await.refused(400, "invalid_request");
    let nobodys = format!("{PATH}/adr_{}", "0".repeat(26));
    alice.client.delete(&nobodys).await.refused(404, "address_not_found");
    app.finish().await;
}
