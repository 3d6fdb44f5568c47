//! A WeChat that refuses, limits, hangs or is gone.

use futures_util::future::join_all;
use minimall::routes::Surface;
use minimall::wechat::mini::{Mini, MiniOptions};
use minimall::{routes, sandbox};
use poem::web::Query;
use poem::{Response, handler};
use serde_json::{Value, json};

use super::{CODE2SESSION, count, login, opens, session};
use crate::support::{Client, TestApp, serve};

const PHONE_NUMBER: &str = "/wxa/business/getuserphonenumber";

async fn fault_at(app: &TestApp, kind: &str, path: &str) {
    let body = json!({ "kind": kind, "times": 1, "path": path });
    app.sandbox_client().post("/sandbox/faults", &body).await.ok();
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
