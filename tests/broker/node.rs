//! A node without a shop: ports, relay, and a subscription that writes down what it gets.

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minimall::app::App;
use minimall::config::{BusBackend, Config};
use minimall::events::Event;
use minimall::kernel::{Clock, OrderId};
use minimall::platform::bus::{self, BusState, Handled, Staged, Subscription};
use minimall::platform::ctx::Ctx;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a test waits for what has to come, at most: a broker that starts again, and queues given anew.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within {} s: {what}", PATIENCE.as_secs()));
}

/// Topics of a test's own.
pub fn prefix(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// The broker beside the tests. While one test kills it no other runs.
pub struct Broker {
    folder: PathBuf,
    _alone: std::sync::MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

/// None where no broker was started.
pub fn broker() -> Option<Broker> {
    std::env::var("MINIMALL_TEST_ROCKETMQ").ok()?;
    let folder = std::env::var("MINIMALL_TEST_SERVICES_DIR").ok()?;
    let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Some(Broker { folder: PathBuf::from(folder).join("broker"), _alone: alone })
}

impl Broker {
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.folder.join("pid")).expect("the broker's pid");
        let killed = Command::new("kill").args(["-KILL", pid.trim()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
    }

    pub async fn start(&self) {
        let start = self.folder.join("start");
        let started = tokio::task::spawn_blocking(move || Command::new(start).status());
        assert!(
            started.await.expect("it ran").is_ok_and(|status| status.success()),
            "the broker starts again"
        );
    }
}

/// The database server beside the tests; none was started.
pub fn database_server() -> Option<String> {
    std::env::var("MINIMALL_TEST_MYSQL").ok()
}

type Delay = dyn Fn(&Event) -> Duration + Send + Sync;

/// What a subscription was given, once each.
#[derive(Clone)]
pub struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
    pub started: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    /// How many handlers ran at the same moment, at most.
    pub at_once: Arc<AtomicUsize>,
    delay: Arc<Delay>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::with(|_| Duration::ZERO)
    }
}

