//! Files of parcels: looked at as a whole, shipped as a whole, whatever happens on the way.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, SKU, TestApp, User, fresh_key, items, sku, text};

const BATCHES: &str = "/admin/v1/shipping-batches";
const HEAD: &str = "order,carrier,tracking_no,item,quantity\n";

async fn bring_as(staff: &Client, key: &str, file: impl Into<Vec<u8>>) -> Answer {
    let request = staff.request(Method::POST, BATCHES).header("Idempotency-Key", key);
    staff.send(request.header("Content-Type", "text/csv").body(file.into())).await
}

async fn bring(staff: &Client, file: impl Into<Vec<u8>>) -> Value {
    bring_as(staff, &fresh_key(), file).await.ok()
}

async fn apply(staff: &Client, batch: &Value) -> Answer {
    staff.post(&format!("{BATCHES}/{}/apply", text(batch, "id")), &json!({})).await
}

async fn read(staff: &Client, batch: &Value) -> Value {
    staff.get(&format!("{BATCHES}/{}", text(batch, "id"))).await.ok()
}

async fn paid(app: &TestApp, alice: &User, count: usize) -> Vec<Value> {
    let mut orders = Vec::new();
    for _ in 0..count {
        orders.push(app.paid_order(alice, &[(SKU, 2)]).await);
    }
    orders
}

/// Codes of the rows, by their lines.
fn codes(batch: &Value) -> Vec<(i64, String)> {
    let rows = items(&batch["rows"]).into_iter();
    let wrong = rows.filter(|row| row.get("code").is_some());
    wrong.map(|row| (row["line"].as_i64().unwrap(), text(&row, "code"))).collect()
}

#[tokio::test]
async fn a_file_from_a_spreadsheet_is_looked_at_then_shipped_and_told_to_wechat() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let orders = paid(&app, &alice, 3).await;
    let number = text(&orders[1]["attempts"][0], "out_trade_no");
    let file = format!(
        "收件人,订单号,快递公司,快递单号\r\n林,{},中通快递,7311\r\n林,{number},sf,SF7312\r\n\r\n林,{},商家自送,\r\n",
        text(&orders[0], "id"),
        text(&orders[2], "id"),
    );
    let gbk = encoding_rs::GBK.encode(&file).0.into_owned();
    let batch = bring(&staff, gbk).await;
    assert_eq!((&batch["state"], &batch["applicable"]), (&json!("CHECKED"), &json!(true)));
    assert_eq!(batch["row_counts"], json!({ "ready": 3, "wrong": 0, "shipped": 0, "failed": 0 }));
    assert_eq!(batch["rows"][1]["order_id"], orders[1]["id"]);
    assert_eq!(batch["rows"][2]["line"], 5);
    app.drain().await;
    for order in &orders {
        assert_eq!(alice.get_order(order).await["status"], "PAID");
    }
    assert_eq!(apply(&staff, &batch).await.ok()["state"], "APPLYING");
    app.drain().await;
    let done = read(&staff, &batch).await;
    assert_eq!((&done["state"], &done["row_counts"]["shipped"]), (&json!("APPLIED"), &json!(3)));
    let carriers = ["中通快递", "顺丰速运", "商家自送"];
    for (place, (order, carrier)) in orders.iter().zip(carriers).enumerate() {
        let seen = alice.get_order(order).await;
        assert_eq!(
            (&seen["status"], &seen["parcels"][0]["carrier_name"]),
            (&json!("SHIPPED"), &json!(carrier))
        );
        assert_eq!(done["rows"][place]["parcel_id"], seen["parcels"][0]["parcel_id"]);
    }
    assert!(app.channel_payments().await.iter().all(|payment| payment["order_state"] == 2));
    let listed = items(&staff.get(BATCHES).await.ok());
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&batch["id"], &json!("APPLIED")));
    let log = staff.get(&format!("/admin/v1/audit?object={}", text(&orders[0], "id"))).await.ok();
    assert_eq!(log["items"][0]["operation"], "shipOrder");
    app.finish().await;
}

