//! What only a database server shows: conflicts of rows, connections that break, several nodes that start at once,
//! what it is refused for. Each of these needs the server of `MINIMALL_TEST_MYSQL`, see `tests/services`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use minimall::app::App;
use minimall::config::{Config, DatabaseTls};
use minimall::demo;
use minimall::kernel::{Clock, common};
use minimall::platform::db::Db;
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::{Barrier, Notify};

use crate::support::{Database, START_MS, database_server, fresh_config};

/// A fresh database and a configuration that names it.
async fn fresh(server: &str) -> (Config, PathBuf, Database) {
    let database = Database::create(server).await;
    let (mut config, folder) = fresh_config();
    config.database.url = database.url();
    config.database.tls = DatabaseTls::Off;
    config.database.connections = 8;
    (config, folder, database)
}

/// With a table of counters, each at 0.
async fn with_counters(config: &Config, database: &Database) -> Db {
    let db = Db::open(&config.database).await.expect("open");
    let mut conn = Database::connect(&database.url()).await;
    conn.execute("CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)")
        .await
        .expect("a table");
    conn.execute("INSERT INTO counters (id, n) VALUES (1, 0), (2, 0)").await.expect("counters");
    db
}

async fn count(db: &Db, id: i64) -> i64 {
    let conn = &mut *db.reader().await.expect("a reader");
    let (n,): (i64,) = sqlx::query_as("SELECT n FROM counters WHERE id = ?")
        .bind(id)
        .fetch_one(conn)
        .await
        .expect("a counter");
    n
}

/// Bumps one counter, meets the others there, and bumps another one.
async fn bump_both(db: &Db, meet: &Barrier, tries: &AtomicU32, ids: [i64; 2]) {
    let done = db.write(|tx| {
        Box::pin(async move {
            let first_try = tries.fetch_add(1, Ordering::SeqCst) < 2;
            for (step, id) in ids.into_iter().enumerate() {
                sqlx::query("UPDATE counters SET n = n + 1 WHERE id = ?").bind(id).execute(&mut **tx).await?;
                if step == 0 && first_try {
                    meet.wait().await;
                }
            }
            Ok(())
        })
    });
    done.await.expect("written, at the second try if need be");
}

