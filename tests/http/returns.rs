//! Goods that must come back before the money does.

use minimall::kernel::day_ms;
use minimall::staff::Role;
use serde_json::{Value, json};

use crate::support::{Client, SKU, TestApp, User, minor, sku};

const NOTE: &str = "请寄至杭州市西湖区文三路 100 号";

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

/// A shipped order, and a refund of units of its first line that waits for the goods.
async fn awaiting(app: &TestApp, alice: &User, staff: &Client, units: i64) -> (Value, Value) {
    let order = app.paid_order(alice, &[(&sku(9), 3)]).await;
    app.ship(&order, &[]).await.expect("shipped");
    app.drain().await;
    let refund = alice.try_refund(&order, &[(0, units)]).await.ok();
    assert_eq!(refund["status"], "REQUESTED");
    let path = format!("/admin/v1/refunds/{}/require-return", id(&refund));
    let refund = staff.post(&path, &json!({ "note": NOTE })).await.ok();
    app.drain().await;
    (order, refund)
}

async fn report(user: &User, refund: &Value) -> crate::support::Answer {
    let path = format!("/api/v1/refunds/{}/return", id(refund));
    user.client.post(&path, &json!({ "carrier": "顺丰速运", "tracking_no": "SF1234567890123" })).await
}

async fn todo(staff: &Client) -> (i64, i64) {
    let todo = staff.get("/admin/v1/todo").await.ok();
    (minor(&todo["refunds_to_decide"]), minor(&todo["returns_to_check"]))
}

fn week() -> impl FnOnce(&mut minimall::config::Config) {
    |config| config.session.token_minutes = 10_080
}

#[tokio::test]
async fn the_money_follows_the_goods_and_what_can_be_sold_goes_on_the_shelf() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let (order, refund) = awaiting(&app, &alice, &staff, 2).await;
    let before = app.stock(&sku(9)).await;
    assert_eq!((&refund["status"], &refund["note"]), (&json!("AWAITING_RETURN"), &json!(NOTE)));
    assert_eq!(refund["return"]["before"], "2026-03-21T02:00:00.000Z");
    assert_eq!(todo(&staff).await, (0, 0), "it is the customer's turn");
    let notices = alice.client.get("/api/v1/notices").await.ok();
    let told = notices["items"].as_array().expect("items").iter().find(|n| n["kind"] == "return_required");
    assert!(told.expect("the customer is told")["body"].as_str().is_some_and(|body| body.contains(NOTE)));
    let sent = report(&alice, &refund).await.ok();
    assert_eq!(
        (&sent["return"]["tracking_no"], &sent["text"]),
        (&json!("SF1234567890123"), &json!("等待商家签收退货"))
    );
    assert_eq!(todo(&staff).await, (0, 1));
    let list = staff.get("/admin/v1/refunds?status=AWAITING_RETURN&return_sent=true").await.ok();
    assert_eq!(list["items"][0]["id"], refund["id"]);
    let none = staff.get("/admin/v1/refunds?status=AWAITING_RETURN&return_sent=false").await.ok();
    assert_eq!(none["items"], json!([]));
    // One of the two can be sold again.
    let path = format!("/admin/v1/refunds/{}/received", id(&refund));
    let line = &order["lines"][0]["line_id"];
    let body = json!({ "goods": [{ "line_id": line, "sellable": 1 }], "note": "一件破损" });
    assert_eq!(staff.post(&path, &body).await.ok()["status"], "APPROVED");
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    assert_eq!(app.stock(&sku(9)).await, (before.0 + 1, before.1, before.2 - 1));
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["lines"][0]["returned"], &seen["refund_status"]), (&json!(2), &json!("PARTIAL")));
    let codes: Vec<&str> = seen["timeline"]
        .as_array()
        .expect("a timeline")
        .iter()
        .filter_map(|row| row["code"].as_str())
        .filter(|code| code.starts_with("re"))
        .collect();
    assert_eq!(
        codes,
        ["refund_requested", "return_required", "return_sent", "refund_approved", "refund_ended"]
    );
    let log = staff.get(&format!("/admin/v1/audit?object={}", id(&refund))).await.ok();
    let operations: Vec<&str> =
        log["items"].as_array().expect("rows").iter().filter_map(|row| row["operation"].as_str()).collect();
    assert_eq!(operations, ["receiveReturn", "requireReturn"]);
    staff.post(&path, &body).await.refused(409, "nothing_to_return");
    app.finish_money().await;
}

