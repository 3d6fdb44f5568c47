//! Kills or hangs a random part of the shop at a random moment under load, lets it come back, waits for quiet, and
//! holds what clients were told against what the database and the channel say, both ways and to the fen. The channel
//! is a process of its own, so its word is independent. Each round has at least 200 acknowledged writes, and 20 in
//! flight at the blow; both are printed.
//!
//! Embedded, the server is killed. Beside `tests/services` the parts are two servers, a worker, the channel, MariaDB,
//! Redis, and RocketMQ's name server and broker.
//!
//! Beside the rounds there is the peaceful case, `rolling.rs`: a restart of one part after the other; and `half.rs`: what
//! becomes of a refund when the broker is gone, or everybody dies, at the worst moment of all.
//!
//! `MINIMALL_CRASH_ROUNDS` (default 3) and `MINIMALL_CRASH_SEED` (default random, printed) repeat a run;
//! `MINIMALL_CRASH_BINARY` takes another build of the program.

mod customer;
mod half;
mod parts;
mod promises;
mod rolling;
mod world;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use minimall::kernel::Clock;
use minimall::telemetry::Stopwatch;
use parts::Blow;
use tokio::sync::Mutex;
use world::{Choices, World};

const CUSTOMERS: usize = 48;
/// One test at a time: they share the services, and the machine.
static ALONE: Mutex<()> = Mutex::const_new(());
const ACKNOWLEDGED_AT_LEAST: usize = 200;
const IN_FLIGHT_AT_LEAST: usize = 20;

/// Waits until the load is what a round asks for, and then a random moment. Answers what it saw.
async fn under_load(world: &World, choices: &mut Choices) -> (usize, usize) {
    let mut extra = choices.next(400);
    for _ in 0..600_000 {
        let acknowledged = world.acknowledged.load(Ordering::SeqCst);
        let in_flight = world.in_flight.load(Ordering::SeqCst);
        if acknowledged >= ACKNOWLEDGED_AT_LEAST && in_flight >= IN_FLIGHT_AT_LEAST {
            if extra == 0 {
                return (acknowledged, in_flight);
            }
            extra -= 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the load was never high enough: {}", world.log());
}

async fn round(world: &Arc<World>, seed: u64) {
    let mut choices = Choices::new(seed);
    world.begin_round();
    world.restock(seed).await;
    // Every other time customers ask again, under the same key, what was not answered.
    world.repeats.store(seed.is_multiple_of(2), Ordering::SeqCst);
    let customers: Vec<_> =
        (0..CUSTOMERS).map(|number| tokio::spawn(customer::shop(world.clone(), number, seed))).collect();
    let (acknowledged, in_flight) = under_load(world, &mut choices).await;
    let part = world.parts.pick(&mut choices);
    let blow = if world.parts.are_many() && choices.next(4) == 0 {
        Blow::Hang { for_ms: 1_000 + choices.next(5_000) }
    } else {
        Blow::Kill
    };
    print!("seed {seed}: {blow} {part}; {acknowledged} acknowledged writes, {in_flight} in flight");
    let _ = std::io::stdout().flush();
    world.parts.strike(&part, blow);
    let struck = Stopwatch::start();
    if part.is_server() && matches!(blow, Blow::Kill) {
        world.check("right after the kill").await;
    }
    // The others go on without it for a moment, and with it again: that is when most can go wrong.
    if matches!(blow, Blow::Kill) {
        tokio::time::sleep(Duration::from_millis(300 + choices.next(1_500))).await;
    }
    world.parts.bring_back(world, &part, blow).await;
    tokio::time::sleep(Duration::from_millis(choices.next(1_000))).await;
    world.stop.store(true, Ordering::SeqCst);
    for customer in customers {
        customer.await.expect("a customer");
    }
    world.repeats.store(false, Ordering::SeqCst);
    world.unanswered.lock().expect("no panic").clear();
    promises::are_kept(world, seed, &struck).await;
    world.check("after the round").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_when_a_part_dies_or_hangs() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("MINIMALL_CRASH_ROUNDS").unwrap_or(3);
    let first = number("MINIMALL_CRASH_SEED").unwrap_or_else(|| Clock::system().now_ms() as u64);
    let _alone = ALONE.lock().await;
    let world = World::start().await;
    let flushed = std::env::var("MINIMALL_TEST_SYNC").map_or(true, |sync| sync == "true");
    println!("every commit and every message is on the disk before it is answered: {flushed}");
    for seed in first..first + rounds {
        round(&world, seed).await;
    }
    world.end().await;
}
