//! What the shop under test runs on: what is embedded, or the real services that the environment names, as
//! `tests/services` does. Each TestApp has a corner of its own in each of them.

use std::sync::atomic::{AtomicU64, Ordering};

use minimall::config::{Config, DatabaseTls};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

/// The corners of one TestApp. Those of a test that failed stay, for somebody to look at.
pub struct Services {
    database: Option<Database>,
}

impl Services {
    /// Points a configuration at the services that there are.
    pub async fn take(config: &mut Config) -> Self {
        let database = match std::env::var("MINIMALL_TEST_MYSQL") {
            Ok(server) => Some(Database::create(&server).await),
            Err(_) => None,
        };
        if let Some(database) = &database {
            config.database.url = database.url();
            config.database.connections = 12;
            config.database.tls = DatabaseTls::Off;
        }
        Self { database }
    }

    /// Takes away what was made.
    pub async fn give_back(&self) {
        if let Some(database) = &self.database {
            database.drop().await;
        }
    }

    /// Every text of every row, where the database is a server.
    pub async fn stored_texts(&self) -> Option<Vec<u8>> {
        match &self.database {
            Some(database) => Some(database.texts().await),
            None => None,
        }
    }
}

/// The server of `MINIMALL_TEST_MYSQL`, for tests that make no sense without one.
pub fn database_server() -> Option<String> {
    let server = std::env::var("MINIMALL_TEST_MYSQL").ok();
    if server.is_none() {
        eprintln!("not run: there is no MINIMALL_TEST_MYSQL, see tests/services");
    }
    server
}

/// A database of its own on the server.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    pub async fn create(server: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = Self {
            server: server.to_owned(),
            name: format!("minimall_test_{}_{number}", std::process::id()),
        };
        database.execute("CREATE DATABASE {} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin").await;
        database
    }

    pub async fn drop(&self) {
        self.execute("DROP DATABASE {}").await;
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    pub async fn connect(url: &str) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&format!("{url}?ssl-mode=DISABLED"))
            .await
            .expect("the server of MINIMALL_TEST_MYSQL")
    }

    /// Executes a statement about this database, `{}`.
    pub async fn execute(&self, statement: &str) {
        let statement = statement.replace("{}", &self.name);
        let mut conn = Self::connect(&self.server).await;
        conn.execute(AssertSqlSafe(statement)).await.expect("the statement runs");
    }

    async fn texts(&self) -> Vec<u8> {
        let mut conn = Self::connect(&self.url()).await;
        let columns = "SELECT table_name, column_name FROM information_schema.columns \
                       WHERE table_schema = DATABASE() AND data_type IN ('varchar', 'text', 'mediumtext')";
        let columns: Vec<(String, String)> =
            sqlx::query_as(columns).fetch_all(&mut conn).await.expect("the columns");
        let mut texts = Vec::new();
        for (table, column) in columns {
            let all = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL");
            let rows: Vec<(String,)> =
                sqlx::query_as(AssertSqlSafe(all)).fetch_all(&mut conn).await.expect("the texts");
            texts.extend(rows.into_iter().flat_map(|(text,)| (text + "\n").into_bytes()));
        }
        texts
    }
}
