//! Refunds that the merchant made in the channel's own console: adopted, whatever the shop had planned.

use minimall::staff::Role;
use serde_json::{Value, json};

use crate::support::{Answer, REFUND_CALLBACK, SKU, TestApp, User, minor, sku};

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

impl TestApp {
    /// The merchant refunds a payment in the console; `told`: the console's notice comes to the shop.
    async fn console_refund(&self, order: &Value, amount: i64, told: bool) -> Answer {
        let attempts = order["attempts"].as_array().expect("attempts");
        let number = attempts.last().expect("an attempt")["out_trade_no"].clone();
        let url = format!("{}{REFUND_CALLBACK}", self.url);
        let body = json!({ "out_trade_no": number, "amount": amount, "notify_url": told.then_some(url) });
        let answer = self.sandbox_client().post("/sandbox/refunds", &body).await;
        self.drain().await;
        answer
    }

    /// What such a notice says, of a refund that the channel need not know.
    async fn console_news(&self, payment: usize, number: &str, amount: i64) -> Value {
        let payment = &self.channel_payments().await[payment];
        json!({
            "mchid": minimall::sandbox::demo::MCHID, "transaction_id": payment["transaction_id"],
            "out_trade_no": payment["out_trade_no"], "refund_id": format!("50{number}"),
            "out_refund_no": number, "refund_status": "SUCCESS", "user_received_account": "支付用户零钱",
            "amount": { "total": payment["total"], "refund": amount, "payer_total": payment["total"],
                        "payer_refund": amount },
        })
    }

    async fn tell(&self, news: &Value) {
        let notice = self.seal_notice("REFUND.SUCCESS", news);
        assert_eq!(self.send_notice(REFUND_CALLBACK, &notice).await.status, 204);
        self.drain().await;
    }
}

fn external(refunds: &[Value]) -> Vec<Value> {
    refunds.iter().filter(|refund| refund["kind"] == "EXTERNAL").cloned().collect()
}

/// A paid order of two lines.
async fn two_lines(app: &TestApp, alice: &User) -> Value {
    app.paid_order(alice, &[(&sku(9), 2), (&sku(7), 1)]).await
}

#[tokio::test]
async fn a_part_is_taken_from_the_lines_in_proportion_and_from_the_freight_at_last() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = two_lines(&app, &alice).await;
    let nets: Vec<i64> = order["lines"].as_array().expect("lines").iter().map(|l| minor(&l["net"])).collect();
    let goods: i64 = nets.iter().sum();
    app.console_refund(&order, 1_001, true).await.ok();
    let adopted = external(&alice.refunds(&order).await);
    assert_eq!((adopted.len(), &adopted[0]["status"]), (1, &json!("SUCCEEDED")));
    let parts = adopted[0]["lines"].as_array().expect("lines");
    assert_eq!(parts.iter().map(|line| minor(&line["amount"])).sum::<i64>(), 1_001);
    assert!(parts.iter().all(|line| line["quantity"] == 0), "no unit goes with it");
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("PAID"), &json!("PARTIAL")));
    assert_eq!(minor(&seen["refunded"]), 1_001);
    let notices = alice.client.get("/api/v1/notices").await.ok();
    assert_eq!(notices["items"][0]["kind"], "refund");
    // Nearly everything: the goods first, and a part of the freight.
    app.advance_minutes(1);
    app.console_refund(&order, goods - 1_001 + 500, true).await.ok();
    let adopted = external(&alice.refunds(&order).await);
    assert_eq!((adopted.len(), minor(&adopted[1]["freight"])), (2, 500));
    assert_eq!(alice.get_order(&order).await["status"], "PAID", "three yuan of freight are left");
    app.advance_minutes(1);
    app.console_refund(&order, 300, true).await.ok();
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refunded"]), (&json!("CLOSED"), &order["paid"]));
    let staff = app.staff().await;
    let detail = staff.get(&format!("/admin/v1/refunds/{}", id(&adopted[0]))).await.ok();
    assert!(detail["external_no"].as_str().is_some_and(|number| number.starts_with("WX")), "{detail}");
    app.finish_money().await;
}

/// Edge case 17 holds for it, too.
#[tokio::test]
async fn everything_at_once_closes_an_unshipped_order_and_gives_its_coupon_back() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let coupon = app.coupon(&alice, 1_000).await;
    let order = alice.order_with(&[(SKU, 2)], &[&coupon]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let order = alice.get_order(&order).await;
    app.console_refund(&order, minor(&order["paid"]), true).await.ok();
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("CLOSED"), &json!("FULL")));
    assert_eq!((app.coupon_status(&coupon).await, app.stock(SKU).await), ("UNUSED".to_owned(), before));
    app.finish_money().await;
}

