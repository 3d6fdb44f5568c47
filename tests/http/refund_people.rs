//! What takes two people: a proof that money went back on another way, giving a refund up.

use futures_util::future::join_all;
use minimall::kernel::day_ms;
use minimall::staff::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, REFUND_CALLBACK, SKU, TestApp, User, minor, text};

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

/// A refund that the channel could not pay out.
async fn abnormal(app: &TestApp, alice: &User) -> (Value, Value) {
    let order = app.paid_order(alice, &[(SKU, 1)]).await;
    app.fault("refund_abnormal", 1).await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
    (order, refund)
}

/// A refund that the channel refused: the merchant gave more back in the console than the shop knows of.
async fn refused(app: &TestApp, alice: &User) -> (Value, Value) {
    let order = app.paid_order(alice, &[(SKU, 2)]).await;
    merchant_refund(app, 100).await;
    app.advance_minutes(1);
    let refund = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
    (order, refund)
}

/// The merchant refunds the newest payment in the console, and nobody is told.
async fn merchant_refund(app: &TestApp, amount: i64) {
    let number = app.channel_payments().await[0]["out_trade_no"].clone();
    let body = json!({ "out_trade_no": number, "amount": amount });
    app.sandbox_client().post("/sandbox/refunds", &body).await.ok();
    app.drain().await;
}

async fn propose(staff: &Client, refund: &Value, what: &str) -> Answer {
    let body = match what {
        "proof" => json!({ "text": "已通过银行转账退款", "reference": "2026031400012345" }),
        _ => json!({ "reason": "顾客同意不再退款" }),
    };
    staff.post(&format!("/admin/v1/refunds/{}/{what}", id(refund)), &body).await
}

/// What staff reads of a step: its summary and its reason.
fn step(order: &Value, code: &str) -> (String, String) {
    let entry = order["timeline"].as_array().expect("rows").iter().find(|row| row["code"] == code);
    let entry = entry.unwrap_or_else(|| panic!("no {code} in {order}"));
    (text(entry, "summary"), text(entry, "reason"))
}

async fn confirm(staff: &Client, proposal: &Value) -> Answer {
    staff.post(&format!("/admin/v1/proposals/{}/confirm", id(proposal)), &json!({})).await
}

async fn decline(staff: &Client, proposal: &Value) -> Answer {
    let path = format!("/admin/v1/proposals/{}/decline", id(proposal));
    staff.post(&path, &json!({ "reason": "凭证不符" })).await
}

/// Edge case 28.
#[tokio::test]
async fn a_proof_by_one_person_settles_when_another_confirms_it() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Owner, &[]).await);
    let (order, refund) = abnormal(&app, &alice).await;
    assert_eq!(alice.refunds(&order).await[0]["text"], "退款处理中", "the customer need not know more");
    let jpeg = first
        .request(Method::POST, "/admin/v1/refund-photos")
        .header("Content-Type", "image/jpeg")
        .body(b"\xFF\xD8\xFF\xE0a receipt".to_vec());
    // A picture alone changes nothing; the proof that names it is audited.
    let photo = first.changing_nothing().send(jpeg).await.ok();
    let proof = json!({ "text": "银行转账", "reference": "20260314-1", "photo_id": photo["id"] });
    let path = format!("/admin/v1/refunds/{}/proof", id(&refund));
    let proposal = first.post(&path, &proof).await.ok();
    assert_eq!(
        (&proposal["kind"], &proposal["state"], &proposal["detail"]["reference"]),
        (&json!("REFUND_PROOF"), &json!("OPEN"), &json!("20260314-1"))
    );
    assert_eq!(second.get("/admin/v1/todo").await.ok()["proposals"], 1);
    let list = second.get("/admin/v1/proposals").await.ok();
    assert_eq!(list["items"][0]["id"], proposal["id"]);
    let seen = second.get(&format!("/admin/v1/refund-photos/{}", id(&photo))).await;
    assert_eq!(seen.header("content-type"), Some("image/jpeg"));
    // One waits at a time, and the same person can't do both.
    propose(&second, &refund, "proof").await.refused(409, "proposal_open");
    confirm(&first, &proposal).await.refused(409, "second_person_required");
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
    assert_eq!(confirm(&second, &proposal).await.ok()["state"], "CONFIRMED");
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    let order_now = alice.get_order(&order).await;
    assert_eq!((&order_now["status"], &order_now["refunded"]), (&json!("CLOSED"), &order["paid"]));
    assert_eq!(app.alerts("refund_manual").await, 0);
    confirm(&second, &proposal).await.refused(409, "proposal_decided");
    propose(&first, &refund, "proof").await.refused(409, "refund_not_for_people");
    let staff_view = second.get(&format!("/admin/v1/orders/{}", id(&order))).await.ok();
    let codes: Vec<&str> = staff_view["timeline"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["code"].as_str())
        .collect();
    for code in ["refund_stuck", "proposed", "proposal_confirmed", "refund_ended"] {
        assert!(codes.contains(&code), "{code} in {codes:?}");
    }
    let proof = "以凭证证明退款已到顾客手中";
    let asked = ("proposed", format!("提议{proof}，等待另一人确认"), "银行转账");
    let agreed = ("proposal_confirmed", format!("确认了另一人的提议：{proof}"), "银行转账");
    for (code, summary, reason) in [asked, agreed] {
        assert_eq!(step(&staff_view, code), (summary, reason.to_owned()));
    }
    let told = order_now["timeline"].to_string();
    assert!(!told.contains("proposed") && !told.contains("refund_stuck"), "{told}");
    let detail = second.get(&format!("/admin/v1/refunds/{}", id(&refund))).await.ok();
    assert_eq!(detail["proposals"][0]["decided_by"].as_str().map(|by| by.starts_with("stf_")), Some(true));
    assert_eq!(detail["submissions"].as_array().map(Vec::len), Some(1));
    app.finish_money_settled_by_hand().await;
}

