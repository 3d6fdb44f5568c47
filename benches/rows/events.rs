//! How long after its transaction an event is handled: what `deliveries` and `outbox` say of orders that are placed
//! one after another. From before the commit to the handler's own transaction, so rather too long than too short.

use std::time::Duration;

use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio::time::{interval, sleep};

use super::Row;
use crate::support::fixtures;
use crate::support::http::{Connection, post};
use crate::support::report::{Measured, Target};
use crate::support::services::{Need, Services};
use crate::support::shop::Place;
use crate::support::times::Times;

const ORDERS: usize = 300;
const PER_SECOND: u32 = 20;
const QUIET_PATIENCE: Duration = Duration::from_secs(60);

const EMBEDDED_TARGET: Target = Target::ValueAtMost(20.0, "ms");
const ROCKETMQ_TARGET: Target = Target::ValueAtMost(100.0, "ms");

pub const EMBEDDED: Row = Row {
    name: "event-embedded",
    what: "event from commit to consumer, embedded",
    needs: &[],
    lines: &[("event-embedded", EMBEDDED_TARGET)],
    run: |_| Box::pin(async { vec![measure("event-embedded", EMBEDDED_TARGET, Services::default()).await] }),
};

pub const ROCKETMQ: Row = Row {
    name: "event-rocketmq",
    what: "event from commit to consumer, through RocketMQ",
    needs: &[Need::MySql, Need::Redis, Need::RocketMq],
    lines: &[("event-rocketmq", ROCKETMQ_TARGET)],
    run: |services| Box::pin(async { vec![measure("event-rocketmq", ROCKETMQ_TARGET, services).await] }),
};

async fn measure(name: &str, target: Target, services: Services) -> Measured {
    let place = Place::on(&services).await;
    let ctx = place.context().await;
    fixtures::shop(&ctx, 4).await;
    fixtures::supply(&ctx, 10_000).await;
    let server = place.serve().await;
    let customers = fixtures::customers(server.address, 20).await;
    let mut connection = Connection::open(server.address).await.expect("a connection");
    let mut clock = interval(Duration::from_secs(1) / PER_SECOND);
    for number in 0..ORDERS {
        clock.tick().await;
        let customer = &customers[number % customers.len()];
        let quote = post("/api/v1/quotes", Some(&customer.token), None, &customer.quote(number as u64));
        let quote = connection.call(&quote).await.expect("an answer").json();
        let order = json!({ "quote_token": quote["quote_token"] });
        let key = format!("order-{number}");
        let order = post("/api/v1/orders", Some(&customer.token), Some(&key), &order);
        let answer = connection.call(&order).await.expect("an answer");
        assert!(answer.is_success(), "{}", answer.text());
    }
    let quiet = fixtures::wait_quiet(&place, QUIET_PATIENCE).await;
    sleep(Duration::from_secs(2)).await;
    let query = "SELECT d.done_ms - o.created_ms FROM deliveries d JOIN outbox o ON o.id = d.event_id \
                 WHERE o.event = 'OrderPlaced' AND d.state = 'DONE'";
    let rows: Vec<(i64,)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(&mut *ctx.db.reader().await.expect("a reader"))
        .await
        .expect("the deliveries");
    ctx.db.close().await;
    let mut times = Times::default();
    rows.iter().for_each(|(took_ms,)| times.add_ms(*took_ms as f64));
    let checked = match quiet {
        Err(why) => Err(why),
        Ok(_) if times.count() < ORDERS => Err(format!("{} deliveries of {ORDERS} orders", times.count())),
        Ok(_) => place.check().await,
    };
    drop(server);
    place.give_back().await;
    Measured::value(name, times.p99(), "ms", target)
        .note(format!(
            "{ORDERS} orders, {PER_SECOND} a second, {} deliveries, {}",
            times.count(),
            times.line()
        ))
        .checked(&checked)
}
