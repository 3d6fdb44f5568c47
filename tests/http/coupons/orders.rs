//! Which coupons fit, and what an order does with them.

use futures_util::future::join_all;
use minimall::coupons;
use minimall::kernel::{Failure, OrderId, day_ms, hour_ms, minute_ms};
use serde_json::{Value, json};

use super::{CLAIMABLE, claim, cny, coupon, coupons_of, grant, kinds, moves, template, void};
use crate::support::{ONLINE_STORE, SKU, TestApp, User, sku};

#[tokio::test]
async fn coupons_are_sorted_for_a_basket_with_the_reason_of_each_that_does_not_fit() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let tomorrow = json!({ "first_day": "2026-03-15", "last_day": "2026-03-16" });
    let percent = json!({ "kind": "PERCENT", "off_basis_points": 1_250, "cap": cny(1_500) });
    let cases = [
        (json!({}), None),
        (json!({ "benefit": percent }), None),
        (json!({ "threshold": cny(12_801) }), Some("threshold_not_met")),
        (json!({ "sku_ids": [sku(2)] }), Some("other_goods")),
        (json!({ "store_ids": ["sto_00000000000000000000000002"] }), Some("other_store")),
        (json!({ "validity": tomorrow }), Some("not_yet_valid")),
        (
            json!({
                "threshold": { "amount": 0, "currency": "USD" },
                "benefit": { "kind": "AMOUNT", "amount": { "amount": 1_000, "currency": "USD" } },
            }),
            Some("other_currency"),
        ),
    ];
    let mut expected = Vec::new();
    for (changes, reason) in cases {
        let coupon = grant(&staff, &alice, &template(&staff, changes).await).await;
        expected.push((coupon, reason));
    }
    let locked = grant(&staff, &alice, &template(&staff, json!({})).await).await;
    alice.order_with(&[(&sku(2), 1)], &[&locked]).await;
    expected.push((locked, Some("locked")));
    let body = json!({ "store_id": ONLINE_STORE, "lines": [{ "sku_id": SKU, "quantity": 1 }] });
    let sorted = alice.client.post("/api/v1/coupons/usable", &body).await.ok();
    let usable: Vec<_> = sorted["usable"].as_array().expect("usable").iter().collect();
    let discounts: Vec<_> = usable.iter().map(|one| one["discount"]["amount"].as_i64()).collect();
    // 12.5 % of 128.00 is 16.00, and the cap takes it to 15.00.
    assert_eq!(discounts[..2], [Some(1_500), Some(1_000)]);
    let unusable = sorted["unusable"].as_array().expect("unusable");
    for (coupon, reason) in &expected {
        let found = unusable.iter().find(|one| one["coupon"]["id"] == **coupon);
        assert_eq!(found.and_then(|one| one["reason"].as_str()), *reason, "{coupon}");
        assert_eq!(usable.iter().any(|one| one["coupon"]["id"] == **coupon), reason.is_none());
    }
    let short = unusable.iter().find(|one| one["reason"] == "threshold_not_met").expect("one is short");
    assert_eq!(short["missing"], cny(1));
    app.finish().await;
}

