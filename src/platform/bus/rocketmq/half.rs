//! Transactional messages. The broker first stores a half message, which nobody sees; then the local
//! transaction runs, with the event's outbox row as the marker that it was committed; then the half message
//! is committed or rolled back. Who dies in between is asked for later: the check-back answers by the marker.
//!
//! A marker that is missing proves nothing yet, since the transaction may still be running: the check-back
//! writes the opposite marker first. Whoever writes the row of this id first wins, and the other one gives in.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rocketmq_client_rust::{LocalTransactionState, TransactionListener};
use rocketmq_model::common::message::MessageTrait;
use rocketmq_model::common::message::message_ext::MessageExt;
use tokio::sync::oneshot;

use super::connection::{Inbound, property};
use super::producers::{self, NAMESPACE, not_sent};
use super::{Node, NotSent};
use crate::events::Event;
use crate::kernel::{Failure, Result};
use crate::platform::bus::{Envelope, HALF_REFUSED, Staged, outbox, sql};
use crate::platform::ctx::Ctx;
use crate::platform::db::{BoxFuture, Tx};

/// The broker has the half message, and waits for this word.
struct Accepted(oneshot::Sender<LocalTransactionState>);

/// What travels through the client to its callback: how to say that the half message is stored.
type Ticket = Mutex<Option<oneshot::Sender<Accepted>>>;

/// Answers the client: what became of the local transaction?
pub struct HalfListener {
    pub inbound: Arc<Inbound>,
}

impl TransactionListener for HalfListener {
    /// Called only when the broker has answered SEND_OK to the half message.
    fn execute_local_transaction(
        &self,
        _: &dyn MessageTrait,
        ticket: Option<&(dyn Any + Send + Sync)>,
    ) -> LocalTransactionState {
        let accepted = ticket
            .and_then(|ticket| ticket.downcast_ref::<Ticket>())
            .and_then(|ticket| ticket.lock().ok()?.take());
        let Some(accepted) = accepted else { return LocalTransactionState::RollbackMessage };
        let (word, said) = oneshot::channel();
        if accepted.send(Accepted(word)).is_err() {
            // Whoever asked has gone: nothing was written, and nothing will be.
            return LocalTransactionState::RollbackMessage;
        }
        // Gone without a word: its transaction may have been committed.
        said.blocking_recv().unwrap_or(LocalTransactionState::Unknown)
    }

    fn check_local_transaction(&self, message: &MessageExt) -> LocalTransactionState {
        let namespace = property(message, NAMESPACE).unwrap_or_default();
        let Some((ctx, runtime)) = self.inbound.listener(&namespace) else {
            return LocalTransactionState::Unknown;
        };
        let body = message.body().map(|body| body.to_vec()).unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        runtime.spawn(async move {
            let state = match serde_json::from_slice::<Envelope>(&body) {
                Ok(envelope) => check_back(&ctx, &envelope).await,
                Err(error) => Err(Failure::internal("reading a half message", error)),
            };
            let _ = answer.send(state.unwrap_or_else(|failure| {
                tracing::warn!("a half message could not be checked, the broker asks again: {failure}");
                LocalTransactionState::Unknown
            }));
        });
        answered.blocking_recv().unwrap_or(LocalTransactionState::Unknown)
    }
}

/// What the marker says; without one, the marker that it never will be.
async fn check_back(ctx: &Ctx, envelope: &Envelope) -> Result<LocalTransactionState> {
    let now_ms = ctx.clock.now_ms();
    let aborted = &sql::NewEvent {
        id: envelope.id.clone(),
        name: &envelope.name,
        topic: &envelope.topic,
        kind: &envelope.kind,
        fifo: None,
        due_ms: envelope.due_ms,
        state: "ABORTED",
        expected_ms: None,
        now_ms,
        schema_version: envelope.schema,
        request_id: envelope.request_id.clone(),
        body: envelope.body.clone(),
    };
    let state = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                if let Some(state) = sql::event_state(tx, &aborted.id).await? {
                    return Ok(state);
                }
                if sql::insert_event(tx, aborted).await? {
                    return Ok("ABORTED".to_owned());
                }
                // The local transaction was faster: it is committed, or this insert would have waited.
                Ok("SENT".to_owned())
            })
        })
        .await?;
    tracing::info!(event.id = %envelope.id, "the broker asked for half message {}: {state}", envelope.id);
    Ok(if state == "ABORTED" {
        LocalTransactionState::RollbackMessage
    } else {
        LocalTransactionState::CommitMessage
    })
}

impl Node {
    /// See [`super::super::Bus::in_transaction`].
    pub async fn in_transaction<'a, T, F>(&self, ctx: &'a Ctx, event: &'a Event, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
        T: Send,
    {
        let now_ms = ctx.clock.now_ms();
        let marker = sql::NewEvent {
            state: "SENT",
            expected_ms: Some(now_ms),
            ..outbox::row(ctx, event, Staged::Now)?
        };
        let envelope = Envelope::of_new(&marker);
        let refused = |error: NotSent| Failure::new(&HALF_REFUSED).cause(error);
        let message =
            producers::message(&self.connection.options, &self.namespace, &envelope).map_err(refused)?;
        let (accepted, is_accepted) = oneshot::channel::<Accepted>();
        let ticket: Ticket = Mutex::new(Some(accepted));
        let connection = self.connection.clone();
        // On its own, so that a caller who goes away does not stop it between half and whole.
        let sending = tokio::spawn(async move {
            let producer = connection.half().read().await;
            let Some(producer) = producer.as_ref() else { return Err(NotSent::Down) };
            let sent = producer.send_message_in_transaction(message, Some(ticket)).await;
            let sent = sent.map(|_| ()).map_err(|error| not_sent(&error));
            connection.note(&sent);
            sent
        });
        // The sender's end is dropped with any answer but SEND_OK, and the local transaction is not begun.
        let Ok(Accepted(word)) = is_accepted.await else {
            let error = match sending.await {
                Ok(Err(error)) => error,
                _ => NotSent::Unsafe,
            };
            return Err(refused(error));
        };
        let commit_tried = AtomicBool::new(false);
        let (marker, tried) = (&marker, &commit_tried);
        let done = ctx
            .db
            .retrying(|| async {
                let mut tx = ctx.db.begin().await?;
                let worked = async {
                    let value = work(&mut tx).await?;
                    outbox::insert(&mut tx, marker).await?;
                    tried.store(true, Ordering::SeqCst);
                    Ok(value)
                };
                let worked = worked.await;
                ctx.db.end(tx, worked).await
            })
            .await;
        let state = match &done {
            Ok(_) => LocalTransactionState::CommitMessage,
            // A commit without an answer may have happened: the check-back finds out.
            Err(_) if commit_tried.load(Ordering::SeqCst) => LocalTransactionState::Unknown,
            Err(_) => LocalTransactionState::RollbackMessage,
        };
        let _ = word.send(state);
        // The end of the half message goes out before the next thing happens; if not, the broker asks.
        let _ = sending.await;
        done
    }
}
