//! A page of orders, for a customer and for staff, at ten thousand orders and at ten million.

use std::time::Duration;

use minimall::platform::ctx::Ctx;
use serde_json::json;
use tokio::time::Instant;

use super::Row;
use crate::support::copies::{NUMBER, copy, drop_indexes, eight_digits, execute, id, text, text_rows};
use crate::support::fixtures;
use crate::support::http::{Connection, get, post};
use crate::support::report::{Measured, Target};
use crate::support::services::Services;
use crate::support::shop::{Place, Process, free_bytes};
use crate::support::times::Times;

const FEW: u64 = 10_000;
const MANY: u64 = 10_000_000;
/// Orders of one customer: a page and a little.
const OF_ONE: u64 = 25;
const PEOPLE: usize = 400;
const REQUESTS: usize = 4_000;

/// What the two lists can be read by, and so what the many rows have: all sixteen would be twice the disk and the time.
const READ_BY: [&str; 5] =
    ["orders_user", "orders_user_status", "orders_store", "orders_status", "order_lines_order"];
/// Of one order with its line and these indexes, and as much again while they are made.
const DISK_BYTES: u64 = 2_000;

const TARGET: Target = Target::RatioAtMost(1.5);

pub const ROW: Row = Row {
    name: "order-list",
    what: "page of orders at ten million orders, beside ten thousand",
    needs: &[],
    lines: &[("order-list", TARGET), ("order-list-staff", TARGET)],
    run: |_| Box::pin(measure()),
};

/// How many orders "many" is.
fn many() -> u64 {
    std::env::var("MINIMALL_BENCH_ORDERS").ok().and_then(|text| text.parse().ok()).unwrap_or(MANY)
}

async fn measure() -> Vec<Measured> {
    let many = many();
    let free = free_bytes(env!("CARGO_TARGET_TMPDIR"));
    if free < many * DISK_BYTES {
        let why = format!("for {many} orders: {} GB of disk are needed", many * DISK_BYTES / 1_000_000_000);
        return ROW.not_run(&why);
    }
    let small = Filled::new(FEW).await;
    let large = Filled::new(many).await;
    let (mut few_own, mut many_own) = (Times::default(), Times::default());
    let (mut few_staff, mut many_staff) = (Times::default(), Times::default());
    // In turns, so that whatever else the machine does meets both; the first turn warms up.
    for turn in 0..9 {
        for (filled, own, staff) in
            [(&small, &mut few_own, &mut few_staff), (&large, &mut many_own, &mut many_staff)]
        {
            let (own_here, staff_here) = filled.read(turn).await;
            if turn > 0 {
                own.extend(own_here);
                staff.extend(staff_here);
            }
        }
    }
    let checked = match (small.check().await, large.check().await) {
        (Ok(_), Ok(note)) => Ok(note),
        (Err(why), _) | (_, Err(why)) => Err(why),
    };
    let row = |name: &str, few: &Times, many_times: &Times| {
        Measured::value(name, many_times.p99(), "ms", TARGET)
            .beside(few.p99(), many_times.p99() / few.p99())
            .note(format!("{FEW} orders: {}; {many} orders: {}", few.line(), many_times.line()))
            .note(format!(
                "{} pages each, {PEOPLE} customers of {}, filled in {:.0} s",
                few.count(),
                many / OF_ONE,
                large.took.as_secs_f64()
            ))
            .checked(&checked)
    };
    vec![row("order-list", &few_own, &many_own), row("order-list-staff", &few_staff, &many_staff)]
}

/// A shop with so many orders.
struct Filled {
    place: Place,
    server: Process,
    tokens: Vec<String>,
    staff: String,
    took: Duration,
    is_whole: bool,
}

