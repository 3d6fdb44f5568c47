//! A million orders wait for payment, and time runs out for some of them every second: how long after its deadline
//! each is closed, by its own event. None is lost, none is closed early.

use std::time::Duration;

use minimall::platform::ctx::Ctx;
use sqlx::AssertSqlSafe;
use tokio::time::{Instant, sleep};

use super::Row;
use crate::support::copies::{NUMBER, copy, drop_indexes, eight_digits, execute, id, number, text};
use crate::support::fixtures;
use crate::support::http::Connection;
use crate::support::report::{Measured, Target};
use crate::support::services::Services;
use crate::support::shop::Place;
use crate::support::times::Times;

const WAITING: u64 = 1_000_000;
/// Deadlines of a second: as when a million orders have the half hour of the default configuration. And for how long.
const DUE_A_SECOND: u64 = WAITING / 1_800;
const SECONDS: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(120);

const TARGET: Target = Target::ValueAtMost(2_000.0, "ms");

pub const ROW: Row = Row {
    name: "cancel-lag",
    what: "one million orders wait for payment: from the deadline to the cancellation",
    needs: &[],
    lines: &[("cancel-lag", TARGET)],
    run: |_| Box::pin(async { vec![measure().await] }),
};

async fn measure() -> Measured {
    let mut place = Place::on(&Services::default()).await;
    place.config.orders.pay_minutes = 1_440;
    let ctx = place.context().await;
    fixtures::shop(&ctx, 4).await;
    fixtures::supply(&ctx, 1_000_000).await;
    fixtures::supply(&ctx, 1_000_000).await;
    let order = {
        let server = place.serve().await;
        let customer = fixtures::customers(server.address, 1).await.remove(0);
        let mut connection = Connection::open(server.address).await.expect("a connection");
        let order = fixtures::place_order(&mut connection, &customer).await;
        fixtures::wait_quiet(&place, PATIENCE).await.expect("it comes to rest");
        order
    };
    let filling = Instant::now();
    let event = fill(&ctx, &order).await;
    let filled = filling.elapsed();
    let due = DUE_A_SECOND * SECONDS;
    let first_ms = ctx.clock.now_ms() + 10_000;
    let at = format!("{first_ms} + CAST(SUBSTR(id, -8) AS SIGNED) * 1000 / {DUE_A_SECOND}");
    let those =
        |column: &str| format!("{column} >= '{}' AND {column} < '{}'", nth(&order, 0), nth(&order, due));
    execute(&ctx, &format!("UPDATE orders SET pay_before_ms = {at} WHERE {}", those("id"))).await;
    let (from, until) = (nth(&event, 0), nth(&event, due));
    execute(&ctx, &format!("UPDATE outbox SET due_ms = {at} WHERE id >= '{from}' AND id < '{until}'")).await;
    let server = place.serve().await;
    let ready_ms = ctx.clock.now_ms();
    let end = Instant::now() + PATIENCE + Duration::from_secs(SECONDS);
    let open = format!("SELECT COUNT(*) FROM orders WHERE status <> 'CLOSED' AND {}", those("id"));
    while number(&ctx, &open).await > 0 && Instant::now() < end {
        sleep(Duration::from_secs(1)).await;
    }
    let query =
        format!("SELECT closed_ms - pay_before_ms FROM orders WHERE status = 'CLOSED' AND {}", those("id"));
    let rows: Vec<(i64,)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(&mut *ctx.db.reader().await.expect("a reader"))
        .await
        .expect("the orders");
    let mut times = Times::default();
    rows.iter().for_each(|(late_ms,)| times.add_ms(*late_ms as f64));
    let early = rows.iter().filter(|(late_ms,)| *late_ms < 0).count();
    let lost = due as usize - rows.len();
    let others =
        number(&ctx, "SELECT COUNT(*) FROM orders WHERE status = 'CLOSED'").await - rows.len() as i64;
    let quiet = fixtures::wait_quiet(&place, PATIENCE).await;
    ctx.db.close().await;
    let checked = match (quiet, early, lost, others) {
        (Err(why), ..) => Err(why),
        (Ok(_), 0, 0, 0) => place.check().await,
        _ => Err(format!("{early} too early, {lost} lost, {others} closed that were not due")),
    };
    drop(server);
    place.give_back().await;
    Measured::value("cancel-lag", times.p99(), "ms", TARGET)
        .note(format!(
            "{WAITING} orders wait, {DUE_A_SECOND} deadlines a second for {SECONDS} s, {}; none early, none lost",
            times.line()
        ))
        .note(format!(
            "rows made by SQL in {:.0} s; the server was ready {} s before the first deadline",
            filled.as_secs_f64(),
            (first_ms - ready_ms) / 1_000
        ))
        .checked(&checked)
}

fn nth(like: &str, number: u64) -> String {
    let prefix = like.split('_').next().unwrap_or_default();
    format!("{prefix}_7{}{number:08}", "0".repeat(17))
}

/// Columns of a copy that are not the original's, and what they say.
type Changes = Vec<(&'static str, String)>;

/// Copies of the order with its line, its lock, its timeline, and the event of its deadline: half a day from now on.
/// Answers the event that was copied.
async fn fill(ctx: &Ctx, order: &str) -> String {
    let of_order = format!("t.order_id = '{order}'");
    let line = text(ctx, &format!("SELECT id FROM order_lines t WHERE {of_order}")).await;
    let sku = text(ctx, &format!("SELECT sku_id FROM order_lines t WHERE {of_order}")).await;
    let deadline = format!("event = 'PaymentDeadline' AND body LIKE '%{order}%'");
    let event = text(ctx, &format!("SELECT id FROM outbox WHERE {deadline}")).await;
    let due = format!("{} + {NUMBER} * 50", ctx.clock.now_ms() + 12 * 3_600_000);
    let tables: [(&str, String, Changes); 5] = [
        (
            "orders",
            format!("t.id = '{order}'"),
            vec![
                ("id", id(order)),
                ("quote_nonce", format!("'copy-' || {}", eight_digits())),
                ("pay_before_ms", due.clone()),
                // Its first event was told long ago.
                ("event_seq", "0".to_owned()),
            ],
        ),
        ("order_lines", of_order.clone(), vec![("id", id(&line)), ("order_id", id(order))]),
        ("stock_locks", of_order.clone(), vec![("line_id", id(&line)), ("order_id", id(order))]),
        ("order_timeline", of_order.clone(), vec![("order_id", id(order))]),
        (
            "outbox",
            format!("t.id = '{event}'"),
            vec![
                ("id", id(&event)),
                ("due_ms", due),
                ("body", format!("REPLACE(t.body, '{order}', {})", id(order))),
            ],
        ),
    ];
    let indexes = drop_indexes(ctx, &tables.each_ref().map(|(table, ..)| *table)).await;
    for (table, of, with) in &tables {
        copy(ctx, table, of, with, WAITING).await;
    }
    for (_, made_by) in &indexes {
        execute(ctx, made_by).await;
    }
    let locked = format!(
        "UPDATE stock SET available = available - {WAITING}, locked = locked + {WAITING} WHERE sku_id = '{sku}' \
         AND store_id = 'sto_00000000000000000000000001'"
    );
    execute(ctx, &locked).await;
    event
}
