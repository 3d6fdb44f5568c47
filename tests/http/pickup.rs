//! Orders that are fetched in a store: the code, the preview, the hand-over, and those that nobody fetches.

use futures_util::future::join_all;
use minimall::sandbox::demo;
use minimall::staff::Role;
use serde_json::{Value, json};

use crate::support::{
    Clerk, Client, HUBIN, ONLINE_STORE, SKU, TestApp, WULIN, fresh_key, items, minor, sku, text,
};

const DAY_MIN: i64 = 24 * 60;

/// A code that is not this one.
fn other_code(code: &str) -> String {
    let number: u64 = code.parse().expect("digits");
    format!("{:08}", (number + 1) % 100_000_000)
}

#[tokio::test]
async fn an_order_goes_from_its_payment_over_the_counter_into_the_hand() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    app.allow(&alice, &[demo::TEMPLATE_CONFIRM]).await;
    let order = alice.order_in(WULIN, "PICKUP", &[(SKU, 2), (&sku(9), 1)]).await;
    assert_eq!((minor(&order["freight"]), order["address"].clone()), (0, Value::Null), "nothing is sent");
    let seen = alice.get_order(&order).await;
    assert_eq!((&seen["pickup"]["code"], &seen["pickup"]["store_name"]), (&Value::Null, &json!("武林店")));
    let qr = format!("/api/v1/orders/{}/pickup-qr", text(&order, "id"));
    alice.client.get(&qr).await.refused(404, "order_not_found");

    let seen = app.pay(&alice, &order).await;
    let code = text(&seen["pickup"], "code");
    assert!(code.len() == 8 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
    let picture = alice.client.get(&qr).await;
    assert_eq!(
        (picture.header("content-type"), picture.header("cache-control")),
        (Some("image/jpeg"), Some("no-store"))
    );
    assert!(picture.bytes.starts_with(b"\xff\xd8"));
    app.user("bob").await.client.get(&qr).await.refused(404, "order_not_found");
    let listed = clerk.pickups("TO_PREPARE").await;
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &order["id"]));

    let ready = clerk.ready(&order).await.ok();
    assert_eq!(ready["status"], "READY_FOR_PICKUP");
    app.drain().await;
    let message = &app.messages(&alice).await[0];
    let value = |key: &str| {
        let values = message["values"].as_array().expect("values").clone();
        values.into_iter().find(|value| value["key"] == key).expect(key)["value"].clone()
    };
    assert_eq!((value("thing3"), value("character_string4")), (json!("武林店"), json!(code)));
    assert_eq!(items(&alice.client.get("/api/v1/notices").await.ok())[0]["title"], "商品已备好，请来取货");

    // As it is typed from a phone.
    let seen = clerk.verify(WULIN, &format!("{} {}", &code[..4], &code[4..])).await.ok();
    assert_eq!((&seen["order_id"], &seen["version"]), (&order["id"], &ready["version"]));
    assert_eq!(seen["hand_over"], json!({ "allowed": true }));
    let lines: Vec<(i64, String)> = items(&seen["lines"])
        .iter()
        .map(|line| (line["quantity"].as_i64().expect("a number"), text(line, "product_name")))
        .collect();
    assert_eq!(lines, [(2, "明前龙井".to_owned()), (1, "定胜糕".to_owned())]);
    assert_eq!(app.moves(&order, "picked_up").await, 0, "a look changes nothing");

    let done = clerk.hand_over(WULIN, &code, &seen["version"]).await.ok();
    assert_eq!(done["status"], "COMPLETED");
    app.drain().await;
    let uploads = app.uploads().await;
    assert_eq!((uploads.len(), &uploads[0]["logistics_type"]), (1, &json!(4)));
    assert_eq!(uploads[0]["shipping_list"][0]["item_desc"], "明前龙井×2，定胜糕×1");
    assert_eq!(clerk.detail(&order).await["upload"]["state"], "ACCEPTED");
    let seen = alice.get_order(&order).await;
    assert_eq!(
        (&seen["pickup"]["code_is_open"], seen["lines"][0]["shipped"].clone()),
        (&json!(false), json!(2))
    );
    assert_eq!(seen["timeline"].as_array().expect("a list").last().expect("one")["text"], "商品已取走");
    alice.client.get(&qr).await.refused(404, "order_not_found");
    let again = clerk.verify(WULIN, &code).await.refused(409, "already_handed_over");
    assert_eq!(
        (&again["handed_over_at"], &again["order_id"]),
        (&seen["pickup"]["handed_over_at"], &order["id"])
    );

    // What was handed over comes back as a return.
    let refund = alice.try_refund(&seen, &[(0, 1)]).await.ok();
    assert_eq!((&refund["status"], &refund["lines"][0]["returned"]), (&json!("REQUESTED"), &json!(1)));
    app.reject(&refund).await.expect("rejected");
    app.advance_minutes(DAY_MIN * app.ctx.config.orders.after_sale_days);
    app.drain().await;
    assert_eq!(app.user("alice").await.get_order(&order).await["status"], "FINISHED");
    app.finish_money().await;
}