#[tokio::test]
async fn each_kind_of_broken_row_is_named_with_its_line_and_nothing_is_shipped() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let good = app.paid_order(&alice, &[(SKU, 2), (&sku(2), 1)]).await;
    let there = app.paid_order(&alice, &[(SKU, 3)]).await;
    let line = there["lines"][0]["line_id"].clone();
    let part =
        json!({ "carrier": "ZTO", "tracking_no": "T1", "lines": [{ "line_id": line, "quantity": 1 }] });
    staff.post(&format!("/admin/v1/orders/{}/ship", text(&there, "id")), &part).await.ok();
    let unpaid = alice.order(&[(SKU, 1)]).await;
    let (good, there, unpaid) = (text(&good, "id"), text(&there, "id"), text(&unpaid, "id"));
    let other = "ord_00000000000000000000000009";
    let file = format!(
        "{HEAD}\
         {good},ZTO,G1,{SKU},1\n\
         {good},ZTO\n\
         ,ZTO,1,,\n\
         {other},ZTO,1,,\n\
         mm0,ZTO,1,,\n\
         {unpaid},ZTO,1,,\n\
         {good},,1,,\n\
         {good},顺丰,1,,\n\
         {good},ZTO,,,\n\
         {good},ZTO,7.3E+13,,\n\
         {there},ZTO,T1,,\n\
         {good},ZTO,G1,{SKU},1\n\
         {good},ZTO,G2,,1\n\
         {good},ZTO,G3,{sku9},1\n\
         {good},ZTO,G4,{SKU},0\n\
         {good},ZTO,G5,{SKU},two\n\
         {good},ZTO,G6,{SKU},2\n\
         {good},ZTO,G7,,\n\
         {good},ZTO,G8,,\n\
         {good},ZTO,G9,{SKU},\n",
        sku9 = sku(9),
    );
    let batch = bring(&staff, file).await;
    let expected = [
        (3, "row_malformed"),
        (4, "order_required"),
        (5, "order_not_found"),
        (6, "order_not_found"),
        (7, "order_not_shippable"),
        (8, "carrier_required"),
        (9, "carrier_unknown"),
        (10, "tracking_no_required"),
        (11, "tracking_no_invalid"),
        (12, "parcel_exists"),
        (13, "row_repeated"),
        (14, "item_required"),
        (15, "item_not_found"),
        (16, "quantity_invalid"),
        (17, "quantity_invalid"),
        (18, "quantity_not_shippable"),
        (20, "nothing_left"),
        (21, "nothing_left"),
    ];
    let expected: Vec<(i64, String)> =
        expected.iter().map(|(line, code)| (*line, (*code).to_owned())).collect();
    assert_eq!(codes(&batch), expected);
    assert_eq!(batch["applicable"], false);
    let refused = apply(&staff, &batch).await.refused(409, "shipping_batch_has_errors");
    let named: Vec<(i64, String)> = items(&refused["rows"])
        .iter()
        .map(|row| (row["line"].as_i64().unwrap(), text(row, "code")))
        .collect();
    assert_eq!(named, expected);
    app.drain().await;
    assert_eq!(app.number("SELECT COUNT(*) FROM parcels").await, 1);
    assert_eq!(read(&staff, &batch).await["state"], "CHECKED");
    app.finish().await;
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_as_a_whole() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let bring = |file: Vec<u8>| {
        let staff = staff.clone();
        async move { bring_as(&staff, &fresh_key(), file).await }
    };
    bring(Vec::new()).await.refused(400, "csv_header");
    bring(b"ord_1,SF,1\n".to_vec()).await.refused(400, "csv_header");
    bring(b"order,carrier\n1,2\n".to_vec()).await.refused(400, "csv_header");
    bring(HEAD.into()).await.refused(400, "csv_rows");
    bring(format!("{HEAD}{}", "a,b,c,,\n".repeat(501)).into()).await.refused(400, "csv_rows");
    bring(b"order,carrier,tracking_no\n\xff\xfe\x00,b,c\n".to_vec()).await.refused(400, "csv_encoding");
    bring(vec![b'a'; 300 * 1024]).await.refused(413, "body_too_large");
    // What browsers on Windows call such a file.
    let excel = staff.request(Method::POST, BATCHES).header("Idempotency-Key", fresh_key());
    let excel = excel.header("Content-Type", "application/vnd.ms-excel").body(format!("{HEAD}a,b,c,,\n"));
    assert_eq!(codes(&staff.send(excel).await.ok()), [(2, "order_not_found".to_owned())]);
    let open = bring(format!("{HEAD}a,b,c,,\nd,\"e,f,,\n").into()).await.ok();
    assert!(text(&open["rows"][1], "detail").contains("is a quote left open?"), "{open}");
    let json = staff.post(BATCHES, &json!({})).await.refused(415, "unsupported_media_type");
    assert!(text(&json, "detail").contains("text/csv"));
    let keyless = staff.request(Method::POST, BATCHES).header("Content-Type", "text/csv").body(HEAD);
    staff.send(keyless).await.refused(400, "idempotency_key_required");
    let nobody = app.client();
    bring_as(&nobody, &fresh_key(), HEAD).await.refused(401, "unauthenticated");
    let missing = json!({ "id": "bat_00000000000000000000000009" });
    apply(&staff, &missing).await.refused(404, "shipping_batch_not_found");
    app.finish().await;
}

