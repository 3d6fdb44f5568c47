//! A rolling restart: under load each server and the worker is stopped with SIGTERM and started again, one after the
//! other. Customers do what nginx in front does, and what a client does behind it: a server that says at `/readyz` that
//! it leaves gets nothing new, and what was not answered, or answered with 503 and `Retry-After`, is asked again under
//! the same key. So each write ends in a plain yes or no, nobody is told a 5xx that says nothing, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use minimall::telemetry::Stopwatch;
use reqwest::StatusCode;

use super::parts::Part;
use super::world::{World, services};
use super::{CUSTOMERS, customer, promises};

/// Restarts of each part.
const TURNS: usize = 2;
/// Writes between one restart and the next.
const WRITES_BETWEEN: usize = 60;

/// What a server said at `/readyz` from the signal to its end.
#[derive(Default)]
struct Farewell {
    still_ready: usize,
    leaving: usize,
}

impl Farewell {
    /// Asks until nobody listens any more.
    async fn watch(world: &World, number: usize) -> Self {
        let mut farewell = Self::default();
        for _ in 0..6_000 {
            match world.readiness(number).await {
                Some(StatusCode::OK) => farewell.still_ready += 1,
                Some(_) => farewell.leaving += 1,
                None => return farewell,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("server {number} does not stop: {}", world.log());
    }
}

async fn more_writes(world: &World) {
    let from = world.acknowledged.load(Ordering::SeqCst);
    for _ in 0..60_000 {
        if world.acknowledged.load(Ordering::SeqCst) >= from + WRITES_BETWEEN {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there is no load: {}", world.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_nothing_and_leaves_no_answer_open() {
    let _alone = super::ALONE.lock().await;
    if services().is_none() {
        println!("skipped: a rolling restart takes several servers, and so the services of tests/services");
        return;
    }
    let world = World::start().await;
    let seed = u64::from(std::process::id());
    world.begin_round();
    world.repeats.store(true, Ordering::SeqCst);
    world.restock(seed).await;
    let customers: Vec<_> =
        (0..CUSTOMERS).map(|number| tokio::spawn(customer::shop(world.clone(), number, seed))).collect();
    let watch = Stopwatch::start();
    for _ in 0..TURNS {
        for part in [Part::Server(0), Part::Worker, Part::Server(1)] {
            more_writes(&world).await;
            restart(&world, part).await;
        }
    }
    more_writes(&world).await;
    world.stop.store(true, Ordering::SeqCst);
    for customer in customers {
        customer.await.expect("a customer");
    }
    print!(
        "rolling restart, {TURNS} times: {} acknowledged writes, {} asked again",
        world.acknowledged.load(Ordering::SeqCst),
        world.repeated.load(Ordering::SeqCst),
    );
    let unanswered = std::mem::take(&mut *world.unanswered.lock().expect("no panic"));
    assert!(unanswered.is_empty(), "never answered: {unanswered:?}; {}", world.log());
    promises::are_kept(&world, seed, &watch).await;
    world.check("after the rolling restart").await;
    world.end().await;
}

async fn restart(world: &Arc<World>, part: Part) {
    let number = if let Part::Server(number) = part { Some(number) } else { None };
    world.parts.ask_to_stop(&part);
    if let Some(number) = number {
        let farewell = Farewell::watch(world, number).await;
        let Farewell { still_ready, leaving } = farewell;
        assert!(leaving > 0, "server {number} was gone before /readyz said so ({still_ready} times ready)");
    }
    let status = world.parts.ended_well(&part).await;
    assert!(status.success(), "{part} ended with {status}: {}", world.log());
    world.start_part(part).await;
}