#[tokio::test]
async fn an_order_can_be_fetched_before_anybody_said_that_it_is_ready() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let code = alice.code(&order).await;
    let key = fresh_key();
    let version = clerk.verify(WULIN, &code).await.ok()["version"].clone();
    let done = clerk.hand_over_with(&key, WULIN, &code, &version).await;
    assert_eq!(
        (done.header("idempotent-replayed"), &done.clone().ok()["status"]),
        (None, &json!("COMPLETED"))
    );
    let again = clerk.hand_over_with(&key, WULIN, &code, &version).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok()["status"], "COMPLETED");
    clerk.hand_over(WULIN, &code, &version).await.refused(409, "already_handed_over");
    assert_eq!(app.moves(&order, "picked_up").await, 1);
    let audited = "SELECT COUNT(*) FROM audit WHERE operation = 'handOverPickup' AND actor_kind = 'staff'";
    assert_eq!(app.number(audited).await, 1);
    app.finish_money().await;
}

#[tokio::test]
async fn what_a_coupon_paid_for_is_fetched_like_anything_else_and_wechat_is_not_told() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let coupon = app.coupon(&alice, 10_000_000).await;
    let body = json!({
        "store_id": WULIN, "fulfilment": "PICKUP", "lines": [{ "sku_id": SKU, "quantity": 1 }],
        "coupon_ids": [coupon],
    });
    let quote = alice.client.post("/api/v1/quotes", &body).await.ok();
    let order = alice.place(&quote).await.ok();
    assert_eq!(order["status"], "PAID");
    clerk.serve(WULIN, &alice.code(&order).await).await.ok();
    app.drain().await;
    assert!(app.uploads().await.is_empty());
    app.finish_money().await;
}

#[tokio::test]
async fn only_a_store_to_walk_into_hands_over_and_nothing_is_sent_from_it_then() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let online = alice.try_quote_in(ONLINE_STORE, "PICKUP", &[(SKU, 1)]).await;
    assert_eq!(online.refused(409, "fulfilment_not_offered")["field"], "/fulfilment");
    let body = json!({
        "store_id": WULIN, "fulfilment": "PICKUP", "lines": [{ "sku_id": SKU, "quantity": 1 }],
        "address_id": alice.address,
    });
    let refused = alice.client.post("/api/v1/quotes", &body).await;
    assert_eq!(refused.refused(400, "invalid_request")["field"], "/address_id");
    let few = alice.try_quote_in(HUBIN, "PICKUP", &[(&sku(9), 1)]).await;
    assert_eq!(few.refused(409, "quantity_not_available")["available"], 0);

    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    clerk.act(&order, "ship", &json!({})).await.refused(409, "order_not_shippable");
    clerk.exit_check(&order).await.refused(409, "hand_over_not_possible");
    let actions = &clerk.detail(&order).await["staff_actions"];
    assert_eq!(
        (&actions["can_ship"], &actions["can_mark_ready"], &actions["can_hand_over"]),
        (&json!(false), &json!(true), &json!(true))
    );
    clerk.ready(&order).await.ok();
    clerk.ready(&order).await.refused(409, "ready_not_possible");
    let sent = app.paid_order(&alice, &[(SKU, 1)]).await;
    clerk.ready(&sent).await.refused(409, "ready_not_possible");
    clerk.exit_check(&sent).await.refused(409, "hand_over_not_possible");
    let unpaid = alice.order_in(WULIN, "PICKUP", &[(SKU, 1)]).await;
    clerk.ready(&unpaid).await.refused(409, "ready_not_possible");
    clerk
        .act(&json!({ "id": "ord_00000000000000000000000000" }), "ready", &json!({}))
        .await
        .refused(404, "order_not_found");
    app.finish_money().await;
}

