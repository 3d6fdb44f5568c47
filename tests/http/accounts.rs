//! Accounts that their owner deletes: refused while something is open, then nothing tells whose it was and the
//! ledger stays. Edge case 45.

use futures_util::future::join_all;
use minimall::kernel::day_ms;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, ONLINE_STORE, PAYMENT_CALLBACK, REFUND_CALLBACK, SKU, TestApp, User, fresh_key, items, minor,
    paid, text,
};

const NICKNAME: &str = "小满不满";
const PHONE: &str = "13912345678";
const AVATAR: &str = "https://cdn.example.com/xiaoman.png";
const NOTE: &str = "放在三楼门口的鞋柜上";
const REASON: &str = "杯口有一道裂纹";
const STAFF_NOTE: &str = "顾客来电说周三在家";
/// The recipient of the address that everybody here has, and where it is.
const RECIPIENT: &str = "林小满";
const STREET: &str = "文三路 100 号 2 幢 301";
const RECIPIENT_PHONE: &str = "13800138000";

impl User {
    async fn delete_account(&self) -> Answer {
        self.delete_with_key(&fresh_key()).await
    }

    async fn delete_with_key(&self, key: &str) -> Answer {
        let request = self.client.request(Method::DELETE, "/api/v1/me").header("Idempotency-Key", key);
        self.client.send(request).await
    }

    /// What keeps the account: members of the refusal beside the common ones.
    async fn kept_by(&self) -> Value {
        let mut problem = self.delete_account().await.refused(409, "account_in_use");
        for common in ["type", "title", "status", "code", "detail", "request_id"] {
            problem.as_object_mut().expect("a problem").remove(common);
        }
        problem
    }
}

impl TestApp {
    /// The same person on another device; tokens do not last as long as an after-sale window.
    async fn again(&self, user: &User) -> User {
        let fresh = self.bare_user("alice").await;
        assert_eq!(fresh.id, user.id, "the same person");
        User { address: user.address.clone(), ..fresh }
    }

    /// Ships a paid order, lets the customer confirm it, and the after-sale window end.
    async fn finish_order(&self, user: &User, order: &Value) -> User {
        self.ship(order, &[]).await.expect("shipped");
        self.drain().await;
        let path = format!("/api/v1/orders/{}/confirm-receipt", text(order, "id"));
        user.client.post(&path, &json!({})).await.ok();
        self.drain().await;
        self.advance_ms(day_ms(8));
        self.drain().await;
        let user = self.again(user).await;
        assert_eq!(user.get_order(order).await["status"], "FINISHED");
        user
    }

    /// The merchant refunds a payment in the channel's console.
    async fn console_refund_of(&self, order: &Value, amount: i64) {
        let number = order["attempts"][0]["out_trade_no"].clone();
        let url = format!("{}{REFUND_CALLBACK}", self.url);
        let body = json!({ "out_trade_no": number, "amount": amount, "notify_url": url });
        self.sandbox_client().post("/sandbox/refunds", &body).await.ok();
        self.drain().await;
    }
}

