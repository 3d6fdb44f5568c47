//! Random lives of orders: whatever people, the channel and the clock do in whatever order, the invariants
//! hold after every step, and in the end the books agree with the channel to the fen.

use std::collections::BTreeSet;

use minimall::staff::Role;
use serde_json::{Value, json};

use crate::support::{Answer, REFUND_CALLBACK, SKU, TestApp, User, sku};

const LIVES: u64 = 4;
const STEPS: usize = 100;

/// A small generator: the same seed is the same life.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }
}

/// What the person sees: orders, and what was given to pay them with.
struct Life {
    dice: Dice,
    orders: Vec<Value>,
    payments: Vec<Value>,
    refunds: Vec<Value>,
    coupons: Vec<String>,
    /// What was done, for the report of a failure.
    log: Vec<String>,
}

impl Life {
    fn any(&mut self, list: fn(&Self) -> &Vec<Value>) -> Option<Value> {
        // Mostly one of the last: what is old has often come to its end.
        let count = list(self).len();
        let among = if self.dice.roll(3) == 0 { count.max(1) } else { count.clamp(1, 3) };
        let back = self.dice.roll(among);
        count.checked_sub(1 + back).map(|at| list(self)[at].clone())
    }
}

const ACTS: &[&str] = &[
    "place",
    "buy",
    "buy",
    "buy",
    "buy",
    "start",
    "pay",
    "cancel",
    "cancel while paying",
    "refund",
    "refund",
    "refund",
    "refund",
    "approve",
    "approve",
    "approve",
    "reject",
    "withdraw",
    "require return",
    "send back",
    "receive",
    "staff refund",
    "staff refund",
    "console refund",
    "prove",
    "give up",
    "ship",
    "ship",
    "ship",
    "confirm",
    "confirm",
    "drain",
    "drain",
    "drain",
    "seconds",
    "minutes",
    "minutes",
    "deadline",
    "days",
    "fault",
    "fault",
    "sweep",
    "say",
    "again",
];

const FAULTS: &[&str] = &[
    "notify_delay",
    "notify_duplicate",
    "notify_drop",
    "notify_bad_signature",
    "notify_before_prepay_answer",
    "pay_during_close",
    "error_after_work",
    "rate_limit",
    "refund_not_enough",
    "refund_abnormal",
    "refund_closed",
    "down",
    "down_after_work",
];

async fn place(app: &TestApp, alice: &User, life: &mut Life) {
    let lines = [(SKU, 1), (&*sku(9), 3), (&*sku(7), 2)];
    let (from, count) = (life.dice.roll(3), 1 + life.dice.roll(2));
    let lines: Vec<(&str, i64)> = lines.iter().cycle().skip(from).take(count).copied().collect();
    let coupon = (life.dice.roll(2) == 0).then(|| life.coupons.pop()).flatten();
    let coupon = match coupon {
        Some(coupon) => Some(coupon),
        None if life.dice.roll(3) == 0 => Some(app.coupon(alice, 700).await),
        None => None,
    };
    let coupons: Vec<&str> = coupon.iter().map(String::as_str).collect();
    let quote = alice.client.post("/api/v1/quotes", &alice.quote_body(&lines, &coupons)).await;
    if quote.status == 200 {
        let placed = alice.place(&quote.body).await;
        if placed.status == 201 {
            life.orders.push(placed.body);
        }
    }
    // It may come back, and then be used again.
    life.coupons.extend(coupon);
}

async fn start(alice: &User, order: Option<Value>, life: &mut Life) {
    let Some(order) = order else { return };
    let answer = alice.try_payment(&order).await;
    assert!(answer.status != 500, "{:?}", answer.body);
    if answer.status == 201 {
        life.payments.push(answer.body);
    }
}

async fn pay_what_was_started(app: &TestApp, payment: Option<Value>) {
    let Some(payment) = payment else { return };
    let params = &payment["request_payment"];
    let prepay_id =
        params["package"].as_str().unwrap_or_default().trim_start_matches("prepay_id=").to_owned();
    // It may be paid, closed or expired by now: then the phone says so.
    app.sandbox_client().post(&format!("/sandbox/payments/{prepay_id}/pay"), params).await;
}

async fn ask_for_a_refund(alice: &User, life: &mut Life) {
    let Some(order) = life.any(|life| &life.orders) else { return };
    let lines = order["lines"].as_array().map_or(0, Vec::len);
    let units = [(life.dice.roll(lines.max(1)), 1 + life.dice.roll(2) as i64)];
    let answer = match life.dice.roll(3) {
        0 => {
            let path = format!("/api/v1/orders/{}/refunds", order["id"].as_str().expect("an id"));
            alice.client.post(&path, &serde_json::json!({ "reason": "全部" })).await
        }
        _ => alice.try_refund(&order, &units).await,
    };
    if answer.status == 201 {
        life.refunds.push(answer.body);
    }
}

