//! Staff sign in, change their password, sign out; and the doors between staff and customers.

use minimall::app::App;
use minimall::kernel::{Clock, minute_ms};
use minimall::{routes, staff};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN_PASSWORD, Answer, Client, START_MS, TestApp, fresh_config};

const NEW_PASSWORD: &str = "longjing tea at dawn";

async fn sign_in(app: &TestApp, user_name: &str, password: &str) -> Answer {
    let body = json!({ "user_name": user_name, "password": password });
    app.client().post("/admin/v1/sessions", &body).await
}

async fn change_password(client: &Client, current: &str, new: &str) -> Answer {
    let body = json!({ "current_password": current, "new_password": new });
    client.put("/admin/v1/me/password", &body).await
}

async fn opens(client: &Client) -> bool {
    client.get("/admin/v1/me").await.status == 200
}

/// Operation, kind of actor, actor, request, and what the row tells, in order.
async fn audit(app: &TestApp) -> Vec<(String, String, String, String, String)> {
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    sqlx::query_as(
        "SELECT operation, actor_kind, actor_id, request_id, COALESCE(before_json, '') || COALESCE(after_json, '') \
         FROM audit WHERE actor_id <> 'demo' ORDER BY at_ms, id",
    )
    .fetch_all(conn)
    .await
    .expect("audit rows")
}

#[tokio::test]
async fn a_member_signs_in_and_out_on_each_device_alone() {
    let app = TestApp::new().await;
    let signed_in = sign_in(&app, " Admin ", ADMIN_PASSWORD).await;
    assert_eq!(signed_in.status, 201);
    let session = signed_in.ok();
    assert_eq!(session["expires_at"], "2026-03-14T10:00:00.000Z");
    let office = app.client().with_token(session["token"].as_str().expect("a token"));
    let home = app.staff().await;
    let me = office.get("/admin/v1/me").await.ok();
    assert_eq!((&me["user_name"], &me["role"]), (&json!("admin"), &json!("OWNER")));
    assert_eq!(me, session["me"]);
    assert_eq!(office.delete("/admin/v1/sessions/current").await.status, 204);
    assert_eq!((opens(&office).await, opens(&home).await), (false, true));
    office.delete("/admin/v1/sessions/current").await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let app = TestApp::new().await;
    let wrong = sign_in(&app, "admin", "not-the-password").await.refused(401, "sign_in_failed");
    let unknown = sign_in(&app, "nobody", ADMIN_PASSWORD).await.refused(401, "sign_in_failed");
    let told = |mut problem: Value| {
        problem.as_object_mut().expect("an object").remove("request_id");
        problem
    };
    assert_eq!(told(wrong), told(unknown));
    app.finish().await;
}

#[tokio::test]
async fn a_name_that_fails_too_often_waits_and_no_other_does() {
    let app = TestApp::new().await;
    // Each of these is a real password hash, so the last try is the first one that costs nothing.
    for _ in 0..20 {
        sign_in(&app, "ghost", "not-the-password").await.refused(401, "sign_in_failed");
    }
    let waiting = sign_in(&app, "Ghost", "not-the-password").await;
    assert_eq!(waiting.header("retry-after"), Some("901"));
    waiting.refused(429, "sign_in_too_often");
    sign_in(&app, "admin", ADMIN_PASSWORD).await.ok();
    app.advance_ms(minute_ms(15));
    sign_in(&app, "ghost", "not-the-password").await.refused(401, "sign_in_failed");
    app.finish().await;
}

#[tokio::test]
async fn a_staff_token_works_until_its_time_is_over() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    app.advance_ms(minute_ms(480) - 1);
    assert!(opens(&owner).await);
    app.advance_ms(1);
    owner.get("/admin/v1/me").await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_the_old_one_signs_nobody_in() {
    let app = TestApp::new().await;
    let (here, there) = (app.staff().await, app.staff().await);
    assert_eq!(change_password(&here, ADMIN_PASSWORD, NEW_PASSWORD).await.status, 204);
    assert_eq!((opens(&here).await, opens(&there).await), (true, false));
    sign_in(&app, "admin", ADMIN_PASSWORD).await.refused(401, "sign_in_failed");
    sign_in(&app, "admin", NEW_PASSWORD).await.ok();
    app.finish().await;
}

#[tokio::test]
async fn a_password_that_is_weak_or_not_proved_is_not_changed() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    for weak in ["short", "admin12345", "Password123", &"ab3d".repeat(32), ADMIN_PASSWORD] {
        let problem = change_password(&owner, ADMIN_PASSWORD, weak).await.refused(400, "password_weak");
        assert_eq!(problem["field"], "/new_password");
    }
    let wrong = change_password(&owner, "not-the-password", NEW_PASSWORD).await;
    assert_eq!(wrong.refused(403, "current_password_wrong")["field"], "/current_password");
    let long = change_password(&owner, ADMIN_PASSWORD, &"ab3d".repeat(33)).await;
    assert_eq!(long.refused(400, "invalid_request")["field"], "/new_password");
    app.client().put("/admin/v1/me/password", &json!({})).await.refused(401, "unauthenticated");
    sign_in(&app, "admin", ADMIN_PASSWORD).await.ok();
    app.finish().await;
}

