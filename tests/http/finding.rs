//! Staff finds orders and people by whatever is known of them, and sees in full only what is asked for.

use std::slice::from_ref;

use minimall::staff::Role;
use serde_json::{Value, json};

use crate::support::{Client, ONLINE_STORE, SKU, TestApp, User, items, sku, text};

async fn found(staff: &Client, query: &str) -> Vec<String> {
    let list = staff.get(&format!("/admin/v1/orders?{query}")).await.ok();
    items(&list).iter().map(|order| text(order, "id")).collect()
}

/// A query whose value has characters of its own.
fn query(name: &str, value: &str) -> String {
    let url = reqwest::Url::parse_with_params("http://x/", [(name, value)]).expect("a query");
    url.query().expect("a query").to_owned()
}

impl TestApp {
    /// Gives somebody a phone number, as WeChat would.
    async fn with_phone(&self, user: &User, phone: &str) {
        let asked = json!({ "openid": user.openid, "phone": phone });
        let code = self.sandbox_client().post("/sandbox/phone-codes", &asked).await.ok();
        user.client.put("/api/v1/me/phone", &json!({ "code": code["code"] })).await.ok();
    }
}

#[tokio::test]
async fn one_field_finds_orders_by_whatever_somebody_has_at_hand() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.user("alice").await, app.user("bob").await, app.staff().await);
    app.with_phone(&bob, "13900139000").await;
    let paid = app.paid_order(&alice, &[(SKU, 1)]).await;
    app.advance_minutes(1);
    let other = bob.order(&[(&sku(4), 1)]).await;
    let parcel = json!({ "carrier": "ZTO", "tracking_no": "78812345678901" });
    staff.post(&format!("/admin/v1/orders/{}/ship", text(&paid, "id")), &parcel).await.ok();
    app.drain().await;
    let refund = alice.refund(&paid).await;
    let attempt = &paid["attempts"][0];
    let line = &paid["lines"][0];
    let name = text(line, "product_name");
    let part: String = name.chars().skip(1).collect();
    let (paid, other) = (text(&paid, "id"), text(&other, "id"));
    for q in [
        paid.clone(),
        format!(" {paid} "),
        text(attempt, "out_trade_no"),
        text(attempt, "transaction_id"),
        "78812345678901".to_owned(),
        text(&refund, "id"),
        alice.id.clone(),
        text(line, "sku_id"),
        text(line, "product_id"),
        name,
        part,
    ] {
        assert_eq!(found(&staff, &query("q", &q)).await, from_ref(&paid), "{q}");
    }
    // The recipient's number is the same on both, the customer's own only one person's.
    assert_eq!(found(&staff, &query("q", "13800138000")).await, [other.clone(), paid.clone()]);
    assert_eq!(found(&staff, &query("q", "+86 139 0013 9000")).await, from_ref(&other));
    assert_eq!(found(&staff, &query("phone", "13900139000")).await, from_ref(&other));
    for nothing in ["13700137000", "mm0123456789", "40718293", "ord_00000000000000000000000009", "没有的东西"]
    {
        assert!(found(&staff, &query("q", nothing)).await.is_empty(), "{nothing}");
    }
    app.finish().await;
}