/// Edge case 44.
#[tokio::test]
async fn a_code_opens_its_order_in_its_store_only_and_guesses_are_counted() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let code = alice.code(&order).await;
    let wrong = other_code(&code);
    clerk.verify(HUBIN, &code).await.refused(404, "pickup_code_unknown");
    for _ in 0..9 {
        assert_eq!(clerk.verify(WULIN, &wrong).await.refused(404, "pickup_code_unknown")["field"], "/code");
    }
    // One that opens something is no guess, so it neither counts nor clears the count.
    for _ in 0..3 {
        clerk.verify(WULIN, &code).await.ok();
    }
    clerk.verify(WULIN, &wrong).await.refused(404, "pickup_code_unknown");
    app.advance_minutes(5);
    let full = clerk.verify(WULIN, &code).await;
    assert_eq!(full.header("retry-after"), Some("601"));
    full.refused(429, "pickup_tries_exceeded");
    let full = clerk.hand_over(WULIN, &code, &json!(3)).await;
    assert!(full.header("retry-after").is_some());
    full.refused(429, "pickup_tries_exceeded");
    // Another store counts for itself, and the window ends.
    clerk.verify(HUBIN, &wrong).await.refused(404, "pickup_code_unknown");
    app.advance_minutes(11);
    clerk.serve(WULIN, &code).await.ok();
    for odd in ["1234567x", "123456789", "abcdefgh"] {
        assert_eq!(clerk.verify(WULIN, odd).await.refused(400, "invalid_request")["field"], "/code");
    }
    let missing = "sto_00000000000000000000000099";
    clerk.verify(missing, &wrong).await.refused(404, "store_not_found");
    let which = clerk.0.post("/admin/v1/pickups/verify", &json!({ "code": wrong })).await;
    assert_eq!(which.refused(400, "invalid_request")["field"], "/store_id");
    app.finish_money().await;
}

/// Edge case 44: the search among all orders is no way around the limit.
#[tokio::test]
async fn a_search_for_a_code_that_finds_nothing_is_a_guess_like_any_other() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, app.member(Role::Clerk, &[]).await);
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let code = alice.code(&order).await;
    let wrong = other_code(&code);
    let found = async |client: &Client, name: &str, code: &str| {
        client.get(&format!("/admin/v1/orders?{name}={code}")).await
    };
    for name in ["pickup_code", "q"] {
        assert_eq!(found(&clerk, name, &code).await.ok()["items"][0]["id"], order["id"]);
    }
    for turn in 0..10 {
        let name = if turn % 2 == 0 { "pickup_code" } else { "q" };
        assert!(items(&found(&clerk, name, &wrong).await.ok()).is_empty());
    }
    let full = found(&clerk, "q", &code).await;
    assert!(full.header("retry-after").is_some());
    full.refused(429, "pickup_tries_exceeded");
    // Other searches go on, and after a quarter of an hour this one does.
    let path = format!("/admin/v1/orders?q={}", text(&order, "id"));
    assert_eq!(items(&clerk.get(&path).await.ok()).len(), 1);
    app.advance_minutes(16);
    assert_eq!(items(&found(&clerk, "pickup_code", &code).await.ok()).len(), 1);
    // Who hands nothing over has no use for codes.
    let viewer = app.member(Role::Viewer, &[]).await;
    found(&viewer, "pickup_code", &code).await.refused(403, "role_not_allowed");
    assert!(items(&found(&viewer, "q", &code).await.ok()).is_empty());
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guesses_at_the_same_moment_are_counted_too() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let wrong = other_code(&alice.code(&order).await);
    let answers = join_all((0..25).map(|_| clerk.verify(WULIN, &wrong))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 404).count(), 10);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 15);
    app.finish_money().await;
}