#[tokio::test]
async fn every_act_of_staff_leaves_an_audit_row_without_secrets() {
    let app = TestApp::new().await;
    app.advance_ms(1);
    let body = json!({ "user_name": "admin", "password": ADMIN_PASSWORD });
    let request =
        app.client().request(Method::POST, "/admin/v1/sessions").header("X-Request-Id", "sign-in-1");
    let request = request.header("Content-Type", "application/json").body(body.to_string());
    let session = app.client().send(request).await.ok();
    let (token, id) = (session["token"].as_str().expect("a token"), &session["me"]["id"]);
    let owner = app.client().with_token(token);
    app.advance_ms(1);
    sign_in(&app, "admin", "not-the-password").await.refused(401, "sign_in_failed");
    change_password(&owner, ADMIN_PASSWORD, NEW_PASSWORD).await.ok();
    app.advance_ms(1);
    owner.delete("/admin/v1/sessions/current").await.ok();

    let rows = audit(&app).await;
    let operations: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(operations, ["ensureFirstStaff", "signInStaff", "changeStaffPassword", "signOutStaff"]);
    assert_eq!((rows[0].1.as_str(), rows[0].2.as_str()), ("system", "first-start"));
    for row in &rows[1..] {
        assert_eq!((row.1.as_str(), Some(row.2.as_str())), ("staff", id.as_str()));
    }
    assert_eq!(rows[1].3, "sign-in-1");
    let stored = app.stored_bytes();
    assert!(stored.has("signOutStaff"), "the search finds what is stored in clear");
    for secret in [token, ADMIN_PASSWORD, NEW_PASSWORD] {
        assert!(!stored.has(secret));
    }
    app.finish().await;
}

#[tokio::test]
async fn the_first_start_makes_one_owner_with_a_password_of_its_own_when_none_is_set() {
    let app = TestApp::with(|config| config.admin.initial_password.clear()).await;
    let first = app.app.first_account.as_ref().expect("the first account");
    let password = first.password.clone().expect("a made-up password");
    assert_eq!((first.user_name.as_str(), password.len()), ("admin", 23));
    assert!(!format!("{first:?}").contains(&password));
    sign_in(&app, "admin", &password).await.ok();
    assert!(staff::ensure_first(&app.ctx).await.expect("a look").is_none());
    app.finish().await;
}

#[tokio::test]
async fn a_weak_first_password_keeps_the_server_from_starting() {
    for weak in ["short", "admin12345", "minimall123", "changeme1234", "1111111111"] {
        let (mut config, folder) = fresh_config();
        config.admin.initial_password = weak.to_owned();
        let refused = App::build(config, Clock::manual(START_MS)).await.err().expect("refused").to_string();
        let _ = std::fs::remove_dir_all(folder);
        assert!(refused.contains("admin.initial_password"), "{refused}");
        assert!(!refused.contains(weak), "{refused}");
    }
}

/// Method, path, and whether it needs a token, of every operation in a document.
fn operations(document: &str) -> Vec<(Method, String, bool)> {
    let document: Value = serde_json::from_str(document).expect("a document");
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let method = method.to_uppercase().parse().expect("a method");
            let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
            found.push((method, path.clone(), secured));
        }
    }
    found
}

/// Asks for every operation that needs a token with one that does not open it.
async fn all_closed(client: &Client, operations: &[(Method, String, bool)]) {
    for (method, path, secured) in operations {
        if *secured {
            let request = client.request(method.clone(), path).header("Idempotency-Key", "0123456789abcdef");
            let answer = client.send(request).await;
            assert_eq!(
                (answer.status, &answer.body["code"]),
                (401, &json!("unauthenticated")),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_customers_token_opens_no_admin_operation_and_a_staff_token_none_of_the_app() {
    let app = TestApp::new().await;
    let documents = routes::documents(&app.app.surface);
    let (of_app, of_admin) = (operations(&documents.app), operations(&documents.admin));
    let open: Vec<&str> =
        of_admin.iter().filter(|(_, _, secured)| !secured).map(|(_, path, _)| path.as_str()).collect();
    assert_eq!(open, ["/admin/v1/sessions", "/admin/v1/staff-invitations/accept"]);
    assert!(of_admin.len() > 20 && of_app.iter().filter(|(_, _, secured)| *secured).count() > 15);

    let (customer, owner) = (app.bare_user("alice").await.client, app.staff().await);
    for client in [&app.client(), &customer, &app.client().with_token("made-up")] {
        all_closed(client, &of_admin).await;
    }
    for client in [&app.client(), &owner, &app.client().with_token("made-up")] {
        all_closed(client, &of_app).await;
    }
    assert!(opens(&owner).await);
    assert_eq!(customer.get("/api/v1/me").await.status, 200);
    app.finish().await;
}