#[tokio::test]
async fn filters_go_together_and_pages_follow_one_another() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.user("alice").await, app.user("bob").await, app.staff().await);
    let mut placed = Vec::new();
    for n in 0..5 {
        let who = if n % 2 == 0 { &alice } else { &bob };
        placed.push(who.order(&[(&sku(1 + n % 2), 1)]).await);
        app.advance_minutes(1);
    }
    let newest_first =
        |which: &[usize]| -> Vec<String> { which.iter().rev().map(|n| text(&placed[*n], "id")).collect() };
    let paged = async |query: &str| {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = staff.get(&format!("/admin/v1/orders?limit=2&{query}{cursor}")).await.ok();
            all.extend(items(&page).iter().map(|order| text(order, "id")));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    };
    assert_eq!(paged("").await, newest_first(&[0, 1, 2, 3, 4]));
    assert_eq!(paged(&format!("store_id={ONLINE_STORE}")).await, newest_first(&[0, 1, 2, 3, 4]));
    assert_eq!(paged("fulfilment=DELIVERY").await, newest_first(&[0, 1, 2, 3, 4]));
    assert_eq!(paged(&format!("user_id={}", alice.id)).await, newest_first(&[0, 2, 4]));
    assert_eq!(paged(&format!("sku_id={}", sku(2))).await, newest_first(&[1, 3]));
    assert_eq!(paged("phone=13800138000").await, newest_first(&[0, 1, 2, 3, 4]));
    alice.cancel(&placed[2]).await.ok();
    assert_eq!(paged("status=CLOSED").await, newest_first(&[2]));
    assert_eq!(paged(&format!("status=PENDING_PAYMENT&user_id={}", alice.id)).await, newest_first(&[0, 4]));
    assert_eq!(paged(&format!("status=PENDING_PAYMENT&sku_id={SKU}")).await, newest_first(&[0, 4]));
    assert_eq!(paged("status=PENDING_PAYMENT&fulfilment=DELIVERY").await, newest_first(&[0, 1, 3, 4]));
    assert!(paged("fulfilment=PICKUP").await.is_empty());
    assert_eq!(paged(&format!("q={}&status=CLOSED", alice.id)).await, newest_first(&[2]));
    assert!(paged(&format!("q={}&user_id={}", alice.id, bob.id)).await.is_empty());
    assert!(paged(&format!("number={}&status=PAID", text(&placed[0], "id"))).await.is_empty());
    let (from, until) = (text(&placed[1], "placed_at"), text(&placed[3], "placed_at"));
    assert_eq!(paged(&format!("placed_from={from}&placed_until={until}")).await, newest_first(&[1, 2]));
    app.finish().await;
}

#[tokio::test]
async fn names_of_goods_are_those_of_the_day_and_looked_for_in_a_bounded_span() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = alice.order(&[(SKU, 1)]).await;
    app.drain().await;
    let staff = app.staff().await;
    let name = text(&order["lines"][0], "product_name");
    app.execute("UPDATE products SET name = 'renamed', search_text = 'renamed'").await;
    assert_eq!(found(&staff, &query("goods", &name)).await, [text(&order, "id")]);
    assert!(found(&staff, "goods=renamed").await.is_empty());
    app.advance_minutes(32 * 24 * 60);
    app.drain().await;
    let staff = app.staff().await;
    assert!(found(&staff, &query("goods", &name)).await.is_empty());
    let from = text(&order, "placed_at");
    assert_eq!(found(&staff, &format!("{}&placed_from={from}", query("goods", &name))).await.len(), 1);
    assert_eq!(found(&staff, &format!("{}&user_id={}", query("goods", &name), alice.id)).await.len(), 1);
    app.advance_minutes(61 * 24 * 60);
    app.drain().await;
    let staff = app.staff().await;
    let far = staff.get(&format!("/admin/v1/orders?{}&placed_from={from}", query("goods", &name))).await;
    assert_eq!(far.refused(400, "invalid_request")["field"], "placed_from");
    app.finish_unquiet().await;
}

#[tokio::test]
async fn people_are_found_by_id_phone_and_nickname() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.bare_user("alice").await, app.bare_user("bob").await, app.staff().await);
    app.advance_minutes(1);
    let carol = app.bare_user("carol").await;
    for (user, name) in [(&alice, "小林"), (&bob, "小满"), (&carol, "小林二")] {
        user.client.patch("/api/v1/me", &json!({ "nickname": name })).await.ok();
    }
    app.with_phone(&bob, "13900139000").await;
    let people = async |query: String| {
        let list = staff.get(&format!("/admin/v1/users?{query}")).await.ok();
        items(&list).iter().map(|user| text(user, "id")).collect::<Vec<_>>()
    };
    assert_eq!(people(String::new()).await[0], carol.id);
    assert_eq!(people(query("q", &alice.id)).await, from_ref(&alice.id));
    assert_eq!(people(query("q", "139 0013 9000")).await, from_ref(&bob.id));
    assert_eq!(people(query("q", "小林")).await, [alice.id.clone(), carol.id.clone()]);
    assert!(people(query("q", "林")).await.is_empty());
    let page = staff.get(&format!("/admin/v1/users?limit=1&{}", query("q", "小"))).await.ok();
    assert_eq!(page["items"][0]["id"], alice.id);
    let next = format!("limit=1&{}&cursor={}", query("q", "小"), text(&page, "next_cursor"));
    assert_eq!(people(next).await, from_ref(&carol.id));
    // Whose stores are limited has no list of everybody, and finds who has ordered there.
    let clerk = app.member(Role::Clerk, &[ONLINE_STORE]).await;
    for everybody in ["".to_owned(), query("q", "小")] {
        let refused =
            clerk.get(&format!("/admin/v1/users?{everybody}")).await.refused(400, "invalid_request");
        assert_eq!(refused["field"], "q");
    }
    let dora = app.user("dora").await;
    let of_dora = format!("/admin/v1/users?{}", query("q", &dora.id));
    assert!(items(&clerk.get(&of_dora).await.ok()).is_empty());
    dora.order(&[(SKU, 1)]).await;
    assert_eq!(items(&clerk.get(&of_dora).await.ok())[0]["id"], dora.id);
    app.finish().await;
}