#[tokio::test]
async fn a_code_is_free_for_another_order_once_its_own_has_ended() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let first = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let code = alice.code(&first).await;
    clerk.serve(WULIN, &code).await.ok();
    let second = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let id = text(&second, "id");
    let same =
        format!("UPDATE orders SET pickup_code = '{code}', pickup_code_open = '{code}' WHERE id = '{id}'");
    assert_eq!(app.execute(&same).await, 1);
    assert_eq!(clerk.verify(WULIN, &code).await.ok()["order_id"], second["id"], "the open one comes first");
    app.advance_minutes(1);
    clerk.serve(WULIN, &code).await.ok();
    let latest = clerk.verify(WULIN, &code).await.refused(409, "already_handed_over");
    assert_eq!(latest["order_id"], second["id"], "then the latest");
    app.finish_money().await;
}

#[tokio::test]
async fn what_was_handed_over_is_told_to_wechat_once_its_event_has_arrived() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let missed = async || {
        let report = minimall::checks::run(&app.ctx).await.expect("the check runs");
        report.violations().any(|found| found.rule.starts_with("shipping: a shipped order that was paid"))
    };
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let code = alice.code(&order).await;
    let version = clerk.verify(WULIN, &code).await.ok()["version"].clone();
    clerk.hand_over(WULIN, &code, &version).await.ok();
    app.advance_minutes(31);
    assert!(!missed().await, "its event is on its way");
    app.drain().await;
    assert!(!missed().await);
    app.execute("UPDATE shipping_uploads SET order_id = 'none'").await;
    assert!(missed().await, "nothing is on its way any more, and nobody told WeChat");
    app.execute(&format!("UPDATE shipping_uploads SET order_id = '{}'", text(&order, "id"))).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_clerks_with_one_code_hand_over_once() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    for _ in 0..5 {
        let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 2)]).await;
        let code = alice.code(&order).await;
        let version = clerk.verify(WULIN, &code).await.ok()["version"].clone();
        let answers = join_all((0..4).map(|_| clerk.hand_over(WULIN, &code, &version))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        for lost in answers.into_iter().filter(|answer| answer.status != 200) {
            assert!(lost.refused(409, "already_handed_over")["handed_over_at"].is_string());
        }
        assert_eq!(app.moves(&order, "picked_up").await, 1);
    }
    app.finish_money().await;
}

#[tokio::test]
async fn nothing_is_handed_over_while_a_refund_is_open_nor_what_was_refunded() {
    let app = TestApp::with(|config| config.refunds.auto_approve_before_shipping = false).await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 3)]).await;
    let code = alice.code(&order).await;
    let before = clerk.verify(WULIN, &code).await.ok()["version"].clone();
    let refund = alice.try_refund(&order, &[(0, 1)]).await.ok();
    let seen = clerk.verify(WULIN, &code).await.ok();
    assert_eq!(seen["hand_over"], json!({ "allowed": false, "reason": "refund_open" }));
    clerk.hand_over(WULIN, &code, &seen["version"]).await.refused(409, "refund_open");
    app.approve(&refund, None).await.expect("approved");
    app.drain().await;
    // The clerk's screen still shows three.
    let changed = clerk.hand_over(WULIN, &code, &before).await.refused(409, "order_changed");
    let seen = clerk.verify(WULIN, &code).await.ok();
    assert_eq!((&seen["version"], &seen["lines"][0]["quantity"]), (&changed["version"], &json!(2)));
    clerk.hand_over(WULIN, &code, &seen["version"]).await.ok();
    let line = &alice.get_order(&order).await["lines"][0];
    assert_eq!((&line["shipped"], &line["cancelled"]), (&json!(2), &json!(1)));
    app.finish_money().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pickup_against_refund_gives_the_goods_or_the_money_and_never_both() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    for _ in 0..8 {
        let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
        let code = alice.code(&order).await;
        let version = clerk.verify(WULIN, &code).await.ok()["version"].clone();
        let (handed_over, refund) =
            tokio::join!(clerk.hand_over(WULIN, &code, &version), alice.try_refund(&order, &[(0, 1)]));
        let refund = refund.ok();
        app.drain().await;
        let seen = alice.get_order(&order).await;
        if handed_over.status == 200 {
            assert_eq!((&seen["status"], &refund["lines"][0]["returned"]), (&json!("COMPLETED"), &json!(1)));
            assert_eq!(minor(&seen["refunded"]), 0, "goods that are gone must come back first");
        } else {
            let code = handed_over.body["code"].as_str().expect("a code").to_owned();
            assert!(["refund_open", "order_changed", "hand_over_not_possible"].contains(&&*code), "{code}");
            assert_eq!((&seen["status"], &seen["refunded"]), (&json!("CLOSED"), &seen["paid"]));
        }
        app.check().await;
    }
    app.finish_money().await;
}

