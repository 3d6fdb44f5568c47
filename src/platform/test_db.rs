//! A database with its context, for unit tests.

use std::path::PathBuf;
use std::sync::Arc;

use super::bus::Bus;
use super::ctx::{Ctx, Parts};
use super::db::Db;
use super::kv::Kv;
use super::secrets::Secrets;
use crate::config::Config;
use crate::kernel::{Clock, Code, Millis};

/// Noon of a Monday in Shanghai.
pub(crate) const NOW_MS: Millis = 1_772_424_000_000;

/// A fresh SQLite database in a folder of its own, removed in the end.
pub(crate) struct TestDb {
    pub ctx: Ctx,
    folder: PathBuf,
}

impl TestDb {
    /// With the codes that its verbs answer.
    pub async fn new(codes: &[&'static Code]) -> Self {
        Self::with(codes, Config::defaults().unwrap()).await
    }

    /// As a node among several sees it: its bus is a broker's, which nobody plays here.
    #[cfg(feature = "rocketmq")]
    pub async fn shared(codes: &[&'static Code]) -> Self {
        let mut config = Config::defaults().unwrap();
        config.bus.backend = crate::config::BusBackend::Rocketmq;
        config.bus.name_server = "127.0.0.1:1".to_owned();
        Self::with(codes, config).await
    }

    async fn with(codes: &[&'static Code], mut config: Config) -> Self {
        let name = super::crypto::hex(&super::crypto::random::<8>());
        let folder = std::env::temp_dir().join(format!("minimall-{name}"));
        config.database.url = format!("sqlite:{}/test.sqlite", folder.display());
        let db = Db::open(&config.database).await.unwrap();
        db.migrate().await.unwrap();
        let clock = Clock::manual(NOW_MS);
        let ctx = Ctx::new(Parts {
            db,
            kv: Kv::embedded(1_000, clock.clone()),
            bus: Bus::open(&config, &clock).unwrap(),
            clock,
            secrets: Secrets::new(&config.secrets).unwrap(),
            config,
            metrics: Arc::default(),
            codes: codes.to_vec(),
        });
        Self { ctx, folder }
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
