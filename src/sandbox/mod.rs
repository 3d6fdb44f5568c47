//! The stand-in for WeChat: the mini-program API and WeChat Pay v3 over real HTTP, with keys of its own,
//! real signatures and its own SQLite file. It refuses what the real ones refuse, except that a loopback
//! notify URL is allowed. It shares no signing, verifying or parsing code with the client modules.

mod calls;
mod cashier;
mod control;
mod control_types;
pub mod demo;
mod faults;
mod fields;
mod key_set;
mod keys;
mod login;
mod messages;
mod mini;
mod notify;
mod orders;
mod page;
mod pay;
mod push;
mod qr;
mod refunds;
mod security;
mod server;
mod shipping;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod v3;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sqlx::SqlitePool;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::kernel::{Clock, Failure, Result};

/// How a sandbox is started.
pub struct Options {
    /// Where it listens: `127.0.0.1:8081`; port 0 is any free port.
    pub listen: String,
    /// Its SQLite file, or `:memory:`.
    pub database: String,
    pub clock: Clock,
    /// The shop server runs on the same clock, so that the page may move it.
    pub clock_is_shared: bool,
    /// Base URL of the shop server, which the page calls.
    pub shop_url: Option<String>,
    /// Where the mini-program's message pushes go; none: they are not sent.
    pub push_url: Option<String>,
}

/// A running sandbox. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    world: Arc<World>,
    url: Arc<str>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

/// What every part of the sandbox works on.
struct World {
    clock: Clock,
    clock_is_shared: bool,
    db: SqlitePool,
    keys: keys::Keys,
    faults: faults::Faults,
    calls: calls::Calls,
    http: reqwest::Client,
    shop_url: RwLock<Option<String>>,
    push_url: RwLock<Option<String>>,
    /// Something may be due: the loop looks again.
    wake: Notify,
    /// Under `key_ramp`, whose turn it is.
    ramp: AtomicBool,
    logins: Mutex<login::Counts>,
    /// One tick at a time, so that a notice is not sent twice by two of them.
    ticking: tokio::sync::Mutex<()>,
}

impl World {
    fn push_url(&self) -> Option<String> {
        self.push_url.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sandbox {
    /// Opens the file, binds and serves in a task of its own.
    pub async fn start(options: Options) -> Result<Self> {
        let listener = TcpListener::bind(&options.listen)
            .await
            .map_err(|error| Failure::internal(format!("binding {}", options.listen), error))?;
        let address =
            listener.local_addr().map_err(|error| Failure::internal("reading the bound address", error))?;
        let http = reqwest::Client::builder()
            .timeout(notify::TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Failure::internal("making the sandbox's HTTP client", error))?;
        let world = Arc::new(World {
            clock: options.clock,
            clock_is_shared: options.clock_is_shared,
            db: store::open(&options.database).await?,
            keys: keys::Keys::load()?,
            faults: faults::Faults::default(),
            calls: calls::Calls::default(),
            http,
            shop_url: RwLock::new(options.shop_url),
            push_url: RwLock::new(options.push_url),
            wake: Notify::new(),
            ramp: AtomicBool::new(false),
            logins: Mutex::default(),
            ticking: tokio::sync::Mutex::default(),
        });
        let (stop, mut stopping) = watch::channel(false);
        let (done, stopped) = watch::channel(false);
        let serving = world.clone();
        tokio::spawn(async move {
            server::serve(serving, listener, async move {
                // An error means that every handle is gone: then the server stops as well.
                let _ = stopping.wait_for(|stop| *stop).await;
            })
            .await;
            let _ = done.send(true);
        });
        Ok(Self { world, url: format!("http://{address}").into(), stop, stopped })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn set_shop_url(&self, url: &str) {
        *self.world.shop_url.write().unwrap_or_else(PoisonError::into_inner) = Some(url.to_owned());
    }

    pub fn set_push_url(&self, url: &str) {
        *self.world.push_url.write().unwrap_or_else(PoisonError::into_inner) = Some(url.to_owned());
    }

    /// Does what is due on the clock (refunds end, receipts confirm themselves) and sends every notification
    /// and push that is due, a bounded number at once. Returns how many were attempted.
    pub async fn tick(&self) -> usize {
        notify::tick(&self.world).await
    }

    /// Ticks when something becomes due, forever.
    pub async fn run(&self) {
        loop {
            let attempted = self.tick().await;
            let due = notify::next_due_ms(&self.world).await;
            let timer = async {
                match due {
                    // Due, and yet nothing could be done: the database refuses, so not again at once.
                    Some(due_ms) if attempted == 0 && due_ms <= self.world.clock.now_ms() => {
                        tokio::time::sleep(notify::BREATH).await;
                    }
                    Some(due_ms) => self.world.clock.sleep_until(due_ms).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.world.wake.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Ends the server; requests in flight get a second.
    pub async fn stop(&self) {
        let _ = self.stop.send(true);
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
        self.world.db.close().await;
    }
}
