//! How long a worker rests when nothing woke it.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{LONGEST_REST_MS, LONGEST_REST_SHARED_MS, Worker};
use crate::kernel::Millis;
use crate::platform::ctx::Ctx;
use crate::platform::db::Work;
use crate::platform::test_db::TestDb;

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a worker that never finds anything, moves the clock, and sees whether it looks again.
async fn looks_again_after(ctx: &Ctx, rest_ms: Millis) {
    let (looked, mut looks) = mpsc::unbounded_channel();
    let worker = Worker::new(
        "tests",
        Work::Inbox,
        move |_| {
            let looked = looked.clone();
            Box::pin(async move {
                let _ = looked.send(());
                Ok(0)
            })
        },
        |_| Box::pin(async { Ok(None) }),
    );
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn({
        let ctx = ctx.clone();
        async move { worker.run(&ctx, stopped).await }
    });
    timeout(PATIENCE, looks.recv()).await.expect("it looks when it starts");
    ctx.clock.advance(rest_ms);
    timeout(PATIENCE, looks.recv()).await.expect("it looks again");
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn beside_other_processes_a_worker_looks_for_work_every_few_seconds() {
    let db = TestDb::shared(&[]).await;
    looks_again_after(&db.ctx, LONGEST_REST_SHARED_MS).await;
    db.ctx.bus.close().await;
}

#[tokio::test]
async fn alone_a_worker_looks_for_work_every_minute() {
    let db = TestDb::new(&[]).await;
    looks_again_after(&db.ctx, LONGEST_REST_MS).await;
}
