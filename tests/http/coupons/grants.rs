//! Coupons that an event brings: the first login, a settled refund.

use serde_json::{Value, json};

use super::{
    COMPENSATION, NEW_USER, coupon, coupons_of, deliver_again, grant, kinds, register_again, template,
};
use crate::support::{SKU, TestApp};

#[tokio::test]
async fn the_first_login_brings_one_new_user_coupon_however_often_the_event_comes() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    assert!(alice.coupons().await.is_empty(), "the login does not wait for the coupon");
    app.drain().await;
    assert_eq!(coupons_of(&alice, NEW_USER).await.len(), 1);
    app.bare_user("alice").await;
    register_again(&app, &alice).await;
    app.drain().await;
    deliver_again(&app, "coupons.new-user").await;
    app.drain().await;
    assert_eq!(coupons_of(&alice, NEW_USER).await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn the_gate_of_the_new_user_coupon_is_set_after_the_commit_and_holds_no_phone_number() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let gate = format!("gate:new-user:{}", alice.id);
    assert!(app.ctx.kv.get(&gate).await.expect("kv").is_none());
    app.drain().await;
    let value = app.ctx.kv.get(&gate).await.expect("kv").expect("the gate");
    let value: Value = serde_json::from_slice(&value).expect("JSON");
    assert_eq!(value, json!({ "user_id": alice.id, "phone_hash": null }));
    app.finish().await;
}

#[tokio::test]
async fn with_the_gate_lost_or_kv_down_the_unique_key_decides() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    app.drain().await;
    app.ctx.kv.delete(&format!("gate:new-user:{}", alice.id)).await.expect("kv");
    register_again(&app, &alice).await;
    app.drain().await;
    app.ctx.kv.set_available(false);
    let bob = app.bare_user("bob").await;
    app.drain().await;
    for user in [&alice, &bob] {
        register_again(&app, user).await;
        app.drain().await;
        assert_eq!(coupons_of(user, NEW_USER).await.len(), 1);
    }
    app.ctx.kv.set_available(true);
    app.finish().await;
}

#[tokio::test]
async fn a_configured_template_that_does_not_exist_grants_nothing_and_blocks_nothing() {
    let missing = "tpl_00000000000000000000000zzz".to_owned();
    let app = TestApp::with(|config| config.coupons.new_user_template = missing).await;
    let alice = app.bare_user("alice").await;
    app.drain().await;
    assert!(alice.coupons().await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_whole_refund_before_shipping_returns_the_coupon_once_and_brings_one_compensation() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let id = grant(&staff, &alice, &template(&staff, json!({})).await).await;
    let order = alice.order_with(&[(SKU, 1)], &[&id]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    let refund = alice.refund(&order).await;
    app.drain().await;
    deliver_again(&app, "coupons.refund").await;
    app.drain().await;
    assert_eq!(coupon(&alice, &id).await["status"], "UNUSED");
    assert_eq!(kinds(&app, &id).await, ["GRANTED", "LOCKED", "USED", "GIVEN_BACK"]);
    let compensation = coupons_of(&alice, COMPENSATION).await;
    assert_eq!(compensation.len(), 1, "for {}", refund["id"]);
    assert_eq!(compensation[0]["source"], "refund");
    app.finish().await;
}

#[tokio::test]
async fn a_compensation_that_a_refund_stored_is_owed_though_its_template_is_paused() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    let path = format!("/admin/v1/coupon-templates/{COMPENSATION}");
    staff.patch(&path, &json!({ "paused": true })).await.ok();
    alice.refund(&order).await;
    app.drain().await;
    assert_eq!(coupons_of(&alice, COMPENSATION).await.len(), 1);
    app.finish().await;
}