#[tokio::test]
async fn it_is_adopted_once_however_it_becomes_known() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Finance, &[]).await);
    let order = two_lines(&app, &alice).await;
    // Nobody is told: staff finds the number in the console, and looks it up.
    let made = app.console_refund(&order, 500, false).await.ok();
    assert_eq!(external(&alice.refunds(&order).await).len(), 0);
    let number = json!({ "out_refund_no": made["out_refund_no"] });
    for _ in 0..2 {
        let found = staff.post("/admin/v1/refunds/look-up", &number).await.ok();
        assert_eq!((&found["state"], minor(&found["amount"])), (&json!("SUCCESS"), 500));
        app.drain().await;
        assert_eq!(external(&alice.refunds(&order).await).len(), 1);
    }
    let news = app.console_news(0, made["out_refund_no"].as_str().expect("a number"), 500).await;
    app.tell(&news).await;
    assert_eq!(external(&alice.refunds(&order).await).len(), 1);
    assert_eq!(app.moves(&order, "refund_ended").await, 1);
    let unknown = json!({ "out_refund_no": "WXnobodyknowsit" });
    let refused = staff.post("/admin/v1/refunds/look-up", &unknown).await;
    refused.refused(404, "refund_unknown_at_channel");
    app.fault_with(json!({ "kind": "down", "times": 10, "path": "/v3/refund" })).await;
    let away = staff.post("/admin/v1/refunds/look-up", &number).await;
    away.refused(503, "payment_channel_unavailable");
    app.no_faults().await;
    app.finish_money().await;
}

#[tokio::test]
async fn requests_make_room_the_newest_first_until_it_fits() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(&sku(9), 3)]).await;
    let (first, second) =
        (alice.try_refund(&order, &[(0, 1)]).await.ok(), alice.try_refund(&order, &[(0, 1)]).await.ok());
    // 19.90 and the freight of 8.00 are not reserved: 28.00 need one of the requests to make room.
    app.console_refund(&order, 2_800, true).await.ok();
    assert_eq!(alice.refund_status(&order, &first).await, "REQUESTED");
    assert_eq!(alice.refund_status(&order, &second).await, "REJECTED");
    let refunds = alice.refunds(&order).await;
    assert_eq!(refunds[1]["note"], "款项已由商家直接退回");
    assert_eq!(minor(&external(&refunds)[0]["freight"]), 0, "the lines have room for all of it now");
    let notices = alice.client.get("/api/v1/notices").await.ok();
    let kinds: Vec<&str> =
        notices["items"].as_array().expect("items").iter().filter_map(|n| n["kind"].as_str()).collect();
    assert!(kinds.contains(&"refund_rejected"), "{kinds:?}");
    // The units of the one that made room are free again.
    let line = &alice.get_order(&order).await["lines"][0];
    assert_eq!((&line["cancelled"], &line["quantity"]), (&json!(0), &json!(3)));
    app.approve(&first, None).await.expect("approved");
    app.live_through_minutes(2).await;
    assert_eq!(alice.refund_status(&order, &first).await, "SUCCEEDED");
    app.finish_money().await;
}

#[tokio::test]
async fn everything_makes_room_even_what_waits_for_money_or_for_people() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    // One waits for the merchant's balance, with a number that the channel refused for now.
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_not_enough", 1).await;
    let waiting = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &waiting).await, "APPROVED");
    app.console_refund(&order, minor(&order["paid"]), true).await.ok();
    assert_eq!(alice.refund_status(&order, &waiting).await, "REJECTED");
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    // One waits for people, after the channel has closed all its numbers.
    let other = app.paid_order(&bob, &[(SKU, 1)]).await;
    app.fault("refund_closed", 4).await;
    let manual = bob.refund(&other).await;
    app.live_through_minutes(20).await;
    assert_eq!(bob.refund_status(&other, &manual).await, "MANUAL");
    app.console_refund(&other, minor(&other["paid"]), true).await.ok();
    assert_eq!(bob.refund_status(&other, &manual).await, "REJECTED");
    assert_eq!(
        (app.alerts("refund_manual").await, bob.get_order(&other).await["status"].clone()),
        (0, json!("CLOSED"))
    );
    app.live_through_minutes(11).await;
    let posts = app.calls("/v3/refund/domestic/refunds").await;
    assert!(
        posts.iter().filter(|call| call["method"] == "POST").count() <= 5,
        "nothing is sent for them again"
    );
    app.finish_money().await;
}