#[tokio::test]
async fn expired_coupons_are_shown_as_such_before_and_after_the_sweep() {
    let app = TestApp::new().await;
    let alice = app.bare_user("alice").await;
    claim(&alice, CLAIMABLE).await.ok();
    app.drain().await;
    let id = coupons_of(&alice, CLAIMABLE).await[0]["id"].as_str().expect("an id").to_owned();
    app.advance_ms(day_ms(15));
    let alice = app.bare_user("alice").await;
    for swept in [false, true] {
        if swept {
            app.app.sweep().await.expect("swept");
            assert_eq!(kinds(&app, &id).await, ["GRANTED", "EXPIRED"]);
        }
        assert_eq!(coupon(&alice, &id).await["status"], "EXPIRED");
        let of = async |status: &str| {
            let list = alice.client.get(&format!("/api/v1/coupons?status={status}")).await.ok();
            let items = list["items"].as_array().expect("items").clone();
            items.iter().any(|coupon| coupon["id"] == id)
        };
        assert!(of("EXPIRED").await && !of("UNUSED").await && !of("USED").await);
        let body = json!({ "store_id": ONLINE_STORE, "lines": [{ "sku_id": SKU, "quantity": 2 }] });
        let sorted = alice.client.post("/api/v1/coupons/usable", &body).await.ok();
        let mine =
            sorted["unusable"].as_array().expect("unusable").iter().find(|one| one["coupon"]["id"] == id);
        assert_eq!(mine.expect("shown")["reason"], "expired");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_cancelled_order_gives_its_coupon_back_and_a_paid_one_uses_it() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let id = grant(&staff, &alice, &template(&staff, json!({})).await).await;
    let order = alice.order_with(&[(SKU, 1)], &[&id]).await;
    let held = coupon(&alice, &id).await;
    assert_eq!((&held["status"], &held["order_id"]), (&json!("LOCKED"), &order["id"]));
    alice.cancel(&order).await.ok();
    app.drain().await;
    let back = coupon(&alice, &id).await;
    assert_eq!((&back["status"], &back["order_id"]), (&json!("UNUSED"), &Value::Null));
    let order = alice.order_with(&[(SKU, 1)], &[&id]).await;
    let payment = alice.start_payment(&order).await;
    app.pay_at_wechat(&payment).await;
    app.drain().await;
    assert_eq!(coupon(&alice, &id).await["status"], "USED");
    assert_eq!(kinds(&app, &id).await, ["GRANTED", "LOCKED", "RELEASED", "LOCKED", "USED"]);
    app.finish().await;
}

#[tokio::test]
async fn of_orders_placed_at_once_with_one_coupon_one_gets_it() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let id = grant(&staff, &alice, &template(&staff, json!({})).await).await;
    let mut quotes = Vec::new();
    for _ in 0..6 {
        quotes.push(alice.quote(&[(SKU, 1)], &[&id]).await);
    }
    let bodies: Vec<Value> =
        quotes.iter().map(|quote| json!({ "quote_token": quote["quote_token"] })).collect();
    let answers = join_all(bodies.iter().map(|body| alice.client.post("/api/v1/orders", body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.status, 409, "{}", answer.body);
    }
    assert_eq!(kinds(&app, &id).await, ["GRANTED", "LOCKED"]);
    app.finish().await;
}

#[tokio::test]
async fn a_coupon_of_somebody_else_does_not_exist() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.user("alice").await, app.user("bob").await, app.staff().await);
    let id = grant(&staff, &alice, &template(&staff, json!({})).await).await;
    let quote = bob.client.post("/api/v1/quotes", &bob.quote_body(&[(SKU, 1)], &[&id])).await;
    quote.refused(404, "coupon_not_found");
    app.drain().await;
    assert!(bob.coupons().await.iter().all(|coupon| coupon["id"] != *id));
    app.finish().await;
}

#[tokio::test]
async fn a_coupon_that_does_not_fit_is_refused_with_the_reason() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let high = grant(&staff, &alice, &template(&staff, json!({ "threshold": cny(1_000_000) })).await).await;
    let quote = alice.client.post("/api/v1/quotes", &alice.quote_body(&[(SKU, 1)], &[&high])).await;
    let refused = quote.refused(409, "coupon_not_usable");
    assert_eq!((&refused["reason"], &refused["coupon_id"]), (&json!("threshold_not_met"), &json!(high)));
    assert_eq!(refused["missing_minor"], 1_000_000 - 12_800);
    void(&staff, &high).await.ok();
    let quote = alice.client.post("/api/v1/quotes", &alice.quote_body(&[(SKU, 1)], &[&high])).await;
    assert_eq!(quote.refused(409, "coupon_not_usable")["reason"], "void");
    app.finish().await;
}

