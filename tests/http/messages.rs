//! What customers are told: notices in the app, and subscribe messages through WeChat.

use minimall::sandbox::demo;
use serde_json::{Value, json};

use crate::support::{SKU, TestApp, User, sku};

const SEND: &str = "/cgi-bin/message/subscribe/send";
const ALL: [&str; 6] = [
    demo::TEMPLATE_WAIT_PAY,
    demo::TEMPLATE_CANCELLED,
    demo::TEMPLATE_CONFIRM,
    demo::TEMPLATE_PAID,
    demo::TEMPLATE_FINISHED,
    demo::TEMPLATE_REFUND,
];

impl TestApp {
    /// The person allows one message of each of these templates, and the client reports it.
    pub async fn allow(&self, user: &User, templates: &[&str]) {
        let grants = json!({ "openid": user.openid, "template_ids": templates });
        self.sandbox_client().post("/sandbox/subscribe-grants", &grants).await.ok();
        for prompt in templates.chunks(3) {
            let report = json!({ "template_ids": prompt });
            assert_eq!(user.client.post("/api/v1/subscribe-grants", &report).await.status, 204);
        }
    }

    /// The templates of the messages that reached the phone, oldest first.
    async fn arrived(&self, user: &User) -> Vec<String> {
        let messages = self.messages(user).await;
        messages.iter().rev().map(|message| message["template_id"].as_str().unwrap().to_owned()).collect()
    }

    async fn message_states(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT kind, state FROM messages ORDER BY order_id, position")
            .fetch_all(&mut *self.ctx.db.reader().await.unwrap())
            .await
            .unwrap()
    }

    async fn break_sending(&self, kind: &str, times: u32) {
        let fault = json!({ "kind": kind, "times": times, "path": SEND });
        self.sandbox_client().post("/sandbox/faults", &fault).await.ok();
    }
}

impl User {
    /// The kinds of the notices in the app, oldest first.
    async fn notices(&self) -> Vec<String> {
        let list = self.client.get("/api/v1/notices").await.ok();
        let items = list["items"].as_array().unwrap();
        let mut told: Vec<_> = items
            .iter()
            .map(|notice| (notice["created_at"].to_string(), notice["kind"].as_str().unwrap().to_owned()))
            .collect();
        told.sort();
        told.into_iter().map(|(_, kind)| kind).collect()
    }
}

fn value<'a>(message: &'a Value, key: &str) -> &'a str {
    let values = message["values"].as_array().unwrap();
    values.iter().find(|value| value["key"] == key).unwrap()["value"].as_str().unwrap()
}

#[tokio::test]
async fn every_step_of_the_story_is_told_in_the_app_and_through_wechat() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.allow(&alice, &ALL).await;
    let order = alice.order(&[(SKU, 2), (&sku(3), 1)]).await;
    app.drain().await;
    app.advance_minutes(1);
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    app.advance_minutes(1);
    let path = format!("/admin/v1/orders/{}/ship", order["id"].as_str().unwrap());
    app.staff().await.post(&path, &json!({ "carrier": "JD", "tracking_no": "JD0001" })).await.ok();
    app.drain().await;
    app.advance_minutes(1);
    let path = format!("/api/v1/orders/{}/confirm-receipt", order["id"].as_str().unwrap());
    alice.client.post(&path, &json!({})).await.ok();
    app.drain().await;
    app.advance_minutes(24 * 60 * app.ctx.config.orders.after_sale_days);
    app.drain().await;
    let again = app.user("alice").await;
    assert_eq!(again.get_order(&order).await["status"], "FINISHED");
    assert_eq!(again.notices().await, ["wait_pay", "pay", "confirm", "finished"]);
    assert_eq!(
        app.arrived(&alice).await,
        [demo::TEMPLATE_WAIT_PAY, demo::TEMPLATE_PAID, demo::TEMPLATE_CONFIRM, demo::TEMPLATE_FINISHED]
    );
    let messages = app.messages(&alice).await;
    let shipped = &messages[1];
    assert_eq!(value(shipped, "character_string1"), order["id"]);
    assert_eq!(value(shipped, "thing3"), "京东物流");
    assert_eq!(value(shipped, "character_string4"), "JD0001");
    assert!(value(shipped, "thing2").ends_with("等3件商品"));
    let page = shipped["page"].as_str().unwrap();
    assert!(page.ends_with(&format!("?order_id={}", order["id"].as_str().unwrap())), "{page}");
    app.finish().await;
}

