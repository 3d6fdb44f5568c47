//! Shops to measure: the demo's goods, more stores, people who are signed in.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use minimall::catalog::stock::{self, Supply, SupplyKind};
use minimall::config::Config;
use minimall::demo;
use minimall::kernel::{Actor, Currency, Failure, Id, SkuId, StoreId};
use minimall::platform::ctx::Ctx;
use minimall::platform::{bus, inbox};
use minimall::stores::{self, NewStore, OpenHours, OpenRange, StoreDetails, StoreKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::http::{Connection, post};
use super::shop::Place;

pub const ACTOR: Actor = Actor::System("bench");

/// The demo's online store.
pub const STORE: &str = "sto_00000000000000000000000001";
/// Logins at the same time.
const LOGINS: usize = 16;

/// Somewhere in Hangzhou, each number somewhere else.
pub fn place(number: usize) -> (f64, f64) {
    // Multiples of irrational numbers fill a square evenly.
    let part = |step: f64| (number as f64 * step).fract();
    (30.1 + 0.3 * part(0.618_033_988_7), 120.0 + 0.4 * part(0.754_877_666_2))
}

/// The demo's shop, with so many stores in all.
pub async fn shop(ctx: &Ctx, stores_count: usize) {
    demo::seed(ctx).await.expect("the demo is seeded");
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                for number in 5..=stores_count {
                    stores::create(tx, ctx, &ACTOR, ctx.new_id(), &store(number)).await?;
                }
                Ok(())
            })
        })
        .await
        .expect("stores");
}

fn store(number: usize) -> NewStore {
    let (lat, lng) = place(number + 7_000);
    let range = OpenRange { from: "08:00".parse().expect("a time"), to: "22:00".parse().expect("a time") };
    NewStore {
        kind: StoreKind::Physical,
        currency: Currency::Cny,
        details: StoreDetails {
            name: format!("杭州 {number} 号店"),
            phone: "0571-85060101".to_owned(),
            province: "浙江省".to_owned(),
            city: "杭州市".to_owned(),
            district: "拱墅区".to_owned(),
            address: format!("延安路 {number} 号"),
            lat,
            lng,
            time_zone: "Asia/Shanghai".to_owned(),
            hours: OpenHours::every_day(&[range]),
            freight_minor: 800,
            free_freight_from_minor: Some(9_900),
            scene: format!("hz-{number}"),
            image: Some(format!("https://example.com/stores/{number}.jpg")),
        },
    }
}

/// Tokens of so many customers, signed in as a mini-program does it.
pub async fn sign_in(server: SocketAddr, people: usize) -> Vec<String> {
    let lane = |lane: usize| async move {
        let mut connection = Connection::open(server).await.expect("a connection");
        let mut tokens = Vec::new();
        for number in (lane..people).step_by(LOGINS) {
            let login =
                post("/api/v1/sessions", None, None, &json!({ "code": format!("demo:bench-{number}") }));
            let answer = connection.call(&login).await.expect("an answer");
            assert!(answer.is_success(), "{}", answer.text());
            tokens.push(answer.json()["token"].as_str().expect("a token").to_owned());
        }
        tokens
    };
    stream::iter((0..LOGINS).map(lane)).buffer_unordered(LOGINS).concat().await
}

/// A small generator: the same seed gives the same choices.
pub struct Choices(u64);

