use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::Notify;

use super::WRITES_MAX;
use crate::kernel::{Failure, Result, common};
use crate::platform::db::{Db, Tx, Work};
use crate::platform::test_db::TestDb;

async fn with_notes() -> TestDb {
    let test = TestDb::new(&[&common::UNAVAILABLE]).await;
    let made = test.ctx.db.write(|tx| {
        Box::pin(async move {
            tx.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)").await?;
            Ok(())
        })
    });
    made.await.unwrap();
    test
}

async fn insert(tx: &mut Tx<'_>, id: usize) -> Result<()> {
    tx.execute(AssertSqlSafe(format!("INSERT INTO notes (id) VALUES ({id})"))).await?;
    Ok(())
}

async fn note(db: &Db, id: usize) -> Result<()> {
    db.write(|tx| Box::pin(insert(tx, id))).await
}

async fn notes(db: &Db) -> Vec<i64> {
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT id FROM notes ORDER BY id")
        .fetch_all(&mut *db.reader().await.unwrap())
        .await
        .unwrap();
    rows.into_iter().map(|(id,)| id).collect()
}

/// A write that has done its work, and goes on when it is told.
struct Held {
    go_on: Arc<Notify>,
    write: tokio::task::JoinHandle<Result<()>>,
}

impl Held {
    async fn note(db: &Db, id: usize) -> Self {
        let (worked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (db, told, wait) = (db.clone(), worked.clone(), go_on.clone());
        let write = tokio::spawn(async move {
            let (told, wait) = (&told, &wait);
            let held = db.write(|tx| {
                Box::pin(async move {
                    insert(tx, id).await?;
                    if id == 1 {
                        tx.wake(Work::Inbox);
                    }
                    told.notify_one();
                    wait.notified().await;
                    Ok(())
                })
            });
            held.await
        });
        worked.notified().await;
        Self { go_on, write }
    }
}

/// Until all that can run has run: who asks for a turn then stands in line.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn those_that_waited_for_a_turn_are_committed_with_the_one_before_them() {
    let test = with_notes().await;
    let db = &test.ctx.db;
    let first = Held::note(db, 1).await;
    let seen = Arc::new(AtomicBool::new(false));
    let (other, at) = (db.clone(), seen.clone());
    let second = tokio::spawn(async move {
        let (readers, at) = (&other.readers, &at);
        let write = other.write(|tx| {
            Box::pin(async move {
                let (here,): (i64,) =
                    sqlx::query_as("SELECT COUNT(*) FROM notes").fetch_one(&mut **tx).await?;
                let (there,): (i64,) =
                    sqlx::query_as("SELECT COUNT(*) FROM notes").fetch_one(readers).await?;
                at.store((here, there) == (1, 0), Ordering::SeqCst);
                insert(tx, 2).await
            })
        });
        write.await
    });
    settle().await;
    first.go_on.notify_one();
    first.write.await.unwrap().unwrap();
    assert!(seen.load(Ordering::SeqCst), "the second saw what the first had written and nobody else did");
    second.await.unwrap().unwrap();
    assert_eq!(notes(db).await, [1, 2]);
}

#[tokio::test]
async fn what_is_refused_is_undone_and_those_beside_it_stay() {
    let test = with_notes().await;
    let db = &test.ctx.db;
    let count = 5 * WRITES_MAX;
    let writes = (0..count).map(|id| async move {
        let write = db.write(|tx| {
            Box::pin(async move {
                insert(tx, id).await?;
                if id % 3 == 0 { Err(Failure::new(&common::UNAVAILABLE)) } else { Ok(()) }
            })
        });
        write.await
    });
    let answers = join_all(writes).await;
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), id % 3 != 0, "{id}");
    }
    let kept: Vec<i64> = (0..count as i64).filter(|id| id % 3 != 0).collect();
    assert_eq!(notes(db).await, kept);
}

