//! The story of the shop, a step a line: sign in, order, pay, ship, refund.

use serde_json::{Value, json};

use super::app::{ADMIN_PASSWORD, TestApp};
use super::client::Client;

pub const ONLINE_STORE: &str = "sto_00000000000000000000000001";
/// The first SKU of the demo.
pub const SKU: &str = "sku_00000000000000000000000001";

/// The n-th SKU of the demo.
pub fn sku(n: u32) -> String {
    format!("sku_{n:0>26}")
}

/// A signed-in customer with an address.
#[derive(Clone)]
pub struct User {
    pub client: Client,
    pub id: String,
    pub openid: String,
    pub address: String,
}

impl TestApp {
    /// Signs a customer in for the first time (or again), with an address.
    pub async fn user(&self, name: &str) -> User {
        let user = self.bare_user(name).await;
        let address = json!({
            "recipient": "林小满", "phone": "13800138000", "province": "浙江省", "city": "杭州市",
            "district": "西湖区", "detail": "文三路 100 号 2 幢 301"
        });
        let address = user.client.post("/api/v1/addresses", &address).await.ok();
        User { address: text(&address, "id"), ..user }
    }

    /// Signs a customer in, without anything else.
    pub async fn bare_user(&self, name: &str) -> User {
        let code = format!("demo:{name}");
        let signed_in = self.client().post("/api/v1/sessions", &json!({ "code": code })).await.ok();
        let client = self.client().with_token(signed_in["token"].as_str().expect("a token"));
        let codes = self.sandbox_client().post("/sandbox/login-codes", &json!({ "name": name })).await;
        let openid = codes.body["openid"].as_str().unwrap_or_default().to_owned();
        User { client, id: text(&signed_in["user"], "id"), openid, address: String::new() }
    }

    /// The owner of the shop.
    pub async fn staff(&self) -> Client {
        let body = json!({ "user_name": "admin", "password": ADMIN_PASSWORD });
        let signed_in = self.client().post("/admin/v1/sessions", &body).await.ok();
        self.client().with_token(signed_in["token"].as_str().expect("a token"))
    }

    /// The person pays on the phone, with what the server gave the client.
    pub async fn pay_at_wechat(&self, payment: &Value) {
        let params = &payment["request_payment"];
        let prepay_id =
            params["package"].as_str().and_then(|text| text.strip_prefix("prepay_id=")).expect("a package");
        self.sandbox_client().post(&format!("/sandbox/payments/{prepay_id}/pay"), params).await.ok();
    }

    /// What the channel believes of a payment.
    pub async fn channel_payments(&self) -> Vec<Value> {
        items(&self.sandbox_client().get("/sandbox/payments").await.ok())
    }

    pub async fn channel_refunds(&self) -> Vec<Value> {
        items(&self.sandbox_client().get("/sandbox/refunds").await.ok())
    }

    /// The channel ends the newest refund like this, and tells the shop. Answers its number.
    pub async fn channel_ends_refund(&self, status: &str) -> String {
        let number = text(&self.channel_refunds().await[0], "out_refund_no");
        let path = format!("/sandbox/refunds/{number}/finish");
        self.sandbox_client().post(&path, &json!({ "status": status })).await.ok();
        self.drain().await;
        number
    }

    /// The messages that a phone received through WeChat.
    pub async fn messages(&self, user: &User) -> Vec<Value> {
        items(&self.sandbox_client().get(&format!("/sandbox/messages?openid={}", user.openid)).await.ok())
    }

    /// An order that is paid, its notice taken.
    pub async fn paid_order(&self, user: &User, lines: &[(&str, i64)]) -> Value {
        let order = user.order(lines).await;
        let payment = user.start_payment(&order).await;
        self.pay_at_wechat(&payment).await;
        self.drain().await;
        user.get_order(&order).await
    }

    /// Stock of a SKU in the online store: available, locked, sold.
    pub async fn stock(&self, sku: &str) -> (i64, i64, i64) {
        let conn = &mut *self.ctx.db.reader().await.expect("a reader");
        sqlx::query_as("SELECT available, locked, sold FROM stock WHERE store_id = ? AND sku_id = ?")
            .bind(ONLINE_STORE)
            .bind(sku)
            .fetch_one(conn)
            .await
            .expect("stock of the SKU")
    }
}

impl User {
    /// A quote for delivery from the online store.
    pub async fn quote(&self, lines: &[(&str, i64)], coupons: &[&str]) -> Value {
        self.client.post("/api/v1/quotes", &self.quote_body(lines, coupons)).await.ok()
    }

    pub fn quote_body(&self, lines: &[(&str, i64)], coupons: &[&str]) -> Value {
        let lines: Vec<Value> =
            lines.iter().map(|(sku, quantity)| json!({ "sku_id": sku, "quantity": quantity })).collect();
        json!({
            "store_id": ONLINE_STORE, "fulfilment": "DELIVERY", "lines": lines,
            "address_id": self.address, "coupon_ids": coupons,
        })
    }

    /// An order that waits for payment.
    pub async fn order(&self, lines: &[(&str, i64)]) -> Value {
        self.order_with(lines, &[]).await
    }

    pub async fn order_with(&self, lines: &[(&str, i64)], coupons: &[&str]) -> Value {
        let quote = self.quote(lines, coupons).await;
        self.client.post("/api/v1/orders", &json!({ "quote_token": quote["quote_token"] })).await.ok()
    }

    pub async fn start_payment(&self, order: &Value) -> Value {
        let path = format!("/api/v1/orders/{}/payments", text(order, "id"));
        self.client.post(&path, &json!({ "provider": "WECHAT_PAY" })).await.ok()
    }

    pub async fn get_order(&self, order: &Value) -> Value {
        self.client.get(&format!("/api/v1/orders/{}", text(order, "id"))).await.ok()
    }

    pub async fn cancel(&self, order: &Value) -> super::Answer {
        self.client.post(&format!("/api/v1/orders/{}/cancel", text(order, "id")), &json!({})).await
    }

    /// Asks for a refund of everything that is left.
    pub async fn refund(&self, order: &Value) -> Value {
        let path = format!("/api/v1/orders/{}/refunds", text(order, "id"));
        self.client.post(&path, &json!({ "reason": "不想要了" })).await.ok()
    }

    pub async fn coupons(&self) -> Vec<Value> {
        items(&self.client.get("/api/v1/coupons").await.ok())
    }
}

/// The items of a list.
pub fn items(list: &Value) -> Vec<Value> {
    let items = if list.is_array() { list } else { &list["items"] };
    items.as_array().cloned().unwrap_or_default()
}

/// A member that is a text.
#[track_caller]
pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
