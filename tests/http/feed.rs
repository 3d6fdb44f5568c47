//! The feed: what staff is told at once, what they missed, and when it ends.

use std::time::Duration;

use minimall::staff::Role;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Client, SKU, TestApp, WULIN, text};

const FEED: &str = "/admin/v1/orders/feed";

/// Somebody who listens.
struct Listener {
    response: Response,
    text: String,
}

impl Listener {
    async fn open(client: &Client, last: Option<&str>) -> Self {
        let mut request = client.request(Method::GET, FEED);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { response, text: String::new() }
    }

    /// The next event: its id, its type, its data. `None`: the stream has ended.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().to_owned()
                };
                let data = serde_json::from_str(&field("data: ")).expect("JSON");
                let found = (field("id: "), field("event: "), data);
                self.text = rest.to_owned();
                return Some(found);
            }
            // Longer than anything here takes: a stream that is silent fails the test instead of hanging.
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await;
            let chunk = chunk.expect("something is told").ok().flatten()?;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    async fn expect(&mut self, kind: &str) -> (String, Value) {
        let (id, event, data) = self.next().await.expect("the stream goes on");
        assert_eq!((event.as_str(), data["kind"].as_str()), (kind, Some(kind)), "{data}");
        assert_eq!(data["seq"].to_string(), id);
        (id, data)
    }
}

#[tokio::test]
async fn staff_hears_of_paid_orders_and_refunds_the_moment_they_happen() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let earlier = app.paid_order(&alice, &[(SKU, 1)]).await;
    let mut feed = Listener::open(&staff, None).await;
    let (hello, _) = feed.expect("hello").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let (id, paid) = feed.expect("order_paid").await;
    assert_eq!((&paid["order_id"], &paid["amount"]), (&order["id"], &order["paid"]));
    assert_eq!((&paid["store_id"], &paid["fulfilment"]), (&order["store_id"], &json!("DELIVERY")));
    assert_eq!(id.parse::<i64>().unwrap(), hello.parse::<i64>().unwrap() + 1);
    let shipped = format!("/admin/v1/orders/{}/ship", text(&earlier, "id"));
    staff.post(&shipped, &json!({})).await.ok();
    let refund = alice.refund(&earlier).await;
    app.drain().await;
    let (_, asked) = feed.expect("refund_requested").await;
    assert_eq!((&asked["refund_id"], &asked["order_id"]), (&refund["id"], &earlier["id"]));
    app.finish().await;
}

#[tokio::test]
async fn who_comes_back_with_the_last_id_misses_nothing_and_hears_nothing_twice() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let mut feed = Listener::open(&staff, None).await;
    feed.expect("hello").await;
    let first = app.paid_order(&alice, &[(SKU, 1)]).await;
    let (last, data) = feed.expect("order_paid").await;
    assert_eq!(data["order_id"], first["id"]);
    drop(feed);
    let mut missed = Vec::new();
    for _ in 0..3 {
        missed.push(app.paid_order(&alice, &[(SKU, 1)]).await);
    }
    let mut feed = Listener::open(&staff, Some(&last)).await;
    let (hello, _) = feed.expect("hello").await;
    assert_eq!(hello, last);
    for order in &missed {
        assert_eq!(feed.expect("order_paid").await.1["order_id"], order["id"]);
    }
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    assert_eq!(feed.expect("order_paid").await.1["order_id"], order["id"]);
    app.finish().await;
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_a_reset() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    for _ in 0..2 {
        app.paid_order(&alice, &[(SKU, 1)]).await;
    }
    app.advance_minutes(7 * 24 * 60 + 1);
    app.app.sweep().await.unwrap();
    assert_eq!(app.number("SELECT COUNT(*) FROM feed_entries").await, 0);
    let staff_again = app.staff().await;
    staff.get(FEED).await.refused(401, "unauthenticated");
    let (id, _) = Listener::open(&staff_again, Some("1")).await.expect("reset").await;
    assert_eq!(id, "2");
    Listener::open(&staff_again, Some("2")).await.expect("hello").await;
    // Of another database.
    Listener::open(&staff_again, Some("99")).await.expect("reset").await;
    let refused = staff_again.request(Method::GET, FEED).header("Last-Event-ID", "yesterday");
    staff_again.send(refused).await.refused(400, "invalid_request");
    app.finish().await;
}

#[tokio::test]
async fn a_heartbeat_breaks_the_silence_and_a_lost_broadcast_is_made_up_for() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let mut feed = Listener::open(&staff, None).await;
    feed.expect("hello").await;
    app.advance_ms(15_000);
    feed.expect("heartbeat").await;
    let order = app.paid_order(&alice, &[(SKU, 1)]).await;
    feed.expect("order_paid").await;
    // Another node has written it, and its broadcast did not come.
    app.execute("UPDATE feed_sequence SET latest = latest + 1").await;
    app.execute(
        "INSERT INTO feed_entries SELECT seq + 1, kind, order_id, store_id, fulfilment, refund_id, amount_minor, \
         currency, at_ms FROM feed_entries",
    )
    .await;
    app.advance_ms(5_000);
    assert_eq!(feed.expect("order_paid").await.1["order_id"], order["id"]);
    app.finish().await;
}

#[tokio::test]
async fn what_happens_in_other_stores_holds_nothing_up() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    app.paid_order(&alice, &[(SKU, 1)]).await;
    // Another store is busy: more entries of it than three looks read.
    let mut entries = 1;
    while entries < 600 {
        app.execute(&format!(
            "INSERT INTO feed_entries SELECT seq + {entries}, kind, order_id, store_id, fulfilment, refund_id, \
             amount_minor, currency, at_ms FROM feed_entries"
        ))
        .await;
        entries *= 2;
    }
    app.execute(&format!("UPDATE feed_sequence SET latest = {entries}")).await;
    let order = app.paid_in(&alice, WULIN, "PICKUP", &[(SKU, 1)]).await;
    let clerk = app.member(Role::Clerk, &[WULIN]).await;
    let mut feed = Listener::open(&clerk, Some("0")).await;
    feed.expect("hello").await;
    // The clock stands still, so a stream that rests would rest for ever.
    let (seq, told) = feed.expect("order_paid").await;
    assert_eq!((seq, &told["order_id"]), ((entries + 1).to_string(), &order["id"]));
    app.finish().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_with_the_server() {
    let app = TestApp::new().await;
    let (alice, staff, other) = (app.user("alice").await, app.staff().await, app.staff().await);
    let mut feed = Listener::open(&staff, None).await;
    let mut others = Listener::open(&other, None).await;
    feed.expect("hello").await;
    others.expect("hello").await;
    staff.delete("/admin/v1/sessions/current").await;
    app.paid_order(&alice, &[(SKU, 1)]).await;
    assert!(feed.next().await.is_none(), "nothing is told to a session that has ended");
    others.expect("order_paid").await;
    app.app.surface.feed.close();
    assert!(others.next().await.is_none());
    app.finish().await;
}

#[tokio::test]
async fn no_more_listen_than_the_server_takes() {
    let app = TestApp::with(|config| config.server.feed_connections = 1).await;
    let staff = app.staff().await;
    let mut feed = Listener::open(&staff, None).await;
    feed.expect("hello").await;
    let full = staff.get(FEED).await;
    assert!(full.header("retry-after").is_some());
    full.refused(503, "feed_full");
    app.client().get(FEED).await.refused(401, "unauthenticated");
    app.finish().await;
}
