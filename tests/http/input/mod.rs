//! Bad input: whatever is sent, the answer is a problem document that names what is wrong, never a 5xx. And
//! what the server refuses to start with.

mod start;
mod sweep;

use std::io::{Read, Write};

use minimall::platform::web::RequestScope;
use poem::EndpointExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, SKU, TestApp, User, fresh_key, serve};

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: &[u8],
) -> Answer {
    let mut request = client.request(method, path).header("Idempotency-Key", fresh_key()).body(body.to_vec());
    if let Some(kind) = content_type {
        request = request.header("Content-Type", kind);
    }
    client.send(request).await
}

/// A change of the profile with these bytes as its body.
async fn patch(user: &User, body: &[u8]) -> Answer {
    send(&user.client, Method::PATCH, "/api/v1/me", Some("application/json"), body).await
}

/// Every problem document says the same things, and its request id is the header's.
#[track_caller]
fn is_problem(answer: &Answer) {
    let shown = String::from_utf8_lossy(&answer.bytes);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{} {shown}", answer.status);
    assert_eq!(answer.body["status"], answer.status, "{shown}");
    for name in ["type", "title", "code", "detail"] {
        assert!(answer.body[name].as_str().is_some_and(|text| !text.is_empty()), "no {name}: {shown}");
    }
    let id = answer.header("x-request-id").expect("a request id");
    assert_eq!(answer.body["request_id"], id, "{shown}");
}

#[tokio::test]
async fn what_is_no_json_is_malformed() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    for body in [
        b"".to_vec(),
        b"{".to_vec(),
        b"{\"nickname\": }".to_vec(),
        b"{\"nickname\": \"a\"} {}".to_vec(),
        b"{nickname: \"a\"}".to_vec(),
        b"{\"nickname\": \"\xff\xfe\"}".to_vec(),
        b"{\"nickname\": \"a\x00b\"}".to_vec(),
        b"{\"nickname\": \"\\ud800\"}".to_vec(),
        b"{\"nickname\": NaN}".to_vec(),
        deep("[", "]", 100_000).into_bytes(),
        deep("{\"nickname\":", "}", 10_000).into_bytes(),
        b"[".repeat(200_000),
    ] {
        let answer = patch(&alice, &body).await;
        is_problem(&answer);
        answer.refused(400, "malformed_json");
    }
    let problem = patch(&alice, b"{\n  \"nickname\": }").await.refused(400, "malformed_json");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("line 2")), "{problem}");
    app.finish().await;
}

#[tokio::test]
async fn a_body_of_another_shape_is_refused_as_a_whole() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    for body in ["null", "[]", "\"text\"", "7", "true"] {
        let problem = patch(&alice, body.as_bytes()).await.refused(400, "invalid_request");
        assert_eq!(problem["field"], "", "{body}: {problem}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_wrong_type_a_missing_field_and_a_bad_value_each_name_the_field() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let good = alice.quote_body(&[(SKU, 1), (SKU, 2)], &[]);
    let changed = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).expect("a place") = value;
        body
    };
    let without = |pointer: &str, name: &str| {
        let mut body = good.clone();
        let place = body.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object");
        place.remove(name);
        body
    };
    for (body, field) in [
        (without("", "store_id"), "/store_id"),
        (changed("/store_id", json!(null)), "/store_id"),
        (changed("/store_id", json!(7)), "/store_id"),
        (changed("/store_id", json!("sto_short")), "/store_id"),
        (changed("/store_id", json!(SKU)), "/store_id"),
        (changed("/fulfilment", json!("TELEPORT")), "/fulfilment"),
        (changed("/fulfilment", json!("delivery")), "/fulfilment"),
        (changed("/lines", json!({})), "/lines"),
        (changed("/lines", json!([])), "/lines"),
        (changed("/lines", json!(vec![good["lines"][0].clone(); 51])), "/lines"),
        (changed("/lines/1", json!("x")), "/lines/1"),
        (without("/lines/1", "sku_id"), "/lines/1/sku_id"),
        (without("/lines/0", "quantity"), "/lines/0/quantity"),
        (changed("/lines/1/quantity", json!("1")), "/lines/1/quantity"),
        (changed("/lines/1/quantity", json!(0)), "/lines/1/quantity"),
        (changed("/lines/1/quantity", json!(-1)), "/lines/1/quantity"),
        (changed("/lines/1/quantity", json!(1.5)), "/lines/1/quantity"),
        (changed("/lines/1/quantity", json!(1_000)), "/lines/1/quantity"),
        (changed("/lines/1/quantity", json!(u64::MAX)), "/lines/1/quantity"),
        (changed("/lines/1/quantity", json!(1e300)), "/lines/1/quantity"),
        (changed("/address_id", json!("adr_\u{0}")), "/address_id"),
        (changed("/coupon_ids", json!(["nope"])), "/coupon_ids/0"),
    ] {
        let answer = alice.client.post("/api/v1/quotes", &body).await;
        is_problem(&answer);
        let problem = answer.refused(400, "invalid_request");
        assert_eq!(problem["field"], field, "{problem}");
    }
    app.finish().await;
}

