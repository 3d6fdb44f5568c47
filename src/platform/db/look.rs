//! What `minimall doctor` says of a database.

use std::time::Duration;

use super::Db;
use crate::kernel::{Clock, Failure, Millis, Result};
use crate::telemetry::Stopwatch;

/// A database that answers.
pub struct Look {
    /// How long a transaction that writes took.
    pub round_trip: Duration,
    /// None: a file.
    pub server: Option<Server>,
}

pub struct Server {
    pub version: String,
    pub collation: String,
    /// Of our sessions.
    pub isolation: String,
    /// Its clock minus ours.
    pub clock_ahead_ms: Millis,
    /// Connections that it takes in all.
    pub connections_max: i64,
    /// Prepared statements that it keeps for all connections together; below zero: as many as they like.
    pub statements_max: i64,
}

impl Db {
    /// Looks at the database and writes to it, without changing anything.
    ///
    /// # Errors
    /// It does not answer, or takes no writes.
    pub async fn look(&self, clock: &Clock) -> Result<Look> {
        let watch = Stopwatch::start();
        self.touch().await?;
        let round_trip = watch.elapsed();
        let mut conn = self.reader().await?;
        if conn.backend_name() == "SQLite" {
            return Ok(Look { round_trip, server: None });
        }
        let (version, collation, now_ms, connections_max, statements_max): (String, String, i64, i64, i64) =
            sqlx::query_as(
                "SELECT VERSION(), @@collation_database, CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED), \
             CAST(@@max_connections AS SIGNED), CAST(@@max_prepared_stmt_count AS SIGNED)",
            )
            .fetch_one(&mut *conn)
            .await?;
        let clock_ahead_ms = now_ms - clock.now_ms();
        // The one is MySQL's name, the other MariaDB's.
        let (_, isolation): (String, String) = sqlx::query_as(
            "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')",
        )
        .fetch_one(&mut *conn)
        .await?;
        Ok(Look {
            round_trip,
            server: Some(Server {
                version,
                collation,
                isolation,
                clock_ahead_ms,
                connections_max,
                statements_max,
            }),
        })
    }

    /// A transaction that writes: to a table that goes away with it, or that it leaves as it was.
    async fn touch(&self) -> Result<()> {
        if !self.is_migrated().await {
            // Without tables there is nothing to write to.
            sqlx::query("SELECT 1").execute(&mut *self.reader().await?).await?;
            return Ok(());
        }
        self.write(|tx| {
            Box::pin(async move {
                sqlx::query("DELETE FROM alerts WHERE id = 'doctor'")
                    .execute(&mut **tx)
                    .await
                    .map_err(|error| Failure::internal("writing to the database", error))?;
                Ok(())
            })
        })
        .await
    }
}
