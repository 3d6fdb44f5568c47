//! What the shop under test runs on: what is embedded, or the real services that the environment names, as
//! `tests/services` does. Each TestApp has a corner of its own in each of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use minimall::app::App;
use minimall::config::{BusBackend, Config, KvBackend};
use minimall::kernel::Clock;
use minimall::platform::bus::BusState;
use minimall::platform::ctx::Ctx;
use tokio::sync::OnceCell;

use super::app::START_MS;
use super::databases::{self, Database};

/// How long the broker's first queues may take: the client asks for them every 20 s.
const BROKER_PATIENCE: Duration = Duration::from_secs(60);

/// The corners of one TestApp. Those of a test that failed stay, for somebody to look at.
pub struct Services {
    database: Option<Database>,
}

impl Services {
    /// Points a configuration at the services that there are.
    pub async fn take(config: &mut Config) -> Self {
        let database = match std::env::var("MINIMALL_TEST_MYSQL") {
            Ok(server) => Some(databases::take(config, &server).await),
            Err(_) => None,
        };
        use_broker(config).await;
        if let Some(database) = &database {
            database.configure(config);
        }
        Self { database }
    }

    /// What was taken is for others.
    pub fn give_back(&mut self) {
        if let Some(database) = self.database.take() {
            databases::give_back(database);
        }
    }

    /// Every text of every row, where the database is a server.
    pub async fn stored_texts(&self) -> Option<Vec<u8>> {
        match &self.database {
            Some(database) => Some(database.texts().await),
            None => None,
        }
    }
}

/// With `MINIMALL_TEST_REDIS`, the URL of a Redis, everybody keeps their entries there, under a prefix of their own.
pub fn use_redis(config: &mut Config) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Ok(url) = std::env::var("MINIMALL_TEST_REDIS") else { return };
    config.kv.backend = KvBackend::Redis;
    config.kv.urls = vec![url];
    // Of this run, too: the tests' clock always begins at the same moment.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    config.kv.key_prefix = format!("t{}.{}.{number}:", Clock::system().now_ms(), std::process::id());
    // A busy machine is no reason to go on without it here.
    config.kv.timeout_ms = 5_000;
}

/// Events travel through the broker of `MINIMALL_TEST_ROCKETMQ`, the address of its name server, where there is one.
///
/// Consumers wait many seconds for their first queues, so all shops of this process share one connection: under a
/// clock that is moved by hand each tells its messages apart by a random namespace.
async fn use_broker(config: &mut Config) {
    /// Somebody who stays, so that the connection does.
    static CONNECTED: OnceCell<Ctx> = OnceCell::const_new();
    let Ok(name_server) = std::env::var("MINIMALL_TEST_ROCKETMQ") else { return };
    config.bus.backend = BusBackend::Rocketmq;
    config.bus.name_server = name_server;
    config.bus.topic_prefix = format!("http-{}", std::process::id());
    CONNECTED.get_or_init(|| connect(config.clone())).await;
}

async fn connect(config: Config) -> Ctx {
    let ctx = App::context(config, Clock::manual(START_MS)).await.expect("the ports open");
    ctx.bus.subscribe(&ctx, vec![]);
    let connected = tokio::time::timeout(BROKER_PATIENCE, async {
        while ctx.bus.state() != BusState::Up {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    connected.await.expect("the broker of MINIMALL_TEST_ROCKETMQ");
    ctx
}
