//! Signing in through WeChat, and what a session is worth: expiry, refresh, logout, several devices, several
//! nodes, and a WeChat that refuses, hangs or is gone.

use std::collections::HashSet;

use futures_util::future::join_all;
use minimall::identity::Sessions;
use minimall::kernel::{Millis, UserId, minute_ms};
use minimall::routes::{self, Surface};
use minimall::wechat::mini::{Mini, MiniOptions};
use minimall::{identity, sandbox};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::Query;
use poem::{Endpoint, Response, handler};
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp};

const DAY_MS: Millis = minute_ms(24 * 60);
const CODE2SESSION: &str = "/sns/jscode2session";
const PHONE_NUMBER: &str = "/wxa/business/getuserphonenumber";

async fn login(client: &Client, code: &str) -> Answer {
    client.post("/api/v1/sessions", &json!({ "code": code })).await
}

/// A session of the person whose code always works.
async fn session(app: &TestApp, name: &str) -> Value {
    login(&app.client(), &format!("demo:{name}")).await.ok()
}

async fn refresh(app: &TestApp, session: &Value, key: Option<&str>) -> Answer {
    let body = json!({ "refresh_token": session["refresh_token"] });
    match key {
        Some(key) => app.client().post_with_key("/api/v1/sessions/refresh", key, &body).await,
        None => app.client().post_without_key("/api/v1/sessions/refresh", &body).await,
    }
}

/// The status that the token of a session gets from `client`'s server.
async fn opens_at(client: &Client, session: &Value) -> u16 {
    client.with_token(text(session, "token")).get("/api/v1/me").await.status
}

async fn opens(app: &TestApp, session: &Value) -> u16 {
    opens_at(&app.client(), session).await
}

async fn logout(app: &TestApp, session: &Value) -> Answer {
    app.client().with_token(text(session, "token")).delete("/api/v1/sessions/current").await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn fault_at(app: &TestApp, kind: &str, path: &str) {
    let body = json!({ "kind": kind, "times": 1, "path": path });
    app.sandbox_client().post("/sandbox/faults", &body).await.ok();
}

async fn count(app: &TestApp, query: &'static str) -> i64 {
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let (count,): (i64,) = sqlx::query_as(query).fetch_one(conn).await.expect("a count");
    count
}

async fn serve(endpoint: impl Endpoint + 'static) -> String {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.expect("a port");
    let url = acceptor.local_addr()[0].as_socket_addr().map(|at| format!("http://{at}")).expect("an address");
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(endpoint));
    url
}

/// A second server of the same shop: the same database and kv tier, a memory of its own. No broadcast
/// reaches it.
async fn deaf_node(app: &TestApp) -> Client {
    let surface = Surface { sessions: Sessions::default(), ..app.app.surface.clone() };
    Client::new(&serve(routes::routes(&surface)).await)
}

#[derive(serde::Deserialize)]
struct Code2Session {
    js_code: String,
}

/// Answers code2session with what the code asks for: an errcode, or something that is no answer.
#[handler]
fn impostor(Query(query): Query<Code2Session>) -> Response {
    let answer = match query.js_code.as_str() {
        "broken" => return Response::builder().status(poem::http::StatusCode::BAD_GATEWAY).body("<html>"),
        "no-json" => return Response::builder().body("<html>"),
        "empty" => json!({ "openid": "", "session_key": "a2V5" }),
        "overlong" => json!({ "openid": "o".repeat(65), "session_key": "a2V5" }),
        errcode => {
            json!({ "errcode": errcode.parse::<i64>().unwrap_or_default(), "errmsg": "refused, rid: 1-2-3" })
        }
    };
    Response::builder().body(answer.to_string())
}

