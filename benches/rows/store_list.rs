//! The list of stores, nearest first, for 1,000 people who are signed in and each somewhere else: beside a bare
//! server that answers the same bytes. And the same without a local cache, every read from Redis: beside a bare
//! server that makes one GET for each answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Row;
use crate::limits::{self, Answers};
use crate::support::fixtures;
use crate::support::http::{Connection, get};
use crate::support::report::{Measured, Target};
use crate::support::services::{Need, Services};
use crate::support::shop::{Place, Process};
use crate::support::slices::compare;

const PEOPLE: usize = 1_000;
const STORES: usize = 100;
const CONNECTIONS: usize = 32;
const SLICE: Duration = Duration::from_secs(1);

const TARGET: Target = Target::RatioAtLeast(0.80);
const REDIS_TARGET: Target = Target::RatioAtLeast(0.50);

pub const LOCAL: Row = Row {
    name: "store-list",
    what: "store list from the local cache, beside a bare hyper server that answers the same bytes",
    needs: &[],
    lines: &[("store-list", TARGET)],
    run: |_| Box::pin(async { vec![local().await] }),
};

pub const REDIS: Row = Row {
    name: "store-list-redis",
    what: "store list from Redis, beside a bare hyper server with one pipelined GET for each answer",
    needs: &[Need::Redis],
    lines: &[("store-list-redis", REDIS_TARGET)],
    run: |services| Box::pin(async move { vec![from_redis(services).await] }),
};

async fn local() -> Measured {
    let place = Place::on(&Services::default()).await;
    measure("store-list", TARGET, place, None).await
}

async fn from_redis(services: Services) -> Measured {
    let mut place = Place::on(&services.only(&[Need::Redis])).await;
    place.config.cache.local_ttl_ms = 0;
    measure("store-list-redis", REDIS_TARGET, place, services.redis).await
}

async fn measure(name: &str, target: Target, place: Place, redis: Option<String>) -> Measured {
    let ctx = place.context().await;
    fixtures::shop(&ctx, STORES).await;
    ctx.db.close().await;
    let server = place.serve().await;
    let tokens = fixtures::sign_in(server.address, PEOPLE).await;
    let asked = Arc::new(ask(&server, &tokens).await);
    let file = place.folder.join("answers.json");
    let limit = match redis {
        None => {
            write(&file, &asked);
            limits::start(&file, None).await
        }
        Some(url) => {
            let prefix = format!("{}limit:", place.config.kv.key_prefix);
            keep_in_redis(&url, &prefix, &asked).await;
            write(&file, &asked[..1]);
            limits::start(&file, Some((&url, &prefix))).await
        }
    };
    let wrong = Arc::new(AtomicU64::new(0));
    let compared =
        compare(|_| rate(server.address, &asked, &wrong), |_| rate(limit.address, &asked, &wrong)).await;
    let checked = match wrong.load(Ordering::Relaxed) {
        0 => place.check().await,
        wrong => Err(format!("{wrong} answers were wrong")),
    };
    let bytes = asked.iter().map(|asked| asked.body.len()).sum::<usize>() / asked.len();
    drop((server, limit));
    place.give_back().await;
    Measured::value(name, compared.value, "req/s", target)
        .beside(compared.limit, compared.ratio)
        .note(format!(
            "{PEOPLE} tokens and places, {STORES} stores, pages of {bytes} bytes, {CONNECTIONS} connections, {}",
            compared.spread()
        ))
        .checked(&checked)
}

/// A request, and what is the right answer.
struct Asked {
    path: String,
    request: Vec<u8>,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// Everybody asks once.
async fn ask(server: &Process, tokens: &[String]) -> Vec<Asked> {
    let mut connection = Connection::open(server.address).await.expect("a connection");
    let mut asked = Vec::with_capacity(tokens.len());
    for (number, token) in tokens.iter().enumerate() {
        let (lat, lng) = fixtures::place(number);
        let path = format!("/api/v1/stores?lat={lat:.5}&lng={lng:.5}");
        let request = get(&path, Some(token));
        let answer = connection.call(&request).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (headers, body) = (headers(answer.head), Bytes::copy_from_slice(answer.body));
        asked.push(Asked { path, request, headers, body });
    }
    asked
}

/// What is not the server's own matter.
fn headers(head: &[u8]) -> Vec<(String, String)> {
    let lines = String::from_utf8_lossy(head);
    let named = lines.lines().filter_map(|line| line.split_once(": "));
    let named = named.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    named.filter(|(name, _)| !["content-length", "date"].contains(&name.as_str())).collect()
}

fn write(file: &str, asked: &[Asked]) {
    let body = |asked: &Asked| String::from_utf8(asked.body.to_vec()).expect("JSON is UTF-8");
    let bodies: HashMap<String, String> =
        asked.iter().map(|asked| (asked.path.clone(), body(asked))).collect();
    let answers = Answers { headers: asked[0].headers.clone(), bodies };
    std::fs::write(file, serde_json::to_vec(&answers).expect("JSON")).expect("a file");
}

async fn keep_in_redis(url: &str, prefix: &str, asked: &[Asked]) {
    let client = redis::Client::open(url).expect("a Redis URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
    for asked in asked {
        let mut set = redis::cmd("SET");
        set.arg(format!("{prefix}{}", asked.path)).arg(&asked.body[..]).arg("EX").arg(600);
        set.exec_async(&mut connection).await.expect("Redis keeps it");
    }
}

/// Right answers a second, over one slice.
async fn rate(to: SocketAddr, asked: &Arc<Vec<Asked>>, wrong: &Arc<AtomicU64>) -> f64 {
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for first in 0..CONNECTIONS {
        let (asked, wrong) = (asked.clone(), wrong.clone());
        lanes.spawn(async move {
            let mut connection = Connection::open(to).await.expect("a connection");
            let (mut right, mut next) = (0_u64, first);
            while start.elapsed() < SLICE {
                let asked = &asked[next % asked.len()];
                match connection.call(&asked.request).await {
                    Ok(answer) if answer.status == 200 && answer.body == asked.body => right += 1,
                    _ => _ = wrong.fetch_add(1, Ordering::Relaxed),
                }
                next += CONNECTIONS;
            }
            right
        });
    }
    let counts = lanes.join_all().await;
    counts.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64()
}