#[tokio::test]
async fn an_account_without_anything_open_is_deleted_and_every_device_is_signed_out() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let login = app.client().post("/api/v1/sessions", &json!({ "code": "demo:alice" })).await.ok();
    let phone = app.client().with_token(&text(&login, "token"));
    alice.client.get("/api/v1/me").await.ok();
    phone.get("/api/v1/me").await.ok();
    assert_eq!(alice.delete_account().await.status, 204);
    for device in [&alice.client, &phone] {
        device.get("/api/v1/me").await.refused(401, "unauthenticated");
        device.get("/api/v1/orders").await.refused(401, "unauthenticated");
    }
    let refresh = json!({ "refresh_token": login["refresh_token"] });
    let key = "refresh-after-deletion";
    let refused = app.client().post_with_key("/api/v1/sessions/refresh", key, &refresh).await;
    refused.refused(401, "refresh_token_invalid");
    app.client().delete("/api/v1/me").await.refused(401, "unauthenticated");
    let staff = app.staff().await;
    let audit = staff.get(&format!("/admin/v1/audit?operation=deleteAccount&object={}", alice.id)).await.ok();
    let rows = items(&audit);
    assert_eq!(
        (rows.len(), &rows[0]["actor_kind"], &rows[0]["actor_id"]),
        (1, &json!("user"), &json!(alice.id))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_one_and_another_one_is_refused() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let refused = fresh_key();
    for _ in 0..2 {
        alice.delete_with_key(&refused).await.refused(409, "account_in_use");
    }
    alice.cancel(&order).await.ok();
    // What was refused under a key stays refused under it.
    alice.delete_with_key(&refused).await.refused(409, "account_in_use");
    let key = fresh_key();
    for _ in 0..3 {
        assert_eq!(alice.delete_with_key(&key).await.status, 204);
    }
    alice.delete_account().await.refused(401, "unauthenticated");
    app.advance_minutes(121);
    alice.delete_with_key(&key).await.refused(401, "unauthenticated");
    let without = alice.client.request(Method::DELETE, "/api/v1/me");
    assert!([400, 401].contains(&alice.client.send(without).await.status));
    assert_eq!(app.number("SELECT COUNT(*) FROM audit WHERE operation = 'deleteAccount'").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn an_order_keeps_the_account_until_its_after_sale_window_is_over() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let id = text(&order, "id");
    assert_eq!(alice.kept_by().await, json!({ "orders": [id] }));
    let payment = alice.start_payment(&order).await;
    let both = json!({ "orders": [id], "payments": [payment["attempt_id"]] });
    assert_eq!(alice.kept_by().await, both);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(alice.kept_by().await, json!({ "orders": [id] }), "paid");
    app.ship(&order, &[]).await.expect("shipped");
    let both = json!({ "orders": [id], "shipments": [id] });
    assert_eq!(alice.kept_by().await, both, "WeChat is to be told of the parcel");
    app.drain().await;
    let path = format!("/api/v1/orders/{id}/confirm-receipt");
    alice.client.post(&path, &json!({})).await.ok();
    app.drain().await;
    assert_eq!(alice.kept_by().await, json!({ "orders": [id] }), "completed");
    app.advance_ms(day_ms(8));
    app.drain().await;
    assert_eq!(app.again(&alice).await.delete_account().await.status, 204, "finished");
    app.finish_money().await;
}

#[tokio::test]
async fn a_refund_that_is_not_settled_keeps_the_account_whoever_started_it() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let alice = app.finish_order(&alice, &order).await;
    let staff = app.staff().await;
    app.fault("refund_not_enough", 1).await;
    let line =
        json!({ "line_id": order["lines"][0]["line_id"], "amount": { "amount": 100, "currency": "CNY" } });
    let body = json!({ "lines": [line], "reason": "道歉", "fault": "MERCHANT" });
    let path = format!("/admin/v1/orders/{}/refunds", text(&order, "id"));
    let refund = staff.post(&path, &body).await.ok();
    app.drain().await;
    assert_eq!(alice.kept_by().await, json!({ "refunds": [refund["id"]] }));
    app.no_faults().await;
    app.live_through_minutes(11).await;
    assert_eq!(alice.delete_account().await.status, 204);
    app.finish_money().await;
}

#[tokio::test]
async fn money_that_came_too_late_keeps_the_account_until_it_is_back() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    alice.cancel(&order).await.ok();
    app.give_up_attempt(&order).await;
    // The payment is settled as an orphan; nobody has made its refund yet, since the bus is away.
    app.ctx.bus.set_available(false);
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["ORPHAN"]);
    assert_eq!(alice.kept_by().await, json!({ "payments": [payment["attempt_id"]] }));
    app.fault("refund_not_enough", 1).await;
    app.ctx.bus.set_available(true);
    app.drain().await;
    let refund = alice.refunds(&order).await[0]["id"].clone();
    assert_eq!(alice.kept_by().await, json!({ "refunds": [refund] }));
    app.no_faults().await;
    app.live_through_minutes(11).await;
    assert_eq!(alice.delete_account().await.status, 204);
    app.finish_money().await;
}

