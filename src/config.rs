//! Configuration: the commented `config.toml` is compiled in as the default, a file and the environment
//! go over it, and a key that nobody knows is an error.

use std::path::Path;

use serde::{Deserialize, Deserializer};

use crate::kernel::{Failure, Result};

const DEFAULTS: &str = include_str!("../config.toml");

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$of_field:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$of_field])* pub $field: $type,)+ }
    };
}

/// How strict the start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Development,
    Production,
}

/// Who plays WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WechatMode {
    Sandbox,
    Live,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Where the kv tier lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvBackend {
    Embedded,
    Redis,
    RedisSentinel,
    RedisCluster,
}

/// How events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusBackend {
    Embedded,
    Rocketmq,
}

/// How the connections to a database server are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseTls {
    Off,
    /// If the server offers it.
    Preferred,
    Required,
    /// And the server proves that it is the host of the URL.
    Verify,
}

/// When a settled refund brings a compensation coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompensationPolicy {
    Never,
    Full,
    MerchantFault,
}

/// What a refund gives back when what is kept no longer reaches the minimum spend of the order's coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BelowMinimum {
    /// What was paid for the units.
    Keep,
    /// What was paid, less what the kept units cost without the coupon.
    Reprice,
}

section!(
    /// Everything that can be set. The keys are explained in `config.toml`.
    Config {
        mode: Mode,
        server: Server,
        log: Log,
        secrets: Secrets,
        database: Database,
        kv: Kv,
        cache: Cache,
        bus: Bus,
        session: Session,
        admin: Admin,
        wechat: Wechat,
        wechat_pay: WechatPay,
        sandbox: SandboxSection,
        orders: Orders,
        coupons: Coupons,
        refunds: Refunds,
        sweep: Sweep,
    }
);
section!(Server {
    listen: String,
    public_url: String,
    metrics_listen: String,
    body_limit_kib: usize,
    drain_ms: u64,
    shutdown_grace_ms: u64,
    request_timeout_ms: u64,
    feed_connections: usize,
});
section!(Log { format: LogFormat, filter: String });
section!(Secrets {
    master_key: String,
    #[serde(deserialize_with = "list")]
    old_master_keys: Vec<String>,
});
section!(Database {
    url: String,
    read_connections: u32,
    connections: u32,
    statements: u32,
    busy_timeout_ms: u64,
    lock_wait_s: u32,
    write_timeout_ms: u64,
    tls: DatabaseTls,
    tls_ca: String,
});
section!(Kv {
    backend: KvBackend,
    max_entries: u64,
    #[serde(deserialize_with = "list")]
    urls: Vec<String>,
    sentinel_master: String,
    sentinel_user: String,
    sentinel_password: String,
    tls_ca: String,
    key_prefix: String,
    timeout_ms: u64,
    value_max_kib: usize,
});
section!(Cache { local_ttl_ms: i64, kv_ttl_ms: i64, max_entries: u64 });
section!(Bus {
    backend: BusBackend,
    parallel: usize,
    attempts_max: i64,
    keep_days: i64,
    name_server: String,
    topic_prefix: String,
    node_name: String,
    consume: bool,
    create_topics: bool,
    topic_queues: u32,
    access_key: String,
    secret_key: String,
    tls: bool,
    tls_ca: String,
    timed_ahead_hours: i64,
});
section!(Session { token_minutes: i64, refresh_days: i64, staff_token_minutes: i64 });
section!(Admin { initial_user_name: String, initial_password: String, invitation_hours: i64 });
section!(Wechat {
    mode: WechatMode,
    base_url: String,
    appid: String,
    secret: String,
    timeout_ms: u64,
    store_page: String,
    order_page: String,
    miniprogram_state: String,
    push_token: String,
    push_encoding_aes_key: String,
    templates: Templates,
});
section!(Templates {
    wait_pay: String,
    cancel: String,
    confirm: String,
    pay: String,
    finished: String,
    refund: String,
});
section!(WechatPay {
    base_url: String,
    mchid: String,
    merchant_serial: String,
    merchant_private_key: String,
    apiv3_key: String,
    public_key_id: String,
    public_key: String,
    next_public_key_id: String,
    next_public_key: String,
    platform_certificates: bool,
    timeout_ms: u64,
    number_prefix: String,
});
section!(SandboxSection { listen: String, database: String });
section!(Orders { pay_minutes: i64, complete_days: i64, after_sale_days: i64, pickup_days: i64 });
section!(Coupons {
    new_user_template: String,
    compensation_template: String,
    compensation_policy: CompensationPolicy,
    compensation_minimum_minor: i64,
    return_before_shipping: bool,
    grace_days: i64,
});
section!(Refunds { auto_approve_before_shipping: bool, return_days: i64, below_minimum_spend: BelowMinimum });
section!(Sweep { enabled: bool, interval_s: i64 });