#[tokio::test]
async fn somebodys_page_has_their_orders_and_coupons_and_the_phone_only_on_demand() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    app.drain().await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let page = format!("/admin/v1/users/{}", alice.id);
    let seen = staff.get(&page).await.ok();
    assert_eq!((&seen["id"], &seen["orders"][0]["id"]), (&json!(alice.id), &order["id"]));
    assert_eq!(seen["order_counts"], json!([{ "status": "PAID", "count": 1 }]));
    assert_eq!(items(&seen["coupons"]).len(), alice.coupons().await.len());
    let reveal = format!("{page}/reveal-phone");
    let why = json!({ "reason": "顾客来电" });
    staff.post(&reveal, &why).await.refused(409, "phone_not_known");
    app.with_phone(&alice, "13900139000").await;
    let seen = staff.get(&page).await;
    assert!(!String::from_utf8_lossy(&seen.bytes).contains("13900139000"));
    assert_eq!(seen.ok()["phone_masked"], "139****9000");
    let refused = staff.post(&reveal, &json!({})).await.refused(400, "invalid_request");
    assert_eq!(refused["field"], "/reason");
    assert_eq!(staff.post(&reveal, &why).await.ok()["phone"], "13900139000");
    let log = staff.get(&format!("/admin/v1/audit?object={}", alice.id)).await;
    assert!(!String::from_utf8_lossy(&log.bytes).contains("13900139000"));
    let rows = items(&log.ok());
    assert_eq!(
        (&rows[0]["operation"], &rows[0]["after"]["reason"]),
        (&json!("revealPhone"), &json!("顾客来电"))
    );
    let nobody = "/admin/v1/users/usr_00000000000000000000000009";
    staff.get(nobody).await.refused(404, "user_not_found");
    staff.post(&format!("{nobody}/reveal-phone"), &why).await.refused(404, "user_not_found");
    app.finish().await;
}

