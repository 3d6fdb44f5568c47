//! What a session is worth: expiry, refresh, logout, several devices, several nodes.

use minimall::identity::Sessions;
use minimall::kernel::{Millis, minute_ms};
use minimall::routes::{self, Surface};
use serde_json::{Value, json};

use super::{opens, opens_at, session, text};
use crate::support::{Answer, Client, TestApp, serve};

const DAY_MS: Millis = minute_ms(24 * 60);

pub(super) async fn refresh(app: &TestApp, session: &Value, key: Option<&str>) -> Answer {
    let body = json!({ "refresh_token": session["refresh_token"] });
    match key {
        Some(key) => app.client().post_with_key("/api/v1/sessions/refresh", key, &body).await,
        None => app.client().post_without_key("/api/v1/sessions/refresh", &body).await,
    }
}

async fn logout(app: &TestApp, session: &Value) -> Answer {
    app.client().with_token(text(session, "token")).delete("/api/v1/sessions/current").await
}

/// A second server of the same shop: the same database and kv tier, a memory of its own. No broadcast
/// reaches it.
async fn deaf_node(app: &TestApp) -> Client {
    let surface = Surface { sessions: Sessions::default(), ..app.app.surface.clone() };
    Client::new(&serve(routes::routes(&surface)).await)
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
    let short = refresh(&app, &second, Some("15-characters--")).await;
    let short = short.refused(400, "idempotency_key_required");
    assert_eq!(short["field"], "Idempotency-Key");
    assert!(short["detail"].as_str().is_some_and(|detail| detail.contains("16")), "{short}");
    refresh(&app, &second, Some("")).await.refused(400, "idempotency_key_required");
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
