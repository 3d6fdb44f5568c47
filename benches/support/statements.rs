//! Which statements a piece of work sends: sqlx says so to `tracing`.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// Does anybody want to know?
static RECORDS: AtomicBool = AtomicBool::new(false);

/// What was sent since somebody asked.
static SENT: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Runs `work` and answers its statements with it, in order, white space aside. Nothing else may use a database
/// meanwhile: SQLite's statements are sent by a thread of its own, so whose they are can't be told apart.
pub async fn recorded<F: Future>(work: F) -> (F::Output, Vec<String>) {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| tracing::subscriber::set_global_default(Recorder).expect("nobody listens yet"));
    *SENT.lock().expect("no panic") = Some(vec![]);
    RECORDS.store(true, Ordering::Relaxed);
    let output = work.await;
    RECORDS.store(false, Ordering::Relaxed);
    (output, SENT.lock().expect("no panic").take().unwrap_or_default())
}

struct Recorder;

impl Subscriber for Recorder {
    // Asked anew each time: while nobody records, nothing is formatted.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        RECORDS.load(Ordering::Relaxed) && metadata.target() == "sqlx::query"
    }

    fn event(&self, event: &Event<'_>) {
        let mut sent = SENT.lock().expect("no panic");
        let Some(sent) = &mut *sent else { return };
        let mut statement = Statement::default();
        event.record(&mut statement);
        let text = if statement.whole.is_empty() { statement.summary } else { statement.whole };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        sent.push(text);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
