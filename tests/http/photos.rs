//! Photos of refunds: uploaded, used once, seen by their owner and staff, forgotten when nobody uses them.

use minimall::kernel::day_ms;
use minimall::staff::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, SKU, TestApp, User, fresh_key};

/// The smallest thing that begins like a PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1A\nthe rest of it";
const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0the rest of it";

async fn upload(client: &Client, path: &str, kind: &str, bytes: &[u8]) -> Answer {
    let request = client.request(Method::POST, path).header("Content-Type", kind).body(bytes.to_vec());
    client.send(request).await
}

impl User {
    pub async fn photo(&self) -> String {
        let done = upload(&self.client, "/api/v1/refund-photos", "image/png", PNG).await.ok();
        done["id"].as_str().expect("an id").to_owned()
    }

    async fn refund_with_photos(&self, order: &Value, photos: &[String]) -> Answer {
        let path = format!("/api/v1/orders/{}/refunds", order["id"].as_str().expect("an id"));
        let body = json!({ "reason_code": "DAMAGED", "photos": photos });
        self.client.post_with_key(&path, &fresh_key(), &body).await
    }
}

#[tokio::test]
async fn a_photo_is_seen_by_its_owner_and_by_staff_once_a_refund_has_it() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let staff = app.member(Role::Viewer, &[]).await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let png = alice.photo().await;
    let jpeg = upload(&alice.client, "/api/v1/refund-photos", "image/jpeg", JPEG).await.ok();
    let jpeg = jpeg["id"].as_str().expect("an id").to_owned();
    for (photo, kind, bytes) in [(&png, "image/png", PNG), (&jpeg, "image/jpeg", JPEG)] {
        let own = format!("/api/v1/refund-photos/{photo}");
        let seen = alice.client.get(&own).await;
        assert_eq!((seen.header("content-type"), seen.bytes.as_slice()), (Some(kind), bytes));
        assert_eq!(seen.header("x-content-type-options"), Some("nosniff"));
        bob.client.get(&own).await.refused(404, "photo_not_found");
        app.client().get(&own).await.refused(401, "unauthenticated");
        // Nobody has asked for anything with it yet.
        staff.get(&format!("/admin/v1/refund-photos/{photo}")).await.refused(404, "photo_not_found");
    }
    let refund = alice.refund_with_photos(&order, &[jpeg.clone(), png.clone()]).await.ok();
    assert_eq!(refund["photos"], json!([jpeg, png]), "in the order in which they were named");
    assert_eq!(
        (&refund["reason_code"], &refund["reason"]),
        (&json!("DAMAGED"), &json!("商品破损")),
        "without words of one's own it is those of the list"
    );
    let seen = staff.get(&format!("/admin/v1/refund-photos/{png}")).await;
    assert_eq!((seen.status, seen.bytes.as_slice()), (200, PNG));
    bob.client.get(&format!("/api/v1/refund-photos/{png}")).await.refused(404, "photo_not_found");
    app.drain().await;
    app.finish().await;
}

#[tokio::test]
async fn a_photo_is_used_once_and_by_its_owner_and_at_most_six_at_a_time() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let order = app.paid_order(&alice, &[(SKU, 3)]).await;
    let (used, his) = (alice.photo().await, bob.photo().await);
    alice.try_refund(&order, &[(0, 1)]).await.ok();
    let refund = alice.refund_with_photos(&order, std::slice::from_ref(&used)).await.ok();
    let withdraw = format!("/api/v1/refunds/{}/withdraw", refund["id"].as_str().expect("an id"));
    alice.client.post(&withdraw, &json!({})).await.ok();
    for photos in [vec![used], vec![his]] {
        let refused = alice.refund_with_photos(&order, &photos).await.refused(404, "photo_not_found");
        assert_eq!(refused["field"], "/photos/0");
    }
    let mut many = Vec::new();
    for _ in 0..7 {
        many.push(alice.photo().await);
    }
    let refused = alice.refund_with_photos(&order, &many).await.refused(400, "invalid_request");
    assert_eq!(refused["field"], "/photos");
    let twice = [many[0].clone(), many[0].clone()];
    let refused = alice.refund_with_photos(&order, &twice).await.refused(400, "invalid_request");
    assert_eq!(refused["field"], "/photos");
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_photos WHERE refund_id IS NULL").await, 8);
    alice.refund_with_photos(&order, &many[..6]).await.ok();
    app.finish().await;
}

#[tokio::test]
async fn only_a_small_jpeg_or_png_is_taken() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let path = "/api/v1/refund-photos";
    for (kind, bytes) in [
        ("image/png", &b"GIF89a"[..]),
        ("image/png", b""),
        ("image/jpeg", b"<svg onload=alert(1)>"),
        ("image/gif", b"GIF89a"),
        ("application/json", b"{}"),
        ("text/html", PNG),
    ] {
        upload(&alice.client, path, kind, bytes).await.refused(415, "not_a_picture");
    }
    let mut large = PNG.to_vec();
    large.resize(512 * 1024, 0);
    upload(&alice.client, path, "image/png", &large).await.ok();
    large.push(0);
    upload(&alice.client, path, "image/png", &large).await.refused(413, "body_too_large");
    // What the bytes are decides, not what they are called.
    let odd = upload(&alice.client, path, "image/png", JPEG).await.ok();
    let seen = alice.client.get(&format!("{path}/{}", odd["id"].as_str().expect("an id"))).await;
    assert_eq!(seen.header("content-type"), Some("image/jpeg"));
    app.finish().await;
}

#[tokio::test]
async fn unused_photos_are_bounded_and_forgotten_after_a_day() {
    let app = TestApp::with(|config| config.session.token_minutes = 10_080).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let mut photos = Vec::new();
    for _ in 0..30 {
        photos.push(alice.photo().await);
    }
    let refused = upload(&alice.client, "/api/v1/refund-photos", "image/png", PNG).await;
    refused.refused(409, "too_many_photos");
    alice.refund_with_photos(&order, &photos[..1]).await.ok();
    app.drain().await;
    app.advance_ms(day_ms(1));
    app.app.sweep().await.expect("a sweep");
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_photos").await, 30, "not yet");
    app.advance_ms(1);
    app.app.sweep().await.expect("a sweep");
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_photos").await, 1, "the used one stays");
    let alice = app.user("alice").await;
    alice.client.get(&format!("/api/v1/refund-photos/{}", photos[0])).await.ok();
    alice.client.get(&format!("/api/v1/refund-photos/{}", photos[1])).await.refused(404, "photo_not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_reason_is_of_the_list_or_in_words() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let list = alice.client.get("/api/v1/refund-reasons").await.ok();
    let codes: Vec<&str> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|reason| reason["code"].as_str())
        .collect();
    assert!(codes.contains(&"DAMAGED") && codes.contains(&"OTHER"), "{codes:?}");
    let path = format!("/api/v1/orders/{}/refunds", order["id"].as_str().expect("an id"));
    for body in [json!({}), json!({ "reason_code": "OTHER" }), json!({ "reason": "  " })] {
        let refused = alice.client.post(&path, &body).await.refused(400, "invalid_request");
        assert_eq!(refused["field"], "/reason", "{body}");
    }
    let refused = alice.client.post(&path, &json!({ "reason_code": "BORED" })).await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "/reason_code");
    let refund = alice.client.post(&path, &json!({ "reason_code": "LATE", "reason": "等了两周" })).await.ok();
    assert_eq!((&refund["reason_code"], &refund["reason"]), (&json!("LATE"), &json!("等了两周")));
    app.drain().await;
    app.finish_money().await;
}