#[tokio::test]
async fn numbers_beyond_every_integer_are_refused() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for number in ["1e400", "-1e400", "9223372036854775808", "-9223372036854775809", "1e18", "0.1e1"] {
        let body = alice.quote_body(&[(SKU, 77)], &[]).to_string().replace("77", number);
        let answer =
            send(&alice.client, Method::POST, "/api/v1/quotes", Some("application/json"), body.as_bytes())
                .await;
        is_problem(&answer);
        assert_eq!(answer.status, 400, "{number}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_member_that_nobody_knows_changes_nothing() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let deep: Value = serde_json::from_str(&("[".repeat(100) + &"]".repeat(100))).expect("JSON");
    let body = json!({ "nickname": "小林", "id": "usr_x", "phone": "13800138000", "deep": deep });
    let me = alice.client.patch("/api/v1/me", &body).await.ok();
    assert_eq!((&me["nickname"], &me["id"], &me["phone"]), (&json!("小林"), &json!(alice.id), &Value::Null));
    app.finish().await;
}

#[tokio::test]
async fn only_json_is_taken() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let body = br#"{"nickname":"a"}"#;
    for kind in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")]
    {
        let answer = send(&alice.client, Method::PATCH, "/api/v1/me", kind, body).await;
        is_problem(&answer);
        answer.refused(415, "unsupported_media_type");
    }
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        send(&alice.client, Method::PATCH, "/api/v1/me", Some(kind), body).await.ok();
    }
    app.finish().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large() {
    let app = TestApp::with(|config| config.server.body_limit_kib = 4).await;
    let alice = app.bare_user("alice").await;
    let padded = |size: usize| format!("{{\"nickname\":\"a\"{}}}", " ".repeat(size - 16)).into_bytes();
    patch(&alice, &padded(4 * 1024)).await.ok();
    for size in [4 * 1024 + 1, 64 * 1024] {
        let answer = patch(&alice, &padded(size)).await;
        is_problem(&answer);
        answer.refused(413, "body_too_large");
    }
    // One that does not tell its length, and goes on and on.
    let address = app.url.trim_start_matches("http://").to_owned();
    let token = alice.client.token.clone().expect("a token");
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        let head = format!(
            "PATCH /api/v1/me HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("the head is taken");
        let chunk = format!("{:x}\r\n{}\r\n", 1024, " ".repeat(1024));
        for _ in 0..5 {
            stream.write_all(chunk.as_bytes()).expect("a chunk is taken");
        }
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("an answer before the end of the body");
        String::from_utf8_lossy(&start).into_owned()
    });
    assert_eq!(answer.await.expect("asked"), "HTTP/1.1 413");
    app.finish().await;
}

#[tokio::test]
async fn an_idempotency_key_is_needed_and_bounded() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let quote = alice.quote(&[(SKU, 1)], &[]).await;
    let body = json!({ "quote_token": quote["quote_token"] });
    let refuse = |answer: Answer| {
        is_problem(&answer);
        assert_eq!(answer.refused(400, "idempotency_key_required")["field"], "Idempotency-Key");
    };
    refuse(alice.client.post_without_key("/api/v1/orders", &body).await);
    let long = "k".repeat(129);
    for key in ["", " ", long.as_str(), "two words", "ключ"] {
        refuse(alice.client.post_with_key("/api/v1/orders", key, &body).await);
    }
    alice.client.post_with_key("/api/v1/orders", &"k".repeat(128), &body).await.ok();
    app.finish().await;
}

