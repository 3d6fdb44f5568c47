//! The consumers: one group a topic, so that a version that knows more topics does not change the
//! subscriptions of groups that older nodes are in.

use std::sync::Arc;

use futures_util::future::join_all;
use rocketmq_client_rust::{
    ClientConfig, ClientResult, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus, ConsumeOrderlyContext,
    ConsumeOrderlyStatus, DefaultMQPushConsumer, MQPushConsumer,
};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::protocol::heartbeat::message_model::MessageModel;

use super::Options;
use super::client::{Client, HANDLER_GRACE_MS, config, signer};
use super::connection::Inbound;
use crate::events::{Kind, TOPICS};

/// Tries of a message that could not even be recorded. Behind them the broker puts it aside, and the outbox
/// still has its event.
const TRIES_MAX: i32 = 16;
/// How long a queue rests whose message could not be recorded, ms.
const QUEUE_REST_MS: u64 = 1_000;
/// Handlers of broadcasts only drop entries of caches.
const BROADCAST_THREADS: u32 = 2;

/// The consumers that run.
pub struct Consumers {
    all: Vec<DefaultMQPushConsumer>,
}

/// How many callbacks of consumers can run at the same time.
pub fn callbacks(options: &Options) -> usize {
    TOPICS.len() * options.parallel + 16
}

impl Consumers {
    /// Starts a consumer for each topic that this node takes.
    pub async fn start(
        client: &Client,
        options: &Options,
        instance: &str,
        inbound: &Arc<Inbound>,
    ) -> Result<Self, String> {
        let mut consumers = Self { all: Vec::new() };
        for (topic, kind) in TOPICS {
            if *kind != Kind::Broadcast && !options.consume {
                continue;
            }
            match start_one(client, options, instance, topic, *kind, inbound).await {
                Ok(consumer) => consumers.all.push(consumer),
                Err(error) => {
                    consumers.stop().await;
                    return Err(format!("consuming {topic}: {error}"));
                }
            }
        }
        Ok(consumers)
    }

    /// Has each consumer got its first queues?
    pub async fn are_assigned(&self) -> bool {
        for consumer in &self.all {
            if !consumer.consumer_running_info().await.is_ok_and(|info| !info.mq_table.is_empty()) {
                return false;
            }
        }
        true
    }

    /// Lets running handlers end.
    pub async fn stop(mut self) {
        join_all(self.all.iter_mut().map(|consumer| consumer.shutdown())).await;
    }
}

async fn start_one(
    client: &Client,
    options: &Options,
    instance: &str,
    topic: &str,
    kind: Kind,
    inbound: &Arc<Inbound>,
) -> Result<DefaultMQPushConsumer, String> {
    let group = options.topic(topic);
    let config = config(options, instance);
    let broadcast = kind == Kind::Broadcast;
    if broadcast {
        make_offset_folder(&config, &group);
    }
    let threads = if broadcast { BROADCAST_THREADS } else { options.parallel as u32 };
    let mut consumer = DefaultMQPushConsumer::builder(client.runtime.clone())
        .client_config(config)
        .consumer_group(group.clone())
        .message_model(if broadcast { MessageModel::Broadcasting } else { MessageModel::Clustering })
        // A node that starts has empty caches, so old broadcasts are no news to it.
        .consume_from_where(if broadcast {
            ConsumeFromWhere::ConsumeFromLastOffset
        } else {
            ConsumeFromWhere::ConsumeFromFirstOffset
        })
        .consume_thread_min(threads)
        .consume_thread_max(threads)
        // A queue in order waits for its message for ever: nothing behind it may overtake it.
        .max_reconsume_times(if kind == Kind::Fifo { -1 } else { TRIES_MAX })
        .suspend_current_queue_time_millis(QUEUE_REST_MS)
        .rpc_hook(signer(options))
        // Trap 5: the default is 0, and running handlers are abandoned.
        .await_termination_millis_when_shutdown(HANDLER_GRACE_MS)
        .build();
    let told = |error: rocketmq_client_rust::ClientError| error.to_string();
    consumer.subscribe(&group, "*").await.map_err(told)?;
    let inbound = inbound.clone();
    if kind == Kind::Fifo {
        consumer.register_message_listener_orderly(
            move |messages: &[&MessageExt],
                  _: &mut ConsumeOrderlyContext|
                  -> ClientResult<ConsumeOrderlyStatus> {
                let taken = messages.iter().all(|message| inbound.take(message));
                Ok(if taken {
                    ConsumeOrderlyStatus::Success
                } else {
                    ConsumeOrderlyStatus::SuspendCurrentQueueAMoment
                })
            },
        );
    } else {
        consumer.register_message_listener_concurrently(
            move |messages: &[&MessageExt],
                  _: &ConsumeConcurrentlyContext|
                  -> ClientResult<ConsumeConcurrentlyStatus> {
                let taken = messages.iter().all(|message| inbound.take(message));
                Ok(if taken {
                    ConsumeConcurrentlyStatus::ConsumeSuccess
                } else {
                    ConsumeConcurrentlyStatus::ReconsumeLater
                })
            },
        );
    }
    consumer.start().await.map_err(told)?;
    Ok(consumer)
}

/// Trap 3: the client writes the offsets of broadcasts into a folder that it does not make, so they were
/// never stored. It looks in `rocketmq.client.localOffsetStoreDir`, else below the home folder.
fn make_offset_folder(config: &ClientConfig, group: &str) {
    let base = std::env::var("rocketmq.client.localOffsetStoreDir").unwrap_or_else(|_| {
        let home = std::env::var("HOME").unwrap_or_else(|_| "/tmp".to_owned());
        format!("{home}/.rocketmq_offsets")
    });
    let folder = std::path::Path::new(&base).join(config.build_mq_client_id()).join(group);
    if let Err(error) = std::fs::create_dir_all(&folder) {
        // Without it a node that starts again takes broadcasts from now on, which is all it needs.
        tracing::debug!("{} can't be made: {error}", folder.display());
    }
}