#[tokio::test]
async fn whom_an_order_goes_to_is_masked_for_staff_and_shown_in_full_on_demand() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let first = app.paid_order(&alice, &[(SKU, 1)]).await;
    let second = alice.order(&[(SKU, 1)]).await;
    assert_eq!(first["address"]["recipient"], "林小满");
    for answer in [
        staff.get(&format!("/admin/v1/orders/{}", text(&first, "id"))).await,
        staff.get("/admin/v1/orders").await,
        staff.get(&format!("/admin/v1/users/{}", alice.id)).await,
    ] {
        let shown = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert!(shown.contains("林**") && shown.contains("138****8000") && shown.contains("西湖区"));
        assert!(!shown.contains("小满") && !shown.contains("文三路"), "{shown}");
    }
    let reveal = "/admin/v1/orders/reveal-recipients";
    let asked = |ids: &[&Value]| json!({ "order_ids": ids, "reason": "打印面单" });
    let shown = items(&staff.post(reveal, &asked(&[&second["id"], &first["id"]])).await.ok());
    assert_eq!(shown.len(), 2);
    assert_eq!((&shown[0]["order_id"], &shown[0]["phone"]), (&second["id"], &json!("13800138000")));
    assert_eq!(
        (&shown[1]["recipient"], &shown[1]["detail"]),
        (&json!("林小满"), &json!("文三路 100 号 2 幢 301"))
    );
    let log = items(&staff.get(&format!("/admin/v1/audit?object={}", text(&first, "id"))).await.ok());
    assert_eq!(
        (&log[0]["operation"], &log[0]["after"]["reason"]),
        (&json!("revealRecipients"), &json!("打印面单"))
    );
    let missing = json!("ord_00000000000000000000000009");
    let refused = staff.post(reveal, &asked(&[&second["id"], &missing])).await;
    assert_eq!(refused.refused(404, "order_not_found")["field"], "/order_ids/1");
    let log = items(&staff.get(&format!("/admin/v1/audit?object={}", text(&second, "id"))).await.ok());
    assert_eq!(log.len(), 1, "what was refused showed nothing");
    let trail =
        items(&staff.get(&format!("/admin/v1/orders/{}", text(&second, "id"))).await.ok()["timeline"]);
    let looks: Vec<&Value> = trail.iter().filter(|entry| entry["code"] == "recipient_revealed").collect();
    assert_eq!((looks.len(), &looks[0]["reason"]), (1, &json!("打印面单")));
    assert!(!alice.get_order(&second).await["timeline"].to_string().contains("recipient_revealed"));
    staff.post(reveal, &asked(&[])).await.refused(400, "invalid_request");
    alice.client.post(reveal, &asked(&[&first["id"]])).await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn an_order_whose_address_is_damaged_is_shown_without_it_and_hides_no_other() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let damaged = app.paid_order(&alice, &[(SKU, 1)]).await;
    let whole = app.paid_order(&alice, &[(SKU, 1)]).await;
    let (id, other) = (text(&damaged, "id"), text(&whole, "id"));
    app.execute(&format!("UPDATE orders SET address_sealed = 'damaged' WHERE id = '{id}'")).await;
    let person = staff.get(&format!("/admin/v1/users/{}", alice.id)).await.ok();
    for list in [
        staff.get("/admin/v1/orders").await.ok(),
        staff.get("/admin/v1/orders?q=13800138000").await.ok(),
        person["orders"].clone(),
        alice.client.get("/api/v1/orders").await.ok(),
    ] {
        let orders = items(&list);
        assert_eq!((&orders[0]["id"], &orders[1]["id"]), (&whole["id"], &damaged["id"]));
        assert!(orders[0]["address"].is_object() && orders[0]["address_unreadable"] == false);
        assert!(orders[1].get("address").is_none() && orders[1]["address_unreadable"] == true);
    }
    let detail = staff.get(&format!("/admin/v1/orders/{id}")).await.ok();
    assert_eq!((&detail["status"], &detail["address_unreadable"]), (&json!("PAID"), &json!(true)));
    assert_eq!(alice.get_order(&damaged).await["address_unreadable"], true);
    let both = json!({ "order_ids": [other, id], "reason": "打印面单" });
    let refused = staff.post("/admin/v1/orders/reveal-recipients", &both).await;
    assert_eq!(refused.refused(409, "recipient_unreadable")["field"], "/order_ids/1");
    app.finish().await;
}

#[tokio::test]
async fn refunds_and_payments_are_listed_by_store_and_order() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let first = app.paid_order(&alice, &[(SKU, 1)]).await;
    let second = app.paid_order(&alice, &[(SKU, 1)]).await;
    alice.refund(&second).await;
    app.drain().await;
    let (first, second) = (text(&first, "id"), text(&second, "id"));
    let listed = async |path: &str, query: String| {
        let list = staff.get(&format!("/admin/v1/{path}?{query}")).await.ok();
        items(&list).iter().map(|row| text(row, "order_id")).collect::<Vec<_>>()
    };
    let store = |id: &str| format!("store_id={id}");
    assert_eq!(listed("payments", store(ONLINE_STORE)).await, [second.clone(), first.clone()]);
    assert_eq!(listed("refunds", store(ONLINE_STORE)).await, from_ref(&second));
    for path in ["payments", "refunds"] {
        assert!(listed(path, store("sto_00000000000000000000000002")).await.is_empty(), "{path}");
    }
    assert_eq!(listed("payments", format!("order_id={first}")).await, from_ref(&first));
    assert_eq!(listed("refunds", format!("order_id={second}")).await, from_ref(&second));
    assert!(listed("refunds", format!("order_id={first}")).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn of_a_customers_coupons_other_stores_learn_no_order() {
    let app = TestApp::new().await;
    let (alice, owner) = (app.user("alice").await, app.staff().await);
    let coupon = app.coupon(&alice, 700).await;
    let quote = alice.quote(&[(SKU, 1)], &[&coupon]).await;
    let order = alice.place(&quote).await.ok();
    let path = format!("/admin/v1/users/{}/coupons", alice.id);
    let held = |list: &Value| {
        let row = items(list).into_iter().find(|row| row["id"] == json!(coupon)).expect("the coupon");
        row.get("order_id").cloned()
    };
    assert_eq!(held(&owner.get(&path).await.ok()), Some(order["id"].clone()));
    let inside = app.member(Role::Clerk, &[ONLINE_STORE]).await;
    assert_eq!(held(&inside.get(&path).await.ok()), None);
    let outside = app.member(Role::Viewer, &["sto_00000000000000000000000002"]).await;
    outside.get(&path).await.refused(404, "user_not_found");
    app.finish().await;
}