impl TestApp {
    /// Like `finish_money`, where people settled what the channel has not paid.
    async fn finish_money_settled_by_hand(self) {
        self.drain().await;
        self.money_agrees().await;
        self.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_people_confirm_at_once_and_the_money_is_settled_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let people = join_all((0..4).map(|_| app.member(Role::Finance, &[]))).await;
    let (order, refund) = abnormal(&app, &alice).await;
    let proposed = join_all(people.iter().map(|person| propose(person, &refund, "proof"))).await;
    assert_eq!(proposed.iter().filter(|answer| answer.status == 201).count(), 1);
    let proposal = proposed.into_iter().find(|answer| answer.status == 201).expect("one").ok();
    let answers = join_all(people.iter().map(|person| confirm(person, &proposal))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        assert!(["second_person_required", "proposal_decided"].contains(&code.as_str()), "{code}");
    }
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'").await, 1);
    app.finish_money_settled_by_hand().await;
}

#[tokio::test]
async fn a_declined_proof_settles_nothing_and_another_can_be_given() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Finance, &[]).await);
    let (order, refund) = abnormal(&app, &alice).await;
    let proposal = propose(&first, &refund, "proof").await.ok();
    let declined = decline(&second, &proposal).await.ok();
    assert_eq!((&declined["state"], &declined["reason"]), (&json!("DECLINED"), &json!("凭证不符")));
    confirm(&second, &proposal).await.refused(409, "proposal_decided");
    decline(&first, &proposal).await.refused(409, "proposal_decided");
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
    let again = propose(&second, &refund, "proof").await.ok();
    // Whoever proposed it may take it back.
    decline(&second, &again).await.ok();
    let missing = json!({ "id": "prp_00000000000000000000000009" });
    confirm(&first, &missing).await.refused(404, "proposal_not_found");
    app.finish_money().await;
}

#[tokio::test]
async fn a_proposal_is_dropped_when_the_channel_pays_after_all() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Finance, &[]).await);
    let (order, refund) = abnormal(&app, &alice).await;
    let proposal = propose(&first, &refund, "proof").await.ok();
    app.channel_ends_refund("SUCCESS").await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    confirm(&second, &proposal).await.refused(409, "proposal_decided");
    assert_eq!(second.get("/admin/v1/todo").await.ok()["proposals"], 0);
    app.finish_money().await;
}

