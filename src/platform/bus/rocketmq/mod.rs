//! The bus on RocketMQ 5: events travel through topics, one group a topic, and every node takes broadcasts.
//!
//! The client is `rocketmq-client-rust` 1.0.0. Five of its habits lose time or messages when they are not
//! known; each is handled where it bites, in a comment that begins with "Trap".

mod client;
mod connection;
mod consumers;
mod half;
mod producers;

use std::sync::Arc;

use super::{BusState, Envelope};
use crate::config::Config;
use crate::kernel::{Clock, Failure, Millis, Result, hour_ms};
use crate::platform::crypto;
use crate::platform::ctx::Ctx;
use connection::Connection;

/// What a connection is made of. Programs of one process that ask for the same share it.
#[derive(Clone, PartialEq, Eq)]
struct Options {
    name_server: String,
    prefix: String,
    /// No other node has it.
    node_name: String,
    /// Take topics, and not only broadcasts?
    consume: bool,
    create_topics: bool,
    topic_queues: u32,
    /// Handlers of one topic that run at the same time.
    parallel: usize,
    access_key: String,
    secret_key: String,
    tls: bool,
    tls_ca: String,
}

impl Options {
    fn topic(&self, topic: &str) -> String {
        format!("{}-{topic}", self.prefix)
    }
}

/// This program's place on the bus.
pub struct Node {
    connection: Arc<Connection>,
    /// Tells the messages of programs apart that share a process and a broker, as tests do; empty outside.
    namespace: String,
    timed_ahead_ms: Millis,
}

/// The message was not sent, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    #[error("the broker does not answer")]
    Down,
    #[error("the broker refused the message (code {0})")]
    Refused(i32),
    #[error("the broker did not store the message safely")]
    Unsafe,
    #[error("the message can't be built: {0}")]
    Unfit(String),
}

impl Node {
    /// # Errors
    /// The client's threads can't be started.
    pub fn open(config: &Config, clock: &Clock) -> Result<Self> {
        let bus = &config.bus;
        let options = Options {
            name_server: bus.name_server.clone(),
            prefix: bus.topic_prefix.clone(),
            node_name: super::node_name(config),
            consume: bus.consume,
            create_topics: bus.create_topics,
            topic_queues: bus.topic_queues,
            parallel: bus.parallel,
            access_key: bus.access_key.clone(),
            secret_key: bus.secret_key.clone(),
            tls: bus.tls,
            tls_ca: bus.tls_ca.clone(),
        };
        let connection = Connection::shared(options)
            .map_err(|error| Failure::internal("starting the RocketMQ client", error))?;
        // A clock that stands still is a test's: many programs of its kind share one process and one broker.
        let namespace = if clock.is_manual() { crypto::hex(&crypto::random::<8>()) } else { String::new() };
        Ok(Self { connection, namespace, timed_ahead_ms: hour_ms(bus.timed_ahead_hours) })
    }

    pub fn timed_ahead_ms(&self) -> Millis {
        self.timed_ahead_ms
    }

    /// Begins to take messages for this program.
    pub fn listen(&self, ctx: &Ctx) {
        self.connection.listen(&self.namespace, ctx);
    }

    pub fn state(&self) -> BusState {
        self.connection.state()
    }

    /// Sends a message and waits until the broker has stored it.
    ///
    /// # Errors
    /// It is not there, or nobody knows: it may be sent again.
    pub async fn publish(&self, envelope: &Envelope) -> std::result::Result<(), NotSent> {
        let on_time = self.timed_ahead_ms > 0;
        self.connection.publish(&self.namespace, envelope, on_time).await
    }

    /// A message to the broker.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub async fn probe(&self) -> std::result::Result<String, String> {
        self.connection.probe().await
    }

    pub async fn close(&self) {
        self.connection.leave(&self.namespace).await;
    }
}
