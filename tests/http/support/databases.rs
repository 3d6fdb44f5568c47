//! Databases on a server. Making the tables anew for each test takes longer than most tests do, so databases are
//! used again: what a test has left in one is replaced by what a fresh shop begins with.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use minimall::app::App;
use minimall::config::{Config, DatabaseTls};
use minimall::demo;
use minimall::kernel::Clock;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tokio::sync::OnceCell;

use super::app::START_MS;

/// So many rest before the one that has rested longest is used again: by then the runtime of its last test has
/// ended, and with it whatever still wrote.
const RESTING: usize = 2;

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
    /// Without tables.
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

    /// Makes it the shop's.
    pub fn configure(&self, config: &mut Config) {
        config.database.url = self.url();
        config.database.connections = 12;
        config.database.statements = 1_000;
        config.database.tls = DatabaseTls::Off;
    }

    pub async fn connect(url: &str) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&format!("{url}?ssl-mode=DISABLED"))
            .await
            .expect("the server of MINIMALL_TEST_MYSQL")
    }

    /// Executes statements about this database, `{}`.
    pub async fn execute(&self, statements: &str) {
        let statements = statements.replace("{}", &self.name);
        let mut conn = Self::connect(&self.server).await;
        conn.execute(AssertSqlSafe(statements)).await.expect("the statements run");
    }

    /// Every text of every row.
    pub async fn texts(&self) -> Vec<u8> {
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

    /// Its tables, and what else a test has made in it.
    async fn tables(&self) -> Vec<String> {
        let names = format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{0}' UNION ALL \
             SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '{0}' ORDER BY 1",
            self.name
        );
        let mut conn = Self::connect(&self.server).await;
        let rows: Vec<(String,)> =
            sqlx::query_as(AssertSqlSafe(names)).fetch_all(&mut conn).await.expect("the names of the tables");
        rows.into_iter().map(|(name,)| name).collect()
    }
}

/// What a fresh shop begins with: the tables, and the demo's goods.
struct Template {
    tables: Vec<String>,
    /// Statements that make the tables in `{}`.
    make: String,
    /// Statements that put the template's rows, and nothing else, into the tables of `{}`.
    fill: String,
}

static TEMPLATE: OnceCell<Template> = OnceCell::const_new();

/// Databases that tests have given back, the one that has rested longest first.
static GIVEN_BACK: Mutex<VecDeque<Database>> = Mutex::new(VecDeque::new());

impl Template {
    /// The migrations make the tables, once in a process.
    async fn prepare(mut config: Config, server: &str) -> Self {
        let database = Database::create(server).await;
        database.configure(&mut config);
        let ctx = App::context(config, Clock::manual(START_MS)).await.expect("the ports open");
        ctx.db.migrate().await.expect("the tables are made");
        demo::seed(&ctx).await.expect("the demo is seeded");
        ctx.db.close().await;
        let tables = database.tables().await;
        let from = &database.name;
        let (mut make, mut fill) = (String::new(), String::from("START TRANSACTION;"));
        for table in &tables {
            make += &format!("CREATE TABLE {{}}.{table} LIKE {from}.{table};");
            fill += &format!("DELETE FROM {{}}.{table};");
            fill += &format!("INSERT INTO {{}}.{table} SELECT * FROM {from}.{table};");
        }
        Self { tables, make, fill: fill + "COMMIT" }
    }
}

/// A database with the tables and the demo's goods.
pub async fn take(config: &Config, server: &str) -> Database {
    let template = TEMPLATE.get_or_init(|| Template::prepare(config.clone(), server)).await;
    let rested = {
        let mut given_back = GIVEN_BACK.lock().expect("no panic elsewhere");
        if given_back.len() > RESTING { given_back.pop_front() } else { None }
    };
    let database = match rested {
        Some(database) if database.tables().await == template.tables => database,
        changed => {
            if let Some(changed) = changed {
                changed.drop().await;
            }
            let database = Database::create(server).await;
            database.execute(&template.make).await;
            database
        }
    };
    database.execute(&template.fill).await;
    database
}

/// For another test.
pub fn give_back(database: Database) {
    GIVEN_BACK.lock().expect("no panic elsewhere").push_back(database);
}