#[tokio::test]
async fn rows_of_one_number_are_one_parcel_and_a_part_leaves_the_rest() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = app.paid_order(&alice, &[(SKU, 3), (&sku(2), 1)]).await;
    let (id, line) = (text(&order, "id"), text(&order["lines"][1], "line_id"));
    let file = format!("{HEAD}{id},ZTO,A,{SKU},2\n{id},ZTO,A,{line},\n");
    let batch = bring(&staff, file).await;
    apply(&staff, &batch).await.ok();
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!(seen["status"], "PARTIALLY_SHIPPED");
    assert_eq!(items(&seen["parcels"]).len(), 1);
    assert_eq!(items(&seen["parcels"][0]["lines"]).len(), 2);
    let rest = bring(&staff, format!("{HEAD}{id},ZTO,B,,\n")).await;
    apply(&staff, &rest).await.ok();
    app.drain().await;
    let seen = alice.get_order(&order).await;
    assert_eq!(
        (&seen["status"], &seen["parcels"][1]["lines"][0]["quantity"]),
        (&json!("SHIPPED"), &json!(1))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_file_is_brought_and_applied_once_under_its_key() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let orders = paid(&app, &alice, 2).await;
    let file = format!("{HEAD}{},ZTO,1,,\n{},ZTO,2,,\n", text(&orders[0], "id"), text(&orders[1], "id"));
    let key = fresh_key();
    let batch = bring_as(&staff, &key, file.clone()).await.ok();
    let again = bring_as(&staff, &key, file).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok()["id"], batch["id"]);
    bring_as(&staff, &key, HEAD).await.refused(409, "idempotency_key_reused");
    let path = format!("{BATCHES}/{}/apply", text(&batch, "id"));
    let key = fresh_key();
    staff.post_with_key(&path, &key, &json!({})).await.ok();
    app.drain().await;
    let again = staff.post_with_key(&path, &key, &json!({})).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok()["state"], "APPLIED");
    apply(&staff, &batch).await.refused(409, "shipping_batch_applied");
    // As if the program had died before it could say that all is done.
    app.execute("UPDATE shipping_batches SET state = 'APPLYING', ended_ms = NULL, next_ms = 1").await;
    app.drain().await;
    assert_eq!(app.number("SELECT COUNT(*) FROM parcels").await, 2);
    assert_eq!(read(&staff, &batch).await["state"], "APPLIED");
    app.finish().await;
}

