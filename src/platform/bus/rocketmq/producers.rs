//! The two producers: one for what the outbox holds, one for half messages.

use std::collections::HashMap;

use rocketmq_client_rust::{ClientError, DefaultMQProducer, TransactionMQProducer};
use rocketmq_model::common::message::message_queue::MessageQueue;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::result::{SendResult, SendStatus};

use super::client::{Client, config, signer};
use super::half::HalfListener;
use super::{NotSent, Options};
use crate::events::{Kind, TOPICS};
use crate::platform::bus::Envelope;
use crate::platform::crypto;

/// Longest time that one send may take, ms.
const SEND_TIMEOUT_MS: u32 = 3_000;
/// The message property that carries the namespace.
pub const NAMESPACE: &str = "minimall_ns";
/// A topic that nobody listens to: a message to it proves that the broker stores messages.
const PROBE: &str = "probe";

/// A message as the broker stores it; the key finds it in RocketMQ's console.
pub fn message(options: &Options, namespace: &str, envelope: &Envelope) -> Result<Message, NotSent> {
    build(options, namespace, envelope, None)
}

fn build(
    options: &Options,
    namespace: &str,
    envelope: &Envelope,
    deliver_ms: Option<i64>,
) -> Result<Message, NotSent> {
    let unfit = |error: &dyn std::fmt::Display| NotSent::Unfit(error.to_string());
    let body = serde_json::to_vec(envelope).map_err(|error| unfit(&error))?;
    let mut builder = Message::builder()
        .topic(options.topic(&envelope.topic))
        .key(envelope.id.as_str())
        .tags(envelope.name.as_str())
        .body(body);
    if !namespace.is_empty() {
        builder = builder.raw_property(NAMESPACE, namespace).map_err(|error| unfit(&error))?;
    }
    if let Some(at_ms) = deliver_ms {
        // The absolute time: a delay would count again from the end of an outage.
        builder = builder.deliver_time_ms(at_ms.max(0) as u64);
    }
    builder.build().map_err(|error| unfit(&error))
}

/// Sends an event: in its key's queue, at its time, or as it is.
pub async fn send(
    producer: &DefaultMQProducer,
    options: &Options,
    namespace: &str,
    envelope: &Envelope,
    on_time: bool,
) -> Result<(), NotSent> {
    let timed = on_time && envelope.kind == Kind::Timed.name();
    let message = build(options, namespace, envelope, timed.then_some(envelope.due_ms))?;
    let sent = match &envelope.key {
        Some(key) => producer.send_with_selector(message, queue_of, place_of(key)).await,
        None => producer.send(message).await,
    };
    outcome(sent)
}

/// The same key gives the same number with every version and toolchain.
fn place_of(key: &str) -> u64 {
    let digest = crypto::sha256(key.as_bytes());
    digest.iter().take(8).fold(0, |place, byte| place << 8 | u64::from(*byte))
}

fn queue_of(queues: &[MessageQueue], _: &Message, place: &u64) -> Option<MessageQueue> {
    let count = queues.len() as u64;
    let mut sorted: Vec<&MessageQueue> = queues.iter().collect();
    sorted.sort_by(|a, b| (a.broker_name(), a.queue_id()).cmp(&(b.broker_name(), b.queue_id())));
    (count > 0).then(|| sorted[(place % count) as usize].clone())
}

fn outcome(sent: Result<Option<SendResult>, ClientError>) -> Result<(), NotSent> {
    match sent {
        Ok(Some(result)) if result.send_status == SendStatus::SendOk => Ok(()),
        Ok(_) => Err(NotSent::Unsafe),
        Err(error) => Err(not_sent(&error)),
    }
}

/// The client's errors say little: an answer of the broker has its code, everything else is no answer.
pub fn not_sent(error: &ClientError) -> NotSent {
    tracing::debug!("RocketMQ: {error}");
    error.broker_response_code().map_or(NotSent::Down, NotSent::Refused)
}

/// Starts a producer under this instance name, and proves that the broker takes its messages.
pub async fn start(client: &Client, options: &Options, instance: &str) -> Result<DefaultMQProducer, String> {
    let mut builder = DefaultMQProducer::builder(client.runtime.clone())
        .client_config(config(options, instance))
        .producer_group(options.topic("outbox"))
        .send_msg_timeout(SEND_TIMEOUT_MS);
    if let Some(hook) = signer(options) {
        builder = builder.rpc_hook(hook);
    }
    let mut producer = builder.build();
    producer.start().await.map_err(|error| error.to_string())?;
    let proved = async {
        create_topics(&mut producer, options).await?;
        probe(&producer, options).await
    };
    match proved.await {
        Ok(()) => Ok(producer),
        Err(error) => {
            producer.shutdown().await;
            Err(error)
        }
    }
}

/// A message that nobody reads.
pub async fn probe(producer: &DefaultMQProducer, options: &Options) -> Result<(), String> {
    let message = Message::builder().topic(options.topic(PROBE)).body_slice(b"probe").build();
    let message = message.map_err(|error| error.to_string())?;
    outcome(producer.send(message).await).map_err(|error| error.to_string())
}

/// Creates what is missing, or says which topic is.
async fn create_topics(producer: &mut DefaultMQProducer, options: &Options) -> Result<(), String> {
    let topics = TOPICS.iter().map(|(topic, kind)| (*topic, *kind)).chain([(PROBE, Kind::Normal)]);
    for (topic, kind) in topics {
        let topic = options.topic(topic);
        if producer.fetch_publish_message_queues(&topic).await.is_ok_and(|queues| !queues.is_empty()) {
            continue;
        }
        if !options.create_topics {
            return Err(format!("the topic {topic} is missing, and bus.create_topics is false"));
        }
        let kind = match kind {
            Kind::Normal | Kind::Broadcast => "NORMAL",
            Kind::Fifo => "FIFO",
            Kind::Timed => "DELAY",
            Kind::Half => "TRANSACTION",
        };
        let attributes = HashMap::from([("+message.type".to_owned(), kind.to_owned())]);
        let queues = options.topic_queues.min(64) as i32;
        producer
            .create_topic("TBW102", &topic, queues, attributes)
            .await
            .map_err(|error| format!("creating the topic {topic}: {error}"))?;
    }
    Ok(())
}

/// Starts the producer of half messages. It has a client of its own: its callbacks would else share a lane
/// with handlers that wait for them.
pub async fn start_half(
    client: &Client,
    options: &Options,
    instance: &str,
    listener: HalfListener,
) -> Result<TransactionMQProducer, String> {
    let half_topics: Vec<String> = TOPICS
        .iter()
        .filter(|(_, kind)| *kind == Kind::Half)
        .map(|(topic, _)| options.topic(topic))
        .collect();
    let mut builder = TransactionMQProducer::builder(client.runtime.clone())
        .client_config(config(options, instance))
        .producer_group(options.topic("half"))
        .topics(half_topics)
        .send_msg_timeout(SEND_TIMEOUT_MS)
        .transaction_listener(listener);
    if let Some(hook) = signer(options) {
        builder = builder.rpc_hook(hook);
    }
    let mut producer = builder.build();
    producer.start().await.map_err(|error| error.to_string())?;
    Ok(producer)
}