#[tokio::test]
async fn goods_that_are_not_sent_in_time_end_the_request() {
    let app = TestApp::with(week()).await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let (order, refund) = awaiting(&app, &alice, &staff, 3).await;
    app.advance_ms(day_ms(7) - 1);
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "AWAITING_RETURN");
    app.advance_ms(1);
    app.drain().await;
    let alice = app.user("alice").await;
    assert_eq!(alice.refund_status(&order, &refund).await, "WITHDRAWN");
    report(&alice, &refund).await.refused(409, "nothing_to_return");
    let seen = alice.get_order(&order).await;
    let last = seen["timeline"].as_array().and_then(|rows| rows.last()).expect("a row");
    assert_eq!(last["text"], "未在期限内寄回商品，退款申请已关闭");
    let notices = alice.client.get("/api/v1/notices").await.ok();
    assert_eq!(notices["items"][0]["kind"], "refund_dropped");
    // Everything that it had reserved is free for another request.
    assert_eq!(alice.try_refund(&order, &[(0, 3)]).await.ok()["status"], "REQUESTED");
    app.finish_money().await;
}

#[tokio::test]
async fn with_a_tracking_number_a_person_decides_however_late_it_is() {
    let app = TestApp::with(week()).await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let (order, refund) = awaiting(&app, &alice, &staff, 1).await;
    app.advance_ms(day_ms(6));
    report(&alice, &refund).await.ok();
    app.advance_ms(day_ms(3));
    app.drain().await;
    app.app.sweep().await.expect("a sweep");
    assert_eq!(app.moves(&order, "refund_ended").await, 0);
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    assert_eq!(alice.refund_status(&order, &refund).await, "AWAITING_RETURN");
    assert_eq!(todo(&staff).await, (0, 1));
    let reject = format!("/admin/v1/refunds/{}/reject", id(&refund));
    staff.post(&reject, &json!({ "reason": "寄回的不是本店商品" })).await.ok();
    let seen = alice.get_order(&order).await;
    let last = seen["timeline"].as_array().and_then(|rows| rows.last()).expect("a row");
    assert_eq!(last["text"], "商家未同意退款：寄回的不是本店商品");
    app.finish_money().await;
}

#[tokio::test]
async fn the_sweep_ends_a_return_whose_message_was_lost() {
    let app = TestApp::with(week()).await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let (order, refund) = awaiting(&app, &alice, &staff, 1).await;
    assert_eq!(app.execute("DELETE FROM outbox WHERE event = 'ReturnDue'").await, 1);
    app.advance_ms(day_ms(7) + 60_000);
    app.drain().await;
    app.app.sweep().await.expect("a sweep");
    assert_eq!(app.moves(&order, "refund_ended").await, 0, "the message gets its time");
    app.advance_minutes(2);
    app.app.sweep().await.expect("a sweep");
    let alice = app.user("alice").await;
    assert_eq!(alice.refund_status(&order, &refund).await, "WITHDRAWN");
    app.finish_money().await;
}

