//! The app under test: a fresh database, the sandbox beside it, a clock that moves by hand.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use minimall::app::App;
use minimall::config::{BusBackend, Config};
use minimall::kernel::{Clock, Millis};
use minimall::platform::ctx::Ctx;
use minimall::sandbox::Sandbox;
use minimall::{checks, demo, routes};

use poem::Endpoint;
use poem::listener::{Acceptor, Listener, TcpListener};

use super::client::{Client, StaffWrites};
use super::services::{Services, use_redis};

/// Saturday, 2026-03-14, 10:00 in Hangzhou: the demo's stores are open.
pub const START_MS: Millis = 1_773_453_600_000;
/// How long a message may be on its way: past the broker's check-back of a half message.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(60);
pub const ADMIN_PASSWORD: &str = "west-lake-tour-2026";

pub struct TestApp {
    pub app: App,
    pub ctx: Ctx,
    pub sandbox: Sandbox,
    pub url: String,
    services: Services,
    folder: std::path::PathBuf,
    finished: bool,
    writes: StaffWrites,
}

/// A configuration on free ports, embedded, with databases in a folder that nobody else uses; and that folder.
pub fn fresh_config() -> (Config, std::path::PathBuf) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("minimall-test-{}-{number}", std::process::id()));
    let mut config = Config::defaults().expect("the defaults fit");
    config.server.listen = "127.0.0.1:0".to_owned();
    config.sandbox.listen = "127.0.0.1:0".to_owned();
    config.sandbox.database = folder.join("sandbox.sqlite").display().to_string();
    config.database.url = format!("sqlite:{}", folder.join("shop.sqlite").display());
    config.admin.initial_password = ADMIN_PASSWORD.to_owned();
    use_redis(&mut config);
    (config, folder)
}

impl TestApp {
    /// A fresh shop with the demo's goods.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with a configuration of its own.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (mut config, folder) = fresh_config();
        let services = Services::take(&mut config).await;
        change(&mut config);
        let mut app = App::build(config, Clock::manual(START_MS)).await.expect("the app is built");
        demo::seed(&app.ctx).await.expect("the demo is seeded");
        let acceptor = app.take_acceptor().expect("bound");
        let url = app.url.clone();
        let endpoint = routes::routes(&app.surface);
        tokio::spawn(async move {
            let server = poem::Server::new_with_acceptor(acceptor);
            let _ = server.run_with_graceful_shutdown(endpoint, pending(), None).await;
        });
        let sandbox = app.sandbox.clone().expect("sandbox mode");
        let ctx = app.ctx.clone();
        Self { app, ctx, sandbox, url, services, folder, finished: false, writes: StaffWrites::default() }
    }

    /// Is the database a server, MySQL or MariaDB?
    pub fn has_server(&self) -> bool {
        !self.ctx.config.database.url.starts_with("sqlite:")
    }

    /// For a connection of the test's own, beside those of the shop.
    pub fn database_url(&self) -> String {
        let url = &self.ctx.config.database.url;
        if self.has_server() { format!("{url}?ssl-mode=DISABLED") } else { url.clone() }
    }

    /// What the shop's database holds: on SQLite all that it ever wrote, its journal included.
    pub async fn stored(&self) -> Stored {
        if let Some(texts) = self.services.stored_texts().await {
            return Stored(texts);
        }
        let path = self.ctx.config.database.url.trim_start_matches("sqlite:").to_owned();
        let files = [path.clone(), format!("{path}-wal")];
        Stored(files.iter().filter_map(|file| std::fs::read(file).ok()).flatten().collect())
    }

    /// Somebody who is not signed in.
    pub fn client(&self) -> Client {
        Client::new(&self.url).noting(&self.writes)
    }

    /// A client of the sandbox's own HTTP calls.
    pub fn sandbox_client(&self) -> Client {
        Client::new(self.sandbox.url())
    }

    /// Delivers everything that is due now: events, notices, calls to the channel and back.
    pub async fn drain(&self) {
        let mut quiet = 0;
        for _ in 0..500 {
            let done = self.app.tick().await.expect("background work") + self.sandbox.tick().await;
            let arrived = self.messages_arrive().await;
            quiet = if done + arrived == 0 { quiet + 1 } else { 0 };
            if quiet == 2 {
                return;
            }
        }
        panic!("background work does not come to rest");
    }

    /// Waits until what a broker carries has arrived. Answers how often it had to look again.
    async fn messages_arrive(&self) -> usize {
        if self.ctx.config.bus.backend == BusBackend::Embedded {
            return 0;
        }
        let mut looks = 0;
        let arrived = tokio::time::timeout(MESSAGE_PATIENCE, async {
            while self.ctx.bus.in_flight(&self.ctx).await.expect("the outbox") > 0 {
                looks += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        arrived.await.expect("every message arrives");
        looks
    }

    /// Moves the clock.
    pub fn advance_ms(&self, by_ms: Millis) {
        self.ctx.clock.advance(by_ms);
    }

    pub fn advance_minutes(&self, minutes: i64) {
        self.advance_ms(minutes * 60_000);
    }

    /// Moves the clock in steps, and delivers what becomes due on the way.
    pub async fn live_through_minutes(&self, minutes: i64) {
        for _ in 0..minutes {
            self.advance_minutes(1);
            self.drain().await;
        }
    }

    /// Switches a fault of the sandbox on.
    pub async fn fault(&self, kind: &str, times: u32) {
        let body = serde_json::json!({ "kind": kind, "times": times });
        self.sandbox_client().post("/sandbox/faults", &body).await.ok();
    }

    pub async fn no_faults(&self) {
        self.sandbox_client().delete("/sandbox/faults").await.ok();
    }

    /// Every invariant holds.
    pub async fn check(&self) {
        let report = checks::run(&self.ctx).await.expect("the check runs");
        let violated: Vec<_> = report.violations().collect();
        assert!(violated.is_empty(), "violated: {violated:#?}");
    }

    /// Every write to store management that succeeded has left an audit row.
    async fn check_audit(&self) {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT request_id FROM audit")
            .fetch_all(&mut *self.ctx.db.reader().await.expect("a reader"))
            .await
            .expect("the audit log");
        let audited: BTreeSet<String> = rows.into_iter().map(|(id,)| id).collect();
        let writes = self.writes.lock().expect("no panic elsewhere").clone();
        let missing: Vec<String> = writes
            .into_iter()
            .filter(|write| !audited.contains(&write.request_id))
            .map(|write| write.what)
            .collect();
        assert!(missing.is_empty(), "no audit row (see Client::changing_nothing): {missing:#?}");
    }

    /// Ends a test: nothing that is due is left undelivered, and every invariant holds.
    pub async fn finish(self) {
        self.drain().await;
        self.finish_unquiet().await;
    }

    /// Ends a test that leaves work undone on purpose: every invariant holds all the same.
    pub async fn finish_unquiet(mut self) {
        self.finished = true;
        self.check_audit().await;
        self.check().await;
        self.services.give_back();
    }
}

/// What a database holds, as bytes.
pub struct Stored(Vec<u8>);

impl Stored {
    /// Does it hold this text in clear?
    pub fn has(&self, text: &str) -> bool {
        self.0.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        assert!(self.finished || std::thread::panicking(), "a test must end with app.finish().await");
    }
}

/// Serves this on a free port; answers its base URL.
pub async fn serve(endpoint: impl Endpoint + 'static) -> String {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.expect("a port");
    let url = acceptor.local_addr()[0].as_socket_addr().map(|at| format!("http://{at}")).expect("an address");
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(endpoint));
    url
}