#[tokio::test]
async fn what_does_not_fit_is_a_discrepancy_that_people_adopt_or_close() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Finance, &[]).await);
    let order = app.paid_order(&alice, &[(&sku(9), 2)]).await;
    // A refund is at the channel, and can't make room.
    app.fault("refund_pending", 1).await;
    let pending = alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &pending).await, "PROCESSING");
    let number = app.channel_refunds().await[0]["out_refund_no"].as_str().expect("a number").to_owned();
    let news = app.console_news(0, "WXmorethanleft", 3_000).await;
    app.tell(&news).await;
    app.tell(&news).await;
    assert_eq!(external(&alice.refunds(&order).await).len(), 0);
    assert_eq!((app.alerts("refund_discrepancy").await, app.moves(&order, "refund_differs").await), (1, 1));
    let list = staff.get("/admin/v1/refund-discrepancies").await.ok();
    let row = &list["items"][0];
    assert_eq!(
        (&row["number"], minor(&row["amount"]), &row["order_id"]),
        (&json!("WXmorethanleft"), 3_000, &order["id"])
    );
    let path = format!("/admin/v1/refund-discrepancies/{}", id(row));
    // Tried again without room nothing changes.
    staff.post(&format!("{path}/adopt"), &json!({})).await.ok();
    app.drain().await;
    assert_eq!(external(&alice.refunds(&order).await).len(), 0);
    // The channel closes the one in the way; then there is room.
    let finish = format!("/sandbox/refunds/{number}/finish");
    app.sandbox_client().post(&finish, &json!({ "status": "CLOSED" })).await.ok();
    app.drain().await;
    staff.post(&format!("{path}/adopt"), &json!({})).await.ok();
    app.drain().await;
    let adopted = external(&alice.refunds(&order).await);
    assert_eq!((adopted.len(), minor(&adopted[0]["amount"])), (1, 3_000));
    assert_eq!(alice.refund_status(&order, &pending).await, "REJECTED");
    assert_eq!(app.alerts("refund_discrepancy").await, 0);
    staff.post(&format!("{path}/adopt"), &json!({})).await.refused(404, "discrepancy_not_found");
    // Another one is looked into, and closed with a note.
    app.tell(&app.console_news(0, "WXfartoomuch", 9_000).await).await;
    let list = staff.get("/admin/v1/refund-discrepancies").await.ok();
    let path = format!("/admin/v1/refund-discrepancies/{}/close", id(&list["items"][0]));
    let closed = staff.post(&path, &json!({ "reason": "与财务核对，记营业外支出" })).await.ok();
    assert_eq!(closed["note"], "与财务核对，记营业外支出");
    assert_eq!(app.alerts("refund_discrepancy").await, 0);
    staff.post(&path, &json!({ "reason": "再来" })).await.refused(404, "discrepancy_not_found");
    assert_eq!(staff.get("/admin/v1/refund-discrepancies").await.ok()["items"], json!([]));
    assert_eq!(
        staff.get("/admin/v1/refund-discrepancies?all=true").await.ok()["items"].as_array().map(Vec::len),
        Some(2)
    );
    app.finish().await;
}

#[tokio::test]
async fn a_refund_of_the_console_that_failed_changes_nothing() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = two_lines(&app, &alice).await;
    for fault in ["refund_closed", "refund_abnormal"] {
        app.fault(fault, 1).await;
        app.console_refund(&order, 500, true).await.ok();
        app.advance_minutes(1);
    }
    let seen = alice.get_order(&order).await;
    assert_eq!((minor(&seen["refunded"]), &seen["refunds"]), (0, &json!([])));
    // What was ABNORMAL is paid out at last.
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(minor(&alice.get_order(&order).await["refunded"]), 500);
    app.finish_money().await;
}

/// A payment that no order can take, its own refund closed by the channel.
async fn orphan(app: &TestApp, alice: &User) -> Value {
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    app.fault_with(json!({ "kind": "notify_delay", "delay_ms": 60_000 })).await;
    app.pay_at_wechat(&payment).await;
    alice.cancel(&order).await.ok();
    app.give_up_attempt(&order).await;
    app.drain().await;
    app.fault("refund_closed", 1).await;
    app.live_through_minutes(1).await;
    assert_eq!(app.attempts(&order).await, ["ORPHAN"]);
    assert_eq!(alice.refunds(&order).await[0]["status"], "CLOSED");
    alice.get_order(&order).await
}

