//! The shop under test: its processes, where they live, and what clients were told.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minimall::sandbox::demo;
use minimall::telemetry::Stopwatch;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::any::AnyPoolOptions;

use super::parts::{Part, Parts};

/// What clients were told, and must stay true.
#[derive(Default)]
pub struct Told {
    pub orders: Vec<(usize, String)>,
    pub paid: Vec<(usize, String)>,
    pub cancelled: Vec<(usize, String)>,
    pub refunds: Vec<(usize, String)>,
    pub coupons: Vec<(usize, String)>,
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

/// Of the demo: where everybody buys.
pub const STORE: &str = "sto_00000000000000000000000001";
/// How many of its SKUs are bought.
pub const SKUS: u64 = 6;
const ADMIN_PASSWORD: &str = "west-lake-tour-2026";

pub fn sku(number: u64) -> String {
    format!("sku_{:0>26}", 1 + number)
}

pub struct World {
    folder: PathBuf,
    settings: Vec<(String, String)>,
    shop_ports: Vec<u16>,
    sandbox_port: u16,
    pub http: Client,
    pub database_url: String,
    /// On a server: made for this run, and dropped in the end.
    database: Option<(String, String)>,
    pub parts: Parts,
    pub in_flight: AtomicUsize,
    pub acknowledged: AtomicUsize,
    pub stop: AtomicBool,
    pub told: Mutex<Told>,
    /// Answers of the API that say neither yes, nor no, nor when to try again.
    pub broken: Mutex<Vec<String>>,
    /// The answer, or none, that was waited for longest.
    pub slowest: Mutex<(Duration, String)>,
    /// Do clients ask again what was not answered? How often they did, and what never was.
    pub repeats: AtomicBool,
    pub repeated: AtomicUsize,
    pub unanswered: Mutex<Vec<String>>,
}

/// How often a client asks again, at one server after the other.
const REPEATS_MAX: usize = 200;

/// What a client was told.
enum Said {
    Yes(Value),
    No,
    /// Nothing, or to try again: asked under the same key, it is as if it had been asked once.
    Nothing,
}

/// A port that nobody has and that nobody is given by chance, as the kernel does for connections that go out: parts
/// come back to their ports. `tests/services` takes those below.
fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const FROM: usize = 30_000;
    const COUNT: usize = 2_700;
    for _ in 0..COUNT {
        let number = std::process::id() as usize * 31 + NEXT.fetch_add(1, Ordering::SeqCst);
        let port = (FROM + number % COUNT) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

fn binary() -> String {
    std::env::var("MINIMALL_CRASH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_minimall").to_owned())
}

/// The folder of `tests/services`, if it has started all of them.
pub fn services() -> Option<PathBuf> {
    let all = ["MYSQL", "REDIS", "ROCKETMQ"];
    let all = all.iter().all(|service| std::env::var_os(format!("MINIMALL_TEST_{service}")).is_some());
    std::env::var_os("MINIMALL_TEST_SERVICES_DIR").filter(|_| all).map(PathBuf::from)
}

/// Where the channel keeps its books.
fn channel_file(folder: &Path) -> String {
    folder.join("sandbox.sqlite").display().to_string()
}

impl World {
    pub async fn start() -> Arc<Self> {
        Self::start_with(&[], std::future::ready).await
    }