#[tokio::test]
async fn money_that_the_channel_pays_after_a_proof_is_a_discrepancy() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Finance, &[]).await);
    let (_, refund) = abnormal(&app, &alice).await;
    let proposal = propose(&first, &refund, "proof").await.ok();
    confirm(&second, &proposal).await.ok();
    app.drain().await;
    let number = app.channel_ends_refund("SUCCESS").await;
    let list = first.get("/admin/v1/refund-discrepancies").await.ok();
    assert_eq!(
        (&list["items"][0]["number"], &list["items"][0]["amount"]),
        (&json!(number), &refund["amount"])
    );
    assert_eq!(app.alerts("refund_discrepancy").await, 1);
    assert_eq!(first.get("/admin/v1/todo").await.ok()["refund_discrepancies"], 1);
    app.finish_money_settled_by_hand().await;
}

#[tokio::test]
async fn a_proof_that_is_confirmed_after_the_channel_paid_is_a_discrepancy() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Finance, &[]).await);
    let (order, refund) = abnormal(&app, &alice).await;
    let proposal = propose(&first, &refund, "proof").await.ok();
    // The channel's success is stored before the proof, and settled before it.
    let number = app.channel_refunds().await[0]["out_refund_no"].as_str().expect("a number").to_owned();
    app.ctx.bus.set_available(false);
    app.sandbox_client()
        .post(&format!("/sandbox/refunds/{number}/finish"), &json!({ "status": "SUCCESS" }))
        .await
        .ok();
    app.sandbox.tick().await;
    confirm(&second, &proposal).await.ok();
    app.ctx.bus.set_available(true);
    app.live_through_minutes(2).await;
    assert_eq!(alice.refund_status(&order, &refund).await, "SUCCEEDED");
    assert_eq!(app.number("SELECT COUNT(*) FROM outbox WHERE event = 'RefundSettled'").await, 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM refund_discrepancies").await, 1);
    assert_eq!(app.alerts("refund_discrepancy").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_refused_refund_is_given_up_by_two_people_and_frees_what_it_held() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Owner, &[]).await);
    let (order, refund) = refused(&app, &alice).await;
    let proposal = propose(&first, &refund, "give-up").await.ok();
    assert_eq!(proposal["kind"], "REFUND_GIVE_UP");
    confirm(&first, &proposal).await.refused(409, "second_person_required");
    confirm(&second, &proposal).await.ok();
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "GIVEN_UP");
    assert_eq!(app.alerts("refund_manual").await, 0);
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], &seen["lines"][0]["cancelled"]), (&json!("PAID"), &json!(0)));
    let last = seen["timeline"].as_array().and_then(|rows| rows.last()).expect("a row");
    assert_eq!(last["text"], "退款未能完成，请联系商家");
    // What the two wrote down for each other is not for the customer.
    for path in [
        format!("/api/v1/orders/{}", id(&order)),
        format!("/api/v1/orders/{}/refunds", id(&order)),
        "/api/v1/notices".to_owned(),
    ] {
        let told = alice.client.get(&path).await;
        assert!(!String::from_utf8_lossy(&told.bytes).contains("顾客同意不再退款"), "{path}");
    }
    let staff = second.get(&format!("/admin/v1/orders/{}", id(&order))).await;
    assert!(String::from_utf8_lossy(&staff.bytes).contains("顾客同意不再退款"));
    assert_eq!(alice.client.get("/api/v1/notices").await.ok()["items"][0]["kind"], "refund_dropped");
    let trail = first.get(&format!("/admin/v1/orders/{}", id(&order))).await.ok();
    let reason = "顾客同意不再退款".to_owned();
    assert_eq!(step(&trail, "proposed"), ("提议放弃退款，等待另一人确认".to_owned(), reason.clone()));
    assert_eq!(step(&trail, "proposal_confirmed"), ("确认了另一人的提议：放弃退款".to_owned(), reason));
    // Its units and its money are free: one of the two is refunded.
    app.advance_minutes(1);
    let smaller = alice.try_refund(&order, &[(0, 1)]).await.ok();
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &smaller).await, "SUCCEEDED");
    app.finish().await;
}

#[tokio::test]
async fn nothing_is_given_up_while_money_may_still_come_from_the_channel() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let staff = app.member(Role::Finance, &[]).await;
    let (_, refund) = abnormal(&app, &alice).await;
    propose(&staff, &refund, "give-up").await.refused(409, "refund_not_for_people");
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_pending", 1).await;
    let pending = alice.refund(&order).await;
    app.drain().await;
    for what in ["give-up", "proof"] {
        propose(&staff, &pending, what).await.refused(409, "refund_not_for_people");
    }
    let missing = json!({ "id": "rfd_00000000000000000000000009" });
    propose(&staff, &missing, "proof").await.refused(404, "refund_not_found");
    app.finish().await;
}

