//! A barrier between the statements of verbs that run at the same time.

use std::future::Future;
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tokio::sync::Mutex;

use super::app::TestApp;

impl TestApp {
    /// Runs `requests` against a barrier: a transaction of the test executes `hold`, an UPDATE that changes nothing,
    /// and so keeps its rows until `waiting` transactions of the shop stand before one row or another; then it lets go,
    /// and they all go on at the same moment. On SQLite, which has one writer, they stand before their first statement.
    pub async fn at_barrier<T>(&self, hold: &str, waiting: i64, requests: impl Future<Output = T>) -> T {
        let mut conn = AnyConnection::connect(&self.database_url()).await.expect("a connection");
        let begin = if self.has_server() { "START TRANSACTION" } else { "BEGIN IMMEDIATE" };
        conn.execute(begin).await.expect("a transaction");
        let held = conn.execute(AssertSqlSafe(hold.to_owned())).await.expect("the rows are held");
        assert!(held.rows_affected() > 0, "nothing to hold: {hold}");
        let barrier = async {
            self.crowd(waiting).await;
            conn.execute("ROLLBACK").await.expect("the rows are free");
        };
        tokio::join!(requests, barrier).0
    }

    /// Waits until so many transactions of the shop wait for a row.
    async fn crowd(&self, waiting: i64) {
        const QUERY: &str = "SELECT COUNT(*) FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
             WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()";
        /// The server looks again only when nobody has asked for a tenth of a second.
        static ASKING: Mutex<()> = Mutex::const_new(());
        if !self.has_server() {
            // Their transactions queue behind the one writer: who stands there can't be counted.
            return tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut there = 0;
        for _ in 0..100 {
            let _alone = ASKING.lock().await;
            tokio::time::sleep(Duration::from_millis(110)).await;
            there = self.number(QUERY).await;
            if there >= waiting {
                return;
            }
        }
        panic!("{there} of {waiting} stand before the barrier");
    }
}
