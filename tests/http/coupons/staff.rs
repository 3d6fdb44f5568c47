//! What the staff does: templates, gifts, voids.

use minimall::checks;
use serde_json::json;

use super::{CLAIMABLE, claim, cny, coupon, grant, kinds, run_sql, template, template_body, void};
use crate::support::{SKU, TestApp, fresh_key};

#[tokio::test]
async fn a_coupon_is_valid_through_its_last_day_in_shanghai() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.bare_user("alice").await, app.staff().await);
    let window = json!({ "first_day": "2026-03-15", "last_day": "2026-03-16" });
    let fixed = grant(&staff, &alice, &template(&staff, json!({ "validity": window })).await).await;
    let days = grant(&staff, &alice, &template(&staff, json!({ "validity": { "days": 2 } })).await).await;
    let (fixed, days) = (coupon(&alice, &fixed).await, coupon(&alice, &days).await);
    assert_eq!(fixed["valid_from"], "2026-03-14T16:00:00.000Z");
    assert_eq!(fixed["valid_until"], "2026-03-16T16:00:00.000Z");
    assert_eq!(days["valid_from"], days["created_at"]);
    assert_eq!(days["valid_until"], "2026-03-16T16:00:00.000Z");
    app.finish().await;
}

#[tokio::test]
async fn a_voided_coupon_is_void_at_once_or_when_its_order_gives_it_back() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let any = template(&staff, json!({})).await;
    let unused = grant(&staff, &alice, &any).await;
    assert_eq!(void(&staff, &unused).await.ok()["status"], "VOID");
    void(&staff, &unused).await.refused(409, "coupon_void_already");
    let locked = grant(&staff, &alice, &any).await;
    let order = alice.order_with(&[(SKU, 1)], &[&locked]).await;
    let marked = void(&staff, &locked).await.ok();
    assert_eq!((&marked["status"], &marked["void_when_back"]), (&json!("LOCKED"), &json!(true)));
    void(&staff, &locked).await.refused(409, "coupon_void_already");
    alice.cancel(&order).await.ok();
    app.drain().await;
    assert_eq!(coupon(&alice, &locked).await["status"], "VOID");
    assert_eq!(kinds(&app, &locked).await, ["GRANTED", "LOCKED", "MARKED", "RELEASED"]);
    let used = grant(&staff, &alice, &any).await;
    let order = alice.order_with(&[(SKU, 1)], &[&used]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(void(&staff, &used).await.ok()["status"], "USED");
    alice.refund(&order).await;
    app.drain().await;
    assert_eq!(coupon(&alice, &used).await["status"], "VOID");
    void(&staff, "cpn_00000000000000000000000zzz").await.refused(404, "coupon_not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_grant_is_single_under_its_key_and_leaves_an_audit_row_with_the_reason() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.bare_user("alice").await, app.staff().await);
    let path = format!("/admin/v1/users/{}/coupons", alice.id);
    let body = json!({ "template_id": CLAIMABLE, "reason": "包裹晚到" });
    let key = fresh_key();
    let first = staff.post_with_key(&path, &key, &body).await.ok();
    let again = staff.post_with_key(&path, &key, &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body["id"], first["id"]);
    let other = json!({ "template_id": CLAIMABLE, "reason": "别的" });
    staff.post_with_key(&path, &key, &other).await.refused(409, "idempotency_key_reused");
    staff.post_without_key(&path, &body).await.refused(400, "idempotency_key_required");
    let nobody = "/admin/v1/users/usr_00000000000000000000000zzz/coupons";
    staff.post(nobody, &body).await.refused(404, "user_not_found");
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let audited: Vec<(String,)> =
        sqlx::query_as("SELECT after_json FROM audit WHERE operation = 'grantCoupon' AND object = ?")
            .bind(first["id"].as_str())
            .fetch_all(conn)
            .await
            .expect("audit rows");
    assert!(audited.len() == 1 && audited[0].0.contains("包裹晚到"));
    // A gift counts neither against what can be claimed nor against the limit.
    for _ in 0..2 {
        claim(&alice, CLAIMABLE).await.ok();
    }
    let listed = staff.get(&format!("{path}?limit=2")).await.ok();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    let next = listed["next_cursor"].as_str().expect("a next page");
    let rest = staff.get(&format!("{path}?limit=2&cursor={next}")).await.ok();
    assert!(!rest["items"].as_array().expect("items").is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_template_that_makes_no_sense_is_refused_with_the_field() {
    let app = TestApp::new().await;
    let staff = app.staff().await;
    let cases = [
        (json!({ "name": "" }), "/name"),
        (json!({ "benefit": { "kind": "AMOUNT" } }), "/benefit/amount"),
        (json!({ "benefit": { "kind": "AMOUNT", "amount": cny(0) } }), "/benefit/amount"),
        (json!({ "benefit": { "kind": "PERCENT" } }), "/benefit/off_basis_points"),
        (
            json!({ "benefit": { "kind": "PERCENT", "off_basis_points": 10_001 } }),
            "/benefit/off_basis_points",
        ),
        (
            json!({ "benefit": { "kind": "AMOUNT", "amount": { "amount": 1, "currency": "USD" } } }),
            "/benefit/amount/currency",
        ),
        (json!({ "threshold": cny(-1) }), "/threshold"),
        (json!({ "issue": "CLAIM" }), "/total"),
        (json!({ "issue": "GRANT", "total": 5 }), "/total"),
        (json!({ "issue": "CLAIM", "total": 5, "limit_per_user": 101 }), "/limit_per_user"),
        (json!({ "sku_ids": [] }), "/sku_ids"),
        (json!({ "sku_ids": ["nonsense"] }), "/sku_ids/0"),
        (json!({ "validity": {} }), "/validity"),
        (json!({ "validity": { "days": 3, "first_day": "2026-03-15" } }), "/validity"),
        (
            json!({ "validity": { "first_day": "2026-03-16", "last_day": "2026-03-15" } }),
            "/validity/last_day",
        ),
        (
            json!({ "validity": { "first_day": "2026-03-01", "last_day": "2026-03-13" } }),
            "/validity/last_day",
        ),
        (
            json!({ "validity": { "first_day": "2026-02-30", "last_day": "2026-04-01" } }),
            "/validity/first_day",
        ),
    ];
    for (changes, field) in cases {
        let refused = staff.post("/admin/v1/coupon-templates", &template_body(changes.clone())).await;
        assert_eq!(refused.refused(400, "invalid_request")["field"], field, "{changes}");
    }
    let guest = app.client().post("/admin/v1/coupon-templates", &template_body(json!({}))).await;
    guest.refused(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn the_check_sees_coupons_that_do_not_add_up() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let claimed = claim(&alice, CLAIMABLE).await.ok()["id"].as_str().expect("an id").to_owned();
    let held = grant(&staff, &alice, &template(&staff, json!({})).await).await;
    let order = alice.order_with(&[(SKU, 1)], &[&held]).await;
    alice.cancel(&order).await.ok();
    app.drain().await;
    // Each spoils one thing, and puts it right again.
    let coupon = |set: &str| format!("UPDATE coupons SET {set} WHERE id = '{claimed}'");
    let left = |n: i64| format!("UPDATE coupon_templates SET remaining = {n} WHERE id = '{CLAIMABLE}'");
    let step = |from: &str, to: &str| {
        format!("UPDATE coupon_moves SET kind = '{to}' WHERE coupon_id = '{held}' AND kind = '{from}'")
    };
    let cases = [
        ("total", left(1_000), left(999)),
        ("limit", coupon("seq = 3"), coupon("seq = 1")),
        ("have an order", coupon("order_id = 'nothing'"), coupon("order_id = NULL")),
        ("moves", coupon("status = 'EXPIRED'"), coupon("status = 'UNUSED'")),
        ("given back", step("RELEASED", "GIVEN_BACK"), step("GIVEN_BACK", "RELEASED")),
        ("marked", coupon("void_when_back_ms = 1"), coupon("void_when_back_ms = NULL")),
    ];
    for (rule, spoil, repair) in cases {
        run_sql(&app, spoil).await;
        let report = checks::run(&app.ctx).await.expect("the check runs");
        let seen = report.violations().any(|v| v.rule.starts_with("coupons:") && v.rule.contains(rule));
        assert!(seen, "{rule}: {:?}", report.violations().collect::<Vec<_>>());
        run_sql(&app, repair).await;
    }
    app.finish().await;
}