#[tokio::test]
async fn a_refusal_is_answered_when_what_it_has_seen_is_committed() {
    let test = with_notes().await;
    let db = &test.ctx.db;
    let first = Held::note(db, 1).await;
    let other = db.clone();
    let second = tokio::spawn(async move {
        let taken = other.write(|tx| {
            Box::pin(async move {
                let (there,): (i64,) =
                    sqlx::query_as("SELECT COUNT(*) FROM notes").fetch_one(&mut **tx).await?;
                if there == 0 { Ok(()) } else { Err(Failure::new(&common::UNAVAILABLE)) }
            })
        });
        assert!(taken.await.is_err());
        notes(&other).await
    });
    settle().await;
    first.go_on.notify_one();
    assert_eq!(second.await.unwrap(), [1], "it was refused for a note that it could not read");
    first.write.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_gives_up_in_the_middle_leaves_nothing_and_keeps_nobody() {
    let test = with_notes().await;
    let db = &test.ctx.db;
    let alone = Held::note(db, 1).await;
    alone.write.abort();
    assert!(alone.write.await.unwrap_err().is_cancelled());

    let before = Held::note(db, 2).await;
    let (other, mut given_up) = (db.clone(), None);
    let after = tokio::spawn(async move { Held::note(&other, 3).await });
    settle().await;
    before.go_on.notify_one();
    let after = given_up.insert(after.await.unwrap());
    after.write.abort();
    before.write.await.unwrap().unwrap();
    note(db, 4).await.unwrap();
    assert_eq!(notes(db).await, [2, 4]);
}

#[tokio::test]
async fn who_gives_up_while_the_commit_is_awaited_has_written() {
    let test = with_notes().await;
    let db = &test.ctx.db;
    let first = Held::note(db, 1).await;
    let other = db.clone();
    let second = tokio::spawn(async move { Held::note(&other, 2).await });
    settle().await;
    first.go_on.notify_one();
    let second = second.await.unwrap();
    // The first waits for the end of the second's turn now.
    first.write.abort();
    second.go_on.notify_one();
    second.write.await.unwrap().unwrap();
    assert_eq!(notes(db).await, [1, 2]);
    // And its work is not left asleep.
    tokio::time::timeout(std::time::Duration::from_secs(10), db.woken(Work::Inbox)).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_sqlite_gave_up_is_not_continued_by_the_next_turn() {
    let test = with_notes().await;
    let db = &test.ctx.db;
    let first = Held::note(db, 1).await;
    let other = db.clone();
    let second = tokio::spawn(async move {
        let write = other.write(|tx| {
            Box::pin(async move {
                // Nobody looks at the error with which SQLite says so.
                tx.execute("ROLLBACK").await?;
                Ok(())
            })
        });
        write.await
    });
    let other = db.clone();
    let third = tokio::spawn(async move { note(&other, 3).await });
    settle().await;
    first.go_on.notify_one();
    assert!(first.write.await.unwrap().unwrap_err().is(&common::UNAVAILABLE));
    assert!(second.await.unwrap().unwrap_err().is(&common::UNAVAILABLE));
    let kept = third.await.unwrap().is_ok();
    assert_eq!(notes(db).await, if kept { vec![3] } else { vec![] });
}

#[tokio::test]
async fn a_transaction_that_sqlite_gives_up_is_told_to_all_that_wrote_in_it() {
    let test = with_notes().await;
    let db = &test.ctx.db;
    let first = Held::note(db, 1).await;
    let other = db.clone();
    let second = tokio::spawn(async move {
        let write = other.write(|tx| {
            Box::pin(async move {
                insert(tx, 2).await?;
                // As SQLite does it by itself when the disk is full.
                tx.execute("ROLLBACK").await?;
                Err::<(), _>(Failure::internal("writing", "the disk is full"))
            })
        });
        write.await
    });
    settle().await;
    first.go_on.notify_one();
    assert!(first.write.await.unwrap().unwrap_err().is(&common::UNAVAILABLE));
    assert!(second.await.unwrap().unwrap_err().is(&common::UNAVAILABLE));
    note(db, 3).await.unwrap();
    assert_eq!(notes(db).await, [3]);
}
