//! Orders that are CLOSING while the channel does not answer: a day later two people close them.

use futures_util::future::join_all;
use minimall::kernel::{day_ms, minute_ms};
use minimall::staff::Role;
use serde_json::{Value, json};

use crate::support::{Answer, Client, SKU, TestApp, User, minor};

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

/// A cancelled order whose payment the channel does not close; and that payment.
async fn closing(app: &TestApp, alice: &User) -> (Value, Value, String) {
    let coupon = app.coupon(alice, 700).await;
    let order = alice.order_with(&[(SKU, 1)], &[&coupon]).await;
    let payment = alice.start_payment(&order).await;
    app.fault_with(json!({ "kind": "down", "times": 100_000, "path": "/v3/pay/transactions/out-trade-no" }))
        .await;
    alice.cancel(&order).await.ok();
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSING");
    (order, payment, coupon)
}

async fn propose(staff: &Client, order: &Value) -> Answer {
    let path = format!("/admin/v1/orders/{}/close-unanswered", id(order));
    staff.post(&path, &json!({ "reason": "渠道长时间无响应" })).await
}

async fn confirm(staff: &Client, proposal: &Value) -> Answer {
    staff.post(&format!("/admin/v1/proposals/{}/confirm", id(proposal)), &json!({})).await
}

fn long(config: &mut minimall::config::Config) {
    config.session.token_minutes = 10_080;
    config.session.staff_token_minutes = 10_080;
}

/// A day after the order's time to pay, with the attempt tried now and then.
async fn a_day_later(app: &TestApp) {
    for _ in 0..25 {
        app.advance_ms(minute_ms(60));
        app.drain().await;
    }
}

#[tokio::test]
async fn two_people_close_it_after_a_day_and_money_that_comes_later_goes_back() {
    let app = TestApp::with(long).await;
    let alice = app.user("alice").await;
    let before = app.stock(SKU).await;
    let (order, payment, coupon) = closing(&app, &alice).await;
    let early = app.member(Role::Finance, &[]).await;
    propose(&early, &order).await.refused(409, "order_not_unanswered");
    a_day_later(&app).await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Owner, &[]).await);
    assert_eq!(second.get("/admin/v1/todo").await.ok()["orders_unanswered"], 1);
    let proposal = propose(&first, &order).await.ok();
    assert_eq!((&proposal["kind"], &proposal["object"]), (&json!("ORDER_CLOSE"), &order["id"]));
    propose(&second, &order).await.refused(409, "proposal_open");
    confirm(&first, &proposal).await.refused(409, "second_person_required");
    assert_eq!(alice.get_order(&order).await["status"], "CLOSING");
    confirm(&second, &proposal).await.ok();
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["close_reason"]), (&json!("CLOSED"), &json!("user")));
    assert_eq!(app.attempts(&order).await, ["CLOSED"]);
    assert_eq!((app.coupon_status(&coupon).await, app.stock(SKU).await), ("UNUSED".to_owned(), before));
    assert_eq!(app.alerts("payment_not_closed").await, 0);
    assert_eq!(app.moves(&order, "closed_by_staff").await, 1);
    let told = alice.client.get(&format!("/api/v1/orders/{}", id(&order))).await;
    assert!(!String::from_utf8_lossy(&told.bytes).contains("渠道长时间无响应"), "that is for staff");
    let trail = second.get(&format!("/admin/v1/orders/{}", id(&order))).await.ok();
    for (code, summary) in [
        ("proposed", "提议关闭渠道无法应答的订单，等待另一人确认"),
        ("proposal_confirmed", "确认了另一人的提议：关闭渠道无法应答的订单"),
    ] {
        let rows = trail["timeline"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["code"] == code).expect("a row");
        assert_eq!((&row["summary"], &row["reason"]), (&json!(summary), &json!("渠道长时间无响应")));
    }
    assert_eq!(second.get("/admin/v1/todo").await.ok()["orders_unanswered"], 0);
    // The channel is back, and says that it was paid in time.
    app.no_faults().await;
    app.execute(&format!("UPDATE payment_attempts SET time_expire_ms = time_expire_ms + {}", day_ms(2)))
        .await;
    let number = payment["out_trade_no"].as_str().expect("a number");
    let notice = app.seal_notice("TRANSACTION.SUCCESS", &crate::support::paid(&payment));
    assert_eq!(app.send_notice(crate::support::PAYMENT_CALLBACK, &notice).await.status, 204);
    app.drain().await;
    assert_eq!(app.attempts(&order).await, ["ORPHAN"], "{number}");
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["paid"])), (&json!("CLOSED"), 0));
    assert_eq!(alice.refunds(&order).await[0]["kind"], "ORPHAN");
    app.finish().await;
}

#[tokio::test]
async fn an_answer_of_the_channel_drops_what_people_proposed() {
    let app = TestApp::with(long).await;
    let alice = app.user("alice").await;
    let (order, ..) = closing(&app, &alice).await;
    a_day_later(&app).await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Finance, &[]).await);
    let proposal = propose(&first, &order).await.ok();
    app.no_faults().await;
    app.live_through_minutes(2).await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    assert_eq!(app.moves(&order, "close_confirmed").await, 1);
    confirm(&second, &proposal).await.refused(409, "proposal_decided");
    propose(&second, &order).await.refused(409, "order_not_unanswered");
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_people_confirm_or_decline_at_once_and_one_of_them_decides() {
    let app = TestApp::with(long).await;
    let alice = app.user("alice").await;
    let (order, ..) = closing(&app, &alice).await;
    a_day_later(&app).await;
    let people = join_all((0..3).map(|_| app.member(Role::Finance, &[]))).await;
    let proposal = propose(&people[0], &order).await.ok();
    let decline = format!("/admin/v1/proposals/{}/decline", id(&proposal));
    let why = json!({ "reason": "再等等" });
    let (one, two, no) = tokio::join!(
        confirm(&people[1], &proposal),
        confirm(&people[2], &proposal),
        people[0].post(&decline, &why)
    );
    let won = [&one, &two, &no].iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    app.drain().await;
    let status = alice.get_order(&order).await["status"].clone();
    assert_eq!(status, if no.status == 200 { "CLOSING" } else { "CLOSED" });
    app.no_faults().await;
    app.live_through_minutes(2).await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish_money().await;
}
