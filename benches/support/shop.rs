//! The program under test in a process of its own, as `cargo run --release` starts it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use minimall::app::App;
use minimall::checks;
use minimall::config::{BusBackend, Config, KvBackend};
use minimall::kernel::Clock;
use minimall::platform::ctx::Ctx;
use tokio::time::sleep;

use super::http::{Connection, get};
use super::services::{Database, Services};

/// A folder that is gone with its owner.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // On a disk, beside the build: /tmp may be memory, where syncing costs nothing.
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Free space of the file system that this folder is on.
pub fn free_bytes(folder: &str) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-B1", folder]).output().expect("df");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

/// A port that nobody listens on, for a process that is about to.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A place for a shop: its configuration, and what is to be given back in the end.
pub struct Place {
    pub config: Config,
    pub folder: Folder,
    database: Option<Database>,
}

impl Place {
    /// On these services, or embedded where there are none.
    pub async fn on(services: &Services) -> Self {
        let folder = Folder::new();
        let mut config = Config::defaults().expect("the defaults fit");
        config.server.listen = format!("127.0.0.1:{}", free_port());
        config.sandbox.listen = format!("127.0.0.1:{}", free_port());
        config.sandbox.database = folder.join("sandbox.sqlite");
        config.database.url = format!("sqlite:{}", folder.join("shop.sqlite"));
        config.admin.initial_password = "west-lake-bench-2026".to_owned();
        config.log.filter = "warn".to_owned();
        let database = services.take(&mut config).await;
        Self { config, folder, database }
    }

    /// The database of this shop, seen from here.
    pub async fn context(&self) -> Ctx {
        let mut config = self.config.clone();
        // Only the database is shared: nothing here listens.
        config.kv.backend = KvBackend::Embedded;
        config.bus.backend = BusBackend::Embedded;
        // Bulk statements take their time.
        config.database.write_timeout_ms = 600_000;
        let ctx = App::context(config, Clock::system()).await.expect("the database opens");
        ctx.db.migrate().await.expect("it migrates");
        ctx
    }

    /// Starts a server, and waits until it is ready.
    pub async fn serve(&self) -> Process {
        self.serve_at(&self.config).await
    }

    /// One more server on the same services.
    pub async fn serve_at(&self, config: &Config) -> Process {
        let process = self.spawn(config);
        process.wait_ready().await;
        process
    }

    /// Starts a server and does not wait.
    pub fn spawn(&self, config: &Config) -> Process {
        let name = format!("log-{}", config.server.listen.replace([':', '.'], "-"));
        let log = self.folder.0.join(name);
        let file = std::fs::File::create(&log).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_minimall"));
        command
            .arg("serve")
            .current_dir(&self.folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        for (key, value) in settings(config) {
            command.env(format!("MINIMALL__{key}"), value);
        }
        let child = command.spawn().expect("the program starts");
        let listens = |address: &str| address.parse().expect("an address");
        Process {
            child,
            address: listens(&config.server.listen),
            sandbox: listens(&config.sandbox.listen),
            log,
        }
    }

    /// What `minimall check` finds: how many rules there are, and which are violated.
    pub async fn check(&self) -> Result<String, String> {
        let ctx = self.context().await;
        let checked = checks::run(&ctx).await;
        ctx.db.close().await;
        let report = checked.map_err(|failure| format!("the check could not run: {failure}"))?;
        let violated: Vec<String> = report
            .violations()
            .map(|finding| format!("{}: {:?}", finding.rule, finding.violations))
            .collect();
        match violated.is_empty() {
            true => Ok(format!("{} invariants hold", report.findings.len())),
            false => Err(format!("violated: {}", violated.join("; "))),
        }
    }

    pub async fn give_back(self) {
        if let Some(database) = &self.database {
            database.give_back().await;
        }
    }
}

/// The configuration as a process of its own reads it.
fn settings(config: &Config) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("SERVER__LISTEN", config.server.listen.clone()),
        ("SANDBOX__LISTEN", config.sandbox.listen.clone()),
        ("SANDBOX__DATABASE", config.sandbox.database.clone()),
        ("DATABASE__URL", config.database.url.clone()),
        ("CACHE__LOCAL_TTL_MS", config.cache.local_ttl_ms.to_string()),
        ("ORDERS__PAY_MINUTES", config.orders.pay_minutes.to_string()),
        ("ADMIN__INITIAL_PASSWORD", config.admin.initial_password.clone()),
        ("LOG__FILTER", config.log.filter.clone()),
    ];
    if config.kv.backend == KvBackend::Redis {
        settings.push(("KV__BACKEND", "redis".to_owned()));
        settings.push(("KV__URLS", config.kv.urls.join(",")));
        settings.push(("KV__KEY_PREFIX", config.kv.key_prefix.clone()));
    }
    if config.bus.backend == BusBackend::Rocketmq {
        settings.push(("BUS__BACKEND", "rocketmq".to_owned()));
        settings.push(("BUS__NAME_SERVER", config.bus.name_server.clone()));
        settings.push(("BUS__TOPIC_PREFIX", config.bus.topic_prefix.clone()));
    }
    settings
}

/// A running server; it ends with this.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    pub sandbox: SocketAddr,
    log: PathBuf,
}

impl Process {
    pub fn of(child: Child, address: SocketAddr) -> Self {
        Self { child, address, sandbox: address, log: PathBuf::new() }
    }

    /// Waits for the first answer that says it is ready.
    pub async fn wait_ready(&self) {
        let request = get("/readyz", None);
        for _ in 0..60_000 {
            if let Ok(mut connection) = Connection::open(self.address).await
                && connection.call(&request).await.is_ok_and(|answer| answer.status == 200)
            {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("the server does not get ready: {}", self.said());
    }

    /// What it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory now, and the most that it ever was, MiB.
    pub fn memory_mib(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
            kib.unwrap_or(f64::NAN) / 1_024.0
        };
        (line("VmRSS:"), line("VmHWM:"))
    }

    /// Processor time that it has used so far, seconds.
    pub fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