#[tokio::test]
async fn a_customer_withdraws_while_the_goods_are_waited_for_and_completion_follows() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.user("alice").await, app.user("bob").await, app.staff().await);
    let (order, refund) = awaiting(&app, &alice, &staff, 1).await;
    report(&bob, &refund).await.refused(404, "refund_not_found");
    let path = format!("/api/v1/orders/{}/confirm-receipt", id(&order));
    assert_eq!(
        alice.client.post(&path, &json!({})).await.ok()["status"],
        "SHIPPED",
        "it waits for the refund"
    );
    let withdraw = format!("/api/v1/refunds/{}/withdraw", id(&refund));
    assert_eq!(alice.client.post(&withdraw, &json!({})).await.ok()["status"], "WITHDRAWN");
    assert_eq!(alice.get_order(&order).await["status"], "COMPLETED");
    // Its time comes, and there is nothing left to do.
    app.live_through_minutes(1).await;
    assert_eq!(app.moves(&order, "refund_ended").await, 1);
    app.finish_money().await;
}

#[tokio::test]
async fn only_undecided_refunds_of_goods_that_are_out_can_wait_for_them() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let require = |refund: &Value| format!("/admin/v1/refunds/{}/require-return", id(refund));
    let body = json!({ "note": NOTE });
    let unshipped = alice.try_refund(&order, &[(0, 1)]).await.ok();
    staff.post(&require(&unshipped), &body).await.refused(409, "nothing_to_return");
    let received = format!("/admin/v1/refunds/{}/received", id(&unshipped));
    staff.post(&received, &json!({ "sellable": true })).await.refused(409, "nothing_to_return");
    app.ship(&order, &[]).await.expect("the other one");
    let shipped = alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.reject(&shipped).await.expect("rejected");
    staff.post(&require(&shipped), &body).await.refused(409, "refund_not_decidable");
    let missing = json!({ "id": "rfd_00000000000000000000000009" });
    staff.post(&require(&missing), &body).await.refused(404, "refund_not_found");
    staff.post(&require(&shipped), &json!({})).await.refused(400, "invalid_request");
    app.finish_money().await;
}

#[tokio::test]
async fn every_line_that_came_back_is_spoken_of_and_no_more_is_sold_than_came() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.member(Role::Manager, &[]).await);
    let order = app.paid_order(&alice, &[(SKU, 2), (&sku(9), 1)]).await;
    app.ship(&order, &[]).await.expect("shipped");
    let before = (app.stock(SKU).await, app.stock(&sku(9)).await);
    let refund = alice.refund(&order).await;
    let path = format!("/admin/v1/refunds/{}/approve", id(&refund));
    let line = |at: usize| order["lines"][at]["line_id"].clone();
    let goods = |list: Value| json!({ "goods": list });
    for (body, code, field) in [
        (json!({}), "goods_condition_required", "/sellable"),
        (goods(json!([{ "line_id": line(0), "sellable": 1 }])), "goods_condition_required", "/goods"),
        (goods(json!([{ "line_id": line(0), "sellable": 3 }])), "invalid_request", "/goods/0/sellable"),
        (
            goods(json!([{ "line_id": line(0), "sellable": 1 }, { "line_id": line(0), "sellable": 1 }])),
            "invalid_request",
            "/goods/1/line_id",
        ),
        (
            goods(json!([{ "line_id": "lin_00000000000000000000000000", "sellable": 1 }])),
            "invalid_request",
            "/goods/0/line_id",
        ),
        (
            json!({ "sellable": true, "goods": [{ "line_id": line(0), "sellable": 1 }] }),
            "invalid_request",
            "/goods",
        ),
    ] {
        assert_eq!(staff.post(&path, &body).await.refused(400, code)["field"], field, "{body}");
    }
    let body = goods(json!([{ "line_id": line(0), "sellable": 2 }, { "line_id": line(1), "sellable": 0 }]));
    staff.post(&path, &body).await.ok();
    app.drain().await;
    let (first, second) = before;
    assert_eq!(app.stock(SKU).await, (first.0 + 2, first.1, first.2 - 2));
    assert_eq!(app.stock(&sku(9)).await, second, "what can't be sold stays away");
    app.finish_money().await;
}
