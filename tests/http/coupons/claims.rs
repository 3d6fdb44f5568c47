//! Claims: never more than the limit, never more than there are.

use futures_util::future::join_all;
use minimall::kernel::hour_ms;
use serde_json::json;

use super::{CLAIMABLE, NEW_USER, claim, template};
use crate::support::{TestApp, fresh_key};

#[tokio::test]
async fn one_user_never_claims_more_than_the_limit_however_many_requests_run_at_once() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    let answers = join_all((0..20).map(|_| claim(&alice, CLAIMABLE))).await;
    let (claimed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(claimed.len(), 2);
    for answer in refused {
        answer.refused(409, "coupon_limit_reached");
    }
    let shown = alice.client.get("/api/v1/coupon-templates").await.ok();
    let shown = &shown["items"][0];
    assert_eq!((&shown["remaining"], &shown["claimed"]), (&json!(998), &json!(2)));
    assert_eq!((&shown["can_claim"], &shown["reason"]), (&json!(false), &json!("coupon_limit_reached")));
    app.finish().await;
}

async fn race_for_five(app: &TestApp) {
    let staff = app.staff().await;
    let scarce = template(&staff, json!({ "issue": "CLAIM", "total": 5, "limit_per_user": 2 })).await;
    let names: Vec<String> = (0..12).map(|n| format!("racer{n}")).collect();
    let users = join_all(names.iter().map(|name| app.bare_user(name))).await;
    let tries = users.iter().flat_map(|user| [claim(user, &scarce), claim(user, &scarce)]);
    let answers = join_all(tries).await;
    let (claimed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(claimed.len(), 5);
    for answer in refused {
        let code = answer.body["code"].as_str().map(str::to_owned);
        assert!(matches!(code.as_deref(), Some("coupon_sold_out" | "coupon_limit_reached")), "{code:?}");
    }
    let left = staff.get(&format!("/admin/v1/coupon-templates/{scarce}")).await.ok();
    assert_eq!(left["remaining"], 0);
}

#[tokio::test]
async fn all_users_together_never_claim_more_than_there_are() {
    let app = TestApp::new().await;
    race_for_five(&app).await;
    app.finish().await;
}

#[tokio::test]
async fn without_kv_all_users_together_still_never_claim_more_than_there_are() {
    let app = TestApp::new().await;
    app.ctx.kv.set_available(false);
    race_for_five(&app).await;
    app.ctx.kv.set_available(true);
    app.finish().await;
}

#[tokio::test]
async fn a_repeated_claim_answers_the_same_coupon_also_when_all_are_gone() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.bare_user("alice").await, app.bare_user("bob").await, app.staff().await);
    let last = template(&staff, json!({ "issue": "CLAIM", "total": 1 })).await;
    let path = format!("/api/v1/coupon-templates/{last}/claims");
    let key = fresh_key();
    let first = alice.client.post_with_key(&path, &key, &json!({})).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    // The first refusal asks the database, the second one meets the gate.
    for _ in 0..2 {
        claim(&bob, &last).await.refused(409, "coupon_sold_out");
    }
    let again = alice.client.post_with_key(&path, &key, &json!({})).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!(again.body["id"], first.body["id"]);
    alice.client.post_without_key(&path, &json!({})).await.refused(400, "idempotency_key_required");
    app.finish().await;
}

#[tokio::test]
async fn a_sold_out_template_that_gets_more_can_be_claimed_at_once() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.bare_user("alice").await, app.bare_user("bob").await, app.staff().await);
    let scarce = template(&staff, json!({ "issue": "CLAIM", "total": 1 })).await;
    claim(&alice, &scarce).await.ok();
    claim(&bob, &scarce).await.refused(409, "coupon_sold_out");
    let path = format!("/admin/v1/coupon-templates/{scarce}");
    assert_eq!(staff.patch(&path, &json!({ "total": 2 })).await.ok()["remaining"], 1);
    claim(&bob, &scarce).await.ok();
    staff.patch(&path, &json!({ "total": 1 })).await.refused(409, "coupon_total_too_small");
    app.finish().await;
}

#[tokio::test]
async fn paused_ended_and_grant_only_templates_cannot_be_claimed() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.bare_user("alice").await, app.staff().await);
    let path = format!("/admin/v1/coupon-templates/{CLAIMABLE}");
    assert_eq!(staff.patch(&path, &json!({ "paused": true })).await.ok()["paused"], true);
    claim(&alice, CLAIMABLE).await.refused(409, "coupon_template_paused");
    assert_eq!(alice.client.get("/api/v1/coupon-templates").await.ok()["items"], json!([]));
    let until_today = json!({ "first_day": "2026-03-14", "last_day": "2026-03-14" });
    let today = template(&staff, json!({ "issue": "CLAIM", "total": 9, "validity": until_today })).await;
    app.advance_ms(hour_ms(14));
    let alice = app.bare_user("alice").await;
    claim(&alice, &today).await.refused(409, "coupon_template_ended");
    claim(&alice, NEW_USER).await.refused(404, "coupon_template_not_found");
    claim(&alice, "tpl_00000000000000000000000zzz").await.refused(404, "coupon_template_not_found");
    app.finish().await;
}
