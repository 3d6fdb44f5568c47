//! One connection of a process to a broker, kept alive: it starts without a broker, finds it again when it
//! was gone, and hands messages to the programs that listen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use rocketmq_client_rust::{DefaultMQProducer, TransactionMQProducer};
use rocketmq_model::common::message::message_ext::MessageExt;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, oneshot};

use super::client::Client;
use super::consumers::{Consumers, callbacks};
use super::half::HalfListener;
use super::producers::{self, NAMESPACE};
use super::{NotSent, Options};
use crate::kernel::Millis;
use crate::platform::bus::{BusState, Envelope};
use crate::platform::ctx::{Ctx, WeakCtx};
use crate::platform::patience::{WORK_LIMIT, within};

/// Half messages whose local transactions run at the same time.
const HALVES: usize = 64;
/// Pauses between tries to reach the broker, ms.
const FIRST_PAUSE_MS: u64 = 250;
const LONGEST_PAUSE_MS: u64 = 5_000;
/// How often a connection that lives looks after itself.
const LOOK_MS: u64 = 500;
/// The first queues come within 20 s; a group with more members than queues leaves some without any.
const ASSIGNED_WITHIN_MS: Millis = 25_000;

/// How long leaving the broker may take in all: more than handlers are given to end.
const LEAVE_WITHIN: Duration = Duration::from_secs(20);

type Producers<T> = tokio::sync::RwLock<Option<T>>;

pub struct Connection {
    pub(super) options: Options,
    pub(super) inbound: Arc<Inbound>,
    outbox: Producers<DefaultMQProducer>,
    half: Producers<TransactionMQProducer>,
    consumers: tokio::sync::Mutex<Option<Consumers>>,
    state: AtomicU8,
    /// A send got no answer.
    broken: AtomicBool,
    news: Notify,
    instances: AtomicU64,
    clients: tokio::sync::Mutex<Option<(Client, Client)>>,
    /// Where the connection looks after itself: programs come and go.
    keeper: Mutex<Option<Runtime>>,
}

/// Who listens: a program, and the runtime that it lives on.
struct Listener {
    ctx: WeakCtx,
    runtime: Handle,
}

/// Where messages arrive.
#[derive(Default)]
pub struct Inbound {
    listeners: RwLock<HashMap<String, Listener>>,
}

impl Inbound {
    /// Takes a message; false: the broker is to give it again. Called on the client's own threads.
    pub fn take(&self, message: &MessageExt) -> bool {
        let namespace = property(message, NAMESPACE).unwrap_or_default();
        let Some((ctx, runtime)) = self.listener(&namespace) else {
            // Its program has ended. What it left is in its outbox.
            return true;
        };
        let body = message.body().map(|body| body.to_vec()).unwrap_or_default();
        let id = property(message, "KEYS").unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        runtime.spawn(async move {
            let taken = async {
                match serde_json::from_slice::<Envelope>(&body) {
                    Ok(envelope) => ctx.bus.receive(&ctx, &envelope).await,
                    Err(error) => ctx.bus.keep_unreadable(&ctx, &id, &error.to_string()).await,
                }
            };
            let taken = within(WORK_LIMIT, "taking a message", Box::pin(taken)).await;
            if let Err(failure) = &taken {
                tracing::warn!(event.id = %id, "message {id} was not recorded, the broker gives it again: {failure}");
            }
            // The callback may have been given up.
            let _ = answer.send(taken.is_ok());
        });
        // No answer: its runtime has ended. One program of several in a process, as tests are, does not come back, and
        // a queue in order must not wait for it; the only one of a process gets the message again.
        answered.blocking_recv().unwrap_or(!namespace.is_empty())
    }

    pub fn listener(&self, namespace: &str) -> Option<(Ctx, Handle)> {
        let listeners = self.listeners.read().ok()?;
        let listener = listeners.get(namespace)?;
        Some((listener.ctx.upgrade()?, listener.runtime.clone()))
    }
}

/// A property of a message.
pub fn property(message: &MessageExt, name: &str) -> Option<String> {
    message.properties().get(name).map(ToString::to_string)
}

