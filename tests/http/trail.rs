//! The trail of an order: who did what and why, in full for staff, in the customer's words for the customer.

use serde_json::{Value, json};

use crate::support::{Client, SKU, TestApp, items, text};

async fn trail(staff: &Client, order: &Value) -> Vec<Value> {
    items(&staff.get(&format!("/admin/v1/orders/{}", text(order, "id"))).await.ok()["timeline"])
}

#[track_caller]
fn entry<'a>(trail: &'a [Value], code: &str) -> &'a Value {
    trail
        .iter()
        .rev()
        .find(|entry| entry["code"] == code)
        .unwrap_or_else(|| panic!("no {code} in {trail:#?}"))
}

#[tokio::test]
async fn every_step_says_who_and_why_to_staff_and_what_to_the_customer() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    alice.client.patch("/api/v1/me", &json!({ "nickname": "小林" })).await.ok();
    let name = text(&staff.get("/admin/v1/me").await.ok(), "name");
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let parcel = json!({ "carrier": "ZTO", "tracking_no": "1" });
    let shipped = staff.post(&format!("/admin/v1/orders/{}/ship", text(&order, "id")), &parcel).await.ok();
    app.drain().await;
    let parcel = text(&shipped["parcels"][0], "parcel_id");
    let path = format!("/admin/v1/orders/{}/parcels/{parcel}/correct-tracking", text(&order, "id"));
    let correction = json!({ "carrier": "SF", "tracking_no": "SF2", "reason": "抄错了" });
    staff.post(&path, &correction).await.ok();
    let refund = alice.try_refund(&order, &[(0, 1)]).await.ok();
    let reject = format!("/admin/v1/refunds/{}/reject", text(&refund, "id"));
    staff.post(&reject, &json!({ "reason": "已拆封" })).await.ok();
    app.drain().await;
    // Received by itself, and the after-sale window behind that.
    for days in [11, 8] {
        app.advance_minutes(days * 24 * 60);
        app.drain().await;
    }
    let trail = trail(&app.staff().await, &order).await;
    let told = |code: &str| {
        let entry = entry(&trail, code);
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        (text("actor_kind"), text("actor_name"), text("summary"), text("reason"))
    };
    let expected = |kind: &str, name: &str, summary: &str, reason: &str| {
        (kind.to_owned(), name.to_owned(), summary.to_owned(), reason.to_owned())
    };
    assert_eq!(told("payment_started"), expected("user", "小林", "发起付款", ""));
    assert_eq!(told("payment_succeeded").1, "微信支付");
    assert_eq!(told("shipped_all"), expected("staff", &name, "发出一个包裹（2 件），已全部发出", ""));
    let corrected = "更正物流信息：中通快递 1 → 顺丰速运 SF2";
    assert_eq!(told("tracking_corrected"), expected("staff", &name, corrected, "抄错了"));
    assert_eq!(told("refund_ended"), expected("staff", &name, "拒绝退款", "已拆封"));
    assert_eq!(told("completed").0, "system");
    assert_eq!(told("finished"), expected("system", "系统：到时", "售后期结束", ""));
    for entry in &trail {
        assert!(!text(entry, "summary").is_empty() && !text(entry, "actor_name").is_empty(), "{entry}");
    }
    let seen = items(&app.user("alice").await.get_order(&order).await["timeline"]);
    let hidden = ["payment_started"];
    assert_eq!(seen.len(), trail.len() - hidden.len());
    for entry in &seen {
        assert!(!hidden.contains(&entry["code"].as_str().unwrap()));
        assert!(entry.get("actor_name").is_none() && entry.get("reason").is_none());
    }
    app.finish().await;
}

#[tokio::test]
async fn staff_that_cancels_says_why() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = alice.order(&[(SKU, 1)]).await;
    let path = format!("/admin/v1/orders/{}/cancel", text(&order, "id"));
    staff.post(&path, &json!({ "reason": "缺货" })).await.ok();
    let trail = trail(&staff, &order).await;
    let cancelled = entry(&trail, "cancelled");
    assert_eq!((&cancelled["summary"], &cancelled["reason"]), (&json!("商家取消订单"), &json!("缺货")));
    assert_eq!(alice.get_order(&order).await["timeline"][1]["text"], "商家取消了订单：缺货");
    app.finish().await;
}