#[tokio::test]
async fn cancelling_and_refunding_are_told() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.allow(&alice, &[demo::TEMPLATE_CANCELLED, demo::TEMPLATE_REFUND]).await;
    let late = alice.order(&[(SKU, 1)]).await;
    app.advance_minutes(app.ctx.config.orders.pay_minutes);
    app.drain().await;
    assert_eq!(alice.get_order(&late).await["status"], "CLOSED");
    app.advance_minutes(1);
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    alice.refund(&order).await;
    app.drain().await;
    assert_eq!(app.arrived(&alice).await, [demo::TEMPLATE_CANCELLED, demo::TEMPLATE_REFUND]);
    let messages = app.messages(&alice).await;
    assert_eq!(value(&messages[1], "thing4"), "超时未付款");
    // The order is closed by the refund, which has told it: no second message says so.
    let told = alice.notices().await;
    assert_eq!(told.iter().filter(|kind| *kind == "cancel").count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|kind| *kind == "refund").count(), 1, "{told:?}");
    app.finish().await;
}

#[tokio::test]
async fn without_a_permission_there_is_only_the_notice() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    alice.order(&[(SKU, 1)]).await;
    app.drain().await;
    assert_eq!(alice.notices().await, ["wait_pay"]);
    assert!(app.messages(&alice).await.is_empty());
    assert_eq!(app.message_states().await, [("wait_pay".to_owned(), "NO_CREDIT".to_owned())]);
    app.finish().await;
}

