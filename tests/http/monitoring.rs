//! What watches a shop: levels, metrics, and that alert rules and dashboard name what there is.

use std::collections::{BTreeMap, BTreeSet};

use minimall::checks;
use regex::Regex;
use serde_json::{Value, json};

use crate::support::{PAYMENT_CALLBACK, SKU, TestApp};

/// Each metric by the name of its samples, with the labels that they have, and the values of the label `of`.
#[derive(Default)]
struct Exposed {
    metrics: BTreeMap<String, BTreeSet<String>>,
    levels: BTreeSet<String>,
    text: String,
}

async fn exposed(app: &TestApp) -> Exposed {
    checks::measure(&app.ctx).await.expect("measured");
    let text = String::from_utf8(app.client().get("/metrics").await.bytes).expect("text");
    let sample = Regex::new(r"^([a-z_]+)(?:\{(.*)\})? \S+$").expect("a pattern");
    let label = Regex::new(r#"(\w+)="([^"]*)""#).expect("a pattern");
    let mut found = Exposed { text: text.clone(), ..Exposed::default() };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let parts = sample.captures(line).unwrap_or_else(|| panic!("not a sample: {line}"));
        let labels = found.metrics.entry(parts[1].to_owned()).or_default();
        for pair in label.captures_iter(parts.get(2).map_or("", |labels| labels.as_str())) {
            labels.insert(pair[1].to_owned());
            if &parts[1] == "minimall_state" {
                found.levels.insert(pair[2].to_owned());
            }
        }
    }
    found
}

impl Exposed {
    fn level(&self, of: &str) -> i64 {
        let line = format!("minimall_state{{of=\"{of}\"}} ");
        let value = self.text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok());
        value.unwrap_or_else(|| panic!("no level {of}: {}", self.text))
    }
}

/// A day on which everything happens that is counted.
async fn a_day(app: &TestApp) {
    let alice = app.user("alice").await;
    alice.client.get("/api/v1/stores").await.ok();
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    alice.refund(&order).await;
    app.drain().await;
    app.client().post(PAYMENT_CALLBACK, &json!({})).await;
}

/// Every expression of the dashboard.
fn expressions(board: &Value) -> Vec<String> {
    match board {
        Value::Object(members) => {
            let own = ["expr", "definition"].into_iter().filter_map(|name| members.get(name)?.as_str());
            own.map(str::to_owned).chain(members.values().flat_map(expressions)).collect()
        }
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => vec![],
    }
}

