//! Two nodes on one database and one notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::{Handler, Inbox, LEASE_MS, Settled, store};
use crate::platform::ctx::Ctx;
use crate::platform::test_db::TestDb;

const KIND: &str = "tests";

/// A node's inbox: its handler waits for a permit, then settles.
struct Node {
    inbox: Inbox,
    called: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

impl Node {
    fn new() -> Self {
        let (called, permits) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
        let (calls, permitted) = (called.clone(), permits.clone());
        let handler = Handler::new(KIND, move |ctx, notice| {
            let (calls, permitted) = (calls.clone(), permitted.clone());
            Box::pin(async move {
                calls.fetch_add(1, Ordering::SeqCst);
                let _permit = permitted.acquire().await.unwrap();
                ctx.db
                    .write(|tx| Box::pin(async move { notice.settle(tx, ctx.clock.now_ms()).await }))
                    .await?;
                Ok(Settled::Done)
            })
        });
        Self { inbox: Inbox::new(vec![handler]), called, permits }
    }

    fn called(&self) -> usize {
        self.called.load(Ordering::SeqCst)
    }

    /// Begins a round, and goes away in the middle of it.
    async fn takes_and_dies(&self, ctx: &Ctx) {
        let called = async {
            while self.called() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = self.inbox.tick(ctx) => panic!("it has no permit to end"),
            () = called => {}
        }
    }
}

async fn a_notice(ctx: &Ctx) {
    ctx.db
        .write(|tx| Box::pin(async move { store(tx, ctx, "tests", "1", KIND, "body").await }))
        .await
        .unwrap();
}

async fn waiting(ctx: &Ctx) -> i64 {
    let mut conn = ctx.db.reader().await.unwrap();
    let query = "SELECT COUNT(*) FROM inbox WHERE state = 'NEW'";
    sqlx::query_as::<_, (i64,)>(query).fetch_one(&mut *conn).await.unwrap().0
}

#[tokio::test]
async fn a_notice_that_one_node_settles_is_not_begun_by_another() {
    let db = TestDb::shared(&[]).await;
    let ctx = &db.ctx;
    let (one, other) = (Node::new(), Node::new());
    other.permits.add_permits(1);
    a_notice(ctx).await;
    let meanwhile = async {
        while one.called() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(other.inbox.tick(ctx).await.unwrap(), 0);
        one.permits.add_permits(1);
    };
    let (settled, ()) = tokio::join!(one.inbox.tick(ctx), meanwhile);
    assert_eq!(settled.unwrap(), 1);
    assert_eq!((one.called(), other.called(), waiting(ctx).await), (1, 0, 0));
    ctx.bus.close().await;
}

#[tokio::test]
async fn a_notice_that_a_dead_node_had_taken_is_settled_by_another_when_its_lease_ends() {
    let db = TestDb::shared(&[]).await;
    let ctx = &db.ctx;
    let (dead, other) = (Node::new(), Node::new());
    other.permits.add_permits(1);
    a_notice(ctx).await;
    dead.takes_and_dies(ctx).await;
    assert_eq!(other.inbox.tick(ctx).await.unwrap(), 0, "it may still be alive");
    assert_eq!(other.inbox.next_due(ctx).await.unwrap(), Some(ctx.clock.now_ms() + LEASE_MS));
    ctx.clock.advance(LEASE_MS);
    assert_eq!(other.inbox.tick(ctx).await.unwrap(), 1);
    assert_eq!(waiting(ctx).await, 0);
    ctx.bus.close().await;
}

/// Alone, a process that starts again finds its notices at once.
#[tokio::test]
async fn a_node_alone_settles_what_it_had_begun_before_it_died_without_a_wait() {
    let db = TestDb::new(&[]).await;
    let ctx = &db.ctx;
    let (dead, again) = (Node::new(), Node::new());
    again.permits.add_permits(1);
    a_notice(ctx).await;
    dead.takes_and_dies(ctx).await;
    assert_eq!(again.inbox.tick(ctx).await.unwrap(), 1);
    assert_eq!(waiting(ctx).await, 0);
}
