//! 1,000 requests a second as a shop sees them, whether the answers keep up or not: each is sent at its time, and
//! its time counts from then. People pay on the sandbox's phone, and ask for refunds of what was paid.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Row;
use crate::support::fixtures::{self, Choices, Customer};
use crate::support::http::{Connection, get, post};
use crate::support::report::{Measured, Target};
use crate::support::services::{Need, Services};
use crate::support::shop::{Place, Process};
use crate::support::times::Times;

const RATE: u32 = 1_000;
const PEOPLE: usize = 1_000;
const STORES: usize = 20;
/// Before anything counts: caches fill, and there are quotes to order, orders to pay, payments to refund.
const WARM_UP: Duration = Duration::from_secs(8);
/// How old a payment is when its refund is asked for: by then the shop has been told of it.
const PAID_FOR: Duration = Duration::from_secs(4);
const QUIET_PATIENCE: Duration = Duration::from_secs(120);

const TARGET: Target = Target::ValueAtMost(25.0, "ms");
const MEMORY: Target = Target::ValueAtMost(200.0, "MiB");

pub const EMBEDDED: Row = Row {
    name: "mixed-embedded",
    what: "1,000 mixed requests a second, embedded; and the memory under that load",
    needs: &[],
    lines: &[("mixed-embedded", TARGET), ("memory-mixed", MEMORY)],
    run: |_| Box::pin(measure("mixed-embedded", Services::default())),
};

pub const REAL: Row = Row {
    name: "mixed-real",
    what: "1,000 mixed requests a second on MariaDB, Redis and RocketMQ",
    needs: &[Need::MySql, Need::Redis, Need::RocketMq],
    lines: &[("mixed-real", TARGET)],
    run: |services| Box::pin(measure("mixed-real", services)),
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stores,
    Quote,
    Order,
    Payment,
    Refund,
}

const KINDS: [(Kind, &str, u64); 5] = [
    (Kind::Stores, "store reads", 60),
    (Kind::Quote, "quotes", 20),
    (Kind::Order, "orders", 10),
    (Kind::Payment, "payments", 8),
    (Kind::Refund, "refunds", 2),
];