impl Recorder {
    /// Its handler takes this long.
    pub fn with(delay: impl Fn(&Event) -> Duration + Send + Sync + 'static) -> Self {
        Self {
            events: Arc::default(),
            started: Arc::default(),
            running: Arc::default(),
            at_once: Arc::default(),
            delay: Arc::new(delay),
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no panic").clone()
    }

    pub fn events_of(&self, order: &OrderId) -> Vec<Event> {
        let is_of = |event: &Event| match event {
            Event::OrderPlaced { order_id, .. }
            | Event::OrderPaid { order_id, .. }
            | Event::OrderCompleted { order_id, .. } => order_id == order,
            _ => false,
        };
        self.events().into_iter().filter(is_of).collect()
    }

    pub async fn wait_for(&self, count: usize) {
        eventually(&format!("{count} events, of which came {}", self.events().len()), || async {
            self.events.lock().expect("no panic").len() >= count
        })
        .await;
    }

    fn subscription(&self) -> Subscription {
        let recorder = self.clone();
        Subscription::new("tests.recorder", Event::NAMES, move |ctx, delivery| {
            let recorder = recorder.clone();
            Box::pin(async move {
                recorder.started.fetch_add(1, Ordering::SeqCst);
                let running = 1 + recorder.running.fetch_add(1, Ordering::SeqCst);
                recorder.at_once.fetch_max(running, Ordering::SeqCst);
                tokio::time::sleep((recorder.delay)(&delivery.event)).await;
                recorder.running.fetch_sub(1, Ordering::SeqCst);
                let now_ms = ctx.clock.now_ms();
                let first =
                    ctx.db.write(|tx| Box::pin(async move { delivery.begin(tx, now_ms).await })).await?;
                if first {
                    recorder.events.lock().expect("no panic").push(delivery.event.clone());
                }
                Ok(Handled::Done)
            })
        })
    }
}

/// A node's ports, its relay, and its database's folder.
pub struct Node {
    pub ctx: Ctx,
    folder: Option<PathBuf>,
    stop: watch::Sender<bool>,
    relay: JoinHandle<()>,
}

impl Node {
    /// On a database of its own.
    pub async fn start(prefix: &str, name: &str, recorder: &Recorder) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("minimall-broker-{}-{number}", std::process::id()));
        Self::on(prefix, name, recorder, folder).await
    }

    /// On the database of a node that has stopped.
    pub async fn restart(prefix: &str, name: &str, recorder: &Recorder, folder: PathBuf) -> Self {
        Self::on(prefix, name, recorder, folder).await
    }

    /// On the database of another node that runs.
    pub async fn beside(prefix: &str, name: &str, recorder: &Recorder, other: &Self) -> Self {
        let folder = other.folder.clone().expect("a node that runs");
        let mut node = Self::on(prefix, name, recorder, folder).await;
        node.folder = None;
        node
    }

    async fn on(prefix: &str, name: &str, recorder: &Recorder, folder: PathBuf) -> Self {
        let url = format!("sqlite:{}", folder.join("shop.sqlite").display());
        Self::with(prefix, name, recorder, url, Some(folder)).await
    }

    /// On a database of its own at a server, where others write while one transaction is open.
    pub async fn on_server(prefix: &str, name: &str, recorder: &Recorder, server: &str) -> Self {
        sqlx::any::install_default_drivers();
        let database = prefix.replace('-', "_");
        let mut conn = AnyConnection::connect(server).await.expect("the database server");
        let made = format!("CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        conn.execute(AssertSqlSafe(made)).await.expect("a database");
        conn.close().await.expect("closed");
        Self::with(prefix, name, recorder, format!("{server}/{database}"), None).await
    }

    async fn with(
        prefix: &str,
        name: &str,
        recorder: &Recorder,
        url: String,
        folder: Option<PathBuf>,
    ) -> Self {
        let mut config = Config::defaults().expect("the defaults fit");
        config.database.url = url;
        config.bus.backend = BusBackend::Rocketmq;
        config.bus.name_server = std::env::var("MINIMALL_TEST_ROCKETMQ").expect("a broker");
        config.bus.topic_prefix = prefix.to_owned();
        config.bus.node_name = format!("{prefix}-{name}");
        let ctx = App::context(config, Clock::system()).await.expect("the ports open");
        ctx.db.migrate().await.expect("migrated");
        ctx.bus.subscribe(&ctx, vec![recorder.subscription()]);
        let (stop, mut stopped) = watch::channel(false);
        let relay = tokio::spawn({
            let ctx = ctx.clone();
            async move {
                while !*stopped.borrow() {
                    // Without the healing of a shop, which would hide a message that never comes.
                    if ctx.bus.tick(&ctx).await.unwrap_or(0) == 0 {
                        tokio::select! {
                            () = tokio::time::sleep(Duration::from_millis(50)) => {}
                            _ = stopped.changed() => {}
                        }
                    }
                }
            }
        });
        let node = Self { ctx, folder, stop, relay };
        eventually("the bus is up", || async { node.ctx.bus.state() == BusState::Up }).await;
        node
    }

    pub async fn stage(&self, event: &Event, how: Staged<'_>) {
        let ctx = &self.ctx;
        let staged = ctx.db.write(|tx| Box::pin(async move { bus::stage(tx, ctx, event, how).await }));
        staged.await.expect("staged");
    }

    pub async fn execute(&self, statement: &'static str) {
        let done = self.ctx.db.write(|tx| {
            Box::pin(async move {
                tx.execute(statement).await?;
                Ok(())
            })
        });
        done.await.expect("it is done");
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        let mut conn = self.ctx.db.reader().await.expect("a reader");
        let (count,): (i64,) = sqlx::query_as(query).fetch_one(&mut *conn).await.expect("a count");
        count
    }

    pub async fn stop(self) {
        let folder = self.folder.clone();
        self.end().await;
        if let Some(folder) = folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// Stops, and answers where its database is.
    pub async fn stop_and_keep(self) -> PathBuf {
        let folder = self.folder.clone().expect("a database of its own");
        self.end().await;
        folder
    }

    async fn end(self) {
        let _ = self.stop.send(true);
        let _ = self.relay.await;
        self.ctx.bus.close().await;
        self.ctx.db.close().await;
    }
}
