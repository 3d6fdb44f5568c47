//! Owners manage members: invitations, roles and stores, disabling, devices; and nobody is locked out for ever.

use futures_util::future::join_all;
use minimall::app::App;
use minimall::kernel::{hour_ms, minute_ms};
use minimall::routes;
use minimall::staff::{self, Role};
use serde_json::{Value, json};

use crate::support::{ADMIN_PASSWORD, Answer, Client, ONLINE_STORE, TestApp, items, serve};

const PASSWORD: &str = "osmanthus in october";
const OTHER_STORE: &str = "sto_00000000000000000000000002";

async fn sign_in(client: &Client, user_name: &str, password: &str, known_token: Option<&str>) -> Answer {
    let mut body = json!({ "user_name": user_name, "password": password });
    if let Some(token) = known_token {
        body["known_token"] = json!(token);
    }
    client.post("/admin/v1/sessions", &body).await
}

async fn invite(owner: &Client, user_name: &str, role: &str) -> Value {
    owner.post("/admin/v1/staff-invitations", &json!({ "user_name": user_name, "role": role })).await.ok()
}

async fn accept(app: &TestApp, token: &Value, password: &str) -> Answer {
    let body = json!({ "invitation_token": token, "name": "林小满", "password": password });
    app.client().post("/admin/v1/staff-invitations/accept", &body).await
}

async fn my_id(client: &Client) -> String {
    text(&client.get("/admin/v1/me").await.ok(), "id")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// Operations in the audit log about this object, oldest first.
async fn audited(owner: &Client, object: &str) -> Vec<String> {
    let log = owner.get(&format!("/admin/v1/audit?object={object}")).await.ok();
    let mut operations: Vec<String> = items(&log).iter().map(|row| text(row, "operation")).collect();
    operations.reverse();
    operations
}

#[tokio::test]
async fn an_invitation_makes_one_member_once() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    let body = json!({ "user_name": " Xiaoman ", "role": "CLERK", "store_ids": [ONLINE_STORE] });
    let invited = owner.post("/admin/v1/staff-invitations", &body).await.ok();
    let token = &invited["invitation_token"];
    let (link, plain) = (text(&invited, "link"), text(&invited, "invitation_token"));
    assert!(link.ends_with(&format!("/docs/join#{plain}")), "{link}");
    assert_eq!(invited["expires_at"], "2026-03-17T02:00:00.000Z");
    let page = app.client().get("/docs/join").await;
    assert!(String::from_utf8_lossy(&page.bytes).contains("/admin/v1/staff-invitations/accept"));

    // It is told once, and stored only as a hash.
    let open = items(&owner.get("/admin/v1/staff-invitations").await.ok());
    assert_eq!((open.len(), &open[0]["user_name"]), (1, &json!("xiaoman")));
    assert!(open[0].get("invitation_token").is_none());
    assert!(!app.stored().await.has(&plain));

    accept(&app, &json!("made-up"), PASSWORD).await.refused(404, "invitation_not_valid");
    // A weak password does not use it up.
    assert_eq!(accept(&app, token, "short").await.refused(400, "password_weak")["field"], "/password");
    let member = accept(&app, token, PASSWORD).await;
    assert_eq!(member.status, 201);
    let member = member.ok();
    assert_eq!((&member["role"], &member["store_ids"]), (&json!("CLERK"), &json!([ONLINE_STORE])));
    accept(&app, token, PASSWORD).await.refused(404, "invitation_not_valid");
    assert!(items(&owner.get("/admin/v1/staff-invitations").await.ok()).is_empty());

    let session = sign_in(&app.client(), "xiaoman", PASSWORD, None).await.ok();
    assert_eq!(session["me"]["store_ids"], json!([ONLINE_STORE]));
    let clerk = app.client().with_token(session["token"].as_str().expect("a token"));
    clerk.get("/admin/v1/staff").await.refused(403, "role_not_allowed");
    let id = text(&member, "id");
    assert_eq!(items(&owner.get("/admin/v1/staff").await.ok()).len(), 2);
    assert_eq!(owner.get(&format!("/admin/v1/staff/{id}")).await.ok()["name"], "林小满");
    assert_eq!(audited(&owner, &id).await, ["acceptStaffInvitation", "signInStaff"]);
    assert_eq!(audited(&owner, &text(&invited, "id")).await, ["inviteStaff"]);
    app.finish().await;
}

