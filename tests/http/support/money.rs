//! What the tests of payments, cancelling and refunds need beside the story.

use minimall::coupons::{self, Issue, NewTemplate, Validity};
use minimall::kernel::{Actor, CouponTemplateId, Currency, Failure, Id, OrderId, StaffId, UserId};
use minimall::orders::{self, ShipLine};
use minimall::platform::idempotency::Key;
use minimall::pricing::Benefit;
use minimall::refunds;
use minimall::shipping::{self, NewParcel, Tracking};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::app::TestApp;
use super::client::{Answer, fresh_key};
use super::story::{ONLINE_STORE, User, items, text};

impl TestApp {
    /// Switches a fault on that has more to it than a kind and a number: `delay_ms`, `path`.
    pub async fn fault_with(&self, fault: Value) {
        self.sandbox_client().post("/sandbox/faults", &fault).await.ok();
    }

    /// Changes the database behind the program's back. Answers how many rows it touched.
    pub async fn execute(&self, sql: &str) -> u64 {
        let sql = &sql.to_owned();
        let done = self.ctx.db.write(|tx| {
            Box::pin(async move {
                let done = sqlx::query(AssertSqlSafe(sql.clone())).execute(&mut **tx).await?;
                Ok(done.rows_affected())
            })
        });
        done.await.expect("the statement runs")
    }