#[tokio::test]
async fn a_crash_in_the_middle_leaves_no_parcel_half_and_the_rest_is_shipped_later() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let orders = paid(&app, &alice, 3).await;
    let rows: Vec<String> =
        orders.iter().zip(1..).map(|(o, n)| format!("{},ZTO,N{n},,\n", text(o, "id"))).collect();
    let batch = bring(&staff, format!("{HEAD}{}", rows.concat())).await;
    let breaks = "(SELECT tracking_no FROM parcels WHERE id = NEW.parcel_id) = 'N2'";
    let trigger = if app.has_server() {
        format!("FOR EACH ROW IF {breaks} THEN SIGNAL SQLSTATE '45000'; END IF")
    } else {
        format!("WHEN {breaks} BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END")
    };
    app.execute(&format!("CREATE TRIGGER crash BEFORE INSERT ON parcel_lines {trigger}")).await;
    apply(&staff, &batch).await.ok();
    app.drain().await;
    let counts = read(&staff, &batch).await["row_counts"].clone();
    assert_eq!((&counts["shipped"], &counts["ready"]), (&json!(2), &json!(1)));
    assert_eq!(alice.get_order(&orders[1]).await["status"], "PAID");
    app.check().await;
    app.execute("DROP TRIGGER crash").await;
    app.live_through_minutes(1).await;
    let done = read(&staff, &batch).await;
    assert_eq!((&done["state"], &done["row_counts"]["shipped"]), (&json!("APPLIED"), &json!(3)));
    assert_eq!(app.number("SELECT COUNT(*) FROM parcels").await, 3);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_is_refunded_after_the_look_keeps_the_whole_file_from_being_shipped() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let orders = paid(&app, &alice, 2).await;
    let file = format!("{HEAD}{},ZTO,1,,\n{},ZTO,2,,\n", text(&orders[0], "id"), text(&orders[1], "id"));
    let batch = bring(&staff, file).await;
    alice.refund(&orders[1]).await;
    app.drain().await;
    let refused = apply(&staff, &batch).await.refused(409, "shipping_batch_has_errors");
    assert_eq!(
        (&refused["rows"][0]["line"], &refused["rows"][0]["code"]),
        (&json!(3), &json!("order_not_shippable"))
    );
    app.drain().await;
    assert_eq!(alice.get_order(&orders[0]).await["status"], "PAID");
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_is_refunded_while_the_file_is_applied_fails_alone() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let orders = paid(&app, &alice, 2).await;
    let file = format!("{HEAD}{},ZTO,1,,\n{},ZTO,2,,\n", text(&orders[0], "id"), text(&orders[1], "id"));
    let batch = bring(&staff, file).await;
    apply(&staff, &batch).await.ok();
    alice.refund(&orders[1]).await;
    app.drain().await;
    let done = read(&staff, &batch).await;
    assert_eq!(done["state"], "APPLIED_IN_PART");
    let alerts = items(&staff.get("/admin/v1/alerts").await.ok());
    let alert =
        alerts.iter().find(|alert| alert["kind"] == "shipping_batch_failed").expect("somebody is told");
    assert_eq!((&alert["object"], text(alert, "detail").contains("1 of 2")), (&batch["id"], true));
    apply(&staff, &batch).await.refused(409, "shipping_batch_applied");
    assert_eq!(done["row_counts"], json!({ "ready": 0, "wrong": 0, "shipped": 1, "failed": 1 }));
    assert_eq!(codes(&done), [(3, "order_not_shippable".to_owned())]);
    let seen = alice.get_order(&orders[1]).await;
    assert_eq!((&seen["status"], &seen["parcels"]), (&json!("CLOSED"), &json!([])));
    app.finish().await;
}

#[tokio::test]
async fn a_file_and_refunds_at_the_same_moment_never_take_the_same_units() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let orders = paid(&app, &alice, 4).await;
    let rows: Vec<String> =
        orders.iter().zip(1..).map(|(o, n)| format!("{},ZTO,N{n},,\n", text(o, "id"))).collect();
    let batch = bring(&staff, format!("{HEAD}{}", rows.concat())).await;
    apply(&staff, &batch).await.ok();
    let refunds =
        futures_util::future::join_all(orders.iter().map(|order| alice.try_refund(order, &[(0, 1)])));
    let ((), refunds) = tokio::join!(app.drain(), refunds);
    assert!(refunds.iter().all(|refund| refund.status == 201));
    app.drain().await;
    for order in &orders {
        let line = alice.get_order(order).await["lines"][0].clone();
        let (shipped, cancelled) = (line["shipped"].as_i64().unwrap(), line["cancelled"].as_i64().unwrap());
        assert!(shipped + cancelled <= 2 && shipped >= 1, "{line}");
    }
    assert_eq!(read(&staff, &batch).await["row_counts"]["shipped"], 4);
    app.finish().await;
}
