//! Carts: of one user and one store, flagged rather than dropped, bounded.

use minimall::kernel::Id;
use minimall::kernel::SkuId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, ONLINE_STORE, SKU, TestApp, User, sku};

const OTHER_STORE: &str = "sto_00000000000000000000000002";

async fn put(user: &User, store: &str, sku: &str, quantity: i64) -> Value {
    let body = json!({ "store_id": store, "quantity": quantity });
    user.client.put(&format!("/api/v1/cart/lines/{sku}"), &body).await.ok()
}

async fn cart(user: &User, store: &str) -> Value {
    user.client.get(&format!("/api/v1/cart?store_id={store}")).await.ok()
}

/// (sku, quantity, flags) of each line.
fn lines(cart: &Value) -> Vec<(String, i64, Vec<String>)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let line = |line: &Value| {
        let flags = line["flags"].as_array().expect("flags").iter().map(text).collect();
        (text(&line["sku_id"]), line["quantity"].as_i64().expect("a quantity"), flags)
    };
    cart["lines"].as_array().expect("lines").iter().map(line).collect()
}

async fn set_offer(staff: &Client, store: &str, sku: &str, price: i64, on_sale: bool, version: i64) {
    let body =
        json!({ "price": { "amount": price, "currency": "CNY" }, "on_sale": on_sale, "version": version });
    staff.put(&format!("/admin/v1/stores/{store}/offers/{sku}"), &body).await.ok();
}

#[tokio::test]
async fn a_cart_belongs_to_one_user_and_one_store() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.bare_user("alice").await, app.bare_user("bob").await);
    put(&alice, ONLINE_STORE, SKU, 2).await;
    put(&alice, OTHER_STORE, &sku(2), 1).await;
    put(&bob, ONLINE_STORE, &sku(3), 1).await;
    assert_eq!(lines(&cart(&alice, ONLINE_STORE).await), [(SKU.to_owned(), 2, vec![])]);
    assert_eq!(lines(&cart(&alice, OTHER_STORE).await), [(sku(2), 1, vec![])]);
    assert_eq!(lines(&cart(&bob, ONLINE_STORE).await), [(sku(3), 1, vec![])]);
    app.finish().await;
}

#[tokio::test]
async fn putting_a_line_sets_its_quantity_and_answers_the_cart() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    put(&alice, ONLINE_STORE, SKU, 2).await;
    let shown = put(&alice, ONLINE_STORE, SKU, 3).await;
    assert_eq!(lines(&shown), [(SKU.to_owned(), 3, vec![])]);
    let price = shown["lines"][0]["offer"]["price"]["amount"].as_i64().expect("a price");
    assert_eq!(shown["goods_total"], json!({ "amount": 3 * price, "currency": "CNY" }));
    app.finish().await;
}

#[tokio::test]
async fn lines_are_removed_one_by_one_or_all_together_and_twice_is_fine() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    for n in 1..=3 {
        put(&alice, ONLINE_STORE, &sku(n), 1).await;
    }
    for _ in 0..2 {
        let path = format!("/api/v1/cart/lines/{SKU}?store_id={ONLINE_STORE}");
        assert_eq!(alice.client.delete(&path).await.status, 204);
    }
    assert_eq!(lines(&cart(&alice, ONLINE_STORE).await).len(), 2);
    for _ in 0..2 {
        let path = format!("/api/v1/cart?store_id={ONLINE_STORE}");
        assert_eq!(alice.client.delete(&path).await.status, 204);
    }
    assert!(lines(&cart(&alice, ONLINE_STORE).await).is_empty());
    app.finish().await;
}

#[tokio::test]
async fn lines_that_cannot_be_ordered_as_they_are_stay_and_say_why() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.bare_user("alice").await, app.staff().await);
    for (n, quantity) in [(1, 1), (2, 999), (3, 1), (4, 1)] {
        put(&alice, ONLINE_STORE, &sku(n), quantity).await;
    }
    set_offer(&staff, ONLINE_STORE, &sku(3), 100, true, 1).await;
    set_offer(&staff, ONLINE_STORE, &sku(4), 100, false, 1).await;
    let shown = cart(&alice, ONLINE_STORE).await;
    let flags: Vec<Vec<String>> = lines(&shown).into_iter().map(|(_, _, flags)| flags).collect();
    assert_eq!(flags, [vec![], vec!["out_of_stock"], vec!["price"], vec!["not_sold"]]);
    let first = shown["lines"][0]["offer"]["price"]["amount"].as_i64().expect("a price");
    assert_eq!(shown["goods_total"]["amount"], first + 100);
    // Setting the line again takes note of the new price.
    put(&alice, ONLINE_STORE, &sku(3), 1).await;
    assert!(lines(&cart(&alice, ONLINE_STORE).await)[2].2.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_quantity_is_from_1_to_999_and_the_answer_names_it() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    for quantity in [json!(0), json!(-1), json!(1000), json!("2"), json!(1.5), Value::Null] {
        let body = json!({ "store_id": ONLINE_STORE, "quantity": quantity });
        let refused = alice.client.put(&format!("/api/v1/cart/lines/{SKU}"), &body).await;
        assert_eq!(refused.refused(400, "invalid_request")["field"], "/quantity", "{quantity}");
    }
    assert!(lines(&cart(&alice, ONLINE_STORE).await).is_empty());
    app.finish().await;
}

#[tokio::test]
async fn what_a_store_does_not_sell_does_not_enter_a_cart() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let body = json!({ "store_id": ONLINE_STORE, "quantity": 1 });
    let unknown = format!("/api/v1/cart/lines/{}", sku(999));
    alice.client.put(&unknown, &body).await.refused(409, "sku_not_sold");
    let nowhere = json!({ "store_id": "sto_00000000000000000000000999", "quantity": 1 });
    alice.client.put(&format!("/api/v1/cart/lines/{SKU}"), &nowhere).await.refused(404, "store_not_found");
    let path = "/api/v1/cart?store_id=sto_00000000000000000000000999";
    alice.client.get(path).await.refused(404, "store_not_found");
    let guest = app.client().request(Method::GET, &format!("/api/v1/cart?store_id={ONLINE_STORE}"));
    app.client().send(guest).await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn a_cart_holds_at_most_100_lines() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let user = &alice.id;
    app.ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                for n in 0..99 {
                    sqlx::query(
                        "INSERT INTO cart_lines (user_id, store_id, sku_id, quantity, seen_price_minor, \
                         added_ms) VALUES (?, ?, ?, 1, 100, 0)",
                    )
                    .bind(user)
                    .bind(ONLINE_STORE)
                    .bind(SkuId::from_tail(&format!("9{n:0>25}")))
                    .execute(&mut **tx)
                    .await?;
                }
                Ok(())
            })
        })
        .await
        .expect("99 lines");
    let shown = put(&alice, ONLINE_STORE, &sku(1), 1).await;
    assert_eq!(lines(&shown).len(), 100);
    let body = json!({ "store_id": ONLINE_STORE, "quantity": 1 });
    let refused = alice.client.put(&format!("/api/v1/cart/lines/{}", sku(2)), &body).await;
    refused.refused(409, "cart_full");
    // What is in it can still be changed.
    put(&alice, ONLINE_STORE, &sku(1), 5).await;
    app.finish().await;
}