    /// The number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        let conn = &mut *self.ctx.db.reader().await.expect("a reader");
        let (number,): (i64,) =
            sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_one(conn).await.expect("a number");
        number
    }

    /// The texts of a query's one column.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let conn = &mut *self.ctx.db.reader().await.expect("a reader");
        let rows: Vec<(String,)> =
            sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await.expect("texts");
        rows.into_iter().map(|(text,)| text).collect()
    }

    /// How many alerts of a kind are open.
    pub async fn alerts(&self, kind: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM alerts WHERE kind = '{kind}' AND closed_ms IS NULL")).await
    }

    /// How often something is in the timeline of an order.
    pub async fn moves(&self, order: &Value, event: &str) -> i64 {
        let id = text(order, "id");
        self.number(&format!(
            "SELECT COUNT(*) FROM order_timeline WHERE order_id = '{id}' AND event = '{event}'"
        ))
        .await
    }

    /// Where the attempts of an order stand, oldest first.
    pub async fn attempts(&self, order: &Value) -> Vec<String> {
        let id = text(order, "id");
        self.texts(&format!("SELECT status FROM payment_attempts WHERE order_id = '{id}' ORDER BY id")).await
    }

    /// What the shop asked of the channel under a path, newest first.
    pub async fn calls(&self, path: &str) -> Vec<Value> {
        let calls = items(&self.sandbox_client().get("/sandbox/calls?limit=500").await.ok());
        let asked = |call: &Value| {
            call["direction"] == "in"
                && call["target"].as_str().is_some_and(|target| target.starts_with(path))
        };
        calls.into_iter().filter(asked).collect()
    }

    /// A coupon that takes `off_minor` off any order, for 30 days.
    pub async fn coupon(&self, user: &User, off_minor: i64) -> String {
        self.coupon_from(user, off_minor, 0).await
    }

    /// The same, from a minimum spend on.
    pub async fn coupon_from(&self, user: &User, off_minor: i64, threshold_minor: i64) -> String {
        let number = 90_000_000 + off_minor + 1_000_000_000 * threshold_minor;
        let template = CouponTemplateId::from_tail(&format!("{number:0>26}"));
        let new = NewTemplate {
            name: "测试券".to_owned(),
            description: String::new(),
            benefit: Benefit::Amount { minor: off_minor },
            threshold_minor,
            currency: Currency::Cny,
            sku_ids: None,
            store_ids: None,
            issue: Issue::Grant,
            total: 0,
            limit_per_user: 0,
            validity: Validity::Days { days: 30 },
            stack_group: "default".to_owned(),
            exclusive: false,
        };
        let actor = Actor::System("test");
        coupons::create_template(&self.ctx, &actor, &template, &new).await.expect("a template");
        let key = Key::new(&actor, "grantCoupon", &fresh_key(), &()).expect("a key");
        let owner: UserId = user.id.parse().expect("an id");
        let granted = coupons::grant_by_staff(&self.ctx, &actor, &owner, &template, "test", &key).await;
        granted.expect("a coupon").value.to_string()
    }

    pub async fn coupon_status(&self, coupon: &str) -> String {
        let found = self.texts(&format!("SELECT status FROM coupons WHERE id = '{coupon}'")).await;
        found.into_iter().next().expect("the coupon exists")
    }

    /// A template under a fixed id, for compensations.
    pub async fn compensation_template(&self, id: &str) {
        let coupon = self.coupon(&self.bare_user("nobody").await, 300).await;
        self.execute(&format!(
            "UPDATE coupon_templates SET id = '{id}' WHERE id = (SELECT template_id FROM coupons WHERE id = '{coupon}')"
        ))
        .await;
        self.execute(&format!("UPDATE coupons SET template_id = '{id}' WHERE id = '{coupon}'")).await;
    }

    /// Ships units (line id, quantity), or all that is left when there are none.
    pub async fn ship(&self, order: &Value, units: &[(&str, i64)]) -> Result<(), Failure> {
        let id: OrderId = text(order, "id").parse().expect("an id");
        let line = |(line, quantity): &(&str, i64)| ShipLine {
            line_id: line.parse().expect("an id"),
            quantity: *quantity,
        };
        let (actor, key) = self.staff_key();
        let tracking = Tracking::parse(Some("ZTO"), Some(&fresh_key())).expect("a tracking number");
        let lines = (!units.is_empty()).then(|| units.iter().map(line).collect());
        let parcel = NewParcel { tracking, lines };
        shipping::ship(&self.ctx, &self.app.surface.mini, &actor, &key, &id, &parcel).await.map(drop)
    }

    /// Staff approves a refund; `sellable` where goods come back.
    pub async fn approve(&self, refund: &Value, sellable: Option<bool>) -> Result<(), Failure> {
        let (actor, key) = self.staff_key();
        let id = text(refund, "id").parse().expect("an id");
        let condition = sellable.map_or(refunds::Condition::Unknown, refunds::Condition::All);
        let approval = refunds::Approval { condition, fault: None, note: "好的".to_owned() };
        refunds::approve(&self.ctx, &actor, &key, &id, &approval).await.map(drop)
    }

    pub async fn reject(&self, refund: &Value) -> Result<(), Failure> {
        let (actor, key) = self.staff_key();
        let id = text(refund, "id").parse().expect("an id");
        refunds::reject(&self.ctx, &actor, &key, &id, "不符合条件").await.map(drop)
    }

    /// Staff has a refund tried now.
    pub async fn retry(&self, refund: &Value) -> Result<(), Failure> {
        let (actor, key) = self.staff_key();
        let id = text(refund, "id").parse().expect("an id");
        refunds::retry(&self.ctx, &actor, &key, &id).await.map(drop)
    }

    /// Plays people who give up on the channel: the open attempt counts as closed, whatever the channel says,
    /// and a closing order is closed.
    pub async fn give_up_attempt(&self, order: &Value) {
        let id: OrderId = text(order, "id").parse().expect("an id");
        let (ctx, id) = (&self.ctx, &id);
        let given_up = ctx.db.write(|tx| {
            Box::pin(async move {
                let mut order = orders::hold(tx, id).await?;
                let actor = Actor::System("test");
                let open = order.open_attempt.clone().expect("an open attempt");
                let closed = "UPDATE payment_attempts SET status = 'CLOSED', next_ms = NULL WHERE id = ?";
                sqlx::query(closed).bind(&open).execute(&mut **tx).await?;
                orders::attempt_ended(tx, ctx, &mut order, &open, &actor, "given up").await?;
                orders::close_confirmed(tx, ctx, &mut order, &actor).await
            })
        });
        given_up.await.expect("given up");
    }

    fn staff_key(&self) -> (Actor, Key) {
        let actor = Actor::Staff(StaffId::from_tail(&"0".repeat(26)));
        let key = Key::new(&actor, "test", &fresh_key(), &()).expect("a key");
        (actor, key)
    }

    /// What the channel says was paid and refunded is what the books say, to the fen.
    pub async fn money_agrees(&self) {
        let payments = self.channel_payments().await;
        let paid: i64 =
            payments.iter().filter(|p| !p["success_ms"].is_null()).map(|p| minor(&p["total"])).sum();
        let recorded = self.number("SELECT COALESCE(SUM(amount_minor), 0) FROM payment_records").await;
        assert_eq!(paid, recorded, "paid at the channel, and recorded");
        let refunds = self.channel_refunds().await;
        let refunded: i64 =
            refunds.iter().filter(|r| r["status"] == "SUCCESS").map(|r| minor(&r["amount"])).sum();
        let settled = self
            .number(
                "SELECT COALESCE(SUM(amount_minor), 0) FROM refunds WHERE status = 'SUCCEEDED' \
                 AND (external_no IS NULL OR external_no NOT LIKE 'proof:%')",
            )
            .await;
        // What fits no refund is written down as that.
        let differs = self
            .number(
                "SELECT COALESCE(SUM(amount_minor), 0) FROM refund_discrepancies WHERE news <> '' \
                 AND (note IS NULL OR note <> 'adopted')",
            )
            .await;
        assert_eq!(refunded, settled + differs, "refunded at the channel, and settled");
    }

    /// Ends a test about money: nothing is left to do, the books agree with the channel, the invariants hold.
    pub async fn finish_money(self) {
        self.drain().await;
        self.money_agrees().await;
        self.finish().await;
    }
}