/// A refusal is fine, a server's own failure never.
#[track_caller]
fn is_answered(answer: &Answer) {
    assert!(answer.status < 500, "{} {}", answer.status, answer.body);
}

/// What staff does about a refund, for which they are fresh members each time: lives are longer than sessions.
async fn staff_acts(app: &TestApp, life: &mut Life, what: &str) {
    let Some(refund) = life.any(|life| &life.refunds) else { return };
    let path = |verb: &str| format!("/admin/v1/refunds/{}/{verb}", refund["id"].as_str().expect("an id"));
    let finance = app.member(Role::Owner, &[]).await;
    let answer = match what {
        "require return" => finance.post(&path("require-return"), &json!({ "note": "寄回" })).await,
        "receive" => {
            let body = json!({ "sellable": life.dice.roll(2) == 0 });
            finance.post(&path("received"), &body).await
        }
        "prove" => finance.post(&path("proof"), &json!({ "text": "转账", "reference": "1" })).await,
        _ => finance.post(&path("give-up"), &json!({ "reason": "不再退款" })).await,
    };
    is_answered(&answer);
    // What takes a second person is confirmed by one, mostly.
    if answer.status == 201 && life.dice.roll(4) > 0 {
        let second = app.member(Role::Finance, &[]).await;
        let id = answer.body["id"].as_str().expect("an id").to_owned();
        is_answered(&second.post(&format!("/admin/v1/proposals/{id}/confirm"), &json!({})).await);
    }
}

/// What the customer does about a refund.
async fn customer_acts(alice: &User, life: &mut Life, what: &str) {
    let Some(refund) = life.any(|life| &life.refunds) else { return };
    let path = |verb: &str| format!("/api/v1/refunds/{}/{verb}", refund["id"].as_str().expect("an id"));
    let parcel = json!({ "carrier": "顺丰速运", "tracking_no": "SF1" });
    is_answered(&match what {
        "withdraw" => alice.client.post(&path("withdraw"), &json!({})).await,
        _ => alice.client.post(&path("return"), &parcel).await,
    });
}

/// Staff gives money back: of units, of a line, of the order, of the freight.
async fn refund_by_staff(app: &TestApp, life: &mut Life) {
    let Some(order) = life.any(|life| &life.orders) else { return };
    let (line, currency) = (&order["lines"][0]["line_id"], "CNY");
    let money = json!({ "amount": 1 + life.dice.roll(2_500), "currency": currency });
    let mut body = match life.dice.roll(5) {
        0 => json!({}),
        1 => json!({ "lines": [{ "line_id": line, "quantity": 1 }] }),
        2 => json!({ "lines": [{ "line_id": line, "amount": money }] }),
        3 => json!({ "amount": money }),
        _ => json!({ "only_freight": true, "fault": "MERCHANT" }),
    };
    body["reason"] = json!("补偿");
    if life.dice.roll(2) == 0 {
        body["sellable"] = json!(true);
    }
    let role = if life.dice.roll(3) == 0 { Role::Clerk } else { Role::Manager };
    let path = format!("/admin/v1/orders/{}/refunds", order["id"].as_str().expect("an id"));
    let answer = app.member(role, &[]).await.post(&path, &body).await;
    is_answered(&answer);
    if answer.status == 201 {
        life.refunds.push(answer.body);
    }
}

/// The merchant refunds in the channel's own console.
async fn refund_in_the_console(app: &TestApp, life: &mut Life) {
    let payments = app.channel_payments().await;
    if payments.is_empty() {
        return;
    }
    let payment = &payments[life.dice.roll(payments.len())];
    let total = payment["total"].as_i64().expect("a total");
    let amount = if life.dice.roll(4) == 0 { total } else { 1 + life.dice.roll(total as usize) as i64 };
    let url = format!("{}{REFUND_CALLBACK}", app.url);
    let body = json!({ "out_trade_no": payment["out_trade_no"], "amount": amount, "notify_url": url });
    app.sandbox_client().post("/sandbox/refunds", &body).await;
}

/// Somebody compares the console with the books: what no notice told is looked up.
async fn look_everything_up(app: &TestApp) {
    let owner = app.member(Role::Owner, &[]).await;
    for refund in app.channel_refunds().await {
        let number = json!({ "out_refund_no": refund["out_refund_no"] });
        owner.post("/admin/v1/refunds/look-up", &number).await.ok();
        app.drain().await;
    }
}

