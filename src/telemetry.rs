//! Logs, metrics, and the request id that ties them together.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::kernel::{Failure, Result};

tokio::task_local! {
    static REQUEST_ID: String;
}

/// The id of the request, or of the one that caused the event, that is being worked on; empty outside of both.
pub fn request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// Runs `work` under this request id.
pub async fn with_request_id<F: Future>(id: String, work: F) -> F::Output {
    REQUEST_ID.scope(id, work).await
}

/// What says too much, as directives in front of the filter.
const QUIET: &str = "rocketmq_client_rust=error,rocketmq_transport=error,rocketmq_runtime=error,\
     rocketmq_protocol=error,rocketmq_observability=error,";

/// Logs to standard error.
///
/// # Errors
/// A filter that tracing does not understand.
pub fn init_logs(log: &Log) -> Result<()> {
    // RocketMQ's client tells a page about every reconnect. Whoever wants it names one of its crates.
    let quiet = if log.filter.contains("rocketmq") { "" } else { QUIET };
    let filter = EnvFilter::try_new(format!("{quiet}{}", log.filter))
        .map_err(|e| Failure::internal("reading log.filter", e))?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
        }
    };
    started.map_err(|e| Failure::internal("starting the log", e))
}

/// How long something took, on a clock that never jumps. For metrics only: no decision hangs on it.
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "durations for metrics need the monotonic clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// The program's metrics, in Prometheus text at `/metrics`.
pub struct Metrics {
    registry: Registry,
    http_requests: Family<Labels<2>, Counter>,
    http_seconds: Family<Labels<1>, Histogram>,
    cache_reads: Family<Labels<2>, Counter>,
    cache_age: Family<Labels<1>, Histogram>,
    deliveries: Family<Labels<2>, Counter>,
    outbound: Family<Labels<2>, Counter>,
    kv_calls: Family<Labels<2>, Counter>,
    kv_seconds: Family<Labels<1>, Histogram>,
    gauges: Family<Labels<1>, Gauge>,
}

fn label(name: &'static str, value: impl Into<Cow<'static, str>>) -> (&'static str, Cow<'static, str>) {
    (name, value.into())
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 15))
}

/// From 20 µs: what a kv tier in the process or in the next rack takes.
fn quick() -> Histogram {
    Histogram::new(exponential_buckets(0.000_02, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("minimall");
        let http_requests = Family::<Labels<2>, Counter>::default();
        let http_seconds = Family::<Labels<1>, Histogram>::new_with_constructor(seconds);
        let cache_reads = Family::<Labels<2>, Counter>::default();
        let cache_age = Family::<Labels<1>, Histogram>::new_with_constructor(seconds);
        let deliveries = Family::<Labels<2>, Counter>::default();
        let outbound = Family::<Labels<2>, Counter>::default();
        let kv_calls = Family::<Labels<2>, Counter>::default();
        let kv_seconds = Family::<Labels<1>, Histogram>::new_with_constructor(quick);
        let gauges = Family::<Labels<1>, Gauge>::default();
        // A gauge that is always 1: the type "info" is not known to everybody who reads metrics.
        let build = Family::<Labels<1>, Gauge>::default();
        build.get_or_create(&[label("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build_info", "This program", build);
        registry.register("http_requests", "Requests by operation and status", http_requests.clone());
        registry.register("http_request_seconds", "Time to answer, by operation", http_seconds.clone());
        registry.register(
            "cache_reads",
            "Reads by cache and the tier that answered: local, kv, database",
            cache_reads.clone(),
        );
        registry.register("cache_served_age_seconds", "Age of what a cache served", cache_age.clone());
        registry.register(
            "deliveries",
            "Deliveries of events by subscription and outcome",
            deliveries.clone(),
        );
        registry.register(
            "outbound_calls",
            "Calls to outside services by call and outcome",
            outbound.clone(),
        );
        registry.register(
            "kv_calls",
            "Calls of the kv tier by call and outcome: ok, down, refused (by Redis), too_large (not kept)",
            kv_calls.clone(),
        );
        registry.register("kv_seconds", "Time that calls of the kv tier took, by call", kv_seconds.clone());
        registry.register(
            "state",
            "Levels: what waits, and how long; the same on every node, but for kv_up and bus_up",
            gauges.clone(),
        );
        Self {
            registry,
            http_requests,
            http_seconds,
            cache_reads,
            cache_age,
            deliveries,
            outbound,
            kv_calls,
            kv_seconds,
            gauges,
        }
    }
}

impl Metrics {
    pub fn http(&self, operation: &'static str, status: u16, took: Duration) {
        let operation = label("operation", operation);
        let status = label("status", status.to_string());
        self.http_requests.get_or_create(&[operation.clone(), status]).inc();
        self.http_seconds.get_or_create(&[operation]).observe(took.as_secs_f64());
    }

    /// `tier` is `local`, `kv` or `database`.
    pub fn cache_read(&self, cache: &'static str, tier: &'static str, age_ms: i64) {
        let cache = label("cache", cache);
        self.cache_reads.get_or_create(&[cache.clone(), label("tier", tier)]).inc();
        self.cache_age.get_or_create(&[cache]).observe(age_ms.max(0) as f64 / 1_000.0);
    }

    /// How often this tier answered.
    pub fn cache_reads(&self, cache: &'static str, tier: &'static str) -> u64 {
        self.cache_reads.get_or_create(&[label("cache", cache), label("tier", tier)]).get()
    }

    pub fn delivery(&self, subscription: &str, outcome: &'static str) {
        let subscription = label("subscription", subscription.to_owned());
        self.deliveries.get_or_create(&[subscription, label("outcome", outcome)]).inc();
    }

    /// `outcome` is `ok` or the kind of failure.
    pub fn outbound(&self, call: &'static str, outcome: &str) {
        self.outbound.get_or_create(&[label("call", call), label("outcome", outcome.to_owned())]).inc();
    }

    /// `outcome` is `ok`, `down` or `refused`.
    pub fn kv_call(&self, call: &'static str, outcome: &'static str, took: Duration) {
        self.kv_outcome(call, outcome);
        self.kv_seconds.get_or_create(&[label("call", call)]).observe(took.as_secs_f64());
    }

    /// A value that is larger than the bound was not kept.
    pub fn kv_too_large(&self, call: &'static str) {
        self.kv_outcome(call, "too_large");
    }

    fn kv_outcome(&self, call: &'static str, outcome: &'static str) {
        self.kv_calls.get_or_create(&[label("call", call), label("outcome", outcome)]).inc();
    }

    pub fn set(&self, what: &str, value: i64) {
        self.gauges.get_or_create(&[label("of", what.to_owned())]).set(value);
    }

    /// Prometheus text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
