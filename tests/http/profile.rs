//! What people tell about themselves: name, picture, phone number.

use serde_json::{Value, json};

use crate::support::{TestApp, User};

const PHONE: &str = "13812345678";
const MASKED: &str = "138****5678";

async fn set_phone(user: &User, code: &str) -> crate::support::Answer {
    user.client.put("/api/v1/me/phone", &json!({ "code": code })).await
}

async fn stored_phone(app: &TestApp) -> (String, String, String) {
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    sqlx::query_as("SELECT phone_sealed, phone_hash, phone_masked FROM users")
        .fetch_one(conn)
        .await
        .expect("one user with a phone number")
}

#[tokio::test]
async fn a_person_changes_name_and_picture_and_what_is_not_sent_stays() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let me = alice.client.get("/api/v1/me").await.ok();
    assert_eq!(
        (&me["nickname"], &me["avatar"], &me["phone"]),
        (&json!("微信用户"), &Value::Null, &Value::Null)
    );
    let change = json!({ "nickname": "  小林 ", "avatar": "https://cdn.example.com/a.png" });
    assert_eq!(alice.client.patch("/api/v1/me", &change).await.ok()["nickname"], "小林");
    let me = alice.client.patch("/api/v1/me", &json!({})).await.ok();
    assert_eq!((&me["nickname"], &me["avatar"]), (&json!("小林"), &json!("https://cdn.example.com/a.png")));
    let bob = app.bare_user("bob").await;
    assert_eq!(bob.client.get("/api/v1/me").await.ok()["nickname"], "微信用户");
    app.finish().await;
}

#[tokio::test]
async fn a_name_or_picture_that_cannot_be_is_refused_with_its_field() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    for (change, field) in [
        (json!({ "nickname": "" }), "/nickname"),
        (json!({ "nickname": "   " }), "/nickname"),
        (json!({ "nickname": "林".repeat(21) }), "/nickname"),
        (json!({ "nickname": "a\nb" }), "/nickname"),
        (json!({ "nickname": "a\u{0}b" }), "/nickname"),
        (json!({ "nickname": 7 }), "/nickname"),
        (json!({ "nickname": null }), "/nickname"),
        (json!({ "avatar": "http://cdn.example.com/a.png" }), "/avatar"),
        (json!({ "avatar": "https://" }), "/avatar"),
        (json!({ "avatar": "https://user:word@cdn.example.com/a.png" }), "/avatar"),
        (json!({ "avatar": "javascript:alert(1)" }), "/avatar"),
        (json!({ "avatar": format!("https://cdn.example.com/{}", "a".repeat(500)) }), "/avatar"),
    ] {
        let problem = alice.client.patch("/api/v1/me", &change).await.refused(400, "invalid_request");
        assert_eq!(problem["field"], field, "{problem}");
    }
    assert_eq!(alice.client.get("/api/v1/me").await.ok()["nickname"], "微信用户");
    app.finish().await;
}

#[tokio::test]
async fn a_phone_number_is_shown_masked_and_stored_encrypted_with_a_keyed_hash() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let set = set_phone(&alice, &format!("demo-phone:{PHONE}")).await.ok();
    let login = json!({ "code": "demo:alice" });
    let again = app.client().post("/api/v1/sessions", &login).await.ok();
    let me = alice.client.get("/api/v1/me").await.ok();
    for answer in [&set, &again["user"], &me] {
        assert_eq!(answer["phone"], MASKED);
        assert!(!answer.to_string().contains(PHONE));
    }

    let (sealed, hash, masked) = stored_phone(&app).await;
    assert_eq!(masked, MASKED);
    assert_eq!(hash, app.ctx.secrets.index("phone", PHONE));
    assert_eq!(app.ctx.secrets.open("phone", &sealed).expect("sealed for this purpose"), PHONE);
    assert!(app.ctx.secrets.open("session_key", &sealed).is_err());
    let stored = app.stored().await;
    assert!(stored.has(MASKED), "the search finds what is stored in clear");
    assert!(!stored.has(PHONE));

    // The same number once more: another ciphertext, the same hash.
    set_phone(&alice, &format!("demo-phone:{PHONE}")).await.ok();
    let (other, same, _) = stored_phone(&app).await;
    assert!(other != sealed && same == hash);
    app.finish().await;
}

#[tokio::test]
async fn a_login_can_bring_the_phone_number_along() {
    let app = TestApp::new().await;
    let body = json!({ "code": "demo:alice", "phone_code": format!("demo-phone:{PHONE}") });
    let done = app.client().post("/api/v1/sessions", &body).await.ok();
    assert_eq!((&done["user"]["phone"], &done["phone_problem"]), (&json!(MASKED), &Value::Null));
    assert!(!app.stored().await.has(PHONE));
    app.finish().await;
}

#[tokio::test]
async fn a_phone_code_works_once_and_a_bad_one_changes_nothing() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let body = json!({ "openid": alice.openid, "phone": PHONE });
    let code = app.sandbox_client().post("/sandbox/phone-codes", &body).await.ok();
    let code = code["code"].as_str().expect("a code");
    assert_eq!(set_phone(&alice, code).await.ok()["phone"], MASKED);
    let login = app.sandbox_client().post("/sandbox/login-codes", &json!({ "name": "alice" })).await.ok();
    for bad in [code, "nobody-made-this-code", login["code"].as_str().expect("a code")] {
        set_phone(&alice, bad).await.refused(400, "phone_code_invalid");
    }
    for (fault, status, refused) in [
        ("wx_busy", 503, "wechat_unavailable"),
        ("rate_limit", 429, "wechat_limit"),
        ("down", 503, "wechat_unavailable"),
    ] {
        app.fault(fault, 1).await;
        let answer = set_phone(&alice, "demo-phone:13900000000").await;
        assert!(answer.header("retry-after").is_some(), "{fault}");
        answer.refused(status, refused);
    }
    assert_eq!(alice.client.get("/api/v1/me").await.ok()["phone"], MASKED);
    // A token that WeChat has dropped is replaced on the way.
    app.fault("token_expired", 1).await;
    assert_eq!(set_phone(&alice, "demo-phone:13900000000").await.ok()["phone"], "139****0000");
    // What no mainland mobile number is, is not taken.
    set_phone(&alice, "demo-phone:00000000000").await.refused(400, "phone_not_supported");
    app.finish().await;
}