/// A server of the shop whose WeChat is the impostor.
async fn with_impostor(app: &TestApp) -> Client {
    let options = MiniOptions {
        base_url: serve(poem::Route::new().at(CODE2SESSION, poem::get(impostor))).await,
        appid: sandbox::demo::APPID.to_owned(),
        secret: sandbox::demo::APP_SECRET.to_owned(),
        timeout_ms: 3_000,
    };
    let mini = Mini::new(options, app.ctx.clock.clone()).expect("a client");
    let surface = Surface { mini, ..app.app.surface.clone() };
    Client::new(&serve(routes::routes(&surface)).await)
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
    assert_eq!(coupons["items"][0]["source"], "NEW_USER");
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
async fn every_refusal_of_wechat_has_its_own_answer() {
    let app = TestApp::new().await;
    let client = with_impostor(&app).await;
    for (asked, status, code, retry_after) in [
        ("40029", 401, "login_code_invalid", None),
        ("40163", 401, "login_code_invalid", None),
        ("41008", 401, "login_code_invalid", None),
        ("40226", 403, "login_blocked", None),
        ("45011", 429, "wechat_limit", Some("60")),
        ("45009", 503, "wechat_unavailable", Some("600")),
        ("-1", 503, "wechat_unavailable", Some("2")),
        ("987654", 503, "wechat_unavailable", Some("2")),
        ("broken", 503, "wechat_unavailable", Some("2")),
        ("no-json", 503, "wechat_unavailable", Some("2")),
        ("empty", 503, "wechat_unavailable", Some("2")),
        ("overlong", 503, "wechat_unavailable", None),
    ] {
        let answer = login(&client, asked).await;
        assert_eq!(answer.header("retry-after"), retry_after, "{asked}");
        let problem = answer.refused(status, code);
        assert!(!problem.to_string().contains("rid"), "{problem}");
    }
    assert_eq!(count(&app, "SELECT COUNT(*) FROM users").await, 0);
    assert_eq!(count(&app, "SELECT COUNT(*) FROM alerts").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn when_wechat_refuses_the_servers_own_identity_an_alert_is_open() {
    let app = TestApp::new().await;
    let client = with_impostor(&app).await;
    for asked in ["40013", "40125", "40164", "41002", "41004"] {
        let answer = login(&client, asked).await;
        assert_eq!(answer.header("retry-after"), Some("60"));
        answer.refused(503, "wechat_setup");
    }
    let open = "SELECT COUNT(*) FROM alerts WHERE kind = 'wechat_setup' AND closed_ms IS NULL";
    assert_eq!(count(&app, open).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_busy_a_limiting_or_a_broken_wechat_is_a_503_or_429_and_passes() {
    let app = TestApp::new().await;
    for (fault, status, code) in [
        ("wx_busy", 503, "wechat_unavailable"),
        ("error_after_work", 503, "wechat_unavailable"),
        ("rate_limit", 429, "wechat_limit"),
        ("down", 503, "wechat_unavailable"),
        ("down_after_work", 503, "wechat_unavailable"),
    ] {
        app.fault(fault, 1).await;
        let answer = login(&app.client(), "demo:alice").await;
        assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{fault}");
        answer.refused(status, code);
        login(&app.client(), "demo:alice").await.ok();
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hanging_wechat_is_a_503_after_a_bounded_wait_and_holds_nobody_else_up() {
    let app = TestApp::with(|config| config.wechat.timeout_ms = 300).await;
    let bob = session(&app, "bob").await;
    app.fault("slow", 3).await;
    let client = app.client();
    let hanging = join_all((0..3).map(|_| login(&client, "demo:alice")));
    let (answers, status) = tokio::join!(hanging, opens(&app, &bob));
    assert_eq!(status, 200);
    for answer in answers {
        assert_eq!(answer.header("retry-after"), Some("2"));
        answer.refused(503, "wechat_unavailable");
    }
    session(&app, "alice").await;
    app.finish().await;
}

#[tokio::test]
async fn a_phone_number_that_wechat_withholds_does_not_fail_the_login() {
    let app = TestApp::with(|config| config.wechat.timeout_ms = 300).await;
    let body = |name: &str, phone: &str| json!({ "code": format!("demo:{name}"), "phone_code": phone });
    let client = app.client();
    let bad = client.post("/api/v1/sessions", &body("alice", "nobody-made-this-code")).await.ok();
    assert_eq!(bad["phone_problem"], "phone_code_invalid");
    assert_eq!(opens(&app, &bad).await, 200);
    for (fault, problem) in
        [("wx_busy", "wechat_unavailable"), ("rate_limit", "wechat_limit"), ("slow", "wechat_unavailable")]
    {
        fault_at(&app, fault, PHONE_NUMBER).await;
        let done = client.post("/api/v1/sessions", &body("alice", "demo-phone:13800138000")).await.ok();
        assert_eq!(done["phone_problem"], problem, "{fault}");
        assert_eq!(done["user"]["phone"], Value::Null);
    }
    // An access token that WeChat has dropped is replaced, and nobody notices.
    fault_at(&app, "token_expired", PHONE_NUMBER).await;
    let done = client.post("/api/v1/sessions", &body("alice", "demo-phone:13800138000")).await.ok();
    assert_eq!((&done["phone_problem"], &done["user"]["phone"]), (&Value::Null, &json!("138****8000")));
    // A later login without it keeps what is known.
    assert_eq!(session(&app, "alice").await["user"]["phone"], "138****8000");
    app.finish().await;
}

#[tokio::test]
async fn a_token_works_until_its_time_is_over() {
    let app = TestApp::new().await;
    let alice = session(&app, "alice").await;
    assert_eq!(alice["expires_at"], "2026-03-14T04:00:00.000Z");
    app.advance_ms(minute_ms(120) - 1);
    assert_eq!(opens(&app, &alice).await, 200);
    app.advance_ms(1);
    assert_eq!(opens(&app, &alice).await, 401);
    let next = refresh(&app, &alice, None).await.ok();
    assert_eq!(opens(&app, &next).await, 200);
    app.advance_ms(30 * DAY_MS - 1);
    let last = refresh(&app, &next, None).await.ok();
    app.advance_ms(30 * DAY_MS);
    refresh(&app, &last, None).await.refused(401, "refresh_token_invalid");
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_token_opens_nothing() {
    let app = TestApp::new().await;
    let alice = session(&app, "alice").await;
    app.client().get("/api/v1/me").await.refused(401, "unauthenticated");
    let long = "x".repeat(5_000);
    let upper = text(&alice, "token").to_uppercase();
    for token in ["", "x", long.as_str(), upper.as_str(), text(&alice, "refresh_token")] {
        let answer = app.client().with_token(token).get("/api/v1/me").await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        answer.refused(401, "unauthenticated");
    }
    let basic =
        app.client().request(reqwest::Method::GET, "/api/v1/me").header("Authorization", "Basic YTpi");
    app.client().send(basic).await.refused(401, "unauthenticated");
    for token in ["x", "x.y", ".", text(&alice, "token")] {
        let asked = refresh(&app, &json!({ "refresh_token": token }), None).await;
        asked.refused(401, "refresh_token_invalid");
    }
    assert_eq!(opens(&app, &alice).await, 200);
    app.finish().await;
}

#[tokio::test]
async fn a_refresh_replaces_both_tokens_and_a_used_one_ends_the_session() {
    let app = TestApp::new().await;
    let first = session(&app, "alice").await;
    let second = refresh(&app, &first, None).await.ok();
    assert_ne!(first["token"], second["token"]);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!((opens(&app, &first).await, opens(&app, &second).await), (401, 200));
    let third = refresh(&app, &second, None).await.ok();
    let other_device = session(&app, "alice").await;

    refresh(&app, &first, None).await.refused(401, "refresh_token_invalid");
    assert_eq!(opens(&app, &third).await, 401);
    refresh(&app, &third, None).await.refused(401, "refresh_token_invalid");
    assert_eq!(opens(&app, &other_device).await, 200);
    app.finish().await;
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_is_repeated_under_its_key() {
    let app = TestApp::new().await;
    let first = session(&app, "alice").await;
    let key = "a-key-nobody-guesses";
    let second = refresh(&app, &first, Some(key)).await.ok();
    let again = refresh(&app, &first, Some(key)).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok(), second);
    assert_eq!(opens(&app, &second).await, 200);
    // Under another key it is a used token, whoever sends it.
    refresh(&app, &first, Some("another-key-nobody-guesses")).await.refused(401, "refresh_token_invalid");
    assert_eq!(opens(&app, &second).await, 401);
    for short in ["", "15-characters--"] {
        let asked = refresh(&app, &second, Some(short)).await.refused(400, "idempotency_key_required");
        assert_eq!(asked["field"], "Idempotency-Key");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_refreshes_at_once_with_one_token_neither_keeps_the_session() {
    let app = TestApp::new().await;
    for _ in 0..5 {
        let first = session(&app, "alice").await;
        let (one, two) = tokio::join!(refresh(&app, &first, None), refresh(&app, &first, None));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401]);
        let won = if one.status == 200 { one.ok() } else { two.ok() };
        assert_eq!((opens(&app, &first).await, opens(&app, &won).await), (401, 401));
        refresh(&app, &won, None).await.refused(401, "refresh_token_invalid");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refreshes_at_once_under_one_key_get_the_same_tokens() {
    let app = TestApp::new().await;
    for _ in 0..5 {
        let first = session(&app, "alice").await;
        let key = Some("a-key-nobody-guesses");
        let (one, two) = tokio::join!(refresh(&app, &first, key), refresh(&app, &first, key));
        let (one, two) = (one.ok(), two.ok());
        assert_eq!(one, two);
        assert_eq!((opens(&app, &first).await, opens(&app, &one).await), (401, 200));
    }
    app.finish().await;
}

#[tokio::test]
async fn logging_out_ends_this_device_at_once_and_no_other() {
    let app = TestApp::new().await;
    let (phone, tablet) = (session(&app, "alice").await, session(&app, "alice").await);
    assert_eq!((opens(&app, &phone).await, opens(&app, &tablet).await), (200, 200));
    assert_eq!(logout(&app, &phone).await.status, 204);
    assert_eq!((opens(&app, &phone).await, opens(&app, &tablet).await), (401, 200));
    refresh(&app, &phone, None).await.refused(401, "refresh_token_invalid");
    logout(&app, &phone).await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn with_kv_gone_sessions_open_and_end_all_the_same() {
    let app = TestApp::new().await;
    let (phone, tablet) = (session(&app, "alice").await, session(&app, "alice").await);
    assert_eq!((opens(&app, &phone).await, opens(&app, &tablet).await), (200, 200));
    app.ctx.kv.set_available(false);
    assert_eq!(opens(&app, &phone).await, 200);
    // Beyond what this process keeps in its memory.
    app.advance_ms(6_000);
    assert_eq!(opens(&app, &phone).await, 200);
    let fresh = session(&app, "alice").await;
    assert_eq!(opens(&app, &fresh).await, 200);
    let next = refresh(&app, &fresh, None).await.ok();
    assert_eq!((opens(&app, &fresh).await, opens(&app, &next).await), (401, 200));
    assert_eq!(logout(&app, &phone).await.status, 204);
    assert_eq!(opens(&app, &phone).await, 401);
    assert_eq!(app.client().with_token("made-up").get("/api/v1/me").await.status, 401);
    // Back again, kv still holds the entry of before the logout: this node knows better.
    app.ctx.kv.set_available(true);
    assert_eq!((opens(&app, &phone).await, opens(&app, &tablet).await), (401, 200));
    app.finish().await;
}

#[tokio::test]
async fn a_node_that_no_broadcast_reaches_forgets_an_ended_session_within_its_bound() {
    let app = TestApp::new().await;
    let node = deaf_node(&app).await;
    let (phone, tablet) = (session(&app, "alice").await, session(&app, "alice").await);
    for session in [&phone, &tablet] {
        assert_eq!(opens_at(&node, session).await, 200);
    }
    assert_eq!(logout(&app, &phone).await.status, 204);
    assert_eq!(opens(&app, &phone).await, 401);
    app.advance_ms(5_000);
    assert_eq!((opens_at(&node, &phone).await, opens_at(&node, &tablet).await), (401, 200));

    // With kv gone at the logout, its old entry is believed for a minute at most.
    app.ctx.kv.set_available(false);
    assert_eq!(logout(&app, &tablet).await.status, 204);
    app.ctx.kv.set_available(true);
    app.advance_ms(minute_ms(1));
    assert_eq!((opens(&app, &tablet).await, opens_at(&node, &tablet).await), (401, 401));
    app.finish().await;
}

#[tokio::test]
async fn a_person_has_fifty_devices_and_the_next_one_signs_the_oldest_out() {
    let app = TestApp::new().await;
    let mut sessions = Vec::new();
    for _ in 0..51 {
        app.advance_ms(1);
        sessions.push(session(&app, "alice").await);
        if sessions.len() == 50 {
            assert_eq!(opens(&app, &sessions[0]).await, 200);
        }
    }
    assert_eq!(opens(&app, &sessions[0]).await, 401);
    for session in &sessions[1..] {
        assert_eq!(opens(&app, session).await, 200);
    }
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

    let stored = app.stored_bytes();
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