impl Choices {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Somebody who is signed in and has an address.
pub struct Customer {
    pub token: String,
    pub address_id: String,
}

/// SKUs of the demo that cost little enough to be many and are sold online.
pub const SKUS: u64 = 20;

impl Customer {
    /// What they want to have quoted: one or two things, sent home.
    pub fn quote(&self, seed: u64) -> Value {
        let mut choices = Choices::new(seed);
        let mut skus: Vec<u64> = (0..1 + choices.next(2)).map(|_| 1 + choices.next(SKUS)).collect();
        skus.dedup();
        let lines: Vec<Value> =
            skus.iter().map(|sku| json!({ "sku_id": format!("sku_{sku:0>26}"), "quantity": 1 })).collect();
        json!({
            "store_id": STORE, "fulfilment": "DELIVERY",
            "address_id": self.address_id, "lines": lines
        })
    }
}

/// An order of one thing that waits for payment; its id.
pub async fn place_order(connection: &mut Connection, customer: &Customer) -> String {
    let quote = json!({
        "store_id": STORE, "fulfilment": "DELIVERY", "address_id": customer.address_id,
        "lines": [{ "sku_id": format!("sku_{:0>26}", 1), "quantity": 1 }]
    });
    let quote = post("/api/v1/quotes", Some(&customer.token), None, &quote);
    let quote = connection.call(&quote).await.expect("an answer").json();
    let order = json!({ "quote_token": quote["quote_token"] });
    let order = post("/api/v1/orders", Some(&customer.token), Some("one-thing"), &order);
    let answer = connection.call(&order).await.expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// So many customers, each with an address.
pub async fn customers(server: SocketAddr, people: usize) -> Vec<Customer> {
    let tokens = sign_in(server, people).await;
    let address = json!({
        "recipient": "林小满", "phone": "13800138000", "province": "浙江省", "city": "杭州市",
        "district": "西湖区", "detail": "文三路 100 号"
    });
    let address = &address;
    let settle = |token: String| async move {
        let mut connection = Connection::open(server).await.expect("a connection");
        let key = format!("address-{}", &token[token.len() - 12..]);
        let answer = connection.call(&post("/api/v1/addresses", Some(&token), Some(&key), address)).await;
        let answer = answer.expect("an answer");
        assert!(answer.is_success(), "{}", answer.text());
        let address_id = answer.json()["id"].as_str().expect("an id").to_owned();
        Customer { token, address_id }
    };
    stream::iter(tokens.into_iter().map(settle)).buffer_unordered(LOGINS).collect().await
}

/// So many more of every SKU, online.
pub async fn supply(ctx: &Ctx, quantity: i64) {
    let store: StoreId = Id::from_tail(&format!("{:0>26}", 1));
    let store = &store;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                for number in 1..=SKUS {
                    let sku: SkuId = Id::from_tail(&format!("{number:0>26}"));
                    let supply =
                        Supply { store, sku: &sku, quantity, kind: SupplyKind::Supply, reason: "bench" };
                    stock::supply(tx, ctx, &ACTOR, &supply).await?;
                }
                Ok(())
            })
        })
        .await
        .expect("the supply");
}

/// Waits until no event and no notice is due. Answers how long that took.
pub async fn wait_quiet(place: &Place, patience: Duration) -> Result<Duration, String> {
    let ctx = place.context().await;
    let start = Instant::now();
    let quiet = loop {
        let lag_ms = async {
            let conn = &mut *ctx.db.reader().await?;
            let now_ms = ctx.clock.now_ms();
            Ok::<_, Failure>((bus::lag_ms(conn, now_ms).await?, inbox::lag_ms(conn, now_ms).await?))
        };
        match lag_ms.await {
            Ok((0, 0)) => break Ok(start.elapsed()),
            Ok((bus_ms, inbox_ms)) if start.elapsed() > patience => {
                break Err(format!(
                    "not quiet after {} s: bus {bus_ms} ms late, inbox {inbox_ms} ms",
                    patience.as_secs()
                ));
            }
            Ok(_) => {}
            Err(failure) => break Err(failure.to_string()),
        }
        sleep(Duration::from_millis(100)).await;
    };
    ctx.db.close().await;
    quiet
}

/// The token of the first staff member.
pub async fn sign_in_staff(server: SocketAddr, config: &Config) -> String {
    let form = json!({
        "user_name": config.admin.initial_user_name, "password": config.admin.initial_password
    });
    let mut connection = Connection::open(server).await.expect("a connection");
    let answer = connection.call(&post("/admin/v1/sessions", None, None, &form)).await.expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
    answer.json()["token"].as_str().expect("a token").to_owned()
}