#[tokio::test]
async fn an_invitation_that_is_old_taken_back_or_replaced_opens_nothing() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    let (first, second) = (invite(&owner, "bo", "VIEWER").await, invite(&owner, "BO", "MANAGER").await);
    accept(&app, &first["invitation_token"], PASSWORD).await.refused(404, "invitation_not_valid");
    let path = format!("/admin/v1/staff-invitations/{}", text(&second, "id"));
    assert_eq!(owner.delete(&path).await.status, 204);
    owner.delete(&path).await.refused(404, "invitation_not_found");
    accept(&app, &second["invitation_token"], PASSWORD).await.refused(404, "invitation_not_valid");

    let third = invite(&owner, "bo", "VIEWER").await;
    app.advance_ms(hour_ms(72));
    accept(&app, &third["invitation_token"], PASSWORD).await.refused(404, "invitation_not_valid");
    let owner = app.staff().await;
    assert!(items(&owner.get("/admin/v1/staff-invitations").await.ok()).is_empty());
    owner
        .delete(&format!("/admin/v1/staff-invitations/{}", text(&third, "id")))
        .await
        .refused(404, "invitation_not_found");

    let taken = json!({ "user_name": "Admin", "role": "VIEWER" });
    let taken = owner.post("/admin/v1/staff-invitations", &taken).await.refused(409, "user_name_taken");
    assert_eq!(taken["field"], "/user_name");
    for (body, field) in [
        (json!({ "user_name": "a b", "role": "VIEWER" }), "/user_name"),
        (json!({ "user_name": "li", "role": "OWNER", "store_ids": [ONLINE_STORE] }), "/store_ids"),
        (json!({ "user_name": "li", "role": "VIEWER", "store_ids": [] }), "/store_ids"),
        (json!({ "user_name": "li", "role": "KING" }), "/role"),
    ] {
        let refused = owner.post("/admin/v1/staff-invitations", &body).await.refused(400, "invalid_request");
        assert_eq!(refused["field"], field);
    }
    let nowhere =
        json!({ "user_name": "li", "role": "VIEWER", "store_ids": ["sto_zzzzzzzzzzzzzzzzzzzzzzzzzz"] });
    let refused = owner.post("/admin/v1/staff-invitations", &nowhere).await.refused(404, "store_not_found");
    assert_eq!(refused["field"], "/store_ids/0");
    app.finish().await;
}