/// One act. A refusal is fine, a server's own failure never.
async fn act(app: &TestApp, alice: &User, life: &mut Life, what: &str) {
    match what {
        "place" => place(app, alice, life).await,
        "buy" => {
            place(app, alice, life).await;
            start(alice, life.orders.last().cloned(), life).await;
            pay_what_was_started(app, life.payments.last().cloned()).await;
        }
        "cancel while paying" => {
            place(app, alice, life).await;
            start(alice, life.orders.last().cloned(), life).await;
            if let Some(order) = life.orders.last().cloned() {
                assert!([200, 409].contains(&alice.cancel(&order).await.status));
            }
            pay_what_was_started(app, life.payments.last().cloned()).await;
        }
        "start" => {
            let order = life.any(|life| &life.orders);
            start(alice, order, life).await;
        }
        "pay" => {
            let payment = life.any(|life| &life.payments);
            pay_what_was_started(app, payment).await;
        }
        "cancel" => {
            if let Some(order) = life.any(|life| &life.orders) {
                assert!([200, 409].contains(&alice.cancel(&order).await.status));
            }
        }
        "refund" => ask_for_a_refund(alice, life).await,
        "require return" | "receive" | "prove" | "give up" => staff_acts(app, life, what).await,
        "withdraw" | "send back" => customer_acts(alice, life, what).await,
        "staff refund" => refund_by_staff(app, life).await,
        "console refund" => refund_in_the_console(app, life).await,
        "approve" | "reject" => {
            if let Some(refund) = life.any(|life| &life.refunds) {
                let sellable = Some(life.dice.roll(2) == 0);
                let decided = if what == "approve" {
                    app.approve(&refund, sellable).await
                } else {
                    app.reject(&refund).await
                };
                assert!(decided.err().is_none_or(|failure| failure.code().status < 500));
            }
        }
        "ship" => {
            if let Some(order) = life.any(|life| &life.orders) {
                let line = order["lines"][0]["line_id"].as_str().expect("an id").to_owned();
                let part = [(line.as_str(), 1)];
                let units: &[(&str, i64)] = if life.dice.roll(2) == 0 { &part } else { &[] };
                let shipped = app.ship(&order, units).await;
                assert!(shipped.err().is_none_or(|failure| failure.code().status < 500));
            }
        }
        "confirm" => {
            if let Some(order) = life.any(|life| &life.orders) {
                let path = format!("/api/v1/orders/{}/confirm-receipt", order["id"].as_str().expect("an id"));
                let answer = alice.client.post(&path, &serde_json::json!({})).await;
                assert!([200, 409].contains(&answer.status));
            }
        }
        "say" => {
            if let Some(order) = life.any(|life| &life.orders) {
                alice.says(&order, "ok").await;
            }
        }
        "again" => {
            // Everything that is still kept is delivered once more.
            let kept = "UPDATE deliveries SET state = 'PENDING' WHERE state = 'DONE' AND event_id IN (SELECT id FROM outbox)";
            app.execute(kept).await;
            app.drain().await;
        }
        "fault" => {
            let kind = FAULTS[life.dice.roll(FAULTS.len())];
            life.log.push(kind.to_owned());
            app.fault_with(serde_json::json!({ "kind": kind, "path": "/v3/" })).await;
        }
        "sweep" => drop(app.app.sweep().await.expect("a sweep")),
        "seconds" => app.advance_ms(7_000),
        "minutes" => app.live_through_minutes(3).await,
        "deadline" => app.advance_minutes(31),
        "days" => app.advance_ms(11 * 86_400_000),
        _ => app.drain().await,
    }
}

#[tokio::test]
async fn random_lives_of_orders_keep_the_invariants_at_every_step() {
    let mut seen = BTreeSet::new();
    for seed in 1..=LIVES {
        let app = TestApp::with(|config| {
            config.refunds.auto_approve_before_shipping = seed % 2 == 0;
            config.session.token_minutes = 10_080;
        })
        .await;
        let mut alice = app.user("alice").await;
        let mut life = Life {
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            orders: vec![],
            payments: vec![],
            refunds: vec![],
            coupons: vec![],
            log: vec![],
        };
        for _ in 0..STEPS {
            let what = ACTS[life.dice.roll(ACTS.len())];
            life.log.push(what.to_owned());
            act(&app, &alice, &mut life, what).await;
            if what == "days" {
                app.drain().await;
                alice = app.user("alice").await;
            }
            let report = minimall::checks::run(&app.ctx).await.expect("the check runs");
            let broken: Vec<_> =
                report.violations().filter(|found| !found.rule.starts_with("liveness")).collect();
            assert!(broken.is_empty(), "seed {seed}: {broken:#?} after {:?}", life.log);
        }
        seen.extend(app.texts("SELECT DISTINCT event FROM order_timeline").await);
        app.no_faults().await;
        app.live_through_minutes(45).await;
        look_everything_up(&app).await;
        assert!(!life.orders.is_empty(), "seed {seed} orders something");
        assert_eq!(
            app.number("SELECT COUNT(*) FROM deliveries WHERE state = 'PARKED'").await,
            0,
            "{:?}",
            life.log
        );
        app.finish_money().await;
    }
    // The dice were good enough to show something.
    for event in
        ["payment_succeeded", "closing", "refund_ended", "refunded_whole", "shipped_all", "completed"]
    {
        assert!(seen.contains(event), "{event} is not in {seen:?}");
    }
}
