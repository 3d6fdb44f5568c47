//! One clock, injected everywhere. Nothing else in the program reads the time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::text_type;

/// A point in time, or a span, in milliseconds; points are UTC since 1970.
pub type Millis = i64;

pub const fn minute_ms(n: i64) -> Millis {
    n * 60_000
}
pub const fn hour_ms(n: i64) -> Millis {
    minute_ms(n * 60)
}
pub const fn day_ms(n: i64) -> Millis {
    hour_ms(n * 24)
}

/// RFC 3339 in UTC with milliseconds, as it goes over the wire.
pub fn rfc3339(ms: Millis) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|at| format!("{at:.3}")).unwrap_or_default()
}

/// A point in time as a client writes it: RFC 3339, in any zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Millis);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

impl FromStr for Moment {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.parse::<jiff::Timestamp>();
        at.map(|at| Self(at.as_millisecond()))
            .map_err(|_| "must be a time of RFC 3339, like 2026-03-14T02:00:00Z")
    }
}

text_type!(Moment, "Moment", poem_openapi::registry::MetaSchema::new_with_format("string", "date-time"));

/// The time as this program sees it: the system's, shifted, or one that moves only by hand.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    running: bool,
    shift_ms: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// The system's time, which [`Clock::advance`] can shift (the sandbox lets people jump ahead).
    pub fn system() -> Self {
        Self::new(true, 0)
    }

    /// A clock that stands still at `now_ms` until somebody moves it.
    pub fn manual(now_ms: Millis) -> Self {
        Self::new(false, now_ms)
    }

    fn new(running: bool, shift_ms: Millis) -> Self {
        Self(Arc::new(Inner { running, shift_ms: AtomicI64::new(shift_ms), moved: Notify::new() }))
    }

    /// Does it move only by hand?
    pub fn is_manual(&self) -> bool {
        !self.0.running
    }

    /// Does it say what the clocks of other machines say?
    pub fn is_real(&self) -> bool {
        self.0.running && self.0.shift_ms.load(Ordering::SeqCst) == 0
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's time")]
    pub fn now_ms(&self) -> Millis {
        let shift_ms = self.0.shift_ms.load(Ordering::SeqCst);
        if self.0.running {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis() as Millis + shift_ms
        } else {
            shift_ms
        }
    }

    /// Whole seconds, as signatures want them.
    pub fn now_s(&self) -> i64 {
        self.now_ms() / 1_000
    }

    /// Moves the time ahead and wakes whoever waits for it.
    pub fn advance(&self, by_ms: Millis) {
        self.0.shift_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.0.moved.notify_waiters();
    }

    /// Returns once the time has reached `due_ms`.
    pub async fn sleep_until(&self, due_ms: Millis) {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let left_ms = due_ms - self.now_ms();
            if left_ms <= 0 {
                return;
            }
            if self.0.running {
                // Woken early by a jump of the clock, or by the timer: look again either way.
                let _ = tokio::time::timeout(Duration::from_millis(left_ms as u64), moved).await;
            } else {
                moved.await;
            }
        }
    }
}