#[tokio::test]
async fn on_an_orphan_payment_it_settles_that_payment_s_own_refund() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Viewer, &[]).await);
    let order = orphan(&app, &alice).await;
    let total = minor(&order["payable"]);
    app.advance_ms(1);
    let news = app.console_news(0, "WXtheorphan", total).await;
    app.tell(&news).await;
    app.tell(&news).await;
    let refunds = alice.refunds(&order).await;
    assert_eq!(
        (refunds.len(), &refunds[0]["kind"], &refunds[0]["status"]),
        (1, &json!("ORPHAN"), &json!("SUCCEEDED"))
    );
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_discrepancies").await, 0);
    let list = staff.get("/admin/v1/payments?status=ORPHAN").await.ok();
    assert_eq!(
        (&list["items"][0]["order_id"], &list["items"][0]["refund"]["status"]),
        (&order["id"], &json!("SUCCEEDED"))
    );
    // It is not tried again, and a second one is too many.
    app.live_through_minutes(5).await;
    assert_eq!(app.channel_refunds().await.len(), 1);
    app.tell(&app.console_news(0, "WXanother", total).await).await;
    assert_eq!(app.alerts("refund_discrepancy").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_part_of_an_orphan_payment_settles_nothing_and_is_told() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = orphan(&app, &alice).await;
    app.tell(&app.console_news(0, "WXapart", 1).await).await;
    assert_eq!(alice.refunds(&order).await[0]["status"], "CLOSED");
    assert_eq!(app.alerts("refund_discrepancy").await, 1);
    app.live_through_minutes(5).await;
    assert_eq!(alice.refunds(&order).await[0]["status"], "SUCCEEDED", "ours goes on");
    app.finish().await;
}

#[tokio::test]
async fn of_a_payment_under_review_it_waits_until_people_have_decided() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = alice.order(&[(SKU, 1)]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.fault_with(json!({ "kind": "notify_drop", "times": 20 })).await;
    let mut content = crate::support::paid(&payment);
    content["appid"] = json!("wxffffffffffffffff");
    content["transaction_id"] = app.channel_payments().await[0]["transaction_id"].clone();
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &content);
    assert_eq!(app.send_notice(crate::support::PAYMENT_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    let order = alice.get_order(&order).await;
    let total = minor(&order["payable"]);
    app.tell(&app.console_news(0, "WXreviewed", total).await).await;
    let parked = staff.get("/admin/v1/parked-notices").await.ok();
    assert_eq!(parked["items"].as_array().map(Vec::len), Some(1), "{parked}");
    app.no_faults().await;
    app.fault("refund_closed", 1).await;
    let decide = format!("/admin/v1/payments/{}/decide", payment["attempt_id"].as_str().expect("an id"));
    staff.post(&decide, &json!({ "decision": "ORPHAN", "reason": "已在后台退款" })).await.ok();
    app.drain().await;
    let replay = format!("/admin/v1/parked-notices/{}/replay", id(&parked["items"][0]));
    staff.post(&replay, &json!({ "reason": "已判定" })).await.ok();
    app.drain().await;
    let refunds = alice.refunds(&order).await;
    assert_eq!((refunds.len(), &refunds[0]["status"]), (1, &json!("SUCCEEDED")));
    app.finish().await;
}

/// Completion waits for the last refund, and an adopted one takes no detour through it.
#[tokio::test]
async fn an_order_that_waited_for_a_request_is_completed_when_it_makes_room() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(&sku(9), 1)]).await;
    app.ship(&order, &[]).await.expect("shipped");
    app.drain().await;
    let request = alice.refund(&order).await;
    let confirm = format!("/api/v1/orders/{}/confirm-receipt", id(&order));
    assert_eq!(alice.client.post(&confirm, &json!({})).await.ok()["status"], "SHIPPED");
    app.console_refund(&order, minor(&order["paid"]), true).await.ok();
    assert_eq!(alice.refund_status(&order, &request).await, "REJECTED");
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["refund_status"]), (&json!("COMPLETED"), &json!("FULL")));
    let codes: Vec<&str> = seen["timeline"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["code"].as_str())
        .skip_while(|code| *code != "refund_ended")
        .collect();
    assert_eq!(codes, ["refund_ended", "refund_ended", "refunded_afterwards", "completed"]);
    app.finish_money().await;
}