#[tokio::test]
async fn an_order_that_was_refunded_or_is_on_hold_is_not_handed_over() {
    let app = TestApp::new().await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let code = alice.code(&order).await;
    let hold =
        |set: &str| format!("UPDATE orders SET ship_hold_ms = {set} WHERE id = '{}'", text(&order, "id"));
    app.execute(&hold("1")).await;
    clerk.ready(&order).await.refused(409, "ready_not_possible");
    let seen = clerk.verify(WULIN, &code).await.ok();
    assert_eq!(seen["hand_over"]["reason"], "hand_over_not_possible");
    clerk.hand_over(WULIN, &code, &seen["version"]).await.refused(409, "hand_over_not_possible");
    app.execute(&hold("NULL")).await;
    clerk.ready(&order).await.ok();
    alice.refund(&order).await;
    app.drain().await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    clerk.verify(WULIN, &code).await.refused(409, "hand_over_not_possible");
    assert!(clerk.pickups("READY").await.is_empty());
    app.finish_money().await;
}

#[tokio::test]
async fn a_customer_who_forgets_is_reminded_twice_and_then_a_refund_is_proposed() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let code = alice.code(&order).await;
    Clerk::of(&app).await.ready(&order).await.ok();
    app.drain().await;
    let told = "SELECT COUNT(*) FROM notices WHERE kind = 'confirm'";
    for (day, times) in [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3), (6, 3)] {
        assert_eq!(app.number(told).await, times, "on day {day}");
        assert_eq!(app.alerts("pickup_not_fetched").await, 0);
        app.advance_minutes(DAY_MIN * if day == 4 { 2 } else { 1 });
        app.drain().await;
    }
    assert_eq!((app.number(told).await, app.alerts("pickup_not_fetched").await), (3, 1));
    let clerk = Clerk::of(&app).await;
    let overdue = clerk.pickups("OVERDUE").await;
    assert_eq!((overdue.len(), &overdue[0]["proposed_refund"]), (1, &order["paid"]));
    assert_eq!(clerk.0.get("/admin/v1/todo").await.ok()["pickups_overdue"], 1);
    let codes = |order: &Value| -> Vec<String> {
        order["timeline"].as_array().unwrap().iter().map(|entry| entry["code"].to_string()).collect()
    };
    let staff_reads = codes(&clerk.detail(&order).await);
    let alice_reads = codes(&app.user("alice").await.get_order(&order).await);
    let [reminded, late] = ["\"pickup_reminded\"", "\"pickup_overdue\""];
    assert_eq!(staff_reads[staff_reads.len() - 3..], [reminded, reminded, late]);
    assert_eq!(alice_reads[alice_reads.len() - 2..], [reminded, reminded], "staff's alert is not for her");
    // Late is not too late.
    clerk.serve(WULIN, &code).await.ok();
    assert_eq!(app.alerts("pickup_not_fetched").await, 0);
    assert!(clerk.pickups("OVERDUE").await.is_empty());
    app.finish_money().await;
}