static CONNECTIONS: Mutex<Vec<Weak<Connection>>> = Mutex::new(Vec::new());

impl Connection {
    /// The connection of this process with these options.
    ///
    /// # Errors
    /// Its threads can't be started.
    pub fn shared(options: Options) -> Result<Arc<Self>, String> {
        let mut all = CONNECTIONS.lock().map_err(|_| "a thread has panicked".to_owned())?;
        all.retain(|connection| connection.strong_count() > 0);
        let same = all.iter().filter_map(Weak::upgrade).find(|connection| connection.options == options);
        if let Some(connection) = same {
            return Ok(connection);
        }
        let keeper = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bus")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let clients = (Client::start("bus", callbacks(&options))?, Client::start("half", HALVES)?);
        let handle = keeper.handle().clone();
        let connection = Arc::new(Self {
            options,
            inbound: Arc::default(),
            outbox: Producers::new(None),
            half: Producers::new(None),
            consumers: tokio::sync::Mutex::new(None),
            state: AtomicU8::new(BusState::Starting as u8),
            broken: AtomicBool::new(false),
            news: Notify::new(),
            instances: AtomicU64::new(0),
            clients: tokio::sync::Mutex::new(Some(clients)),
            keeper: Mutex::new(Some(keeper)),
        });
        handle.spawn(keep(Arc::downgrade(&connection)));
        all.push(Arc::downgrade(&connection));
        Ok(connection)
    }

    pub fn state(&self) -> BusState {
        match self.state.load(Ordering::SeqCst) {
            state if state == BusState::Up as u8 => BusState::Up,
            state if state == BusState::Down as u8 => BusState::Down,
            _ => BusState::Starting,
        }
    }

    fn set_state(&self, state: BusState) {
        let before = self.state.swap(state as u8, Ordering::SeqCst);
        if before != state as u8 {
            tracing::info!(
                "the bus is {}",
                match state {
                    BusState::Up => "up",
                    BusState::Starting => "starting",
                    BusState::Down => "down: events wait in the outbox",
                }
            );
        }
    }

    /// Hands the messages of this namespace to a program.
    pub fn listen(&self, namespace: &str, ctx: &Ctx) {
        let listener = Listener { ctx: ctx.downgrade(), runtime: Handle::current() };
        if let Ok(mut listeners) = self.inbound.listeners.write() {
            listeners.insert(namespace.to_owned(), listener);
        }
        self.news.notify_one();
    }

    /// The program has ended; with the last one the connection ends, too.
    pub async fn leave(&self, namespace: &str) {
        let last = match self.inbound.listeners.read() {
            Ok(listeners) => listeners.keys().all(|name| name == namespace),
            Err(_) => true,
        };
        if last && tokio::time::timeout(LEAVE_WITHIN, self.stop()).await.is_err() {
            tracing::warn!("the RocketMQ client did not stop in time");
        }
        if let Ok(mut listeners) = self.inbound.listeners.write() {
            listeners.remove(namespace);
        }
    }

    /// Consumers first, since what they still handle may send; then producers; then what they run on.
    async fn stop(&self) {
        if let Some(consumers) = self.consumers.lock().await.take() {
            consumers.stop().await;
        }
        let (mut outbox, mut half) = (self.outbox.write().await, self.half.write().await);
        if let Some(mut producer) = outbox.take() {
            producer.shutdown().await;
        }
        if let Some(mut producer) = half.take() {
            producer.shutdown().await;
        }
        if let Some((bus, half)) = self.clients.lock().await.take() {
            tokio::join!(bus.stop(), half.stop());
        }
    }

    fn next_instance(&self, what: &str) -> String {
        format!("{}-{what}{}", self.options.node_name, self.instances.fetch_add(1, Ordering::SeqCst))
    }

    /// Sends a message and waits until the broker has stored it.
    pub async fn publish(&self, namespace: &str, envelope: &Envelope, on_time: bool) -> Result<(), NotSent> {
        let producer = self.outbox.read().await;
        let Some(producer) = producer.as_ref() else { return Err(NotSent::Down) };
        let sent = producers::send(producer, &self.options, namespace, envelope, on_time).await;
        self.note(&sent);
        sent
    }

