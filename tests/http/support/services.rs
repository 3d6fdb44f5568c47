//! What the shop under test runs on: what is embedded, or the real services that the environment names, as
//! `tests/services` does. Each TestApp has a corner of its own in each of them.

use std::sync::atomic::{AtomicU64, Ordering};

use minimall::config::{Config, KvBackend};
use minimall::kernel::Clock;

use super::databases::{self, Database};

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
