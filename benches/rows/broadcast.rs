//! A store is changed on one node of three: how long until the last of them serves nothing older.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Row;
use crate::support::fixtures;
use crate::support::http::{Connection, get, post};
use crate::support::report::{Measured, Target};
use crate::support::services::{Need, Services};
use crate::support::shop::{Place, free_port};
use crate::support::times::Times;

const NODES: usize = 3;
const CHANGES: usize = 200;
const PATIENCE: Duration = Duration::from_secs(10);
const STORE: &str = "sto_00000000000000000000000002";

const TARGET: Target = Target::ValueAtMost(100.0, "ms");

pub const ROW: Row = Row {
    name: "broadcast",
    what: "cache invalidation, from the write to the last of three nodes",
    needs: &[Need::MySql, Need::Redis, Need::RocketMq],
    lines: &[("broadcast", TARGET)],
    run: |services| Box::pin(async { vec![measure(services).await] }),
};

async fn measure(services: Services) -> Measured {
    let place = Place::on(&services).await;
    let ctx = place.context().await;
    fixtures::shop(&ctx, 4).await;
    ctx.db.close().await;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let mut config = place.config.clone();
        config.server.listen = format!("127.0.0.1:{}", free_port());
        config.sandbox.listen = format!("127.0.0.1:{}", free_port());
        config.sandbox.database = place.folder.join(&format!("sandbox-{}.sqlite", nodes.len()));
        nodes.push(place.serve_at(&config).await);
    }
    let token = fixtures::sign_in(nodes[0].address, 1).await.remove(0);
    let staff = fixtures::sign_in_staff(nodes[0].address, &place.config).await;
    let read = get(&format!("/api/v1/stores/{STORE}"), Some(&token));
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(Connection::open(node.address).await.expect("a connection"));
    }
    let mut writer = Connection::open(nodes[0].address).await.expect("a connection");
    let shown = get(&format!("/admin/v1/stores/{STORE}"), Some(&staff));
    let mut version = writer.call(&shown).await.expect("an answer").json()["version"].clone();
    let (mut times, mut late) = (Times::default(), 0);
    for number in 0..CHANGES {
        // Everybody has the old one.
        for reader in &mut readers {
            reader.call(&read).await.expect("an answer");
        }
        let pauses = number % 2 == 0;
        let path = format!("/admin/v1/stores/{STORE}/{}", if pauses { "pause" } else { "resume" });
        let change =
            post(&path, Some(&staff), Some(&format!("change-{number}")), &json!({ "version": version }));
        let answer = writer.call(&change).await.expect("an answer");
        let committed = Instant::now();
        assert!(answer.is_success(), "{}", answer.text());
        version = answer.json()["version"].clone();
        for reader in &mut readers {
            while is_older(&reader.call(&read).await.expect("an answer").json(), pauses) {
                if committed.elapsed() > PATIENCE {
                    late += 1;
                    break;
                }
            }
        }
        times.add(committed.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    let checked = match late {
        0 => place.check().await,
        late => Err(format!("{late} changes were not served everywhere after {} s", PATIENCE.as_secs())),
    };
    drop(nodes);
    place.give_back().await;
    Measured::value("broadcast", times.p99(), "ms", TARGET)
        .note(format!("{CHANGES} changes, {NODES} nodes, from the answer of the write, {}", times.line()))
        .checked(&checked)
}

fn is_older(store: &Value, paused: bool) -> bool {
    store["paused"] != json!(paused)
}