/// A coupon whose last day ends while an unpaid order holds it; answers what came back.
async fn expire_while_locked(app: &TestApp) -> (User, String) {
    app.advance_ms(hour_ms(13) + minute_ms(45));
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let today = json!({ "first_day": "2026-03-14", "last_day": "2026-03-14" });
    let id = grant(&staff, &alice, &template(&staff, json!({ "validity": today })).await).await;
    let order = alice.order_with(&[(SKU, 1)], &[&id]).await;
    app.live_through_minutes(31).await;
    assert_eq!(alice.get_order(&order).await["status"], "CLOSED");
    (alice, id)
}

#[tokio::test]
async fn a_coupon_that_expires_while_locked_comes_back_expired() {
    let app = TestApp::new().await;
    let (alice, id) = expire_while_locked(&app).await;
    assert_eq!(coupon(&alice, &id).await["status"], "EXPIRED");
    assert_eq!(moves(&app, &id).await.last(), Some(&("RELEASED".to_owned(), "EXPIRED".to_owned())));
    app.finish().await;
}

#[tokio::test]
async fn with_grace_days_a_coupon_that_expired_while_locked_can_be_used_a_little_longer() {
    let app = TestApp::with(|config| config.coupons.grace_days = 3).await;
    let (alice, id) = expire_while_locked(&app).await;
    let back = coupon(&alice, &id).await;
    // It came back at 00:15 on the 15th: through the 18th.
    assert_eq!(
        (&back["status"], &back["valid_until"]),
        (&json!("UNUSED"), &json!("2026-03-18T16:00:00.000Z"))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_lock_takes_only_an_unused_valid_coupon_of_the_user() {
    let app = TestApp::new().await;
    let (alice, bob, staff) = (app.bare_user("alice").await, app.bare_user("bob").await, app.staff().await);
    let tomorrow = json!({ "first_day": "2026-03-15", "last_day": "2026-03-15" });
    let early = grant(&staff, &alice, &template(&staff, json!({ "validity": tomorrow })).await).await;
    let good = grant(&staff, &alice, &template(&staff, json!({})).await).await;
    let (early, good) = (early.parse().expect("an id"), good.parse().expect("an id"));
    let (alice, bob) = (alice.id.parse().expect("an id"), bob.id.parse().expect("an id"));
    let (ctx, first, second) = (&app.ctx, an_order(&app), an_order(&app));
    let (alice, bob, early, good, first, second) = (&alice, &bob, &early, &good, &first, &second);
    let rolled_back = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                let refused = coupons::lock(tx, ctx, bob, good, first).await.unwrap_err();
                assert!(refused.is(&coupons::COUPON_NOT_FOUND));
                let refused = coupons::lock(tx, ctx, alice, early, first).await.unwrap_err();
                assert_eq!(refused.problem("")["reason"], "not_yet_valid");
                coupons::lock(tx, ctx, alice, good, first).await?;
                let refused = coupons::lock(tx, ctx, alice, good, second).await.unwrap_err();
                assert_eq!(refused.problem("")["reason"], "locked");
                // The second order holds nothing: it can neither use nor release it.
                coupons::consume(tx, ctx, second).await?;
                coupons::release(tx, ctx, second).await?;
                for _ in 0..2 {
                    coupons::consume(tx, ctx, first).await?;
                }
                let refused = coupons::lock(tx, ctx, alice, good, second).await.unwrap_err();
                assert_eq!(refused.problem("")["reason"], "used");
                for _ in 0..2 {
                    coupons::give_back(tx, ctx, first).await?;
                }
                coupons::lock(tx, ctx, alice, good, second).await?;
                coupons::give_back(tx, ctx, first).await?;
                let refused = coupons::lock(tx, ctx, alice, good, first).await.unwrap_err();
                assert_eq!(refused.problem("")["reason"], "locked");
                // There are no such orders: nothing of this stays.
                Err::<(), _>(Failure::new(&coupons::NOT_USABLE))
            })
        })
        .await;
    assert!(rolled_back.unwrap_err().is(&coupons::NOT_USABLE));
    app.finish().await;
}

fn an_order(app: &TestApp) -> OrderId {
    app.ctx.new_id()
}
