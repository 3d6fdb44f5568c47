//! What was promised, against what is there: clients, our books, the channel's books.

use std::collections::HashMap;
use std::time::Duration;

use minimall::telemetry::Stopwatch;
use serde_json::Value;
use sqlx::AnyConnection;
use sqlx::Connection;

use super::customer::sign_in;
use super::world::World;

/// Paid and refunded in all.
type Sums = (i64, i64);

/// How long work may take to come to rest: leases of the dead end, queues are given anew; and a payment of which the
/// channel's notice was lost is asked for, the last time after ten minutes.
const QUIET_WITHIN_S: u64 = 780;

async fn read(world: &World, token: &str, path: &str) -> Value {
    for turn in 0..40 {
        if let Ok(answer) = world.http.get(world.shop(path, turn)).bearer_auth(token).send().await
            && answer.status().is_success()
            && let Ok(bytes) = answer.bytes().await
        {
            return serde_json::from_slice(&bytes).expect("JSON");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("{path} is not answered: {}", world.log());
}

/// Work that is still on its way.
const OPEN: [(&str, &str); 7] = [
    ("attempts", "SELECT COUNT(*) FROM payment_attempts WHERE status = 'CLOSING'"),
    ("refunds", "SELECT COUNT(*) FROM refunds WHERE status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN')"),
    ("notices", "SELECT COUNT(*) FROM inbox WHERE state = 'NEW'"),
    ("deliveries", "SELECT COUNT(*) FROM deliveries WHERE state = 'PENDING'"),
    ("events", "SELECT COUNT(*) FROM outbox WHERE state = 'READY' AND kind <> 'TIMED'"),
    ("closing orders", "SELECT COUNT(*) FROM orders WHERE status = 'CLOSING'"),
    (
        "settled refunds nobody heard of",
        "SELECT COUNT(*) FROM outbox o WHERE o.state = 'SENT' AND o.event = 'RefundSettled' AND NOT EXISTS \
         (SELECT 1 FROM deliveries d WHERE d.event_id = o.id)",
    ),
];

/// What only a person could bring to an end: no blow leaves that behind.
const GIVEN_UP: [(&str, &str); 3] = [
    ("discrepancies", "SELECT COUNT(*) FROM refund_discrepancies"),
    ("dead letters", "SELECT COUNT(*) FROM deliveries WHERE state = 'PARKED'"),
    ("parked notices", "SELECT COUNT(*) FROM inbox WHERE state = 'PARKED'"),
];

struct Books {
    sums: Sums,
    /// What is not zero of [`OPEN`] and of [`GIVEN_UP`].
    open: Vec<(&'static str, i64)>,
    given_up: Vec<(&'static str, i64)>,
}

/// What our books say, and how much work is still on its way.
async fn our_books(world: &World) -> Result<Books, sqlx::Error> {
    let mut conn = AnyConnection::connect(&world.database_url).await?;
    let mut one = async |query: &'static str| -> Result<i64, sqlx::Error> {
        let row: (Option<i64>,) = sqlx::query_as(query).fetch_one(&mut conn).await?;
        Ok(row.0.unwrap_or_default())
    };
    let paid = one("SELECT CAST(SUM(amount_minor) AS SIGNED) FROM payment_records").await?;
    let refunded = one(
        "SELECT CAST(SUM(amount_minor) AS SIGNED) FROM refunds WHERE status = 'SUCCEEDED' AND attempt_id IS NOT NULL",
    )
    .await?;
    let (mut open, mut given_up) = (vec![], vec![]);
    for (queries, found) in [(&OPEN[..], &mut open), (&GIVEN_UP[..], &mut given_up)] {
        for (what, query) in queries {
            found.push((*what, one(query).await?));
        }
        found.retain(|(_, count)| *count > 0);
    }
    conn.close().await?;
    Ok(Books { sums: (paid, refunded), open, given_up })
}

/// What the channel's books say.
async fn channel_books(world: &World) -> Sums {
    let answer = world.http.get(world.sandbox("/sandbox/books")).send().await.expect("the sandbox answers");
    let books: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    let sum = |field: &str| books[field].as_i64().expect("a sum");
    (sum("paid"), sum("refunded"))
}

/// Every promise is kept: what was acknowledged is there, and both books say the same to the fen.
pub async fn are_kept(world: &World, seed: u64, struck: &Stopwatch) {
    let stopped = struck.elapsed();
    let mut unequal;
    loop {
        unequal = match our_books(world).await {
            Ok(ours) => {
                let theirs = channel_books(world).await;
                assert!(ours.given_up.is_empty(), "given up: {:?}; {}", ours.given_up, world.log());
                (!ours.open.is_empty() || ours.sums != theirs)
                    .then(|| format!("ours {:?}, the channel's {theirs:?}, open: {:?}", ours.sums, ours.open))
            }
            Err(error) => Some(error.to_string()),
        };
        if unequal.is_none() || (struck.elapsed() - stopped).as_secs() > QUIET_WITHIN_S {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(unequal.is_none(), "(paid, refunded): {unequal:?}; {}", world.log());
    let quiet = struck.elapsed();
    let broken = std::mem::take(&mut *world.broken.lock().expect("no panic"));
    assert!(broken.is_empty(), "answers that say nothing: {broken:#?}; {}", world.log());
    let slowest = std::mem::take(&mut *world.slowest.lock().expect("no panic"));
    let told = std::mem::take(&mut *world.told.lock().expect("no panic"));
    let mut tokens = HashMap::new();
    let mut coupons: HashMap<usize, Vec<Value>> = HashMap::new();
    for (kind, list) in [
        ("order", &told.orders),
        ("paid", &told.paid),
        ("cancelled", &told.cancelled),
        ("refund", &told.refunds),
        ("coupon", &told.coupons),
    ] {
        for (number, id) in list {
            if !tokens.contains_key(number) {
                tokens.insert(*number, sign_in(world, seed, *number).await.expect("signed in"));
            }
            if kind == "coupon" {
                if !coupons.contains_key(number) {
                    let list = read(world, &tokens[number], "/api/v1/coupons?limit=100").await;
                    coupons.insert(*number, list["items"].as_array().cloned().unwrap_or_default());
                }
                let there = coupons[number].iter().any(|coupon| coupon["id"].as_str() == Some(id));
                assert!(there, "acknowledged coupon {id} is gone");
                continue;
            }
            let order = read(world, &tokens[number], &format!("/api/v1/orders/{id}")).await;
            let kept = match kind {
                "paid" => order["pay_status"] == "PAID",
                "cancelled" => matches!(order["status"].as_str(), Some("CLOSED" | "CLOSING")),
                "refund" => order["refund_status"] == "FULL",
                _ => order["id"].as_str() == Some(id),
            };
            assert!(kept, "acknowledged {kind} of {id}, and now: {order}");
        }
    }
    println!(
        "; quiet {:.1} s after the blow, {:.1} s after the load; kept: {} orders, {} payments, {} cancellations, \
         {} refunds, {} coupons; slowest answer {:.1} s of {}",
        quiet.as_secs_f64(),
        (quiet - stopped).as_secs_f64(),
        told.orders.len(),
        told.paid.len(),
        told.cancelled.len(),
        told.refunds.len(),
        told.coupons.len(),
        slowest.0.as_secs_f64(),
        slowest.1.rsplit('/').next().unwrap_or_default(),
    );
}
