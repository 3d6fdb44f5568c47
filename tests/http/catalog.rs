//! Products: the shelf of a store, scan-to-buy, and what staff adds and prices.

use serde_json::{Value, json};

use crate::support::{ONLINE_STORE, SKU, TestApp, sku};

const WULIN: &str = "sto_00000000000000000000000002";
const HUBIN: &str = "sto_00000000000000000000000003";
const PRODUCT: &str = "prd_00000000000000000000000001";

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["name"].as_str().expect("a name"))
        .collect()
}

#[tokio::test]
async fn the_shelf_of_a_store_is_searched_by_name_and_category_and_read_in_pages() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let all = user.get(&format!("/api/v1/products?store_id={WULIN}&limit=100")).await.ok();
    assert_eq!(names(&all).len(), 12);
    let tea = user.get(&format!("/api/v1/products?store_id={WULIN}&category=%E8%8C%B6%E5%8F%B6")).await.ok();
    assert_eq!(names(&tea), ["明前龙井", "九曲红梅", "桂花乌龙冷泡茶包"]);
    let found = user.get(&format!("/api/v1/products?store_id={WULIN}&q=%E6%A1%82%E8%8A%B1")).await.ok();
    assert_eq!(names(&found), ["桂花乌龙冷泡茶包", "西湖藕粉", "桂花糖"]);
    let mut seen = Vec::new();
    let mut path = format!("/api/v1/products?store_id={WULIN}&limit=5");
    loop {
        let page = user.get(&path).await.ok();
        seen.extend(names(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/products?store_id={WULIN}&limit=5&cursor={cursor}");
    }
    assert_eq!(seen, names(&all));
    app.finish().await;
}

#[tokio::test]
async fn a_store_shows_its_own_skus_prices_and_stock() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let online = user.get(&format!("/api/v1/products/{PRODUCT}?store_id={ONLINE_STORE}")).await.ok();
    assert_eq!(online["skus"].as_array().map(Vec::len), Some(3));
    let wulin = user.get(&format!("/api/v1/products/{PRODUCT}?store_id={WULIN}")).await.ok();
    assert_eq!(wulin["skus"].as_array().map(Vec::len), Some(2));
    let first = &wulin["skus"][0];
    assert_eq!(
        (&first["id"], &first["price"]),
        (&json!(SKU), &json!({ "amount": 12_800, "currency": "CNY" }))
    );
    assert_eq!((&first["stock"], first.get("left")), (&json!("IN_STOCK"), None));
    // Few of the fan, none of the cake.
    let fan =
        user.get(&format!("/api/v1/products/prd_00000000000000000000000011?store_id={WULIN}")).await.ok();
    assert_eq!((&fan["skus"][0]["stock"], &fan["skus"][0]["left"]), (&json!("LOW"), &json!(3)));
    let cake =
        user.get(&format!("/api/v1/products/prd_00000000000000000000000005?store_id={HUBIN}")).await.ok();
    assert_eq!(cake["skus"][0]["stock"], "OUT_OF_STOCK");
    app.finish().await;
}