impl User {
    pub async fn try_payment(&self, order: &Value) -> Answer {
        self.pay_with_key(order, &fresh_key()).await
    }

    pub async fn pay_with_key(&self, order: &Value, key: &str) -> Answer {
        let path = format!("/api/v1/orders/{}/payments", text(order, "id"));
        self.client.post_with_key(&path, key, &json!({ "provider": "WECHAT_PAY" })).await
    }

    /// The client reports what `wx.requestPayment` said.
    pub async fn says(&self, order: &Value, result: &str) {
        let path = format!("/api/v1/orders/{}/payments/client-result", text(order, "id"));
        self.client.post(&path, &json!({ "result": result })).await.ok();
    }

    pub async fn place(&self, quote: &Value) -> Answer {
        self.client.post("/api/v1/orders", &json!({ "quote_token": quote["quote_token"] })).await
    }

    /// Asks for a refund of units: (index of the line, quantity).
    pub async fn try_refund(&self, order: &Value, units: &[(usize, i64)]) -> Answer {
        let lines: Vec<Value> = units
            .iter()
            .map(|(index, quantity)| json!({ "line_id": order["lines"][*index]["line_id"], "quantity": quantity }))
            .collect();
        let path = format!("/api/v1/orders/{}/refunds", text(order, "id"));
        self.client.post(&path, &json!({ "reason": "不想要了", "lines": lines })).await
    }

    /// The refunds of an order, oldest first.
    pub async fn refunds(&self, order: &Value) -> Vec<Value> {
        items(&self.client.get(&format!("/api/v1/orders/{}/refunds", text(order, "id"))).await.ok())
    }

    /// Where one of the refunds of an order stands.
    pub async fn refund_status(&self, order: &Value, refund: &Value) -> String {
        let refunds = self.refunds(order).await;
        text(
            refunds.iter().find(|there| there["id"] == refund["id"]).expect("the refund is listed"),
            "status",
        )
    }

    pub async fn put_in_cart(&self, sku: &str, quantity: i64) {
        let line = json!({ "store_id": ONLINE_STORE, "quantity": quantity });
        self.client.put(&format!("/api/v1/cart/lines/{sku}"), &line).await.ok();
    }

    /// SKUs in the cart of the online store.
    pub async fn cart(&self) -> Vec<Value> {
        let cart = self.client.get(&format!("/api/v1/cart?store_id={ONLINE_STORE}")).await.ok();
        cart["lines"].as_array().cloned().unwrap_or_default()
    }
}

/// Minor units: of a money object, or of a bare number.
#[track_caller]
pub fn minor(value: &Value) -> i64 {
    let amount = if value.is_object() { &value["amount"] } else { value };
    amount.as_i64().unwrap_or_else(|| panic!("no amount in {value}"))
}
