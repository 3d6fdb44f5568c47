//! The services that `tests/services` has started, and the configuration that uses them.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};

use minimall::config::{BusBackend, Config, KvBackend};
use sqlx::any::AnyPoolOptions;

/// What a row can't do without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    MySql,
    Redis,
    RocketMq,
}

#[derive(Clone, Default)]
pub struct Services {
    pub mysql: Option<String>,
    pub redis: Option<String>,
    pub rocketmq: Option<String>,
}

impl Services {
    pub fn from_environment() -> Self {
        Self {
            mysql: env::var("MINIMALL_TEST_MYSQL").ok(),
            redis: env::var("MINIMALL_TEST_REDIS").ok(),
            rocketmq: env::var("MINIMALL_TEST_ROCKETMQ").ok(),
        }
    }

    pub fn missing(&self, needs: &[Need]) -> Vec<&'static str> {
        let missing = |need: &Need| match need {
            Need::MySql if self.mysql.is_none() => Some("MariaDB"),
            Need::Redis if self.redis.is_none() => Some("Redis"),
            Need::RocketMq if self.rocketmq.is_none() => Some("RocketMQ"),
            _ => None,
        };
        needs.iter().filter_map(missing).collect()
    }

    /// Only these of them.
    pub fn only(&self, needs: &[Need]) -> Self {
        let keep = |need: Need, url: &Option<String>| url.clone().filter(|_| needs.contains(&need));
        Self {
            mysql: keep(Need::MySql, &self.mysql),
            redis: keep(Need::Redis, &self.redis),
            rocketmq: keep(Need::RocketMq, &self.rocketmq),
        }
    }

    /// Puts a configuration on these services, under names that nobody else uses. Answers the database that was made.
    pub async fn take(&self, config: &mut Config) -> Option<Database> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("bench_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        if let Some(url) = &self.redis {
            config.kv.backend = KvBackend::Redis;
            config.kv.urls = vec![url.clone()];
            config.kv.key_prefix = format!("{name}:");
        }
        if let Some(name_server) = &self.rocketmq {
            config.bus.backend = BusBackend::Rocketmq;
            config.bus.name_server = name_server.clone();
            config.bus.topic_prefix = name.clone();
        }
        let server = self.mysql.clone()?;
        execute(&server, &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")).await;
        config.database.url = format!("{server}/{name}");
        Some(Database { server, name })
    }
}

/// A database of this run's own.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    pub async fn give_back(&self) {
        execute(&self.server, &format!("DROP DATABASE {}", self.name)).await;
    }
}

async fn execute(server: &str, statement: &str) {
    let pool = AnyPoolOptions::new().max_connections(1).connect(server).await.expect("the database server");
    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.expect("the statement");
    pool.close().await;
}
