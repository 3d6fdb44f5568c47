//! What was promised, against what is there: clients, our books, the channel's books.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use minimall::telemetry::Stopwatch;
use serde_json::Value;
use sqlx::{AnyConnection, Connection, SqliteConnection};

use super::customer::sign_in;
use super::world::World;

/// Every payment and every refund that succeeded, by the number that we gave it: fen.
#[derive(Default, PartialEq)]
struct Money {
    paid: BTreeMap<String, i64>,
    refunded: BTreeMap<String, i64>,
}

impl Money {
    fn sums(&self) -> (i64, i64) {
        (self.paid.values().sum(), self.refunded.values().sum())
    }

    /// What one has and the other has not, or with another amount.
    fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = vec![];
        for (what, mine, theirs) in
            [("payment", &self.paid, &other.paid), ("refund", &self.refunded, &other.refunded)]
        {
            for number in mine.keys().chain(theirs.keys().filter(|number| !mine.contains_key(*number))) {
                let (mine, theirs) = (mine.get(number), theirs.get(number));
                if mine != theirs {
                    found.push(format!("{what} {number}: ours {mine:?}, the channel's {theirs:?}"));
                }
            }
        }
        found
    }
}

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
const OPEN: [(&str, &str); 8] = [
    ("attempts", "SELECT COUNT(*) FROM payment_attempts WHERE status = 'CLOSING'"),
    ("refunds", "SELECT COUNT(*) FROM refunds WHERE status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN')"),
    ("notices", "SELECT COUNT(*) FROM inbox WHERE state = 'NEW'"),
    ("deliveries", "SELECT COUNT(*) FROM deliveries WHERE state = 'PENDING'"),
    ("events", "SELECT COUNT(*) FROM outbox WHERE state = 'READY' AND kind <> 'TIMED'"),
    ("closing orders", "SELECT COUNT(*) FROM orders WHERE status = 'CLOSING'"),
    (
        "events that nobody heard of, and others of their kind were heard",
        "SELECT COUNT(*) FROM outbox o WHERE o.state = 'SENT' AND o.kind <> 'TIMED' AND o.kind <> 'BROADCAST' \
         AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = o.id) \
         AND o.event IN (SELECT x.event FROM deliveries d JOIN outbox x ON x.id = d.event_id)",
    ),
    (
        "orphan payments that were not paid back",
        "SELECT COUNT(*) FROM payment_attempts a WHERE a.status = 'ORPHAN' AND NOT EXISTS (SELECT 1 FROM refunds r \
         WHERE r.attempt_id = a.id AND r.kind = 'ORPHAN' AND r.status = 'SUCCEEDED')",
    ),
];

/// What only a person could bring to an end: no blow leaves that behind.
const GIVEN_UP: [(&str, &str); 3] = [
    ("discrepancies", "SELECT COUNT(*) FROM refund_discrepancies"),
    ("dead letters", "SELECT COUNT(*) FROM deliveries WHERE state = 'PARKED'"),
    ("parked notices", "SELECT COUNT(*) FROM inbox WHERE state = 'PARKED'"),
];

struct Books {
    money: Money,
    /// What is not zero of [`OPEN`] and of [`GIVEN_UP`].
    open: Vec<(&'static str, i64)>,
    given_up: Vec<(&'static str, i64)>,
}

/// What our books say, and how much work is still on its way.
async fn our_books(world: &World) -> Result<Books, sqlx::Error> {
    let mut conn = AnyConnection::connect(&world.database_url).await?;
    let paid = "SELECT a.out_trade_no, p.amount_minor FROM payment_records p \
                JOIN payment_attempts a ON a.id = p.attempt_id";
    let refunded = "SELECT s.out_refund_no, CAST(SUM(r.amount_minor) AS SIGNED) FROM refunds r \
                    JOIN refund_submission_parts p ON p.refund_id = r.id AND p.settled_ms IS NOT NULL \
                    JOIN refund_submissions s ON s.id = p.submission_id \
                    WHERE r.status = 'SUCCEEDED' GROUP BY s.out_refund_no";
    let mut rows = async |query: &'static str| -> Result<BTreeMap<String, i64>, sqlx::Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(&mut conn).await?;
        Ok(rows.into_iter().collect())
    };
    let money = Money { paid: rows(paid).await?, refunded: rows(refunded).await? };
    let (mut open, mut given_up) = (vec![], vec![]);
    for (queries, found) in [(&OPEN[..], &mut open), (&GIVEN_UP[..], &mut given_up)] {
        for (what, query) in queries {
            let (count,): (i64,) = sqlx::query_as(*query).fetch_one(&mut conn).await?;
            found.push((*what, count));
        }
        found.retain(|(_, count)| *count > 0);
    }
    conn.close().await?;
    Ok(Books { money, open, given_up })
}

/// What the channel's books say: a file of its process alone, that nothing of ours writes to.
async fn channel_books(world: &World) -> Result<Money, sqlx::Error> {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}?mode=ro", world.channel_file())).await?;
    let mut rows = async |query: &'static str| -> Result<BTreeMap<String, i64>, sqlx::Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(&mut conn).await?;
        Ok(rows.into_iter().collect())
    };
    let paid = rows("SELECT out_trade_no, total FROM payments WHERE success_ms IS NOT NULL").await?;
    let refunded = rows("SELECT out_refund_no, amount FROM refunds WHERE state = 'SUCCESS'").await?;
    Ok(Money { paid, refunded })
}

/// Every promise is kept: what was acknowledged is there, and both books say the same to the fen.
pub async fn are_kept(world: &World, seed: u64, struck: &Stopwatch) {
    let stopped = struck.elapsed();
    let mut unequal;
    let mut in_all = (0, 0);
    loop {
        let books = async { Ok::<_, sqlx::Error>((our_books(world).await?, channel_books(world).await?)) };
        unequal = match books.await {
            Ok((ours, theirs)) => {
                assert!(ours.given_up.is_empty(), "given up: {:?}; {}", ours.given_up, world.log());
                let differences = ours.money.differences(&theirs);
                in_all = ours.money.sums();
                (!ours.open.is_empty() || !differences.is_empty())
                    .then(|| format!("{differences:#?}, open: {:?}", ours.open))
            }
            Err(error) => Some(error.to_string()),
        };
        if unequal.is_none() || (struck.elapsed() - stopped).as_secs() > QUIET_WITHIN_S {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(unequal.is_none(), "{}; {}", unequal.unwrap_or_default(), world.log());
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
                "cancelled" => order["status"] == "CLOSED",
                "refund" => order["refund_status"] == "FULL",
                _ => order["id"].as_str() == Some(id),
            };
            assert!(kept, "acknowledged {kind} of {id}, and now: {order}");
        }
    }
    println!(
        "; quiet {:.1} s after the blow, {:.1} s after the load; kept: {} orders, {} payments, {} cancellations, \
         {} refunds, {} coupons; both books: {} fen paid, {} fen refunded; slowest answer {:.1} s of {}",
        quiet.as_secs_f64(),
        (quiet - stopped).as_secs_f64(),
        told.orders.len(),
        told.paid.len(),
        told.cancelled.len(),
        told.refunds.len(),
        told.coupons.len(),
        in_all.0,
        in_all.1,
        slowest.0.as_secs_f64(),
        slowest.1.rsplit('/').next().unwrap_or_default(),
    );
}
