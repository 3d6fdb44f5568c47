//! Kills the server process with SIGKILL at a random moment under load, starts it again, and holds what
//! clients were told against what the database and the channel say. The channel is a process of its own, so
//! its word is independent. Each round has at least 200 acknowledged writes, and 20 in flight at the kill.
//!
//! `MINIMALL_CRASH_ROUNDS` (default 3) and `MINIMALL_CRASH_SEED` (default random, printed) repeat a run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minimall::sandbox::demo;
use reqwest::{Client, Method};
use serde_json::{Value, json};

const CLIENTS: usize = 32;
const ACKNOWLEDGED_AT_LEAST: usize = 200;
const IN_FLIGHT_AT_LEAST: usize = 20;
const STORE: &str = "sto_00000000000000000000000001";

/// What a client was told, and must stay true.
#[derive(Default)]
struct Told {
    orders: Vec<(usize, String)>,
    paid: Vec<(usize, String)>,
    cancelled: Vec<(usize, String)>,
    refunds: Vec<(usize, String)>,
}

/// A small generator: the same seed gives the same choices.
struct Choices(u64);

impl Choices {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The processes of a round and where they live.
struct World {
    folder: PathBuf,
    shop_port: u16,
    sandbox_port: u16,
    http: Client,
    in_flight: AtomicUsize,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
    told: Mutex<Told>,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl World {
    fn new(round: u64) -> Arc<Self> {
        let folder = std::env::temp_dir().join(format!("minimall-crash-{}-{round}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client");
        Arc::new(Self {
            folder,
            shop_port: free_port(),
            sandbox_port: free_port(),
            http,
            in_flight: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            told: Mutex::default(),
        })
    }

    fn shop(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.shop_port)
    }

    fn sandbox(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.sandbox_port)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let sandbox = format!("http://127.0.0.1:{}", self.sandbox_port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_minimall"));
        command.args(arguments).stdout(Stdio::null()).stderr(log(&self.folder)).stdin(Stdio::null());
        for (key, value) in [
            ("SERVER__LISTEN", format!("127.0.0.1:{}", self.shop_port)),
            ("DATABASE__URL", format!("sqlite:{}", path("shop.sqlite"))),
            ("SANDBOX__LISTEN", format!("127.0.0.1:{}", self.sandbox_port)),
            ("SANDBOX__DATABASE", path("sandbox.sqlite")),
            ("ADMIN__INITIAL_PASSWORD", "west-lake-tour-2026".to_owned()),
            ("WECHAT__MODE", "live".to_owned()),
            ("WECHAT__BASE_URL", sandbox.clone()),
            ("WECHAT__APPID", demo::APPID.to_owned()),
            ("WECHAT__SECRET", demo::APP_SECRET.to_owned()),
            ("WECHAT__PUSH_TOKEN", demo::PUSH_TOKEN.to_owned()),
            ("WECHAT__PUSH_ENCODING_AES_KEY", demo::PUSH_ENCODING_AES_KEY.to_owned()),
            ("WECHAT_PAY__BASE_URL", sandbox),
            ("WECHAT_PAY__MCHID", demo::MCHID.to_owned()),
            ("WECHAT_PAY__MERCHANT_SERIAL", demo::MERCHANT_SERIAL.to_owned()),
            ("WECHAT_PAY__MERCHANT_PRIVATE_KEY", demo::MERCHANT_PRIVATE_KEY_PEM.to_owned()),
            ("WECHAT_PAY__APIV3_KEY", demo::APIV3_KEY.to_owned()),
            ("WECHAT_PAY__PUBLIC_KEY_ID", demo::PUBLIC_KEY_ID.to_owned()),
            ("WECHAT_PAY__PUBLIC_KEY", demo::PUBLIC_KEY_PEM.to_owned()),
        ] {
            command.env(format!("MINIMALL__{key}"), value);
        }
        command
    }

    async fn wait_for(&self, url: &str, child: &mut Child) {
        for _ in 0..600 {
            if let Ok(answer) = self.http.get(url).send().await
                && answer.status().is_success()
            {
                return;
            }
            assert!(child.try_wait().expect("a child").is_none(), "the process ended: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{url} does not answer: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    async fn start_shop(&self) -> Child {
        let mut child = self.command(&["serve"]).spawn().expect("the server starts");
        self.wait_for(&self.shop("/readyz"), &mut child).await;
        child
    }

    /// A request that counts as in flight, and when it is answered with 2xx as acknowledged.
    async fn call(
        &self,
        method: Method,
        url: String,
        token: Option<&str>,
        key: String,
        body: Value,
    ) -> Option<Value> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let mut request = self.http.request(method, url).header("Content-Type", "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.header("Idempotency-Key", key).body(body.to_string()).send().await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        let answer = answer.ok()?;
        let success = answer.status().is_success();
        let bytes = answer.bytes().await.ok()?;
        if success {
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        success.then_some(body)
    }
}

fn log(folder: &Path) -> Stdio {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"));
    file.map_or_else(|_| Stdio::null(), Stdio::from)
}

/// A customer of this name, signed in.
async fn sign_in(world: &World, number: usize) -> Option<String> {
    let body = json!({ "code": format!("demo:crash-{number}") });
    let answer = world.http.post(world.shop("/api/v1/sessions")).header("Content-Type", "application/json");
    let answer = answer.body(body.to_string()).send().await.ok()?;
    let body: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    body["token"].as_str().map(str::to_owned)
}

/// One customer: orders, and pays, cancels or leaves it; refunds some of what is paid.
async fn customer(world: Arc<World>, number: usize, seed: u64) {
    let mut choices = Choices(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let Some(token) = sign_in(&world, number).await else { return };
    let token = Some(token.as_str());
    let address = json!({
        "recipient": "林小满", "phone": "13800138000", "province": "浙江省", "city": "杭州市",
        "district": "西湖区", "detail": "文三路 100 号"
    });
    let post = |path: String, key: String, body: Value| {
        world.call(Method::POST, world.shop(&path), token, key, body)
    };
    let Some(address) = post("/api/v1/addresses".to_owned(), format!("a{number}"), address).await else {
        return;
    };
    for turn in 0.. {
        if world.stop.load(Ordering::SeqCst) {
            return;
        }
        let key = |what: &str| format!("{what}-{number}-{turn}");
        let sku = format!("sku_{:0>26}", 1 + choices.next(6));
        let quote = json!({
            "store_id": STORE, "fulfilment": "DELIVERY", "address_id": address["id"],
            "lines": [{ "sku_id": sku, "quantity": 1 + choices.next(2) }]
        });
        let Some(quote) = post("/api/v1/quotes".to_owned(), key("quote"), quote).await else { continue };
        let token_body = json!({ "quote_token": quote["quote_token"] });
        let Some(order) = post("/api/v1/orders".to_owned(), key("order"), token_body).await else { continue };
        let Some(id) = order["id"].as_str().map(str::to_owned) else { continue };
        world.told.lock().expect("no panic").orders.push((number, id.clone()));
        match choices.next(4) {
            0 => {
                if post(format!("/api/v1/orders/{id}/cancel"), key("cancel"), json!({})).await.is_some() {
                    world.told.lock().expect("no panic").cancelled.push((number, id));
                }
            }
            1 => {}
            choice => {
                let start = json!({ "provider": "WECHAT_PAY" });
                let Some(payment) = post(format!("/api/v1/orders/{id}/payments"), key("pay"), start).await
                else {
                    continue;
                };
                let params = &payment["request_payment"];
                let package = params["package"].as_str().unwrap_or_default();
                let Some(prepay) = package.strip_prefix("prepay_id=") else { continue };
                let pay = world.http.post(world.sandbox(&format!("/sandbox/payments/{prepay}/pay")));
                let paid =
                    pay.header("Content-Type", "application/json").body(params.to_string()).send().await;
                if !paid.is_ok_and(|answer| answer.status().is_success()) {
                    continue;
                }
                world.told.lock().expect("no panic").paid.push((number, id.clone()));
                if choice == 2 && is_paid(&world, token, &id).await {
                    let wish = json!({ "reason": "不想要了" });
                    if post(format!("/api/v1/orders/{id}/refunds"), key("refund"), wish).await.is_some() {
                        world.told.lock().expect("no panic").refunds.push((number, id));
                    }
                }
            }
        }
    }
}

/// The channel's notice takes a moment: a refund is asked for once it has arrived.
async fn is_paid(world: &World, token: Option<&str>, id: &str) -> bool {
    for _ in 0..100 {
        let order = world.http.get(world.shop(&format!("/api/v1/orders/{id}")));
        let Ok(answer) = order.bearer_auth(token.unwrap_or_default()).send().await else { return false };
        let body: Value =
            serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default();
        if body["pay_status"] == "PAID" {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Waits until the load is what a round asks for, then a random moment, and kills. Answers what it saw.
async fn kill_under_load(world: &World, shop: &mut Child, choices: &mut Choices) -> (usize, usize) {
    let mut extra = choices.next(400);
    for _ in 0..60_000 {
        let acknowledged = world.acknowledged.load(Ordering::SeqCst);
        let in_flight = world.in_flight.load(Ordering::SeqCst);
        if acknowledged >= ACKNOWLEDGED_AT_LEAST && in_flight >= IN_FLIGHT_AT_LEAST {
            if extra == 0 {
                // SIGKILL: nothing of the process gets to say goodbye.
                shop.kill().expect("killed");
                shop.wait().expect("ended");
                return (acknowledged, in_flight);
            }
            extra -= 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the load was never high enough: {}", world.log());
}

async fn get(world: &World, token: &str, path: &str) -> Value {
    let answer = world.http.get(world.shop(path)).bearer_auth(token).send().await.expect("the shop answers");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

async fn channel(world: &World, path: &str) -> Vec<Value> {
    let answer = world.http.get(world.sandbox(path)).send().await.expect("the sandbox answers");
    let list: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    let items = if list.is_array() { list } else { list["items"].clone() };
    items.as_array().cloned().unwrap_or_default()
}

/// Paid and refunded in all.
type Sums = (i64, i64);

/// What our books say, and how much work is still on its way.
async fn our_books(world: &World) -> (Sums, i64) {
    let url = format!("sqlite:{}?mode=ro", world.folder.join("shop.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("the shop's file");
    let sums = sqlx::query_as(
        "SELECT COALESCE((SELECT SUM(amount_minor) FROM payment_records), 0), \
         COALESCE((SELECT SUM(amount_minor) FROM refunds WHERE status = 'SUCCEEDED' AND attempt_id IS NOT NULL), 0)",
    );
    let sums: Sums = sums.fetch_one(&pool).await.expect("our sums");
    let open: (i64,) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM refunds WHERE status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN')) \
         + (SELECT COUNT(*) FROM inbox WHERE state = 'NEW') \
         + (SELECT COUNT(*) FROM deliveries WHERE state = 'PENDING') \
         + (SELECT COUNT(*) FROM outbox WHERE state = 'READY' AND topic <> 'order-deadlines') \
         + (SELECT COUNT(*) FROM orders WHERE status = 'CLOSING')",
    )
    .fetch_one(&pool)
    .await
    .expect("our work");
    pool.close().await;
    (sums, open.0)
}

/// What the channel's books say.
async fn channel_books(world: &World) -> Sums {
    let sum = |rows: &[Value], field: &str| rows.iter().filter_map(|row| row[field].as_i64()).sum();
    let mut payments = channel(world, "/sandbox/payments").await;
    payments.retain(|payment| matches!(payment["trade_state"].as_str(), Some("SUCCESS" | "REFUND")));
    let mut refunds = channel(world, "/sandbox/refunds").await;
    refunds.retain(|refund| refund["status"] == "SUCCESS");
    (sum(&payments, "total"), sum(&refunds, "amount"))
}

/// Every promise is kept: what was acknowledged is there, and both books say the same to the fen.
async fn promises_are_kept(world: &World) {
    let mut unequal = None;
    // A claim that died with the process holds its work for half a minute.
    for _ in 0..480 {
        let ((ours, open), theirs) = (our_books(world).await, channel_books(world).await);
        unequal = (open > 0 || ours != theirs).then_some((ours, theirs, open));
        if unequal.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(
        unequal.is_none(),
        "(paid, refunded) of ours, of the channel, open work: {unequal:?}; {}",
        world.log()
    );
    let told = std::mem::take(&mut *world.told.lock().expect("no panic"));
    let mut tokens = std::collections::HashMap::new();
    for (kind, list) in [
        ("order", &told.orders),
        ("paid", &told.paid),
        ("cancelled", &told.cancelled),
        ("refund", &told.refunds),
    ] {
        for (number, id) in list {
            if !tokens.contains_key(number) {
                tokens.insert(*number, sign_in(world, *number).await.expect("signed in"));
            }
            let order = get(world, &tokens[number], &format!("/api/v1/orders/{id}")).await;
            let kept = match kind {
                "paid" => order["pay_status"] == "PAID",
                "cancelled" => matches!(order["status"].as_str(), Some("CLOSED" | "CLOSING")),
                "refund" => order["refund_status"] == "FULL",
                _ => order["id"].as_str() == Some(id),
            };
            assert!(kept, "acknowledged {kind} of {id}, and now: {order}");
        }
    }
    println!(
        "  kept: {} orders, {} payments, {} cancellations, {} refunds",
        told.orders.len(),
        told.paid.len(),
        told.cancelled.len(),
        told.refunds.len()
    );
}

fn check(world: &World, when: &str) {
    let output = world.command(&["check"]).stdout(Stdio::piped()).output().expect("the check runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{when}: {text}\n{}", world.log());
}

async fn round(seed: u64) {
    let mut choices = Choices(seed);
    let world = World::new(seed);
    assert!(world.command(&["demo"]).status().expect("the demo runs").success(), "{}", world.log());
    let mut sandbox = world.command(&["sandbox"]).spawn().expect("the sandbox starts");
    world.wait_for(&world.sandbox("/sandbox/keys"), &mut sandbox).await;
    let mut shop = world.start_shop().await;
    let customers: Vec<_> =
        (0..CLIENTS).map(|number| tokio::spawn(customer(world.clone(), number, seed))).collect();
    let (acknowledged, in_flight) = kill_under_load(&world, &mut shop, &mut choices).await;
    world.stop.store(true, Ordering::SeqCst);
    for customer in customers {
        customer.await.expect("a customer");
    }
    println!("seed {seed}: {acknowledged} acknowledged writes, {in_flight} in flight at the kill");
    check(&world, "right after the kill");
    let mut shop = world.start_shop().await;
    promises_are_kept(&world).await;
    check(&world, "after the restart");
    shop.kill().expect("killed");
    shop.wait().expect("ended");
    sandbox.kill().expect("killed");
    sandbox.wait().expect("ended");
    let _ = std::fs::remove_dir_all(&world.folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_when_the_server_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("MINIMALL_CRASH_ROUNDS").unwrap_or(3);
    let first = number("MINIMALL_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    for seed in first..first + rounds {
        round(seed).await;
    }
}