impl Database {
    /// The URL without user, password and parameters, for messages.
    pub fn shown_url(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return self.url.clone() };
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let rest = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{rest}")
    }
}

impl Config {
    /// The defaults alone.
    ///
    /// # Errors
    /// None as long as `config.toml` fits this file; a test holds them together.
    pub fn defaults() -> Result<Self> {
        Self::read(config::Config::builder())
    }

    /// Defaults, then `file` if given, then `MINIMALL__SECTION__KEY` of the environment.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value of the wrong type or out of its bounds; the text names the key.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file));
        }
        let environment = config::Environment::with_prefix("MINIMALL")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(false);
        Self::read(builder.add_source(environment))
    }

    fn read(over: config::ConfigBuilder<config::builder::DefaultState>) -> Result<Self> {
        let defaults = config::File::from_str(DEFAULTS, config::FileFormat::Toml);
        let over = over.build().map_err(|e| Failure::internal("reading the configuration", e))?;
        let config: Self = config::Config::builder()
            .add_source(defaults)
            .add_source(over)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|e| Failure::internal("reading the configuration", e))?;
        config.check_bounds()?;
        Ok(config)
    }

    fn check_bounds(&self) -> Result<()> {
        let prefix = &self.wechat_pay.number_prefix;
        let bounds = [
            ("orders.pay_minutes must be from 2 to 1440", (2..=1440).contains(&self.orders.pay_minutes)),
            ("orders.complete_days must be from 1 to 60", (1..=60).contains(&self.orders.complete_days)),
            ("orders.after_sale_days must be from 0 to 90", (0..=90).contains(&self.orders.after_sale_days)),
            ("orders.pickup_days must be from 1 to 60", (1..=60).contains(&self.orders.pickup_days)),
            (
                "session.token_minutes must be from 5 to 10080",
                (5..=10_080).contains(&self.session.token_minutes),
            ),
            (
                "admin.invitation_hours must be from 1 to 720",
                (1..=720).contains(&self.admin.invitation_hours),
            ),
            ("session.refresh_days must be from 1 to 365", (1..=365).contains(&self.session.refresh_days)),
            (
                "session.staff_token_minutes must be from 5 to 10080",
                (5..=10_080).contains(&self.session.staff_token_minutes),
            ),
            ("kv.timeout_ms must be from 10 to 10000", (10..=10_000).contains(&self.kv.timeout_ms)),
            ("kv.value_max_kib must be from 1 to 65536", (1..=65_536).contains(&self.kv.value_max_kib)),
            (
                "kv.key_prefix must be at most 64 letters, digits and :_.-",
                self.kv.key_prefix.len() <= 64
                    && self.kv.key_prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.-".contains(&b)),
            ),
            (
                "kv.urls must name what kv.backend asks for: one redis:// or rediss:// URL for \"redis\", \
                 the sentinels for \"redis-sentinel\", the nodes for \"redis-cluster\"",
                self.kv.has_fitting_urls(),
            ),
            (
                "kv.sentinel_master must be the name by which the sentinels know the master",
                self.kv.backend != KvBackend::RedisSentinel || !self.kv.sentinel_master.is_empty(),
            ),
            ("bus.parallel must be from 1 to 256", (1..=256).contains(&self.bus.parallel)),
            ("bus.attempts_max must be from 1 to 100", (1..=100).contains(&self.bus.attempts_max)),
            ("bus.keep_days must be from 1 to 3650", (1..=3650).contains(&self.bus.keep_days)),
            ("bus.topic_queues must be from 1 to 64", (1..=64).contains(&self.bus.topic_queues)),
            ("bus.timed_ahead_hours must be from 0 to 71", (0..=71).contains(&self.bus.timed_ahead_hours)),
            (
                "bus.topic_prefix must be 1 to 32 letters, digits, - or _",
                (1..=32).contains(&self.bus.topic_prefix.len()) && is_plain(&self.bus.topic_prefix),
            ),
            ("bus.node_name must be letters, digits, - or _", is_plain(&self.bus.node_name)),
            (
                "bus.name_server must be set (host:port, several separated by ;) when bus.backend is rocketmq",
                self.bus.backend != BusBackend::Rocketmq || !self.bus.name_server.is_empty(),
            ),
            ("sweep.interval_s must be from 1 to 3600", (1..=3600).contains(&self.sweep.interval_s)),
            (
                "server.body_limit_kib must be from 1 to 10240",
                (1..=10_240).contains(&self.server.body_limit_kib),
            ),
            ("server.drain_ms must be at most 60000", self.server.drain_ms <= 60_000),
            (
                "server.request_timeout_ms must be from 1000 to 600000",
                (1_000..=600_000).contains(&self.server.request_timeout_ms),
            ),
            (
                "server.feed_connections must be from 1 to 10000",
                (1..=10_000).contains(&self.server.feed_connections),
            ),
            (
                "database.read_connections must be from 1 to 64",
                (1..=64).contains(&self.database.read_connections),
            ),
            ("refunds.return_days must be from 1 to 60", (1..=60).contains(&self.refunds.return_days)),
            ("database.connections must be from 2 to 1000", (2..=1_000).contains(&self.database.connections)),
            (
                "database.statements must be from 10 to 10000",
                (10..=10_000).contains(&self.database.statements),
            ),
            ("database.lock_wait_s must be from 1 to 60", (1..=60).contains(&self.database.lock_wait_s)),
            (
                "database.busy_timeout_ms must be from 100 to 60000",
                (100..=60_000).contains(&self.database.busy_timeout_ms),
            ),
            (
                "database.write_timeout_ms must be from 1000 to 600000",
                (1_000..=600_000).contains(&self.database.write_timeout_ms),
            ),
            ("coupons.grace_days must be from 0 to 365", (0..=365).contains(&self.coupons.grace_days)),
            (
                "wechat_pay.number_prefix must be 1 to 6 letters or digits",
                (1..=6).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_alphanumeric()),
            ),
        ];
        match bounds.iter().find(|(_, fits)| !fits) {
            Some((rule, _)) => Err(Failure::internal("checking the configuration", *rule)),
            None => Ok(()),
        }
    }

    /// Is the compiled-in demo secret still in use?
    pub fn has_demo_master_key(&self) -> bool {
        // In any spelling that is read as the same key.
        let key = self.secrets.master_key.trim().to_ascii_lowercase();
        DEFAULTS.contains(&format!("master_key = \"{key}\""))
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Kv {
    fn has_fitting_urls(&self) -> bool {
        let fits = |url: &String| url.starts_with("redis://") || url.starts_with("rediss://");
        let count = self.urls.len();
        let enough = match self.backend {
            KvBackend::Embedded => true,
            KvBackend::Redis => count == 1,
            KvBackend::RedisSentinel | KvBackend::RedisCluster => count >= 1,
        };
        enough && self.urls.iter().all(fits)
    }
}

/// A list, or one text with commas in it, as the environment gives it.
fn list<'de, D: Deserializer<'de>>(value: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Given::deserialize(value)? {
        Given::List(list) => list,
        Given::Text(text) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        }
    })
}

/// A PEM given as itself or as the path of its file.
///
/// # Errors
/// The file can't be read.
pub fn pem(text: &str) -> Result<String> {
    if text.contains("-----BEGIN") || text.is_empty() {
        return Ok(text.to_owned());
    }
    std::fs::read_to_string(text).map_err(|e| Failure::internal(format!("reading the key file {text}"), e))
}
