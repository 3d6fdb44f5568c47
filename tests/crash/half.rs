//! A refund is settled by a half message: the broker has it before the transaction, and sees it after the commit. Here
//! are the moments at which that matters: the broker is gone, and the process dies between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{AnyConnection, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::customer::Customer;
use super::parts::{Blow, Part};
use super::world::{Choices, World, services};

/// Stands between the shop and its database. Once, it keeps the answer to the commit that settles a refund: the database
/// has committed, and the shop does not know.
#[derive(Default)]
struct Gate {
    armed: AtomicBool,
    committed: Notify,
}

/// COM_QUERY, as the client sends it.
const COMMIT: &[u8] = b"\x03COMMIT";
const BEGIN: &[u8] = b"\x03START TRANSACTION";

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

impl Gate {
    /// Opens a gate before the database of this URL. Answers the URL of the gate.
    async fn open(self: Arc<Self>, url: String) -> String {
        let (scheme, rest) = url.split_once('@').expect("somebody at somewhere");
        let (server, database) = rest.split_once('/').expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("its address");
        let (there, gate) = (server.to_owned(), self);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&there).await else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let kept = Arc::new(AtomicBool::new(false));
                tokio::spawn(gate.clone().ask(from_client, to_server, kept.clone()));
                tokio::spawn(gate.clone().answer(from_server, to_client, kept));
            }
        });
        format!("{scheme}@{here}/{database}")
    }

    async fn ask(self: Arc<Self>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, kept: Arc<AtomicBool>) {
        let (mut bytes, mut settles, mut seen) = (vec![0; 65_536], false, vec![]);
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let said = &bytes[..count];
            // With the end of what was said before: a word may come in two parts.
            seen.extend_from_slice(said);
            if holds(said, BEGIN) {
                settles = false;
            }
            settles |= holds(&seen, b"RefundSettled");
            seen.drain(..seen.len().saturating_sub(b"RefundSettled".len() - 1));
            if settles && holds(said, COMMIT) && self.armed.swap(false, Ordering::SeqCst) {
                kept.store(true, Ordering::SeqCst);
            }
            if to.write_all(said).await.is_err() {
                return;
            }
        }
    }

    async fn answer(self: Arc<Self>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, kept: Arc<AtomicBool>) {
        let mut bytes = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if kept.load(Ordering::SeqCst) {
                self.committed.notify_one();
                // Until the client is gone.
                let _ = to.writable().await;
                std::future::pending::<()>().await;
            }
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    }
}

async fn count(world: &World, query: &'static str) -> i64 {
    let mut conn = AnyConnection::connect(&world.database_url).await.expect("the database");
    let (count,): (i64,) = sqlx::query_as(query).fetch_one(&mut conn).await.expect("a count");
    conn.close().await.expect("closed");
    count
}

const SETTLED: &str = "SELECT COUNT(*) FROM refunds WHERE status = 'SUCCEEDED'";
const AT_CHANNEL: &str = "SELECT COUNT(*) FROM refunds WHERE status IN ('SUBMITTED', 'PROCESSING')";
const COUPONS: &str = "SELECT COUNT(*) FROM coupons WHERE source = 'refund'";

async fn eventually(world: &World, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within two minutes: {what}; {}", world.log());
}

/// A customer with an order that is paid.
async fn with_a_paid_order(world: &World) -> (Customer<'_>, String) {
    let mut customer = Customer::arrive(world, 0, 1).await.expect("a customer");
    let order = customer.order(&mut Choices::new(1)).await.expect("an order");
    customer.pay(&order).await.expect("paid");
    eventually(world, "the payment is known", || customer.is_paid(&order)).await;
    (customer, order)
}

/// What the customer sees of the coupon that a refund brings.
async fn brought(customer: &Customer<'_>) -> usize {
    let coupons = customer.get("/api/v1/coupons?limit=100").await.unwrap_or_default();
    let coupons = coupons["items"].as_array().cloned().unwrap_or_default();
    coupons.iter().filter(|coupon| coupon["source"] == "refund").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coupon_of_a_refund_comes_once_though_all_died_between_its_commit_and_the_brokers() {
    let _alone = super::ALONE.lock().await;
    if services().is_none() {
        println!("skipped: half messages take a broker, and so the services of tests/services");
        return;
    }
    let gate = Arc::new(Gate::default());
    // Without the sweep, which heals lost messages: it is the broker's question that brings this one.
    let settings = [("SWEEP__ENABLED", "false"), ("DATABASE__TLS", "off")];
    let world = World::start_with(&settings, |url| gate.clone().open(url)).await;
    let (customer, order) = with_a_paid_order(&world).await;
    gate.armed.store(true, Ordering::SeqCst);
    customer.refund(&order).await.expect("promised");
    let committed = tokio::time::timeout(Duration::from_secs(60), gate.committed.notified()).await;
    assert!(committed.is_ok(), "no refund was settled: {}", world.log());
    let everybody = [Part::Server(0), Part::Server(1), Part::Worker];
    for part in &everybody {
        world.parts.strike(part, Blow::Kill);
    }
    assert_eq!((count(&world, SETTLED).await, count(&world, COUPONS).await), (1, 0));
    world.parts.bring_back(&world, &everybody[0], Blow::Kill).await;
    eventually(&world, "the broker asks, and the coupon comes", async || brought(&customer).await == 1).await;
    assert_eq!(count(&world, COUPONS).await, 1);
    world.check("after the coupon came").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_broker_gone_orders_are_placed_and_refunds_are_settled_when_it_is_back() {
    let _alone = super::ALONE.lock().await;
    if services().is_none() {
        println!("skipped: half messages take a broker, and so the services of tests/services");
        return;
    }
    let world = World::start().await;
    let (mut customer, order) = with_a_paid_order(&world).await;
    let broker = Part::Service("broker");
    world.parts.strike(&broker, Blow::Kill);
    let placed = customer.order(&mut Choices::new(2)).await.expect("placed without the broker");
    customer.pay(&placed).await.expect("paid without the broker");
    eventually(&world, "the payment is known without the broker", || customer.is_paid(&placed)).await;
    customer.refund(&order).await.expect("promised without the broker");
    eventually(&world, "the channel has paid it back", async || {
        let books = world.http.get(world.sandbox("/sandbox/books")).send().await.expect("the channel");
        let books: serde_json::Value =
            serde_json::from_slice(&books.bytes().await.expect("a body")).expect("JSON");
        books["refunds"] == 1 && count(&world, AT_CHANNEL).await == 1
    })
    .await;
    // It is told again and again that the money is back; without a half message it believes nothing of it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((count(&world, SETTLED).await, count(&world, COUPONS).await), (0, 0));
    world.parts.bring_back(&world, &broker, Blow::Kill).await;
    eventually(&world, "it is settled, and the coupon comes", async || brought(&customer).await == 1).await;
    assert_eq!((count(&world, SETTLED).await, count(&world, COUPONS).await), (1, 1));
    world.check("after the broker came back").await;
    world.end().await;
}