#[tokio::test]
async fn a_payment_that_nobody_has_looked_at_keeps_the_account() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.fault("notify_drop", 20).await;
    let mut content = paid(&payment);
    content["appid"] = json!("wxffffffffffffffff");
    content["transaction_id"] = app.channel_payments().await[0]["transaction_id"].clone();
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
    assert_eq!(app.send_notice(PAYMENT_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    alice.cancel(&order).await.ok();
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    assert_eq!(alice.kept_by().await, json!({ "payments": [payment["attempt_id"]] }));
    let decide = format!("/admin/v1/payments/{}/decide", text(&payment, "attempt_id"));
    let orphan = json!({ "decision": "ORPHAN", "reason": "来源不明" });
    assert_eq!(staff.post(&decide, &orphan).await.status, 204);
    app.no_faults().await;
    app.drain().await;
    assert_eq!(alice.delete_account().await.status, 204);
    app.finish().await;
}

/// Somebody who has left something of themselves everywhere.
async fn with_a_life(app: &TestApp) -> (User, Value) {
    let alice = app.user("alice").await;
    alice.client.patch("/api/v1/me", &json!({ "nickname": NICKNAME, "avatar": AVATAR })).await.ok();
    let code = app
        .sandbox_client()
        .post("/sandbox/phone-codes", &json!({ "openid": alice.openid, "phone": PHONE }))
        .await
        .ok();
    alice.client.put("/api/v1/me/phone", &json!({ "code": code["code"] })).await.ok();
    let templates = items(&alice.client.get("/api/v1/subscribe-templates?moment=pay").await.ok());
    let ids: Vec<&Value> = templates.iter().map(|template| &template["template_id"]).collect();
    alice.client.post("/api/v1/subscribe-grants", &json!({ "template_ids": ids })).await.ok();
    let quote = alice.quote(&[(SKU, 2)], &[]).await;
    let body = json!({ "quote_token": quote["quote_token"], "note": NOTE });
    let order = alice.client.post("/api/v1/orders", &body).await.ok();
    let order = app.pay(&alice, &order).await;
    let staff = app.staff().await;
    let notes = format!("/admin/v1/orders/{}/notes", text(&order, "id"));
    assert!(staff.post(&notes, &json!({ "text": STAFF_NOTE })).await.status < 300);
    app.ship(&order, &[]).await.expect("shipped");
    app.drain().await;
    let photo = alice.photo().await;
    alice.photo().await;
    let wish = json!({
        "reason_code": "DAMAGED", "reason": REASON, "photos": [photo],
        "lines": [{ "line_id": order["lines"][0]["line_id"], "quantity": 1 }],
    });
    let refunds = format!("/api/v1/orders/{}/refunds", text(&order, "id"));
    let refund = alice.client.post(&refunds, &wish).await.ok();
    app.approve(&refund, Some(false)).await.expect("approved");
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    alice.put_in_cart(SKU, 1).await;
    let path = format!("/api/v1/orders/{}/confirm-receipt", text(&order, "id"));
    alice.client.post(&path, &json!({})).await.ok();
    app.advance_ms(day_ms(8));
    app.drain().await;
    let alice = app.again(&alice).await;
    let order = alice.get_order(&order).await;
    assert_eq!(order["status"], "FINISHED");
    (alice, order)
}

/// Everything that staff and the program itself can read of people, in one text.
async fn all_that_is_said(app: &TestApp, user: &User, order: &Value) -> String {
    let staff = app.staff().await;
    let mut said = String::new();
    let (user, order) = (&user.id, text(order, "id"));
    for path in [
        "/admin/v1/users?limit=100".to_owned(),
        format!("/admin/v1/users/{user}"),
        format!("/admin/v1/users/{user}/coupons"),
        "/admin/v1/orders?limit=100".to_owned(),
        format!("/admin/v1/orders/{order}"),
        "/admin/v1/refunds?limit=100".to_owned(),
        "/admin/v1/payments".to_owned(),
        "/admin/v1/audit?limit=100".to_owned(),
    ] {
        said.push_str(&String::from_utf8_lossy(&staff.get(&path).await.bytes));
    }
    for query in [
        "SELECT body FROM outbox",
        "SELECT outcome FROM idempotency",
        "SELECT detail FROM order_timeline",
        "SELECT after_json FROM audit WHERE after_json IS NOT NULL",
        "SELECT openid FROM payment_attempts",
        "SELECT request_body FROM payment_attempts",
        "SELECT note FROM orders",
        "SELECT reason FROM refunds",
        "SELECT reason FROM refund_submissions WHERE reason IS NOT NULL",
        "SELECT openid FROM user_openids",
        "SELECT openid_hash FROM former_openids",
        "SELECT nickname FROM users",
        "SELECT recipient FROM addresses",
        "SELECT body FROM notices",
        "SELECT message_values FROM messages",
        "SELECT content FROM refund_photos",
    ] {
        said.push_str(&app.texts(query).await.join("\n"));
    }
    said
}

#[tokio::test]
async fn nothing_tells_afterwards_whose_it_was_and_the_ledger_stays() {
    let app = TestApp::new().await;
    let (alice, order) = with_a_life(&app).await;
    let before = all_that_is_said(&app, &alice, &order).await;
    let personal =
        [NICKNAME, AVATAR, "139****5678", NOTE, REASON, STAFF_NOTE, RECIPIENT, "138****8000", &alice.openid];
    for value in personal {
        assert!(before.contains(value), "{value} is there before");
    }
    let phones = [PHONE, RECIPIENT_PHONE].map(|phone| app.ctx.secrets.index("phone", phone));
    let staff = app.staff().await;
    let full = staff.get(&format!("/admin/v1/orders/{}", text(&order, "id"))).await.ok();
    assert_eq!(alice.delete_account().await.status, 204);
    app.drain().await;

    let after = all_that_is_said(&app, &alice, &order).await;
    for value in personal.iter().chain([&STREET, &PHONE, &RECIPIENT_PHONE]) {
        assert!(!after.contains(*value), "{value} is gone");
    }
    for hash in phones {
        let same = format!(
            "SELECT (SELECT COUNT(*) FROM users WHERE phone_hash = '{hash}') + \
             (SELECT COUNT(*) FROM orders WHERE phone_hash = '{hash}')"
        );
        assert_eq!(app.number(&same).await, 0);
    }
    for table in
        ["addresses", "address_books", "carts", "cart_lines", "notices", "messages", "subscribe_credits"]
    {
        assert_eq!(app.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_photos").await, 0);

    // The ledger is what it was.
    let now = staff.get(&format!("/admin/v1/orders/{}", text(&order, "id"))).await.ok();
    for same in ["id", "status", "lines", "payable", "paid", "refunded", "placed_at", "user_id"] {
        assert_eq!(now[same], full[same], "{same}");
    }
    assert_eq!(now["refunds"][0]["amount"], full["refunds"][0]["amount"]);
    let codes = |order: &Value| -> Vec<Value> {
        items(&order["timeline"]).iter().map(|entry| entry["code"].clone()).collect()
    };
    assert_eq!(codes(&now), codes(&full), "the timeline keeps its moves");
    assert_eq!((&now["user_nickname"], &now["address"]), (&json!("已注销用户"), &Value::Null));
    app.finish_money().await;
}

#[tokio::test]
async fn staff_sees_that_the_account_is_deleted_and_finds_nobody_by_what_is_forgotten() {
    let app = TestApp::new().await;
    let (alice, order) = with_a_life(&app).await;
    let staff = app.staff().await;
    for phone in [PHONE, RECIPIENT_PHONE] {
        assert_eq!(
            items(&staff.get(&format!("/admin/v1/orders?phone={phone}")).await.ok()).len(),
            1,
            "{phone}"
        );
    }
    assert_eq!(items(&staff.get(&format!("/admin/v1/users?q={PHONE}")).await.ok()).len(), 1);
    assert_eq!(alice.delete_account().await.status, 204);

    let person = staff.get(&format!("/admin/v1/users/{}", alice.id)).await.ok();
    assert_eq!(person["nickname"], "已注销用户");
    assert!(
        person["deleted_at"].is_string() && person["phone_masked"].is_null() && person["avatar"].is_null()
    );
    assert_eq!(items(&person["orders"]).len(), 1, "the orders are still there");
    for phone in [PHONE, RECIPIENT_PHONE] {
        for list in ["orders?phone", "orders?q", "users?q"] {
            let found = staff.get(&format!("/admin/v1/{list}={phone}")).await.ok();
            assert_eq!(items(&found).len(), 0, "{list} {phone}");
        }
    }
    assert_eq!(items(&staff.get(&format!("/admin/v1/users?q={NICKNAME}")).await.ok()).len(), 0);
    let why = json!({ "reason": "回访" });
    let reveal = staff.post(&format!("/admin/v1/users/{}/reveal-phone", alice.id), &why).await;
    reveal.refused(409, "phone_not_known");
    let whom = json!({ "order_ids": [order["id"]], "reason": "打印面单" });
    staff.post("/admin/v1/orders/reveal-recipients", &whom).await.refused(409, "no_recipient");
    let template = app.texts("SELECT id FROM coupon_templates ORDER BY id").await[0].clone();
    let gift = json!({ "template_id": template, "reason": "回访" });
    let grant = staff.post(&format!("/admin/v1/users/{}/coupons", alice.id), &gift).await;
    grant.refused(409, "user_deleted");
    app.finish().await;
}

#[tokio::test]
async fn whoever_signs_in_again_is_somebody_new_without_another_new_user_coupon() {
    let app = TestApp::new().await;
    let mut before = app.user("alice").await;
    app.drain().await;
    let coupon = text(&before.coupons().await[0], "id");
    for _ in 0..2 {
        assert_eq!(before.delete_account().await.status, 204);
        let login = app.client().post("/api/v1/sessions", &json!({ "code": "demo:alice" })).await.ok();
        assert_eq!((&login["is_new_user"], &login["user"]["nickname"]), (&json!(true), &json!("微信用户")));
        let after = app.user("alice").await;
        assert_ne!(after.id, before.id);
        app.drain().await;
        assert_eq!(after.coupons().await, Vec::<Value>::new());
        assert_eq!(items(&after.client.get("/api/v1/addresses").await.ok()).len(), 1, "only the new one");
        assert_eq!(items(&after.client.get("/api/v1/orders").await.ok()).len(), 0);
        before = after;
    }
    assert_eq!(app.coupon_status(&coupon).await, "VOID");
    // Whoever was never here gets it.
    let bob = app.user("bob").await;
    app.drain().await;
    assert_eq!(bob.coupons().await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn refunds_that_come_after_the_account_settle_and_nobody_is_told() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    // One order was paid and is finished, another one is closed, and its payment can still be pressed.
    let coupon = app.coupon(&alice, 500).await;
    let bought = alice.order_with(&[(SKU, 2)], &[&coupon]).await;
    let bought = app.pay(&alice, &bought).await;
    let alice = app.finish_order(&alice, &bought).await;
    let closed = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&closed).await;
    alice.cancel(&closed).await.ok();
    app.give_up_attempt(&closed).await;
    app.drain().await;
    let bought = alice.get_order(&bought).await;
    assert_eq!(alice.delete_account().await.status, 204);

    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(app.attempts(&closed).await, ["ORPHAN"]);
    app.console_refund_of(&bought, minor(&bought["paid"])).await;
    let refunds = app.texts("SELECT kind FROM refunds WHERE status = 'SUCCEEDED' ORDER BY kind").await;
    assert_eq!(refunds, ["EXTERNAL", "ORPHAN"]);
    assert_eq!(app.number("SELECT COUNT(*) FROM notices").await, 0);
    assert_eq!(app.number("SELECT COUNT(*) FROM messages").await, 0);
    let status = app.coupon_status(&coupon).await;
    assert!(["USED", "VOID"].contains(&status.as_str()), "it is of no use any more: {status}");
    app.finish_money().await;
}

/// Everything that leaves something of a person behind, against the end of the account: each comes wholly before it,
/// or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleting_against_placing_and_whatever_else_a_person_does() {
    let app = TestApp::new().await;
    let (mut placed, mut deleted) = (0, 0);
    for round in 0..12 {
        let alice = app.user("alice").await;
        let quote = alice.quote(&[(SKU, 1)], &[]).await;
        let offers = items(&alice.client.get("/api/v1/coupon-templates").await.ok());
        let claim = format!("/api/v1/coupon-templates/{}/claims", text(&offers[0], "template_id"));
        let nothing = json!({});
        let address = json!({
            "recipient": "林小满", "phone": "13800138000", "province": "浙江省", "city": "杭州市",
            "district": "西湖区", "detail": "龙井路 1 号"
        });
        let line = json!({ "store_id": ONLINE_STORE, "quantity": 1 });
        let name = json!({ "nickname": NICKNAME });
        let cart = format!("/api/v1/cart/lines/{SKU}");
        let code = json!({ "code": "demo:alice", "phone_code": format!("demo-phone:{PHONE}") });
        let client = app.client();
        let rest = async {
            tokio::join!(
                alice.client.post(&claim, &nothing),
                alice.client.post("/api/v1/addresses", &address),
                alice.client.put(&cart, &line),
                alice.client.patch("/api/v1/me", &name),
                client.post("/api/v1/sessions", &code),
            )
        };
        let place = async {
            // Sometimes one of them has a start.
            for _ in 0..round % 4 {
                tokio::task::yield_now().await;
            }
            alice.place(&quote).await
        };
        let (gone, order, (claimed, added, put, renamed, login)) =
            tokio::join!(alice.delete_account(), place, rest);
        match gone.status {
            204 => {
                order.refused(401, "unauthenticated");
                deleted += 1;
            }
            _ => {
                let order = order.ok();
                assert_eq!(gone.refused(409, "account_in_use")["orders"], json!([order["id"]]));
                alice.cancel(&order).await.ok();
                placed += 1;
            }
        }
        for answer in [claimed, added, put, renamed] {
            assert!(
                answer.status < 300 || [401, 409].contains(&answer.status),
                "{} {}",
                answer.status,
                answer.body
            );
        }
        // Signing in is always possible: as the same person, or as somebody new.
        login.ok();
        app.drain().await;
        app.check().await;
    }
    assert_eq!(placed + deleted, 12);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleting_many_times_at_once_deletes_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let answers = join_all((0..6).map(|_| alice.delete_account())).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    assert!(answers.iter().all(|answer| [204, 401].contains(&answer.status)));
    assert_eq!(app.number("SELECT COUNT(*) FROM audit WHERE operation = 'deleteAccount'").await, 1);
    app.finish().await;
}