#[tokio::test]
async fn nobody_is_reminded_of_what_was_fetched_or_refunded() {
    let app = TestApp::with(|config| config.orders.pickup_days = 2).await;
    let (alice, clerk) = (app.user("alice").await, Clerk::of(&app).await);
    let fetched = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let refunded = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let forgotten = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    for order in [&fetched, &refunded, &forgotten] {
        clerk.ready(order).await.ok();
    }
    clerk.serve(WULIN, &alice.code(&fetched).await).await.ok();
    alice.refund(&refunded).await;
    app.drain().await;
    let told = "SELECT COUNT(*) FROM notices WHERE title = '你的商品还在门店等你'";
    app.advance_minutes(DAY_MIN);
    app.drain().await;
    app.advance_minutes(DAY_MIN);
    app.drain().await;
    assert_eq!((app.number(told).await, app.alerts("pickup_not_fetched").await), (1, 1));
    app.advance_minutes(DAY_MIN * 3);
    app.drain().await;
    assert_eq!(app.number(told).await, 1, "once staff knows, the customer is left alone");
    // The refund that was proposed.
    app.user("alice").await.refund(&forgotten).await;
    app.drain().await;
    assert_eq!(app.alerts("pickup_not_fetched").await, 0);
    app.finish_money().await;
}

#[tokio::test]
async fn a_reminder_whose_message_was_lost_is_made_by_the_sweep_once() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    Clerk::of(&app).await.ready(&order).await.ok();
    app.drain().await;
    assert_eq!(app.execute("DELETE FROM outbox WHERE event = 'PickupReminderDue'").await, 1);
    let told = "SELECT COUNT(*) FROM notices WHERE kind = 'confirm'";
    // Down for five days: of the two reminders that were missed one is made.
    app.advance_minutes(DAY_MIN * 5);
    for _ in 0..2 {
        minimall::orders::sweep(&app.ctx).await.expect("swept");
        app.drain().await;
        assert_eq!(app.number(told).await, 2);
    }
    app.advance_minutes(DAY_MIN * 2);
    app.drain().await;
    assert_eq!((app.number(told).await, app.alerts("pickup_not_fetched").await), (2, 1));
    app.finish_money().await;
}

#[tokio::test]
async fn a_clerk_serves_in_their_own_store_only_and_need_not_name_it() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let clerk = Clerk(app.member(Role::Clerk, &[WULIN]).await);
    let here = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let there = app.paid_in(&alice, HUBIN, "PICKUP", &[(SKU, 1)]).await;
    let listed = clerk.0.get("/admin/v1/pickups").await.ok();
    assert_eq!((items(&listed).len(), &items(&listed)[0]["id"]), (1, &here["id"]));
    let elsewhere = clerk.0.get(&format!("/admin/v1/pickups?store_id={HUBIN}")).await;
    elsewhere.refused(404, "store_not_found");
    clerk.ready(&there).await.refused(404, "order_not_found");
    clerk.verify(HUBIN, &alice.code(&there).await).await.refused(404, "store_not_found");
    let code = alice.code(&here).await;
    let verify = json!({ "code": code });
    let seen = clerk.0.post("/admin/v1/pickups/verify", &verify).await.ok();
    assert_eq!(seen["store_id"], WULIN);
    let done = json!({ "code": code, "version": seen["version"] });
    clerk.0.post("/admin/v1/pickups/hand-over", &done).await.ok();
    let viewer = app.member(Role::Viewer, &[WULIN]).await;
    viewer.post("/admin/v1/pickups/verify", &verify).await.refused(403, "role_not_allowed");
    let todo = Clerk(app.member(Role::Clerk, &[HUBIN]).await).0.get("/admin/v1/todo").await.ok();
    assert_eq!((&todo["pickups_to_prepare"], &todo["pickups_overdue"]), (&json!(1), &json!(0)));
    app.finish_money().await;
}
