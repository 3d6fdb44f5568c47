//! What the tests of the stores need: orders that are fetched or carried out, and the staff who hands over.

use serde_json::{Value, json};

use super::app::TestApp;
use super::client::{Answer, Client, fresh_key};
use super::story::{User, items, text};

/// The demo's store at Wulin Square, and the one at the lake, which has no fresh cakes left.
pub const WULIN: &str = "sto_00000000000000000000000002";
pub const HUBIN: &str = "sto_00000000000000000000000003";

impl User {
    pub async fn try_quote_in(&self, store: &str, fulfilment: &str, lines: &[(&str, i64)]) -> Answer {
        let lines: Vec<Value> =
            lines.iter().map(|(sku, quantity)| json!({ "sku_id": sku, "quantity": quantity })).collect();
        let body = json!({ "store_id": store, "fulfilment": fulfilment, "lines": lines });
        self.client.post("/api/v1/quotes", &body).await
    }

    /// An order of a store that waits for payment.
    pub async fn order_in(&self, store: &str, fulfilment: &str, lines: &[(&str, i64)]) -> Value {
        let quote = self.try_quote_in(store, fulfilment, lines).await.ok();
        self.place(&quote).await.ok()
    }

    /// The code that the phone shows.
    pub async fn code(&self, order: &Value) -> String {
        text(&self.get_order(order).await["pickup"], "code")
    }
}

impl TestApp {
    /// Pays an order that waits, and takes the notice.
    pub async fn pay(&self, user: &User, order: &Value) -> Value {
        let payment = user.start_payment(order).await;
        self.pay_at_wechat(&payment).await;
        self.drain().await;
        user.get_order(order).await
    }

    pub async fn paid_in(&self, user: &User, store: &str, fulfilment: &str, lines: &[(&str, i64)]) -> Value {
        let order = user.order_in(store, fulfilment, lines).await;
        self.pay(user, &order).await
    }

    /// Stock of a SKU in a store: available, locked, sold, supplied.
    pub async fn stock_in(&self, store: &str, sku: &str) -> (i64, i64, i64, i64) {
        let conn = &mut *self.ctx.db.reader().await.expect("a reader");
        sqlx::query_as(
            "SELECT available, locked, sold, supplied FROM stock WHERE store_id = ? AND sku_id = ?",
        )
        .bind(store)
        .bind(sku)
        .fetch_one(conn)
        .await
        .expect("stock of the SKU")
    }
}

/// Staff, in one line each.
pub struct Clerk(pub Client);

impl Clerk {
    pub async fn of(app: &TestApp) -> Self {
        Self(app.staff().await)
    }

    pub async fn detail(&self, order: &Value) -> Value {
        self.0.get(&format!("/admin/v1/orders/{}", text(order, "id"))).await.ok()
    }

    /// Something that is done to an order.
    pub async fn act(&self, order: &Value, what: &str, body: &Value) -> Answer {
        self.0.post(&format!("/admin/v1/orders/{}/{what}", text(order, "id")), body).await
    }

    pub async fn ready(&self, order: &Value) -> Answer {
        self.act(order, "ready", &json!({})).await
    }

    pub async fn verify(&self, store: &str, code: &str) -> Answer {
        self.0.post("/admin/v1/pickups/verify", &json!({ "code": code, "store_id": store })).await
    }

    pub async fn hand_over(&self, store: &str, code: &str, version: &Value) -> Answer {
        self.hand_over_with(&fresh_key(), store, code, version).await
    }

    pub async fn hand_over_with(&self, key: &str, store: &str, code: &str, version: &Value) -> Answer {
        let body = json!({ "code": code, "store_id": store, "version": version });
        self.0.post_with_key("/admin/v1/pickups/hand-over", key, &body).await
    }

    /// Looks a code up and hands over what it shows.
    pub async fn serve(&self, store: &str, code: &str) -> Answer {
        let seen = self.verify(store, code).await.ok();
        self.hand_over(store, code, &seen["version"]).await
    }

    pub async fn exit_check(&self, order: &Value) -> Answer {
        let version = self.detail(order).await["version"].clone();
        self.act(order, "exit-check", &json!({ "version": version })).await
    }

    /// Orders that wait to be fetched.
    pub async fn pickups(&self, stage: &str) -> Vec<Value> {
        items(&self.0.get(&format!("/admin/v1/pickups?stage={stage}")).await.ok())
    }

    /// Gives an order another price, as it stands now.
    pub async fn reprice(&self, order: &Value, change: Value) -> Answer {
        let mut body = json!({ "version": self.detail(order).await["version"], "reason": "老顾客" });
        for (name, value) in change.as_object().expect("an object") {
            body[name] = value.clone();
        }
        self.act(order, "reprice", &body).await
    }
}

/// CNY.
pub fn money(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}
