//! How long a worker rests when nothing woke it, and what one bad row does to the others.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

#[cfg(feature = "rocketmq")]
use super::LONGEST_REST_SHARED_MS;
use super::{LONGEST_REST_MS, Worker, side_by_side};
use crate::kernel::{Failure, Millis};
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

#[cfg(feature = "rocketmq")]
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

#[tokio::test]
async fn one_that_fails_keeps_none_of_the_others_from_their_end() {
    let piece = |fails: bool, rests: usize| async move {
        for _ in 0..rests {
            tokio::task::yield_now().await;
        }
        if fails { Err(Failure::internal("working", "a bad row")) } else { Ok(true) }
    };
    let work = vec![("a", piece(false, 3)), ("b", piece(true, 0)), ("c", piece(false, 9))];
    assert_eq!(side_by_side("a thing", work).await, 2);
}
