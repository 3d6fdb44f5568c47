//! One customer: browses, claims a coupon, orders, and pays, cancels or leaves it; refunds some of what is paid.
//! Its phone does what a real one does: it tells the shop what became of a payment, also when it does not know.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{self, Choices, STORE, World};

/// A template of the demo that everybody may claim.
pub const TEMPLATE: &str = "tpl_00000000000000000000000002";

/// The customer of this round and number, signed in.
pub async fn sign_in(world: &World, seed: u64, number: usize) -> Option<String> {
    for turn in 0..120 {
        let body = json!({ "code": format!("demo:crash-{seed}-{number}") });
        let request = world.http.post(world.shop("/api/v1/sessions", number + turn));
        let request = request.header("Content-Type", "application/json").body(body.to_string());
        if let Ok(answer) = request.send().await
            && let Ok(bytes) = answer.bytes().await
            && let Ok(body) = serde_json::from_slice::<Value>(&bytes)
            && let Some(token) = body["token"].as_str()
        {
            return Some(token.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    None
}

pub struct Customer<'a> {
    world: &'a World,
    number: usize,
    token: String,
    turn: usize,
    seed: u64,
    address: Value,
    /// Claimed, and not used for an order yet.
    coupon: Option<String>,
}

impl<'a> Customer<'a> {
    /// Signed in, with an address. None: nobody answers.
    pub async fn arrive(world: &'a World, number: usize, seed: u64) -> Option<Self> {
        let token = sign_in(world, seed, number).await?;
        let mut customer = Self { world, number, token, turn: 0, seed, address: Value::Null, coupon: None };
        let known = customer.get("/api/v1/addresses").await.unwrap_or_default()["items"][0].clone();
        customer.address = if known.is_null() {
            let address = json!({
                "recipient": "林小满", "phone": "13800138000", "province": "浙江省", "city": "杭州市",
                "district": "西湖区", "detail": "文三路 100 号"
            });
            customer.write("/api/v1/addresses", "address", address).await.unwrap_or_default()
        } else {
            known
        };
        Some(customer)
    }

    /// Claims the coupon that everybody may have. Some: its id.
    async fn claim(&mut self) -> Option<String> {
        let path = format!("/api/v1/coupon-templates/{TEMPLATE}/claims");
        let id = self.write(&path, "claim", json!({})).await?["id"].as_str()?.to_owned();
        self.coupon = Some(id.clone());
        Some(id)
    }

    fn key(&self, what: &str) -> String {
        format!("{what}-{}-{}-{}", self.seed, self.number, self.turn)
    }

    /// A write: it counts.
    async fn write(&self, path: &str, what: &str, body: Value) -> Option<Value> {
        self.world.in_flight.fetch_add(1, Ordering::SeqCst);
        let answer = self.post(path, what, body).await;
        self.world.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.world.acknowledged.fetch_add(usize::from(answer.is_some()), Ordering::SeqCst);
        answer
    }

    async fn post(&self, path: &str, what: &str, body: Value) -> Option<Value> {
        let (turn, key) = (self.number + self.turn, self.key(what));
        self.world.call(Method::POST, path, turn, Some(&self.token), Some((&key, &body))).await
    }

    pub async fn get(&self, path: &str) -> Option<Value> {
        self.world.call(Method::GET, path, self.number + self.turn, Some(&self.token), None).await
    }

    /// An order that waits for payment. The first that is dear enough takes the coupon.
    pub async fn order(&mut self, choices: &mut Choices) -> Option<String> {
        self.turn += 1;
        self.get("/api/v1/stores?limit=10").await;
        let sku = world::sku(choices.next(world::SKUS));
        let mut wish = json!({
            "store_id": STORE, "fulfilment": "DELIVERY", "address_id": self.address["id"],
            "lines": [{ "sku_id": sku, "quantity": 1 + choices.next(2) }]
        });
        let mut quote = None;
        if let Some(coupon) = &self.coupon {
            wish["coupon_ids"] = json!([coupon]);
            quote = self.post("/api/v1/quotes", "quote-coupon", wish.clone()).await;
            wish["coupon_ids"] = json!([]);
        }
        let with_coupon = quote.is_some();
        let quote = match quote {
            Some(quote) => quote,
            None => self.post("/api/v1/quotes", "quote", wish).await?,
        };
        let token = json!({ "quote_token": quote["quote_token"] });
        let order = self.write("/api/v1/orders", "order", token).await?;
        if with_coupon {
            self.coupon = None;
        }
        order["id"].as_str().map(str::to_owned)
    }

    /// Pays at the channel. Some: the channel has said that it was paid.
    pub async fn pay(&self, id: &str) -> Option<()> {
        let start = json!({ "provider": "WECHAT_PAY" });
        let payment = self.write(&format!("/api/v1/orders/{id}/payments"), "pay", start).await?;
        let params = &payment["request_payment"];
        let prepay = params["package"].as_str()?.strip_prefix("prepay_id=")?;
        let pay = self.world.http.post(self.world.sandbox(&format!("/sandbox/payments/{prepay}/pay")));
        let pay = pay.header("Content-Type", "application/json").body(params.to_string()).send().await;
        let paid = pay.is_ok_and(|answer| answer.status().is_success());
        let result = json!({ "result": if paid { "ok" } else { "fail" } });
        let path = format!("/api/v1/orders/{id}/payments/client-result");
        self.post(&path, "result", result).await;
        paid.then_some(())
    }

    /// Asks for the money back. Some: it was promised.
    pub async fn refund(&self, id: &str) -> Option<()> {
        let wish = json!({ "reason": "不想要了" });
        self.write(&format!("/api/v1/orders/{id}/refunds"), "refund", wish).await.map(drop)
    }

    /// The channel's notice takes a moment: a refund is asked for once it has arrived.
    pub async fn is_paid(&self, id: &str) -> bool {
        for _ in 0..100 {
            let Some(order) = self.get(&format!("/api/v1/orders/{id}")).await else { return false };
            if order["pay_status"] == "PAID" {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

/// Shops until the round stops.
pub async fn shop(world: Arc<World>, number: usize, seed: u64) {
    let mut choices = Choices::new(seed ^ (number as u64 + 1).wrapping_mul(0x517C_C1B7_2722_0A95));
    let Some(mut customer) = Customer::arrive(&world, number, seed).await else { return };
    let told = || world.told.lock().expect("no panic");
    if let Some(id) = customer.claim().await {
        told().coupons.push((number, id));
    }
    while !world.stop.load(Ordering::SeqCst) {
        let Some(id) = customer.order(&mut choices).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        told().orders.push((number, id.clone()));
        match choices.next(4) {
            0 => {
                let path = format!("/api/v1/orders/{id}/cancel");
                if customer.write(&path, "cancel", json!({})).await.is_some() {
                    told().cancelled.push((number, id));
                }
            }
            1 => {}
            choice => {
                if customer.pay(&id).await.is_none() {
                    continue;
                }
                told().paid.push((number, id.clone()));
                if choice == 2 && customer.is_paid(&id).await && customer.refund(&id).await.is_some() {
                    told().refunds.push((number, id));
                }
            }
        }
    }
}