fn deployed(file: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn alert_rules_and_dashboard_name_metrics_labels_and_levels_that_there_are() {
    let app = TestApp::new().await;
    a_day(&app).await;
    let exposed = exposed(&app).await;
    let board: Value = serde_json::from_str(&deployed("grafana/minimall.json")).expect("JSON");
    let mut texts = expressions(&board);
    assert!(texts.len() > 20, "only {} expressions were found", texts.len());
    texts.push(deployed("prometheus/alerts.yml"));
    let metric = Regex::new(r"(minimall_[a-z_]+)(?:\{([^}]*)\})?").expect("a pattern");
    let matcher = Regex::new(r#"(\w+)\s*(?:=~|!=|!~|=)\s*"([^"]*)""#).expect("a pattern");
    let grouping = Regex::new(r"\bby \(([^)]*)\)").expect("a pattern");
    let by_prometheus = ["instance", "job", "le"].map(str::to_owned);
    let all_labels: BTreeSet<String> =
        exposed.metrics.values().flatten().cloned().chain(by_prometheus.clone()).collect();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for text in &texts {
        for found in metric.captures_iter(text) {
            used.insert(found[1].to_owned());
            let Some(labels) = exposed.metrics.get(&found[1]) else {
                wrong.push(format!("{} is no metric", &found[1]));
                continue;
            };
            for pair in matcher.captures_iter(found.get(2).map_or("", |labels| labels.as_str())) {
                let (label, value) = (pair[1].to_owned(), &pair[2]);
                if !labels.contains(&label) && !by_prometheus.contains(&label) {
                    wrong.push(format!("{} has no label {label}", &found[1]));
                }
                if label == "of" && !exposed.levels.contains(value) {
                    wrong.push(format!("{value} is no level"));
                }
            }
        }
        for names in grouping.captures_iter(text) {
            let unknown = names[1].split(',').map(str::trim).filter(|name| !all_labels.contains(*name));
            wrong.extend(unknown.map(|name| format!("{name} is no label")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(used.len() >= 10, "only {used:?} were found");
    // And nothing is measured that nobody looks at.
    let unwatched: Vec<&String> =
        exposed.levels.iter().filter(|level| !texts.iter().any(|text| text.contains(*level))).collect();
    assert!(unwatched.is_empty(), "neither an alert nor the dashboard knows {unwatched:?}");
    app.finish().await;
}

#[tokio::test]
async fn levels_say_what_waits_and_since_when() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let paid = app.paid_order(&alice, &[(SKU, 1)]).await;
    let quiet = exposed(&app).await;
    for level in ["bus_lag_ms", "inbox_lag_ms", "deadline_lag_ms", "refund_lag_ms", "refunds_at_channel"] {
        assert_eq!(quiet.level(level), 0, "{level}");
    }
    assert_eq!((quiet.level("kv_up"), quiet.level("bus_up")), (1, 1));
    assert_eq!(quiet.level("measured_at_s"), app.ctx.clock.now_ms() / 1_000);
    assert!(quiet.text.contains("minimall_build_info{version=\""), "{}", quiet.text);

    // A refund that the channel does not end, an order whose deadline nobody looked at, a bus that is down.
    app.fault("refund_pending", 10).await;
    alice.refund(&paid).await;
    app.drain().await;
    bob.order(&[(SKU, 1)]).await;
    app.ctx.bus.set_available(false);
    app.advance_minutes(31);
    let busy = exposed(&app).await;
    assert_eq!(busy.level("refunds_at_channel"), 1);
    assert_eq!(busy.level("deadline_lag_ms"), 60_000);
    assert!(busy.level("refund_lag_ms") > 0);
    assert!(busy.level("bus_lag_ms") >= 60_000, "its deadline is an event, too");
    assert_eq!(busy.level("bus_up"), 0);
    app.ctx.bus.set_available(true);
    app.no_faults().await;
    app.live_through_minutes(60).await;
    assert_eq!(exposed(&app).await.level("deadline_lag_ms"), 0);
    app.finish_unquiet().await;
}

#[tokio::test]
async fn an_address_of_its_own_tells_health_and_metrics_and_nothing_else() {
    let app = TestApp::new().await;
    let side = crate::support::Client::new(
        &crate::support::serve(minimall::routes::metrics_route(&app.app.surface)).await,
    );
    assert_eq!(side.get("/healthz").await.ok(), json!({ "status": "ok" }));
    assert_eq!(side.get("/readyz").await.ok()["status"], "ok");
    assert!(String::from_utf8_lossy(&side.get("/metrics").await.bytes).contains("minimall_build_info"));
    assert_eq!(side.get("/api/v1/stores").await.status, 404);
    app.finish().await;
}

#[tokio::test]
async fn a_server_that_leaves_says_so_and_still_answers_with_the_last_word_of_each_connection() {
    let app = TestApp::new().await;
    let before = app.client().get("/healthz").await;
    assert!(!before.headers.contains_key("connection"));
    app.app.surface.leaving.begin();
    let ready = app.client().get("/readyz").await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("stopping")));
    assert_eq!(ready.body["dependencies"]["database"], "ok");
    let answer = app.client().get("/healthz").await;
    assert_eq!((answer.status, &answer.headers["connection"]), (200, &"close".parse().expect("a value")));
    app.finish().await;
}