#[tokio::test]
async fn one_permission_is_one_message() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.allow(&alice, &[demo::TEMPLATE_WAIT_PAY]).await;
    for n in [1, 2] {
        alice.order(&[(&sku(n), 1)]).await;
        app.drain().await;
        app.advance_minutes(1);
    }
    assert_eq!(app.arrived(&alice).await.len(), 1);
    assert_eq!(alice.notices().await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn case_38_a_refused_subscribe_message_is_recorded_and_not_retried() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    // The client reports a permission that WeChat does not know of.
    let report = json!({ "template_ids": [demo::TEMPLATE_WAIT_PAY] });
    alice.client.post("/api/v1/subscribe-grants", &report).await;
    alice.order(&[(SKU, 1)]).await;
    app.drain().await;
    let states = app.message_states().await;
    assert_eq!(states, [("wait_pay".to_owned(), "REFUSED".to_owned())]);
    let sends = async || {
        let calls = app.sandbox_client().get("/sandbox/calls?limit=500").await.ok();
        let calls = calls.as_array().unwrap().clone();
        calls.iter().filter(|call| call["target"].as_str().unwrap().starts_with(SEND)).count()
    };
    assert_eq!(sends().await, 1);
    app.live_through_minutes(10).await;
    assert_eq!(sends().await, 1);
    let alerts = app.staff().await.get("/admin/v1/alerts").await.ok();
    assert_eq!(alerts["items"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn while_wechat_is_busy_messages_wait_and_keep_the_order_of_their_order() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.allow(&alice, &[demo::TEMPLATE_PAID, demo::TEMPLATE_CONFIRM]).await;
    app.break_sending("wx_busy", 3).await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let path = format!("/admin/v1/orders/{}/ship", order["id"].as_str().unwrap());
    app.staff().await.post(&path, &json!({ "carrier": "JD", "tracking_no": "1" })).await.ok();
    app.drain().await;
    assert!(app.arrived(&alice).await.is_empty());
    app.live_through_minutes(4).await;
    assert_eq!(app.arrived(&alice).await, [demo::TEMPLATE_PAID, demo::TEMPLATE_CONFIRM]);
    app.finish().await;
}

#[tokio::test]
async fn a_message_that_waited_until_its_order_was_cancelled_does_not_ask_for_payment_any_more() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.allow(&alice, &[demo::TEMPLATE_WAIT_PAY, demo::TEMPLATE_CANCELLED]).await;
    app.break_sending("down", 1).await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.drain().await;
    alice.cancel(&order).await.ok();
    app.live_through_minutes(1).await;
    assert_eq!(app.arrived(&alice).await, [demo::TEMPLATE_CANCELLED]);
    // The permission was not used: it is there for the next order.
    alice.order(&[(SKU, 1)]).await;
    app.drain().await;
    assert_eq!(app.arrived(&alice).await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn an_order_without_anything_to_pay_is_not_asked_to_be_paid() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.allow(&alice, &ALL).await;
    app.free_order(&alice).await;
    app.drain().await;
    assert_eq!(alice.notices().await, ["pay"]);
    assert_eq!(app.arrived(&alice).await, [demo::TEMPLATE_PAID]);
    app.finish().await;
}

#[tokio::test]
async fn a_rejected_refund_is_told_with_its_reason() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let staff = app.staff().await;
    let path = format!("/admin/v1/orders/{}/ship", order["id"].as_str().unwrap());
    staff.post(&path, &json!({})).await.ok();
    let refund = alice.refund(&order).await;
    let path = format!("/admin/v1/refunds/{}/reject", refund["id"].as_str().unwrap());
    staff.post(&path, &json!({ "reason": "已拆封" })).await.ok();
    app.drain().await;
    let list = alice.client.get("/api/v1/notices?unread=true").await.ok();
    let notice = list["items"].as_array().unwrap().iter().find(|n| n["kind"] == "refund_rejected").unwrap();
    assert!(notice["body"].as_str().unwrap().contains("已拆封"));
    app.finish().await;
}

#[tokio::test]
async fn a_notice_is_read_by_its_owner_only_and_twice_changes_nothing() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.order(&[(SKU, 1)]).await;
    app.drain().await;
    let list = alice.client.get("/api/v1/notices?unread=true&limit=1").await.ok();
    let notice = list["items"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/notices/{notice}/read");
    bob.client.post(&path, &json!({})).await.refused(404, "notice_not_found");
    app.client().post(&path, &json!({})).await.refused(401, "unauthenticated");
    for _ in 0..2 {
        assert_eq!(alice.client.post(&path, &json!({})).await.status, 204);
    }
    assert_eq!(alice.client.get("/api/v1/notices?unread=true").await.ok()["items"], json!([]));
    let read = alice.client.get("/api/v1/notices").await.ok();
    assert!(read["items"][0]["read_at"].is_string());
    assert_eq!(bob.client.get("/api/v1/notices").await.ok()["items"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn templates_are_asked_for_by_moment_and_only_known_ones_are_reported() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    for moment in ["place_order", "pay", "request_refund", "confirm_receipt"] {
        let list = alice.client.get(&format!("/api/v1/subscribe-templates?moment={moment}")).await.ok();
        let items = list["items"].as_array().unwrap();
        assert!((1..=3).contains(&items.len()), "{moment}");
        assert!(items.iter().all(|item| ALL.contains(&item["template_id"].as_str().unwrap())));
    }
    let refused = alice.client.get("/api/v1/subscribe-templates?moment=lunch").await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "moment");
    let report = json!({ "template_ids": [demo::TEMPLATE_PAID, "nonsense"] });
    let refused = alice.client.post("/api/v1/subscribe-grants", &report).await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "/template_ids/1");
    let report = json!({ "template_ids": 7 });
    let refused = alice.client.post("/api/v1/subscribe-grants", &report).await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "/template_ids");
    app.finish().await;
}