fn seconds() -> u64 {
    std::env::var("MINIMALL_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

struct Load {
    server: Process,
    people: Vec<Customer>,
    connections: Mutex<Vec<Connection>>,
    quotes: Mutex<VecDeque<(usize, String)>>,
    unpaid: Mutex<VecDeque<(usize, String)>>,
    paid: Mutex<VecDeque<(Instant, usize, String)>>,
    times: Mutex<[Times; KINDS.len()]>,
    /// The first few kinds, in words.
    errors: Mutex<Vec<String>>,
    failed: AtomicU64,
    /// Requests of a kind for which there was nothing to do: a store was read in their place.
    replaced: AtomicU64,
}

async fn measure(name: &str, services: Services) -> Vec<Measured> {
    let embedded = services.mysql.is_none();
    let place = Place::on(&services).await;
    let ctx = place.context().await;
    fixtures::shop(&ctx, STORES).await;
    fixtures::supply(&ctx, 100_000).await;
    ctx.db.close().await;
    let server = place.serve().await;
    let people = fixtures::customers(server.address, PEOPLE).await;
    let load = Arc::new(Load {
        server,
        people,
        connections: Mutex::default(),
        quotes: Mutex::default(),
        unpaid: Mutex::default(),
        paid: Mutex::default(),
        times: Mutex::default(),
        errors: Mutex::default(),
        failed: AtomicU64::new(0),
        replaced: AtomicU64::new(0),
    });
    load.run(WARM_UP).await;
    *load.times.lock().expect("no panic") = Default::default();
    load.replaced.store(0, Ordering::Relaxed);
    let cpu_s = load.server.cpu_s();
    let span = Duration::from_secs(seconds());
    load.run(span).await;
    let cpu = (load.server.cpu_s() - cpu_s) / span.as_secs_f64();
    let (resident, most) = load.server.memory_mib();
    let quiet = fixtures::wait_quiet(&place, QUIET_PATIENCE).await;
    let times = load.times.lock().expect("no panic").clone();
    let mut all = Times::default();
    times.iter().for_each(|times| all.extend(times.clone()));
    let failed = load.failed.load(Ordering::Relaxed);
    let checked = match (failed, &quiet) {
        (0, Ok(_)) => place.check().await,
        (0, Err(why)) => Err(why.clone()),
        (failed, _) => Err(format!("{failed} errors: {}", load.errors.lock().expect("no panic").join("; "))),
    };
    let after = quiet
        .as_ref()
        .map_or_else(Clone::clone, |took| format!("quiet {:.1} s after it", took.as_secs_f64()));
    let mut row = Measured::value(name, all.p99(), "ms", TARGET)
        .note(format!(
            "{} requests in {} s, {}, {failed} errors, {} replaced by store reads",
            all.count(),
            span.as_secs(),
            all.line(),
            load.replaced.load(Ordering::Relaxed)
        ))
        .note(format!("the server used {cpu:.2} cores; {after}"));
    for ((_, what, _), times) in KINDS.iter().zip(&times) {
        row = row.note(format!("{what}: {} {}", times.count(), times.line()));
    }
    let mut rows = vec![row.checked(&checked)];
    if embedded {
        let memory = Measured::value("memory-mixed", most, "MiB", MEMORY);
        rows.push(
            memory.note(format!("the most it ever had; {resident:.0} MiB at the end")).checked(&checked),
        );
    }
    drop(load);
    place.give_back().await;
    rows
}

impl Load {
    /// Sends requests at their times for so long, and waits for the last answers.
    async fn run(self: &Arc<Self>, span: Duration) {
        let mut choices = Choices::new(span.as_secs());
        let mut clock = interval(Duration::from_secs(1) / RATE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..span.as_secs() * u64::from(RATE) {
            let due = clock.tick().await;
            let mut at = choices.next(100);
            let kind = KINDS.iter().find(|(_, _, share)| {
                let here = at < *share;
                at = at.saturating_sub(*share);
                here
            });
            let kind = kind.map_or(Kind::Stores, |(kind, ..)| *kind);
            let person = choices.next(PEOPLE as u64) as usize;
            let seed = choices.next(u64::MAX >> 1);
            let load = self.clone();
            running.spawn(async move { load.send(due, kind, person, seed).await });
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
    }

    async fn send(self: &Arc<Self>, due: Instant, kind: Kind, person: usize, seed: u64) {
        let Some((kind, person, request, subject)) = self.request(kind, person, seed) else { return };
        let pooled = self.connections.lock().expect("no panic").pop();
        let connection = match pooled {
            Some(connection) => Ok(connection),
            None => Connection::open(self.server.address).await,
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => return self.fail(kind, &error.to_string()),
        };
        let answer = match connection.call(&request).await {
            Ok(answer) if answer.is_success() => {
                self.times.lock().expect("no panic")[kind as usize].add(due.elapsed());
                if kind == Kind::Stores { Value::Null } else { answer.json() }
            }
            Ok(answer) => {
                let text = answer.text();
                self.connections.lock().expect("no panic").push(connection);
                return self.fail(kind, &text);
            }
            Err(error) => return self.fail(kind, &error.to_string()),
        };
        self.connections.lock().expect("no panic").push(connection);
        self.go_on(kind, person, subject, &answer).await;
    }

    fn fail(&self, kind: Kind, why: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut errors = self.errors.lock().expect("no panic");
        let error = format!("{}: {why}", KINDS[kind as usize].1);
        if errors.len() < 5 && !errors.contains(&error) {
            errors.push(error);
        }
    }

    /// The request of this kind, of whom, and about which order. With nothing to order, pay or refund, a store is read.
    fn request(&self, kind: Kind, person: usize, seed: u64) -> Option<(Kind, usize, Vec<u8>, String)> {
        let token = |person: usize| Some(self.people[person].token.as_str());
        let key = format!("k-{seed}");
        let made = match kind {
            Kind::Stores => None,
            Kind::Quote => {
                let quote = self.people[person].quote(seed);
                Some((person, post("/api/v1/quotes", token(person), None, &quote), String::new()))
            }
            Kind::Order => self.quotes.lock().expect("no panic").pop_front().map(|(person, quote)| {
                let body = json!({ "quote_token": quote });
                (person, post("/api/v1/orders", token(person), Some(&key), &body), String::new())
            }),
            Kind::Payment => self.unpaid.lock().expect("no panic").pop_front().map(|(person, id)| {
                let body = json!({ "provider": "WECHAT_PAY" });
                let path = format!("/api/v1/orders/{id}/payments");
                (person, post(&path, token(person), Some(&key), &body), id)
            }),
            Kind::Refund => {
                let mut paid = self.paid.lock().expect("no panic");
                paid.pop_front_if(|(at, ..)| at.elapsed() >= PAID_FOR).map(|(_, person, id)| {
                    let path = format!("/api/v1/orders/{id}/refunds");
                    (person, post(&path, token(person), Some(&key), &json!({ "reason": "不想要了" })), id)
                })
            }
        };
        if let Some((person, request, subject)) = made {
            return Some((kind, person, request, subject));
        }
        if kind != Kind::Stores {
            self.replaced.fetch_add(1, Ordering::Relaxed);
        }
        let (lat, lng) = fixtures::place(seed as usize % 100_000);
        let path = format!("/api/v1/stores?lat={lat:.5}&lng={lng:.5}");
        Some((Kind::Stores, person, get(&path, token(person)), String::new()))
    }

    /// What becomes possible by this answer.
    async fn go_on(self: &Arc<Self>, kind: Kind, person: usize, subject: String, answer: &Value) {
        match kind {
            Kind::Stores | Kind::Refund => {}
            Kind::Quote => {
                if let Some(token) = answer["quote_token"].as_str() {
                    let mut quotes = self.quotes.lock().expect("no panic");
                    quotes.push_back((person, token.to_owned()));
                    // Half of the quotes are never ordered.
                    if quotes.len() > 2_000 {
                        quotes.pop_front();
                    }
                }
            }
            Kind::Order => {
                if let Some(id) = answer["id"].as_str() {
                    self.unpaid.lock().expect("no panic").push_back((person, id.to_owned()));
                }
            }
            Kind::Payment => {
                let load = self.clone();
                let params = answer["request_payment"].clone();
                tokio::spawn(async move { load.pay(person, subject, params).await });
            }
        }
    }

    /// The customer's phone: pays at the channel, which tells the shop.
    async fn pay(&self, person: usize, order: String, params: Value) {
        let prepay = params["package"].as_str().and_then(|package| package.strip_prefix("prepay_id="));
        let Some(prepay) = prepay else { return self.fail(Kind::Payment, "no prepay_id") };
        let path = format!("/sandbox/payments/{prepay}/pay");
        let paid = async {
            let mut phone = Connection::open(self.server.sandbox).await?;
            let answer = phone.call(&post(&path, None, None, &params)).await?;
            Ok::<_, std::io::Error>(if answer.is_success() { None } else { Some(answer.text()) })
        };
        match paid.await {
            Ok(None) => {
                self.paid.lock().expect("no panic").push_back((Instant::now(), person, order));
            }
            Ok(Some(text)) => self.fail(Kind::Payment, &format!("the phone was refused: {text}")),
            Err(error) => self.fail(Kind::Payment, &format!("the phone: {error}")),
        }
    }
}