#[tokio::test]
async fn of_two_writes_that_wait_for_each_other_one_runs_again() {
    let Some(server) = database_server() else { return };
    let (config, _, database) = fresh(&server).await;
    let db = with_counters(&config, &database).await;
    let (meet, tries) = (Barrier::new(2), AtomicU32::new(0));
    tokio::join!(bump_both(&db, &meet, &tries, [1, 2]), bump_both(&db, &meet, &tries, [2, 1]));
    assert_eq!((count(&db, 1).await, count(&db, 2).await), (2, 2), "each exactly once");
    assert_eq!(tries.load(Ordering::SeqCst), 3, "one of them had to run again");
    db.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_write_that_waits_too_long_for_a_row_runs_again_until_it_gets_it() {
    let Some(server) = database_server() else { return };
    let (mut config, _, database) = fresh(&server).await;
    config.database.lock_wait_s = 1;
    let db = with_counters(&config, &database).await;
    let (taken, again, tries) = (Notify::new(), Notify::new(), AtomicU32::new(0));
    let (db, taken, again, tries) = (&db, &taken, &again, &tries);
    let bump = "UPDATE counters SET n = n + 1 WHERE id = 1";
    let holds = db.write(|tx| {
        Box::pin(async move {
            sqlx::query(bump).execute(&mut **tx).await?;
            taken.notify_one();
            again.notified().await;
            Ok(())
        })
    });
    let waits = async {
        taken.notified().await;
        let waiting = db.write(|tx| {
            Box::pin(async move {
                if tries.fetch_add(1, Ordering::SeqCst) == 1 {
                    again.notify_one();
                }
                sqlx::query(bump).execute(&mut **tx).await?;
                Ok(())
            })
        });
        waiting.await
    };
    let (held, waited) = tokio::join!(holds, waits);
    held.and(waited).expect("both are written");
    assert_eq!((count(db, 1).await, tries.load(Ordering::SeqCst)), (2, 2));
    db.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_write_whose_connection_breaks_runs_again_on_another_one() {
    let Some(server) = database_server() else { return };
    let (config, _, database) = fresh(&server).await;
    let db = with_counters(&config, &database).await;
    let tries = &AtomicU32::new(0);
    let database = &database;
    let written = db.write(|tx| {
        Box::pin(async move {
            sqlx::query("UPDATE counters SET n = n + 1 WHERE id = 1").execute(&mut **tx).await?;
            if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                let (own,): (i64,) =
                    sqlx::query_as("SELECT CAST(CONNECTION_ID() AS SIGNED)").fetch_one(&mut **tx).await?;
                database.execute(&format!("KILL {own}")).await;
            }
            sqlx::query("UPDATE counters SET n = n + 1 WHERE id = 2").execute(&mut **tx).await?;
            Ok(())
        })
    });
    written.await.expect("written");
    assert_eq!(
        (count(&db, 1).await, count(&db, 2).await),
        (1, 1),
        "what was begun on the broken one is gone"
    );
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    db.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_given_up_and_leaves_nothing_behind() {
    let Some(server) = database_server() else { return };
    let (mut config, _, database) = fresh(&server).await;
    config.database.write_timeout_ms = 1_000;
    let db = with_counters(&config, &database).await;
    let written = db.write(|tx| {
        Box::pin(async move {
            sqlx::query("UPDATE counters SET n = n + 1 WHERE id = 1").execute(&mut **tx).await?;
            sqlx::query("SELECT SLEEP(3)").execute(&mut **tx).await?;
            Ok(())
        })
    });
    assert!(written.await.is_err_and(|failure| failure.is(&common::UNAVAILABLE)));
    assert_eq!(count(&db, 1).await, 0);
    database.drop().await;
}

#[tokio::test]
async fn a_snapshot_sees_one_moment_and_a_reader_what_is_committed() {
    let Some(server) = database_server() else { return };
    let (config, _, database) = fresh(&server).await;
    let db = with_counters(&config, &database).await;
    let mut snapshot = db.snapshot().await.expect("a snapshot");
    database.execute("UPDATE {}.counters SET n = 7 WHERE id = 1").await;
    let (seen,): (i64,) = sqlx::query_as("SELECT n FROM counters WHERE id = 1")
        .fetch_one(&mut *snapshot)
        .await
        .expect("a counter");
    assert_eq!((seen, count(&db, 1).await), (0, 7));
    let refused = sqlx::query("UPDATE counters SET n = 8").execute(&mut *snapshot).await;
    assert!(refused.is_err(), "a snapshot writes nothing");
    snapshot.end().await.expect("let go");
    db.close().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_nodes_that_start_at_once_on_an_empty_database_all_come_up() {
    let Some(server) = database_server() else { return };
    let (config, folder, database) = fresh(&server).await;
    let starting = (0..3).map(|node| {
        let mut config = config.clone();
        config.sandbox.database = folder.join(format!("sandbox-{node}.sqlite")).display().to_string();
        tokio::spawn(async move {
            let app = App::build(config, Clock::manual(START_MS)).await?;
            demo::seed(&app.ctx).await?;
            Ok::<_, minimall::kernel::Failure>(app)
        })
    });
    let nodes: Vec<App> =
        join_all(starting).await.into_iter().map(|node| node.expect("ran").expect("up")).collect();
    let first_accounts = nodes.iter().filter(|node| node.first_account.is_some()).count();
    assert_eq!(first_accounts, 1, "one of them makes the first account");
    let report = minimall::checks::run(&nodes[0].ctx).await.expect("the check runs");
    assert_eq!(report.violations().count(), 0);
    let conn = &mut *nodes[1].ctx.db.reader().await.expect("a reader");
    let (staff, skus): (i64, i64) =
        sqlx::query_as("SELECT (SELECT COUNT(*) FROM staff), (SELECT COUNT(*) FROM skus)")
            .fetch_one(conn)
            .await
            .expect("counts");
    assert_eq!((staff, skus), (1, 20));
    database.drop().await;
    let _ = std::fs::remove_dir_all(folder);
}

/// What is there of the tables, as text.
async fn schema(database: &Database) -> Vec<(String, String, i64)> {
    let query = "SELECT table_name, column_name, CAST(ordinal_position AS SIGNED) FROM information_schema.columns \
                 WHERE table_schema = DATABASE() UNION ALL \
                 SELECT table_name, index_name, CAST(seq_in_index AS SIGNED) FROM information_schema.statistics \
                 WHERE table_schema = DATABASE() ORDER BY 1, 2, 3";
    sqlx::query_as(query).fetch_all(&mut Database::connect(&database.url()).await).await.expect("the schema")
}

/// MySQL can't take back what changes a table: whoever was killed in the middle left a part of a migration behind.
#[tokio::test]
async fn a_migration_that_was_cut_off_is_taken_up_where_it_was() {
    let Some(server) = database_server() else { return };
    let (config, _, whole) = fresh(&server).await;
    let db = Db::open(&config.database).await.expect("open");
    db.migrate().await.expect("migrated");
    db.close().await;
    let sql = include_str!("../../migrations/0001_platform.sql");
    let statements: Vec<&str> = sql.split(';').collect();

    // Noted: all done, one done and not noted; held by nobody, and by a node whose count stands still.
    for (executed, noted, holder) in [(3, 3, ""), (3, 2, ""), (1, 0, "a node that was killed")] {
        let (config, _, database) = fresh(&server).await;
        let mut conn = Database::connect(&database.url()).await;
        for statement in &statements[..executed] {
            conn.execute(AssertSqlSafe(*statement)).await.expect("executed");
        }
        conn.execute(
            "CREATE TABLE migration_lease (id BIGINT NOT NULL PRIMARY KEY, holder VARCHAR(32) NOT NULL, \
             beat BIGINT NOT NULL, version BIGINT NOT NULL, step BIGINT NOT NULL)",
        )
        .await
        .expect("a lease");
        let lease = format!("INSERT INTO migration_lease VALUES (1, '{holder}', 5, 1, {noted})");
        conn.execute(AssertSqlSafe(lease)).await.expect("a lease");
        let db = Db::open(&config.database).await.expect("open");
        assert!(!db.is_migrated().await);
        db.migrate().await.expect("taken up");
        assert!(db.is_migrated().await);
        db.close().await;
        assert_eq!(schema(&database).await, schema(&whole).await);
        database.drop().await;
    }
    whole.drop().await;
}

/// Why this database is refused.
async fn refusal(config: &Config) -> String {
    Db::open(&config.database).await.err().expect("refused").to_string()
}

#[tokio::test]
async fn a_database_that_mixes_identifiers_up_is_refused_with_what_to_run() {
    let Some(server) = database_server() else { return };
    let (config, _, database) = fresh(&server).await;
    for other in ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "latin1_bin"] {
        let charset = other.split('_').next().expect("a character set");
        database.execute(&format!("ALTER DATABASE {{}} CHARACTER SET {charset} COLLATE {other}")).await;
        let refused = refusal(&config).await;
        assert!(refused.contains(other) && refused.contains("ALTER DATABASE"), "{refused}");
    }
    database.execute("ALTER DATABASE {} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin").await;
    assert!(Db::open(&config.database).await.is_ok());
    database.drop().await;
}

#[tokio::test]
async fn a_database_that_can_not_be_opened_is_told_without_the_password() {
    let Some(server) = database_server() else { return };
    let (mut config, _, database) = fresh(&server).await;
    let place = server.split('@').nth(1).expect("user@place").to_owned();
    for (url, said) in [
        (format!("mysql://root@{place}"), "names no database"),
        (format!("mysql://root@{place}/no_such_database"), "CREATE DATABASE"),
        (format!("mysql://nobody:s3cret-w0rd@{place}/test"), "Access denied"),
        ("mysql://root:s3cret-w0rd@127.0.0.1:1/test".to_owned(), "refused"),
        ("mysql://root:s3cret-w0rd@127.0.0.1:port/test".to_owned(), "database.url"),
        ("postgres://root:s3cret-w0rd@127.0.0.1/test".to_owned(), "must begin with"),
    ] {
        config.database.url = url;
        let refused = refusal(&config).await;
        assert!(refused.contains(said) && !refused.contains("s3cret"), "{refused}");
    }
    database.drop().await;
}

#[tokio::test]
async fn a_verified_connection_wants_the_hosts_own_certificate() {
    let (Some(server), Ok(ca)) = (database_server(), std::env::var("MINIMALL_TEST_MYSQL_CA")) else { return };
    let (mut config, _, database) = fresh(&server).await;
    config.database.tls = DatabaseTls::Required;
    let db = Db::open(&config.database).await.expect("encrypted, whoever it is");
    let conn = &mut *db.reader().await.expect("a reader");
    let (_, cipher): (String, String) =
        sqlx::query_as("SHOW STATUS LIKE 'Ssl_cipher'").fetch_one(conn).await.expect("a status");
    assert!(!cipher.is_empty());

    config.database.tls = DatabaseTls::Verify;
    config.database.tls_ca = ca;
    let by_number = refusal(&config).await;
    assert!(by_number.to_lowercase().contains("certificate"), "{by_number}");
    config.database.url = config.database.url.replace("127.0.0.1", "localhost");
    assert!(Db::open(&config.database).await.is_ok(), "the certificate is for localhost");
    config.database.tls_ca.clear();
    let of_nobody = refusal(&config).await;
    assert!(of_nobody.to_lowercase().contains("certificate"), "{of_nobody}");
    database.drop().await;
}