/// A refund whose number the channel has closed is given up while it waits for its next one.
#[tokio::test]
async fn a_closed_refund_can_be_given_up_and_a_later_success_is_adopted() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Finance, &[]).await);
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.fault("refund_closed", 1).await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    assert_eq!(alice.refund_status(&order, &refund).await, "CLOSED");
    let proposal = propose(&first, &refund, "give-up").await.ok();
    confirm(&second, &proposal).await.ok();
    app.live_through_minutes(5).await;
    assert_eq!(alice.refund_status(&order, &refund).await, "GIVEN_UP");
    assert_eq!(app.channel_refunds().await.len(), 1, "it is not tried again");
    // The channel changes its mind.
    let at_channel = &app.channel_refunds().await[0];
    let payment = &app.channel_payments().await[0];
    let news = json!({
        "mchid": minimall::sandbox::demo::MCHID, "transaction_id": payment["transaction_id"],
        "out_trade_no": at_channel["out_trade_no"], "refund_id": at_channel["refund_id"],
        "out_refund_no": at_channel["out_refund_no"], "refund_status": "SUCCESS",
        "user_received_account": "支付用户零钱",
        "amount": { "total": payment["total"], "refund": at_channel["amount"],
                    "payer_total": payment["total"], "payer_refund": at_channel["amount"] },
    });
    for _ in 0..2 {
        let notice = app.seal_notice("REFUND.SUCCESS", &news);
        assert_eq!(app.send_notice(REFUND_CALLBACK, &notice).await.status, 204);
        app.drain().await;
    }
    let refunds = alice.refunds(&order).await;
    assert_eq!(refunds.len(), 2, "once, however often it is said");
    assert_eq!(
        (&refunds[1]["kind"], &refunds[1]["status"], &refunds[1]["amount"]),
        (&json!("EXTERNAL"), &json!("SUCCEEDED"), &refund["amount"])
    );
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    app.finish().await;
}

/// The refund of an order that was cancelled and paid at the same moment: given up, the order may be shipped.
#[tokio::test]
async fn giving_up_the_refund_of_a_cancelled_order_lifts_its_hold() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Owner, &[]).await);
    let order = alice.order(&[(SKU, 1)]).await;
    alice.start_payment(&order).await;
    app.fault("pay_during_close", 1).await;
    app.fault("refund_closed", 4).await;
    alice.cancel(&order).await.ok();
    app.live_through_minutes(20).await;
    let refund = alice.refunds(&order).await[0].clone();
    assert_eq!(refund["status"], "MANUAL");
    let refused = app.ship(&order, &[]).await.expect_err("on hold");
    assert_eq!(refused.code().code, "order_not_shippable");
    let proposal = propose(&first, &refund, "give-up").await.ok();
    confirm(&second, &proposal).await.ok();
    app.drain().await;
    assert_eq!(app.moves(&order, "hold_released").await, 1);
    app.ship(&order, &[]).await.expect("shipped");
    app.drain().await;
    app.finish().await;
}

/// Edge case 28: after a year there is nothing at the channel, and people end it either way.
#[tokio::test]
async fn a_refund_that_was_never_submitted_is_proved_or_given_up() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    app.advance_ms(day_ms(365) + 1);
    app.drain().await;
    let alice = app.user("alice").await;
    let (first, second) = (app.member(Role::Finance, &[]).await, app.member(Role::Finance, &[]).await);
    for (what, ends_as) in [("give-up", "GIVEN_UP"), ("proof", "SUCCEEDED")] {
        let refund = alice.refund(&order).await;
        app.drain().await;
        assert_eq!(alice.refund_status(&order, &refund).await, "MANUAL");
        let proposal = propose(&first, &refund, what).await.ok();
        confirm(&second, &proposal).await.ok();
        app.drain().await;
        assert_eq!(alice.refund_status(&order, &refund).await, ends_as);
    }
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["status"], minor(&seen["refunded"])), (&json!("CLOSED"), minor(&order["paid"])));
    assert_eq!(app.channel_refunds().await.len(), 0);
    app.finish_money_settled_by_hand().await;
}
