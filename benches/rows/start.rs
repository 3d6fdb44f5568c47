//! From the start of the process to its first answer, on an empty folder: migrations, demo shop, sandbox. And what
//! it has in memory when nobody asks anything.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Row;
use crate::support::report::{Measured, Target};
use crate::support::services::Services;
use crate::support::shop::Place;
use crate::support::times::median;

const STARTS: usize = 9;
const REST: Duration = Duration::from_secs(5);

const START: Target = Target::ValueAtMost(300.0, "ms");
const IDLE: Target = Target::ValueAtMost(60.0, "MiB");

pub const ROW: Row = Row {
    name: "start",
    what: "start to first answer on an empty database, embedded; and memory when idle",
    needs: &[],
    lines: &[("start", START), ("memory-idle", IDLE)],
    run: |_| Box::pin(measure()),
};

async fn measure() -> Vec<Measured> {
    let mut times = Vec::new();
    let mut checked = Ok(String::new());
    let mut resident = f64::NAN;
    for number in 0..STARTS {
        let place = Place::on(&Services::default()).await;
        let start = Instant::now();
        let server = place.spawn(&place.config);
        server.wait_ready().await;
        times.push(start.elapsed().as_secs_f64() * 1_000.0);
        if number + 1 == STARTS {
            sleep(REST).await;
            resident = server.memory_mib().0;
            checked = place.check().await;
        }
    }
    let note =
        format!("median of {STARTS} first starts until /readyz says 200, migrations and demo shop included");
    vec![
        Measured::value("start", median(times), "ms", START).note(note).checked(&checked),
        Measured::value("memory-idle", resident, "MiB", IDLE)
            .note(format!("resident {} s after the start, sandbox included", REST.as_secs()))
            .checked(&checked),
    ]
}