#[tokio::test]
async fn one_key_is_one_request_of_one_person() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (quote, his) = (alice.quote(&[(SKU, 1)], &[]).await, bob.quote(&[(SKU, 1)], &[]).await);
    let body = json!({ "quote_token": quote["quote_token"], "note": "请放门口" });
    let key = fresh_key();
    let order = alice.client.post_with_key("/api/v1/orders", &key, &body).await.ok();
    let again = alice.client.post_with_key("/api/v1/orders", &key, &body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body["id"]), (Some("true"), &order["id"]));
    // The same body in another order of its members is the same request.
    let spelled = format!("{{\"note\": \"请放门口\", \"quote_token\": {}}}", quote["quote_token"]);
    let request = alice.client.request(Method::POST, "/api/v1/orders").header("Idempotency-Key", &key);
    let again = alice.client.send(request.header("Content-Type", "application/json").body(spelled)).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body["id"]), (Some("true"), &order["id"]));
    let other = json!({ "quote_token": quote["quote_token"], "note": "请放前台" });
    let reused = alice.client.post_with_key("/api/v1/orders", &key, &other).await;
    is_problem(&reused);
    assert_eq!(reused.refused(409, "idempotency_key_reused")["field"], "Idempotency-Key");
    // Somebody else's key of the same spelling is another key.
    let his = json!({ "quote_token": his["quote_token"] });
    let theirs = bob.client.post_with_key("/api/v1/orders", &key, &his).await;
    assert_eq!(theirs.header("idempotent-replayed"), None);
    assert_ne!(theirs.ok()["id"], order["id"]);
    app.finish().await;
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems_too() {
    let app = TestApp::new().await;
    let client = app.client();
    for path in
        ["/nope", "/api/v1/nope", "/admin/v1/nope", "/api/v2/me", "/api/v1", "/docs/nope", "/api/v1/me/"]
    {
        for method in [Method::GET, Method::POST] {
            let answer = send(&client, method, path, Some("application/json"), b"{}").await;
            is_problem(&answer);
            answer.refused(404, "not_found");
        }
    }
    for (method, path, allowed) in [
        (Method::POST, "/api/v1/me", "GET, HEAD, PATCH, DELETE"),
        (Method::POST, "/api/v1/orders/counts", "GET, HEAD"),
        (Method::TRACE, "/api/v1/cart/lines/sku_1", "PUT, DELETE"),
        (Method::PUT, "/api/v1/sessions", "POST"),
        (Method::GET, "/admin/v1/sessions", "POST"),
        (Method::DELETE, "/healthz", "GET, HEAD"),
        (Method::GET, "/callbacks/wechat-pay/payments", "POST"),
        (Method::PUT, "/callbacks/wechat/messages", "GET, HEAD, POST"),
        (Method::POST, "/docs", "GET, HEAD"),
    ] {
        let answer = send(&client, method, path, Some("application/json"), b"{}").await;
        is_problem(&answer);
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
        answer.refused(405, "method_not_allowed");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_request_id_is_echoed_kept_in_events_and_made_when_there_is_none() {
    let app = TestApp::new().await;
    let client = app.client();
    let with_id = |id: &'static [u8]| {
        let value = reqwest::header::HeaderValue::from_bytes(id).expect("a header value");
        client.send(client.request(Method::GET, "/api/v1/me").header("X-Request-Id", value))
    };
    for id in ["a", "my-request/1:2", "0123456789012345678901234567890123456789012345678901234567890123"] {
        let answer = with_id(id.as_bytes()).await;
        is_problem(&answer);
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
    for bad in [
        &b""[..],
        b"two words",
        b"\xe6\x9e\x97",
        b"01234567890123456789012345678901234567890123456789012345678901234",
    ] {
        let answer = with_id(bad).await;
        is_problem(&answer);
        assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
    }
    let body = json!({ "code": "demo:alice" }).to_string();
    let login = client.request(Method::POST, "/api/v1/sessions").header("X-Request-Id", "login-7");
    let done = client.send(login.header("Content-Type", "application/json").body(body)).await;
    assert_eq!((done.status, done.header("x-request-id")), (201, Some("login-7")));
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let (id,): (String,) = sqlx::query_as("SELECT request_id FROM outbox WHERE event = 'UserRegistered'")
        .fetch_one(conn)
        .await
        .expect("the event");
    assert_eq!(id, "login-7");
    app.finish().await;
}

#[tokio::test]
async fn a_panic_is_answered_with_a_problem_that_tells_nothing_of_it() {
    let app = TestApp::new().await;
    let broken = poem::endpoint::make_sync(|_| -> poem::Response { panic!("a secret of the insides") });
    let url = serve(broken.with(RequestScope(app.ctx.clone()))).await;
    let answer = Client::new(&url).get("/").await;
    is_problem(&answer);
    let problem = answer.refused(500, "internal");
    assert!(!problem.to_string().contains("insides"), "{problem}");
    app.finish().await;
}
