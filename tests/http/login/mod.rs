//! Signing in through WeChat: who becomes a user, once, and what nobody else gets to see.

mod sessions;
mod wechat;

use std::collections::HashSet;

use futures_util::future::join_all;
use minimall::kernel::{UserId, minute_ms};
use minimall::{identity, sandbox};
use serde_json::{Value, json};

use self::sessions::refresh;
use crate::support::{Answer, Client, TestApp};

const CODE2SESSION: &str = "/sns/jscode2session";

async fn login(client: &Client, code: &str) -> Answer {
    client.post("/api/v1/sessions", &json!({ "code": code })).await
}

/// A session of the person whose code always works.
async fn session(app: &TestApp, name: &str) -> Value {
    login(&app.client(), &format!("demo:{name}")).await.ok()
}

/// The status that the token of a session gets from `client`'s server.
async fn opens_at(client: &Client, session: &Value) -> u16 {
    client.with_token(text(session, "token")).get("/api/v1/me").await.status
}

async fn opens(app: &TestApp, session: &Value) -> u16 {
    opens_at(&app.client(), session).await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn count(app: &TestApp, query: &'static str) -> i64 {
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let (count,): (i64,) = sqlx::query_as(query).fetch_one(conn).await.expect("a count");
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_logins_at_the_same_moment_make_one_user_with_one_coupon() {
    let app = TestApp::new().await;
    let client = app.client();
    let answers = join_all((0..20).map(|_| login(&client, "demo:alice"))).await;
    let sessions: Vec<Value> = answers.into_iter().map(Answer::ok).collect();
    let users: HashSet<&str> = sessions.iter().map(|session| text(&session["user"], "id")).collect();
    assert_eq!(users.len(), 1);
    assert_eq!(sessions.iter().filter(|session| session["is_new_user"] == true).count(), 1);
    let tokens: HashSet<&str> = sessions.iter().map(|session| text(session, "token")).collect();
    assert_eq!(tokens.len(), 20);
    for session in &sessions {
        assert_eq!(opens(&app, session).await, 200);
    }
    assert_eq!(count(&app, "SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(count(&app, "SELECT COUNT(*) FROM outbox WHERE event = 'UserRegistered'").await, 1);
    app.drain().await;
    let coupons = client.with_token(text(&sessions[0], "token")).get("/api/v1/coupons").await.ok();
    assert_eq!(coupons["items"].as_array().map(Vec::len), Some(1));
    app.finish().await;
}

#[tokio::test]
async fn logging_in_again_finds_the_same_user() {
    let app = TestApp::new().await;
    let (first, again, other) =
        (session(&app, "alice").await, session(&app, "alice").await, session(&app, "bob").await);
    assert_eq!((&first["is_new_user"], &again["is_new_user"]), (&json!(true), &json!(false)));
    assert_eq!(first["user"], again["user"]);
    assert_ne!(first["user"]["id"], other["user"]["id"]);
    assert_eq!(first["user"]["nickname"], "微信用户");
    app.finish().await;
}

#[tokio::test]
async fn the_new_user_coupon_comes_after_the_login_which_does_not_wait_for_it() {
    let app = TestApp::new().await;
    // With the bus down nothing can be delivered, and the login succeeds all the same.
    app.ctx.bus.set_available(false);
    let alice = session(&app, "alice").await;
    let client = app.client().with_token(text(&alice, "token"));
    app.drain().await;
    assert_eq!(client.get("/api/v1/coupons").await.ok()["items"], json!([]));
    app.ctx.bus.set_available(true);
    app.drain().await;
    let coupons = client.get("/api/v1/coupons").await.ok();
    assert_eq!(coupons["items"][0]["source"], "new_user");
    session(&app, "alice").await;
    app.drain().await;
    assert_eq!(client.get("/api/v1/coupons").await.ok()["items"].as_array().map(Vec::len), Some(1));
    app.finish().await;
}

#[tokio::test]
async fn a_login_code_works_once_and_for_five_minutes() {
    let app = TestApp::new().await;
    let sandbox = app.sandbox_client();
    let fresh = || async { sandbox.post("/sandbox/login-codes", &json!({ "name": "alice" })).await.ok() };
    let code = fresh().await;
    login(&app.client(), text(&code, "code")).await.ok();
    login(&app.client(), text(&code, "code")).await.refused(401, "login_code_invalid");
    login(&app.client(), "nobody-made-this-code").await.refused(401, "login_code_invalid");

    let late = fresh().await;
    app.advance_ms(minute_ms(5));
    login(&app.client(), text(&late, "code")).await.refused(401, "login_code_invalid");

    // The code of the phone number button is of another family.
    let body = json!({ "openid": code["openid"], "phone": "13800138000" });
    let phone = sandbox.post("/sandbox/phone-codes", &body).await.ok();
    login(&app.client(), text(&phone, "code")).await.refused(401, "login_code_invalid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_login_code_opens_one_session_however_many_send_it() {
    let app = TestApp::new().await;
    let code = app.sandbox_client().post("/sandbox/login-codes", &json!({ "name": "alice" })).await.ok();
    let client = app.client();
    let answers = join_all((0..8).map(|_| login(&client, text(&code, "code")))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 401, 401, 401, 401, 401, 401, 401]);
    app.finish().await;
}

#[tokio::test]
async fn the_session_key_is_kept_encrypted_and_never_leaves_the_server() {
    let app = TestApp::new().await;
    let first = session(&app, "alice").await;
    let next = refresh(&app, &first, None).await.ok();
    let me = app.client().with_token(text(&next, "token")).get("/api/v1/me").await.ok();
    let calls = app.sandbox_client().get("/sandbox/calls").await.ok();
    let exchange = calls
        .as_array()
        .and_then(|calls| calls.iter().find(|call| text(call, "target").starts_with(CODE2SESSION)))
        .expect("the exchange of the code");
    let told: Value = serde_json::from_str(text(exchange, "response_body")).expect("JSON");
    let (session_key, openid) = (text(&told, "session_key"), text(&told, "openid"));
    for answer in [&first, &next, &me] {
        assert!(!answer.to_string().contains(session_key));
        assert!(!answer.to_string().contains("session_key"));
    }

    let stored = app.stored().await;
    assert!(stored.has(openid), "the search finds what is stored in clear");
    assert!(!stored.has(session_key));
    for session in [&first, &next] {
        assert!(!stored.has(text(session, "token")));
        assert!(!stored.has(text(session, "refresh_token")));
    }

    // It is there for what the client signs with it.
    let user: UserId = text(&me, "id").parse().expect("an id");
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let opened = identity::session_key(conn, &app.ctx, &user, sandbox::demo::APPID).await.expect("opened");
    assert_eq!(opened.as_deref(), Some(session_key));
    let owner = identity::openid(conn, &user, sandbox::demo::APPID).await.expect("read");
    assert_eq!(owner.as_deref(), Some(openid));
    app.finish().await;
}