#[tokio::test]
async fn a_barcode_is_scanned_to_buy_in_the_store_that_sells_it() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let scan = |barcode: &'static str, store: &'static str| {
        let user = user.clone();
        async move { user.get(&format!("/api/v1/skus/by-barcode/{barcode}?store_id={store}")).await }
    };
    let found = scan("6975612340018", WULIN).await.ok();
    assert_eq!((&found["id"], &found["product_id"]), (&json!(SKU), &json!(PRODUCT)));
    // The gift box is sold online only.
    scan("6975612340032", ONLINE_STORE).await.ok();
    let problem = scan("6975612340032", WULIN).await.refused(409, "sku_not_sold");
    assert_eq!(problem["sku_id"], sku(3));
    scan("4006381333931", WULIN).await.refused(404, "sku_not_found");
    for wrong in ["6975612340019", "12345", "697561234001x"] {
        scan(wrong, WULIN).await.refused(400, "invalid_request");
    }
    scan("6975612340018", "sto_00000000000000000000000099").await.refused(404, "store_not_found");
    app.finish().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let app = TestApp::new().await;
    let user = app.bare_user("alice").await.client;
    let nowhere = "sto_00000000000000000000000099";
    user.get(&format!("/api/v1/products?store_id={nowhere}")).await.refused(404, "store_not_found");
    let missing = format!("/api/v1/products/prd_00000000000000000000000099?store_id={WULIN}");
    user.get(&missing).await.refused(404, "product_not_found");
    let problem = user.get("/api/v1/products").await.refused(400, "invalid_request");
    assert_eq!(problem["field"], "store_id");
    app.client().get(&format!("/api/v1/products?store_id={WULIN}")).await.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn staff_adds_a_product_prices_it_and_people_find_it() {
    let app = TestApp::new().await;
    let (user, staff) = (app.bare_user("alice").await.client, app.staff().await);
    let product = json!({ "name": "Oat Latte", "category": "饮品" });
    let product = staff.post("/admin/v1/products", &product).await.ok();
    let id = product["id"].as_str().expect("an id");
    let sku = json!({ "name": "大杯", "barcode": "036000291452" });
    let sku = staff.post(&format!("/admin/v1/products/{id}/skus"), &sku).await.ok();
    assert_eq!(sku["barcode"], "0036000291452");
    let sku = sku["id"].as_str().expect("an id");
    let shelf = format!("/api/v1/products?store_id={WULIN}&q=oat");
    assert!(names(&user.get(&shelf).await.ok()).is_empty());
    let offer = json!({ "price": { "amount": 2_800, "currency": "CNY" }, "on_sale": true, "version": 0 });
    let path = format!("/admin/v1/stores/{WULIN}/offers/{sku}");
    staff.put(&path, &offer).await.ok();
    assert_eq!(names(&user.get(&shelf).await.ok()), ["Oat Latte"]);
    let supply = json!({ "quantity": 12, "kind": "SUPPLY", "reason": "first delivery" });
    staff.post(&format!("/admin/v1/stores/{WULIN}/stock/{sku}/moves"), &supply).await.ok();
    // UPC-A, as it is printed.
    let scanned = user.get(&format!("/api/v1/skus/by-barcode/036000291452?store_id={WULIN}")).await.ok();
    assert_eq!((&scanned["id"], &scanned["stock"]), (&json!(sku), &json!("IN_STOCK")));
    // Off sale, and archived: gone from the shelf.
    let off = json!({ "price": { "amount": 2_800, "currency": "CNY" }, "on_sale": false, "version": 1 });
    staff.put(&path, &off).await.ok();
    assert!(names(&user.get(&shelf).await.ok()).is_empty());
    staff.put(&path, &off).await.refused(409, "version_conflict");
    let page = staff.get(&format!("/admin/v1/products/{id}")).await.ok();
    assert_eq!(page["skus"][0]["id"], sku);
    app.finish().await;
}

#[tokio::test]
async fn an_archived_product_is_sold_nowhere() {
    let app = TestApp::new().await;
    let (user, staff) = (app.bare_user("alice").await.client, app.staff().await);
    let mut product = staff.get(&format!("/admin/v1/products/{PRODUCT}")).await.ok()["product"].clone();
    product["archived"] = true.into();
    staff.put(&format!("/admin/v1/products/{PRODUCT}"), &product).await.ok();
    user.get(&format!("/api/v1/products/{PRODUCT}?store_id={WULIN}")).await.refused(404, "product_not_found");
    user.get(&format!("/api/v1/skus/by-barcode/6975612340018?store_id={WULIN}"))
        .await
        .refused(409, "sku_not_sold");
    staff.put(&format!("/admin/v1/products/{PRODUCT}"), &product).await.refused(409, "version_conflict");
    app.finish().await;
}

#[tokio::test]
async fn products_skus_and_prices_that_can_not_be_are_refused_with_their_field() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let products = "/admin/v1/products".to_owned();
    let skus = format!("/admin/v1/products/{PRODUCT}/skus");
    for (path, body, field) in [
        (&products, json!({ "name": "", "category": "x" }), "/name"),
        (&products, json!({ "name": "x" }), "/category"),
        (&products, json!({ "name": "x", "category": "x", "image": "ftp://x" }), "/image"),
        (&products, json!({ "name": "   ", "category": "x" }), "/name"),
        (&skus, json!({ "name": "x", "barcode": "6975612340019" }), "/barcode"),
        (&skus, json!({ "name": "x", "barcode": "abc" }), "/barcode"),
    ] {
        let problem = staff.post(path, &body).await.refused(400, "invalid_request");
        assert_eq!(problem["field"], field, "{problem}");
    }
    staff
        .post(&skus, &json!({ "name": "x", "barcode": "6975612340018" }))
        .await
        .refused(409, "barcode_taken");
    let nowhere = "/admin/v1/products/prd_00000000000000000000000099/skus";
    staff.post(nowhere, &json!({ "name": "x" })).await.refused(404, "product_not_found");
    let path = format!("/admin/v1/stores/{WULIN}/offers/{SKU}");
    let offer = |amount: i64, currency: &str| json!({ "price": { "amount": amount, "currency": currency }, "on_sale": true, "version": 1 });
    for (body, field) in [
        (offer(0, "CNY"), "/price/amount"),
        (offer(1_000_000_001, "CNY"), "/price/amount"),
        (offer(100, "USD"), "/price/currency"),
        (offer(100, "XXX"), "/price/currency"),
    ] {
        assert_eq!(staff.put(&path, &body).await.refused(400, "invalid_request")["field"], field);
    }
    let unknown = format!("/admin/v1/stores/{WULIN}/offers/sku_00000000000000000000000099");
    staff.put(&unknown, &offer(100, "CNY")).await.refused(404, "sku_not_found");
    app.finish().await;
}
