//! Many rows that are like one: a row that the program itself wrote, copied by SQL with other ids and times.

use minimall::platform::ctx::Ctx;
use sqlx::AssertSqlSafe;

/// Rows of one statement, and of one transaction.
const CHUNK: u64 = 100_000;

/// The number of a copy, in SQL.
pub const NUMBER: &str = "n.i";

/// An id of its own for every copy, of the same kind as `like` and later than all that are given now.
pub fn id(like: &str) -> String {
    let prefix = like.split('_').next().unwrap_or_default();
    format!("'{prefix}_7{}' || {}", "0".repeat(17), eight_digits())
}

/// The number of a copy as text of eight digits.
pub fn eight_digits() -> String {
    format!("SUBSTR(CAST(100000000 + {NUMBER} AS CHAR), 2)")
}

/// Copies the rows of `table` that `of` selects so many times. `with` says which columns differ, in SQL.
pub async fn copy(ctx: &Ctx, table: &str, of: &str, with: &[(&str, String)], count: u64) {
    let columns = columns(ctx, table).await;
    let values = columns.iter().map(|column| match with.iter().find(|(name, _)| name == column) {
        Some((_, value)) => value.clone(),
        None => format!("t.{column}"),
    });
    let (values, columns) = (values.collect::<Vec<_>>().join(", "), columns.join(", "));
    for from in (0..count).step_by(CHUNK as usize) {
        let here = CHUNK.min(count - from);
        let statement = &format!(
            "INSERT INTO {table} ({columns}) SELECT {values} FROM {table} t CROSS JOIN ({}) n \
             WHERE ({of}) AND n.i < {}",
            numbers(from),
            from + here
        );
        execute(ctx, statement).await;
    }
}

/// `CHUNK` numbers from this one on, as a table of one column `i`.
fn numbers(from: u64) -> String {
    let digits: Vec<String> = (0..10).map(|digit| format!("SELECT {digit} AS d")).collect();
    let digits = digits.join(" UNION ALL ");
    let place = |name: char| format!("({digits}) {name}");
    let places: Vec<String> = "abcde".chars().map(place).collect();
    format!(
        "SELECT {from} + a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d AS i FROM {}",
        places.join(" CROSS JOIN ")
    )
}

async fn columns(ctx: &Ctx, table: &str) -> Vec<String> {
    let query = match ctx.config.database.url.starts_with("sqlite:") {
        true => format!("SELECT name FROM pragma_table_info('{table}')"),
        false => format!(
            "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
        ),
    };
    let mut reader = ctx.db.reader().await.expect("a reader");
    let rows: Vec<(String,)> =
        sqlx::query_as(AssertSqlSafe(query)).fetch_all(&mut *reader).await.expect("the columns");
    rows.into_iter().map(|(name,)| name).collect()
}

/// One statement in a transaction of its own; how many rows it changed.
pub async fn execute(ctx: &Ctx, statement: &str) -> u64 {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                Ok(sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut **tx).await?.rows_affected())
            })
        })
        .await
        .unwrap_or_else(|failure| panic!("{statement}: {failure}"))
}

/// One number that a query answers.
pub async fn number(ctx: &Ctx, query: &str) -> i64 {
    let mut reader = ctx.db.reader().await.expect("a reader");
    let row: (i64,) =
        sqlx::query_as(AssertSqlSafe(query.to_owned())).fetch_one(&mut *reader).await.expect(query);
    row.0
}

/// One text that a query answers.
pub async fn text(ctx: &Ctx, query: &str) -> String {
    text_rows(ctx, query).await.into_iter().next().expect(query)
}

pub async fn text_rows(ctx: &Ctx, query: &str) -> Vec<String> {
    let mut reader = ctx.db.reader().await.expect("a reader");
    let rows: Vec<(String,)> =
        sqlx::query_as(AssertSqlSafe(query.to_owned())).fetch_all(&mut *reader).await.expect(query);
    rows.into_iter().map(|(text,)| text).collect()
}

/// SQLite: drops what is faster made again at once than with every row. Answers names, and what makes them.
pub async fn drop_indexes(ctx: &Ctx, tables: &[&str]) -> Vec<(String, String)> {
    let mut dropped = Vec::new();
    for table in tables {
        let of =
            format!("FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = '{table}'");
        let names = text_rows(ctx, &format!("SELECT name {of} ORDER BY name")).await;
        let made_by = text_rows(ctx, &format!("SELECT sql {of} ORDER BY name")).await;
        for name in &names {
            execute(ctx, &format!("DROP INDEX {name}")).await;
        }
        dropped.extend(names.into_iter().zip(made_by));
    }
    dropped
}