    /// The producer of half messages, for as long as the guard lives.
    pub(super) fn half(&self) -> &Producers<TransactionMQProducer> {
        &self.half
    }

    /// No answer: the producers are made anew.
    pub(super) fn note<T>(&self, sent: &Result<T, NotSent>) {
        if matches!(sent, Err(NotSent::Down)) && !self.broken.swap(true, Ordering::SeqCst) {
            self.news.notify_one();
        }
    }

    /// # Errors
    /// What is wrong, in words.
    pub async fn probe(&self) -> Result<String, String> {
        let producer = self.outbox.read().await;
        let producer = producer.as_ref().ok_or("no broker was reached yet")?;
        producers::probe(producer, &self.options).await?;
        Ok(format!("{} takes messages", self.options.name_server))
    }

    /// Starts what is missing. Trap 2: after 5 failed connects the client refuses a broker for 30 s, whatever
    /// happens there; a producer under a new instance name knows nothing of that.
    async fn reach(self: &Arc<Self>) -> Result<(), String> {
        let clients = self.clients.lock().await;
        let Some((bus, half)) = clients.as_ref() else { return Ok(()) };
        if self.broken.load(Ordering::SeqCst) {
            self.set_state(BusState::Down);
            // Taken out first: nobody who wants to send waits for their end.
            let (outbox, half) = (self.outbox.write().await.take(), self.half.write().await.take());
            if let Some(mut producer) = outbox {
                producer.shutdown().await;
            }
            if let Some(mut producer) = half {
                producer.shutdown().await;
            }
            self.broken.store(false, Ordering::SeqCst);
        }
        if self.outbox.read().await.is_none() {
            let producer = producers::start(bus, &self.options, &self.next_instance("p")).await?;
            *self.outbox.write().await = Some(producer);
        }
        if self.half.read().await.is_none() {
            let listener = HalfListener { inbound: self.inbound.clone() };
            let instance = self.next_instance("h");
            let producer = producers::start_half(half, &self.options, &instance, listener).await?;
            *self.half.write().await = Some(producer);
        }
        let mut consumers = self.consumers.lock().await;
        let listened = self.inbound.listeners.read().is_ok_and(|listeners| !listeners.is_empty());
        if consumers.is_none() && listened {
            let instance = &self.options.node_name;
            *consumers = Some(Consumers::start(bus, &self.options, instance, &self.inbound).await?);
        }
        Ok(())
    }
}

/// Looks after a connection until nobody has it any more.
async fn keep(connection: Weak<Connection>) {
    let mut pause_ms = FIRST_PAUSE_MS;
    let mut waited_ms = 0;
    loop {
        let Some(connection) = connection.upgrade() else { return };
        let rest_ms = match connection.reach().await {
            Ok(()) => {
                pause_ms = FIRST_PAUSE_MS;
                let assigned = match connection.consumers.lock().await.as_ref() {
                    Some(consumers) => consumers.are_assigned().await,
                    None => false,
                };
                if assigned || waited_ms >= ASSIGNED_WITHIN_MS {
                    connection.set_state(BusState::Up);
                    waited_ms = ASSIGNED_WITHIN_MS;
                } else {
                    waited_ms += LOOK_MS as Millis;
                }
                LOOK_MS
            }
            Err(error) => {
                if connection.state() != BusState::Starting || pause_ms == LONGEST_PAUSE_MS {
                    connection.set_state(BusState::Down);
                }
                tracing::debug!("the broker is looked for again: {error}");
                pause_ms = (pause_ms * 2).min(LONGEST_PAUSE_MS);
                pause_ms
            }
        };
        let rest = tokio::time::sleep(Duration::from_millis(rest_ms));
        tokio::select! {
            () = rest => {}
            () = connection.news.notified() => {}
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Ok(mut keeper) = self.keeper.lock()
            && let Some(runtime) = keeper.take()
        {
            runtime.shutdown_background();
        }
    }
}