    /// With settings of its own, and the shop's processes reach the database where `through` says.
    pub async fn start_with<F: Future<Output = String>>(
        extra: &[(&str, &str)],
        through: impl FnOnce(String) -> F,
    ) -> Arc<Self> {
        sqlx::any::install_default_drivers();
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let run = format!("crash_{}_{number}", std::process::id());
        let folder = std::env::temp_dir().join(format!("minimall-{run}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let sandbox_port = free_port();
        let sandbox = format!("http://127.0.0.1:{sandbox_port}");
        let services = services();
        let mut settings: Vec<(String, String)> = [
            ("SANDBOX__LISTEN", format!("127.0.0.1:{sandbox_port}")),
            ("SANDBOX__DATABASE", channel_file(&folder)),
            ("ADMIN__INITIAL_PASSWORD", ADMIN_PASSWORD.to_owned()),
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
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let mut set = |key: &str, value: &str| settings.push((key.to_owned(), value.to_owned()));
        let (database_url, database) = match std::env::var("MINIMALL_TEST_MYSQL") {
            Ok(server) => {
                let made = format!("CREATE DATABASE {run} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
                execute(&server, &made).await;
                (format!("{server}/{run}"), Some((server, run.clone())))
            }
            Err(_) => (format!("sqlite:{}", folder.join("shop.sqlite").display()), None),
        };
        set("DATABASE__URL", &through(database_url.clone()).await);
        for (key, value) in extra {
            set(key, value);
        }
        if let Ok(url) = std::env::var("MINIMALL_TEST_REDIS") {
            set("KV__BACKEND", "redis");
            set("KV__URLS", &url);
            set("KV__KEY_PREFIX", &format!("{run}:"));
        }
        if let Ok(name_server) = std::env::var("MINIMALL_TEST_ROCKETMQ") {
            set("BUS__BACKEND", "rocketmq");
            set("BUS__NAME_SERVER", &name_server);
            set("BUS__TOPIC_PREFIX", &run);
        }
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client");
        let parts = Parts::new(services);
        let servers = parts.ours().iter().filter(|part| part.is_server()).count();
        let world = Arc::new(Self {
            folder,
            settings,
            shop_ports: (0..servers).map(|_| free_port()).collect(),
            sandbox_port,
            http,
            database_url,
            database,
            parts,
            in_flight: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            told: Mutex::default(),
            broken: Mutex::default(),
            slowest: Mutex::default(),
            repeats: AtomicBool::new(false),
            repeated: AtomicUsize::new(0),
            unanswered: Mutex::default(),
        });
        let filled = world.command(&["demo"]).status().expect("the demo runs").success();
        assert!(filled, "{}", world.log());
        for part in world.parts.ours() {
            world.start_part(part).await;
        }
        world
    }

    pub fn begin_round(&self) {
        self.acknowledged.store(0, Ordering::SeqCst);
        self.stop.store(false, Ordering::SeqCst);
    }

    /// A path of the API, at the server that this customer talks to now.
    pub fn shop(&self, path: &str, turn: usize) -> String {
        format!("http://127.0.0.1:{}{path}", self.shop_ports[turn % self.shop_ports.len()])
    }

    pub fn sandbox(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.sandbox_port)
    }

    pub fn channel_file(&self) -> String {
        channel_file(&self.folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        for (key, value) in &self.settings {
            command.env(format!("MINIMALL__{key}"), value);
        }
        command
    }

    /// Starts a part of ours, and waits until it is ready.
    pub async fn start_part(&self, part: Part) {
        let (arguments, extra, ready): (_, Vec<(&str, String)>, _) = match &part {
            Part::Server(number) => {
                let port = self.shop_ports[*number];
                let listen = format!("127.0.0.1:{port}");
                (
                    "serve",
                    vec![("MINIMALL__SERVER__LISTEN", listen)],
                    format!("http://127.0.0.1:{port}/readyz"),
                )
            }
            Part::Worker => {
                let port = free_port();
                let extra = vec![
                    ("MINIMALL__BUS__NODE_NAME", format!("worker-{}", std::process::id())),
                    ("MINIMALL__SERVER__METRICS_LISTEN", format!("127.0.0.1:{port}")),
                    ("MINIMALL__SERVER__PUBLIC_URL", format!("http://127.0.0.1:{}", self.shop_ports[0])),
                ];
                ("worker", extra, format!("http://127.0.0.1:{port}/metrics"))
            }
            Part::Sandbox => ("sandbox", vec![], self.sandbox("/sandbox/keys")),
            Part::Service(_) => unreachable!("services are not ours"),
        };
        let child = self.command(&[arguments]).envs(extra).spawn().expect("it starts");
        self.parts.started(part.clone(), child);
        for _ in 0..1_800 {
            let answer = self.http.get(&ready).timeout(Duration::from_secs(2)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(self.parts.ended().is_none(), "{part} ended: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{part} does not answer: {}", self.log());
    }

    /// The end of what the processes said.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let from = text.char_indices().rev().nth(8_000).map_or(0, |(at, _)| at);
        text[from..].to_owned()
    }

    /// A call of the API, at the server whose turn it is. None: it was refused, or nobody knows.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        turn: usize,
        token: Option<&str>,
        write: Option<(&str, &Value)>,
    ) -> Option<Value> {
        let tries = if self.repeats.load(Ordering::SeqCst) { REPEATS_MAX } else { 1 };
        for again in 0..tries {
            if again > 0 {
                self.repeated.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            match self.ask(method.clone(), path, turn + again, token, write).await {
                Said::Yes(body) => return Some(body),
                Said::No => return None,
                Said::Nothing => {}
            }
        }
        if tries > 1 {
            self.unanswered.lock().expect("no panic").push(path.to_owned());
        }
        None
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        turn: usize,
        token: Option<&str>,
        write: Option<(&str, &Value)>,
    ) -> Said {
        let mut request = self.http.request(method, self.shop(path, turn));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((key, body)) = write {
            request = request.header("Content-Type", "application/json").header("Idempotency-Key", key);
            request = request.body(body.to_string());
        }
        let watch = Stopwatch::start();
        let answer = request.send().await;
        let took = watch.elapsed();
        {
            let mut slowest = self.slowest.lock().expect("no panic");
            if took > slowest.0 {
                *slowest = (took, path.to_owned());
            }
        }
        let Ok(answer) = answer else { return Said::Nothing };
        let status = answer.status();
        let says_when = answer.headers().contains_key("Retry-After");
        let Ok(bytes) = answer.bytes().await else { return Said::Nothing };
        if status.is_success() {
            return Said::Yes(serde_json::from_slice(&bytes).unwrap_or(Value::Null));
        }
        if status.is_server_error() && !(status == StatusCode::SERVICE_UNAVAILABLE && says_when) {
            let answer = format!("{path}: {status} {}", String::from_utf8_lossy(&bytes));
            self.broken.lock().expect("no panic").push(answer);
        }
        if status.is_server_error() || says_when { Said::Nothing } else { Said::No }
    }

    /// What a server says at `/readyz`; none: nobody listens.
    pub async fn readiness(&self, number: usize) -> Option<StatusCode> {
        let ask = self.http.get(self.shop("/readyz", number)).header("Connection", "close");
        ask.send().await.ok().map(|answer| answer.status())
    }

    /// The same until it is done: of staff, between rounds.
    async fn must(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        write: Option<(&str, &Value)>,
    ) -> Value {
        for turn in 0..120 {
            if let Some(answer) = self.call(method.clone(), path, turn, token, write).await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("{path} is not done: {}", self.log());
    }

    /// Goods and coupons for another round.
    pub async fn restock(&self, seed: u64) {
        let password = json!({ "user_name": "admin", "password": ADMIN_PASSWORD });
        let password = Some(("session", &password));
        let session = self.must(Method::POST, "/admin/v1/sessions", None, password).await;
        let token = session["token"].as_str();
        let goods = json!({ "quantity": 300, "kind": "SUPPLY", "reason": "another round" });
        for number in 0..SKUS {
            let path = format!("/admin/v1/stores/{STORE}/stock/{}/moves", sku(number));
            let key = format!("restock-{seed}-{number}");
            self.must(Method::POST, &path, token, Some((&key, &goods))).await;
        }
        let path = format!("/admin/v1/coupon-templates/{}", super::customer::TEMPLATE);
        let template = self.must(Method::GET, &path, token, None).await;
        let total = template["total"].as_i64().expect("how many") + super::CUSTOMERS as i64;
        self.must(Method::PATCH, &path, token, Some(("total", &json!({ "total": total })))).await;
    }

    /// Every invariant holds, says the program itself.
    pub async fn check(&self, when: &str) {
        let mut command = self.command(&["check"]);
        let output = tokio::task::spawn_blocking(move || command.stdout(Stdio::piped()).output());
        let output = output.await.expect("it ran").expect("the check runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{when}: {text}\n{}", self.log());
    }

    pub async fn end(&self) {
        self.parts.end();
        if let Some((server, name)) = &self.database {
            execute(server, &format!("DROP DATABASE {name}")).await;
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.parts.end();
    }
}

async fn execute(server: &str, statement: &str) {
    let pool = AnyPoolOptions::new().max_connections(1).connect(server).await.expect("the database server");
    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.expect("the statement");
    pool.close().await;
}