impl Filled {
    async fn new(orders: u64) -> Self {
        let place = Place::on(&Services::default()).await;
        let ctx = place.context().await;
        fixtures::shop(&ctx, 4).await;
        fixtures::supply(&ctx, 100_000).await;
        let server = place.serve().await;
        let customers = fixtures::customers(server.address, PEOPLE).await;
        let customer = &customers[0];
        let mut connection = Connection::open(server.address).await.expect("a connection");
        let order = fixtures::place_order(&mut connection, customer).await;
        let cancel =
            post(&format!("/api/v1/orders/{order}/cancel"), Some(&customer.token), Some("c"), &json!({}));
        assert!(connection.call(&cancel).await.expect("an answer").is_success());
        let staff = fixtures::sign_in_staff(server.address, &place.config).await;
        fixtures::wait_quiet(&place, Duration::from_secs(60)).await.expect("it comes to rest");
        drop(server);
        let start = Instant::now();
        let people = text_rows(&ctx, "SELECT id FROM users ORDER BY id").await;
        let is_whole = orders == FEW;
        fill(&ctx, &order, &people, orders, is_whole).await;
        let took = start.elapsed();
        ctx.db.close().await;
        let server = place.serve().await;
        let tokens = customers.into_iter().map(|customer| customer.token).collect();
        Self { place, server, tokens, staff, took, is_whole }
    }

    /// Times of customers' pages, and of staff's.
    async fn read(&self, turn: usize) -> (Times, Times) {
        let mut connection = Connection::open(self.server.address).await.expect("a connection");
        let (mut own, mut staff) = (Times::default(), Times::default());
        let all = get("/admin/v1/orders?limit=20", Some(&self.staff));
        for number in 0..REQUESTS / 8 {
            let token = &self.tokens[(number + turn * 61) % self.tokens.len()];
            for (request, times) in
                [(&get("/api/v1/orders?limit=20", Some(token)), &mut own), (&all, &mut staff)]
            {
                let start = Instant::now();
                let answer = connection.call(request).await.expect("an answer");
                let took = start.elapsed();
                assert!(answer.is_success(), "{}", answer.text());
                assert_eq!(answer.json()["items"].as_array().map(Vec::len), Some(20), "a full page");
                times.add(took);
            }
        }
        (own, staff)
    }

    async fn check(&self) -> Result<String, String> {
        match self.is_whole {
            true => self.place.check().await,
            false => {
                Ok("the many are rows of orders and lines alone, so no invariant is asked of them".to_owned())
            }
        }
    }
}

/// Copies of a cancelled order, spread over customers of whom the first are signed in: with all that belongs to it, or
/// only with the lines that a page shows.
async fn fill(ctx: &Ctx, order: &str, people: &[String], count: u64, is_whole: bool) {
    let of_order = format!("t.order_id = '{order}'");
    let line = text(ctx, &format!("SELECT id FROM order_lines t WHERE {of_order}")).await;
    let customer =
        |number: &str| format!("'usr_7{}' || SUBSTR(CAST(100000000 + {number} AS CHAR), 2)", "0".repeat(17));
    let mut tables = vec![
        (
            "orders",
            format!("t.id = '{order}'"),
            vec![
                ("id", id(order)),
                ("user_id", customer(&format!("({NUMBER} % {})", count / OF_ONE))),
                ("quote_nonce", format!("'copy-' || {}", eight_digits())),
                ("phone_hash", "NULL".to_owned()),
                ("address_sealed", "NULL".to_owned()),
            ],
        ),
        ("order_lines", of_order.clone(), vec![("id", id(&line)), ("order_id", id(order))]),
    ];
    if is_whole {
        tables.push(("stock_locks", of_order.clone(), vec![("line_id", id(&line)), ("order_id", id(order))]));
        tables.push(("order_timeline", of_order, vec![("order_id", id(order))]));
    }
    let indexes = drop_indexes(ctx, &["orders", "order_lines"]).await;
    for (table, of, with) in &tables {
        copy(ctx, table, of, with, count).await;
    }
    for (_, made_by) in indexes.iter().filter(|(name, _)| is_whole || READ_BY.contains(&name.as_str())) {
        execute(ctx, made_by).await;
    }
    for (number, person) in people.iter().enumerate() {
        let copied = customer(&number.to_string());
        execute(ctx, &format!("UPDATE orders SET user_id = '{person}' WHERE user_id = {copied}")).await;
    }
}