#[tokio::test]
async fn an_invitation_ends_with_the_rights_of_who_gave_it() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    for (name, path, body) in [
        ("disabled", "disable", json!({ "reason": "离职" })),
        ("demoted", "role", json!({ "role": "VIEWER" })),
    ] {
        let second = app.member(Role::Owner, &[]).await;
        let path = format!("/admin/v1/staff/{}/{path}", my_id(&second).await);
        let ghost = invite(&second, name, "OWNER").await;
        match name {
            "disabled" => owner.post(&path, &body).await.ok(),
            _ => owner.put(&path, &body).await.ok(),
        };
        assert!(items(&owner.get("/admin/v1/staff-invitations").await.ok()).is_empty());
        accept(&app, &ghost["invitation_token"], PASSWORD).await.refused(404, "invitation_not_valid");
        sign_in(&app.client(), name, PASSWORD, None).await.refused(401, "sign_in_failed");
    }
    // Whoever stays an owner keeps them.
    let second = app.member(Role::Owner, &[]).await;
    let kept = invite(&second, "kept", "VIEWER").await;
    let path = format!("/admin/v1/staff/{}/role", my_id(&second).await);
    owner.put(&path, &json!({ "role": "OWNER" })).await.ok();
    assert_eq!(accept(&app, &kept["invitation_token"], PASSWORD).await.status, 201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invitation_that_is_accepted_while_its_owner_is_disabled_counts_or_not() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    for round in 0..4 {
        let second = app.member(Role::Owner, &[]).await;
        let path = format!("/admin/v1/staff/{}/disable", my_id(&second).await);
        let name = format!("ghost-{round}");
        let token = invite(&second, &name, "OWNER").await["invitation_token"].clone();
        let reason = json!({ "reason": "离职" });
        let (accepted, disabled) = tokio::join!(accept(&app, &token, PASSWORD), owner.post(&path, &reason));
        disabled.ok();
        let log = owner.get("/admin/v1/audit?limit=10").await.ok();
        let order: Vec<String> = items(&log).iter().map(|row| text(row, "operation")).collect();
        let place = |operation: &str| order.iter().position(|row| row == operation);
        if accepted.status == 201 {
            // Newest first: it was accepted before.
            assert!(place("acceptStaffInvitation") > place("disableStaff"), "{order:?}");
        } else {
            accepted.refused(404, "invitation_not_valid");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn two_people_with_one_link_become_one_member() {
    let app = TestApp::new().await;
    let invited = invite(&app.staff().await, "bo", "VIEWER").await;
    let token = &invited["invitation_token"];
    let answers = join_all((0..4).map(|_| accept(&app, token, PASSWORD))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.refused(404, "invitation_not_valid");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_changed_role_counts_from_the_next_request_on() {
    let app = TestApp::new().await;
    let (owner, member) = (app.staff().await, app.member(Role::Viewer, &[]).await);
    let id = my_id(&member).await;
    let pause = |version: i64| json!({ "version": version });
    let store = format!("/admin/v1/stores/{OTHER_STORE}");
    let version = owner.get(&store).await.ok()["version"].as_i64().expect("a version");
    member.post(&format!("{store}/pause"), &pause(version)).await.refused(403, "role_not_allowed");

    let path = format!("/admin/v1/staff/{id}/role");
    let changed = json!({ "role": "MANAGER", "store_ids": [ONLINE_STORE] });
    assert_eq!(owner.put(&path, &changed).await.ok()["store_ids"], json!([ONLINE_STORE]));
    member.post(&format!("{store}/pause"), &pause(version)).await.refused(404, "store_not_found");
    owner.put(&path, &json!({ "role": "MANAGER" })).await.ok();
    member.post(&format!("{store}/pause"), &pause(version)).await.ok();
    assert!(member.get("/admin/v1/me").await.ok().get("store_ids").is_none());

    let log = owner.get(&format!("/admin/v1/audit?object={id}")).await.ok();
    let second = &items(&log)[0];
    assert_eq!(second["before"]["store_ids"], json!([ONLINE_STORE]));
    assert_eq!((&second["after"]["role"], &second["after"]["store_ids"]), (&json!("MANAGER"), &Value::Null));
    let refused = owner.put(&path, &json!({ "role": "OWNER", "store_ids": [ONLINE_STORE] })).await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "/store_ids");
    let missing = "/admin/v1/staff/stf_zzzzzzzzzzzzzzzzzzzzzzzzzz";
    owner.get(missing).await.refused(404, "staff_not_found");
    owner.put(&format!("{missing}/role"), &json!({ "role": "VIEWER" })).await.refused(404, "staff_not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_disabled_member_is_out_at_once_and_comes_back_with_the_old_password() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    let invited = invite(&owner, "bo", "CLERK").await;
    let id = text(&accept(&app, &invited["invitation_token"], PASSWORD).await.ok(), "id");
    let session = sign_in(&app.client(), "bo", PASSWORD, None).await.ok();
    let member = app.client().with_token(session["token"].as_str().expect("a token"));
    member.get("/admin/v1/orders").await.ok();

    let (disable, enable) = (format!("/admin/v1/staff/{id}/disable"), format!("/admin/v1/staff/{id}/enable"));
    let reason = json!({ "reason": "离职" });
    assert!(owner.post(&disable, &reason).await.ok()["disabled_at"].is_string());
    member.get("/admin/v1/orders").await.refused(401, "unauthenticated");
    sign_in(&app.client(), "bo", PASSWORD, None).await.refused(401, "sign_in_failed");
    owner.changing_nothing().post(&disable, &reason).await.ok();
    assert!(owner.post(&enable, &reason).await.ok().get("disabled_at").is_none());
    owner.changing_nothing().post(&enable, &reason).await.ok();
    // The sessions of before stay over.
    member.get("/admin/v1/orders").await.refused(401, "unauthenticated");
    sign_in(&app.client(), "bo", PASSWORD, None).await.ok();
    let operations = audited(&owner, &id).await;
    assert_eq!(
        operations,
        ["acceptStaffInvitation", "signInStaff", "disableStaff", "enableStaff", "signInStaff"]
    );
    app.finish().await;
}

#[tokio::test]
async fn the_last_owner_stays_an_owner() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    let id = my_id(&owner).await;
    let (role, disable) = (format!("/admin/v1/staff/{id}/role"), format!("/admin/v1/staff/{id}/disable"));
    owner.put(&role, &json!({ "role": "MANAGER" })).await.refused(409, "last_owner");
    owner.post(&disable, &json!({ "reason": "x" })).await.refused(409, "last_owner");
    owner.put(&role, &json!({ "role": "OWNER" })).await.ok();

    // An owner who may not sign in does not count.
    let second = app.member(Role::Owner, &[]).await;
    let second_id = my_id(&second).await;
    owner.post(&format!("/admin/v1/staff/{second_id}/disable"), &json!({ "reason": "x" })).await.ok();
    owner.put(&role, &json!({ "role": "MANAGER" })).await.refused(409, "last_owner");
    owner.post(&format!("/admin/v1/staff/{second_id}/enable"), &json!({ "reason": "x" })).await.ok();
    owner.put(&role, &json!({ "role": "MANAGER" })).await.ok();
    owner.put(&role, &json!({ "role": "OWNER" })).await.refused(403, "role_not_allowed");
    app.finish().await;
}

#[tokio::test]
async fn owners_who_demote_each_other_at_once_leave_one() {
    let app = TestApp::new().await;
    for round in 0..5 {
        let mut owners = vec![];
        for _ in 0..3 {
            let client = app.member(Role::Owner, &[]).await;
            let id = my_id(&client).await;
            owners.push((client, id));
        }
        let admin = app.ctx.db.write(|tx| {
            Box::pin(async move {
                // Only these three are owners in this round.
                let query = "UPDATE staff SET role = 'VIEWER' WHERE user_name = 'admin'";
                Ok(sqlx::query(query).execute(&mut **tx).await?)
            })
        });
        admin.await.expect("admin steps back");
        let acts = (0..3).map(|i| {
            let (client, target) = (owners[i].0.clone(), owners[(i + 1) % 3].1.clone());
            async move {
                let path = |what: &str| format!("/admin/v1/staff/{target}/{what}");
                if (i + round) % 2 == 0 {
                    client.put(&path("role"), &json!({ "role": "CLERK" })).await
                } else {
                    client.post(&path("disable"), &json!({ "reason": "x" })).await
                }
            }
        });
        let answers = join_all(acts).await;
        let done = answers.iter().filter(|answer| answer.status == 200).count();
        assert!((1..=2).contains(&done), "{answers:?}");
        let conn = &mut *app.ctx.db.reader().await.expect("a reader");
        let (left,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM staff WHERE role = 'OWNER' AND disabled_ms IS NULL")
                .fetch_one(conn)
                .await
                .expect("a count");
        assert_eq!(left, 3 - done as i64, "{answers:?}");
        let rest = app.ctx.db.write(|tx| {
            Box::pin(async move {
                sqlx::query("UPDATE staff SET role = 'OWNER' WHERE user_name = 'admin'")
                    .execute(&mut **tx)
                    .await?;
                let query = "UPDATE staff SET role = 'VIEWER' WHERE user_name <> 'admin'";
                Ok(sqlx::query(query).execute(&mut **tx).await?)
            })
        });
        rest.await.expect("the round is over");
    }
    app.finish().await;
}

#[tokio::test]
async fn of_two_owners_who_step_back_at_once_one_stays() {
    let app = TestApp::new().await;
    let owners = [app.staff().await, app.member(Role::Owner, &[]).await];
    let step_back = async |owner: &Client| {
        let path = format!("/admin/v1/staff/{}/role", my_id(owner).await);
        owner.put(&path, &json!({ "role": "VIEWER" })).await
    };
    let answers = join_all(owners.iter().map(step_back)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        answer.refused(409, "last_owner");
    }
    app.finish().await;
}

#[tokio::test]
async fn devices_are_listed_and_signed_out_from_afar() {
    let app = TestApp::new().await;
    let (office, home) = (app.staff().await, app.staff().await);
    let devices = items(&office.get("/admin/v1/me/sessions").await.ok());
    let current: Vec<bool> = devices.iter().map(|d| d["current"].as_bool().expect("current")).collect();
    assert_eq!(current, [false, true]);
    let first = office.get("/admin/v1/me/sessions?limit=1").await.ok();
    let next = text(&first, "next_cursor");
    let rest = office.get(&format!("/admin/v1/me/sessions?limit=1&cursor={next}")).await.ok();
    assert_eq!(items(&rest), devices[1..]);

    // Nobody else's.
    let clerk = app.member(Role::Clerk, &[]).await;
    let at_home = text(&devices[0], "id");
    clerk.delete(&format!("/admin/v1/me/sessions/{at_home}")).await.refused(404, "staff_session_not_found");
    assert_eq!(home.get("/admin/v1/me").await.status, 200);
    assert_eq!(office.delete(&format!("/admin/v1/me/sessions/{at_home}")).await.status, 204);
    home.get("/admin/v1/me").await.refused(401, "unauthenticated");
    office.delete(&format!("/admin/v1/me/sessions/{at_home}")).await.refused(404, "staff_session_not_found");

    // An owner signs others out: one device, or all.
    let id = my_id(&clerk).await;
    let path = format!("/admin/v1/staff/{id}/sessions");
    let devices = items(&office.get(&path).await.ok());
    assert_eq!((devices.len(), &devices[0]["current"]), (1, &json!(false)));
    let one = format!("{path}/{}", text(&devices[0], "id"));
    let of_another = format!("/admin/v1/staff/{}/sessions/{}", my_id(&office).await, text(&devices[0], "id"));
    office.delete(&of_another).await.refused(404, "staff_session_not_found");
    assert_eq!(office.delete(&one).await.status, 204);
    clerk.get("/admin/v1/me").await.refused(401, "unauthenticated");
    assert_eq!(office.delete(&path).await.status, 204);
    assert!(items(&office.get(&path).await.ok()).is_empty());
    let missing = "/admin/v1/staff/stf_zzzzzzzzzzzzzzzzzzzzzzzzzz/sessions";
    office.get(missing).await.refused(404, "staff_not_found");
    office.delete(missing).await.refused(404, "staff_not_found");
    assert_eq!(audited(&office, &id).await, ["endStaffSession", "endStaffSessions"]);
    app.finish().await;
}

#[tokio::test]
async fn failed_tries_are_counted_on_all_nodes_together_also_when_they_come_at_once() {
    let app = TestApp::new().await;
    let node = App::build(app.ctx.config.clone(), app.ctx.clock.clone()).await.expect("a second node");
    let other = Client::new(&serve(routes::routes(&node.surface)).await);
    let here = app.client();
    let tries = (0..24).map(|i| sign_in(if i % 2 == 0 { &here } else { &other }, "ghost", "not-it", None));
    let answers = join_all(tries).await;
    let refused = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((refused(401), refused(429)), (20, 4));
    for node in [&here, &other] {
        let waiting = sign_in(node, "ghost", "not-it", None).await;
        assert_eq!(waiting.header("retry-after"), Some("901"));
        waiting.refused(429, "sign_in_too_often");
    }
    app.advance_ms(minute_ms(15));
    sign_in(&other, "ghost", "not-it", None).await.refused(401, "sign_in_failed");
    // Counts that are over are forgotten.
    app.advance_ms(minute_ms(15));
    app.app.sweep().await.expect("a sweep");
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let (left,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM sign_in_tries").fetch_one(conn).await.expect("a count");
    assert_eq!(left, 0);
    app.finish().await;
}

#[tokio::test]
async fn whoever_guesses_the_owners_password_does_not_keep_the_owner_out() {
    let app = TestApp::new().await;
    let client = app.client();
    let known = sign_in(&client, "admin", ADMIN_PASSWORD, None).await.ok();
    let known = known["token"].as_str().expect("a token");
    let owner = client.with_token(known);
    let lost = app.staff().await;
    let lost_token = lost.token.clone().expect("a token");
    for _ in 0..20 {
        sign_in(&client, "admin", "not-the-password", None).await.refused(401, "sign_in_failed");
    }
    sign_in(&client, "admin", ADMIN_PASSWORD, None).await.refused(429, "sign_in_too_often");
    // A token that was never good, or is of somebody else, makes nobody known.
    let stranger = app.member(Role::Viewer, &[]).await.token.expect("a token");
    for token in ["made-up", &stranger] {
        sign_in(&client, "admin", ADMIN_PASSWORD, Some(token)).await.refused(429, "sign_in_too_often");
    }
    // Who is signed in goes on, and can change the password.
    let change = json!({ "current_password": ADMIN_PASSWORD, "new_password": PASSWORD });
    assert_eq!(owner.put("/admin/v1/me/password", &change).await.status, 204);
    // The device is known by its token, also when that is over; one that was signed out by others is not.
    app.advance_ms(minute_ms(10));
    sign_in(&client, "admin", PASSWORD, Some(known)).await.ok();
    sign_in(&client, "admin", PASSWORD, Some(&lost_token)).await.refused(429, "sign_in_too_often");
    app.finish().await;
}

#[tokio::test]
async fn a_device_that_was_signed_out_by_others_is_not_known_any_more() {
    let app = TestApp::new().await;
    let client = app.client();
    let (lost, owner) = (app.staff().await, app.staff().await);
    let signed_out = app.staff().await;
    signed_out.delete("/admin/v1/sessions/current").await.ok();
    let devices = items(&owner.get("/admin/v1/me/sessions").await.ok());
    let lost_id = text(&devices[1], "id");
    owner.delete(&format!("/admin/v1/me/sessions/{lost_id}")).await.ok();
    lost.get("/admin/v1/me").await.refused(401, "unauthenticated");
    for _ in 0..20 {
        sign_in(&client, "admin", "not-the-password", None).await.refused(401, "sign_in_failed");
    }
    let token = |client: &Client| client.token.clone().expect("a token");
    let refused = sign_in(&client, "admin", ADMIN_PASSWORD, Some(&token(&lost))).await;
    refused.refused(429, "sign_in_too_often");
    // Its member signed out there: it is known still, and so is one whose token is over.
    sign_in(&client, "admin", ADMIN_PASSWORD, Some(&token(&signed_out))).await.ok();
    app.advance_ms(minute_ms(481));
    owner.get("/admin/v1/me").await.refused(401, "unauthenticated");
    sign_in(&client, "admin", ADMIN_PASSWORD, Some(&token(&owner))).await.ok();
    app.finish().await;
}

#[tokio::test]
async fn the_console_gives_a_member_a_new_password() {
    let app = TestApp::new().await;
    let owner = app.staff().await;
    for _ in 0..20 {
        sign_in(&app.client(), "admin", "not-the-password", None).await.refused(401, "sign_in_failed");
    }
    let password = staff::reset_password(&app.ctx, "Admin").await.expect("a password");
    owner.get("/admin/v1/me").await.refused(401, "unauthenticated");
    let session = sign_in(&app.client(), "admin", &password, None).await.ok();
    let owner = app.client().with_token(session["token"].as_str().expect("a token"));
    let log = owner.get(&format!("/admin/v1/audit?object={}", my_id(&owner).await)).await.ok();
    assert_eq!(
        (&items(&log)[1]["operation"], &items(&log)[1]["actor_id"]),
        (&json!("resetStaffPassword"), &json!("console"))
    );
    assert!(!app.stored().await.has(&password));
    assert!(staff::reset_password(&app.ctx, "nobody").await.is_err());
    app.finish().await;
}
