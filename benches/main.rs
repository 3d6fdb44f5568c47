//! `cargo bench`: what this program does, beside the limit that it chases, measured in the same run.
//!
//! Every row starts its own programs on its own data, and ends with the invariants of `minimall check`: a fast
//! wrong answer is no answer. Rows that need services run under `tests/services cargo bench`.

#![recursion_limit = "512"]

mod limits;
mod rows;
mod support;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures_util::FutureExt;

use support::report::{self, Measured};
use support::{machine, services::Services};

/// Where the rows are written with `--write`, between two marks.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/BENCHMARKS.md");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let [word, limit @ ..] = &arguments[..]
        && word == limits::COMMAND
    {
        // This program again, as the server that a row is measured against.
        runtime.block_on(limits::serve(limit));
        return ExitCode::SUCCESS;
    }
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
    if flags.contains(&"--list") {
        for row in rows::ALL {
            println!("{:<22} {}", row.name, row.what);
        }
        return ExitCode::SUCCESS;
    }
    let wanted = |row: &&rows::Row| names.is_empty() || names.iter().any(|name| row.name.contains(name));
    let measured = runtime.block_on(run(rows::ALL.iter().filter(wanted)));
    let records = report::keep(&measured, names.is_empty());
    println!("\n{}", report::table(&records));
    if flags.contains(&"--write") {
        report::write_document(DOCUMENT, &machine::describe(), &records);
    }
    // A row that misses its target is a finding; one that could not be measured, or was answered wrongly, is a failure.
    match measured.iter().any(|row| !row.wrong.is_empty()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

async fn run(rows: impl Iterator<Item = &rows::Row>) -> Vec<Measured> {
    sqlx::any::install_default_drivers();
    let services = Services::from_environment();
    let mut measured = Vec::new();
    for row in rows {
        let missing = services.missing(row.needs);
        let results = if missing.is_empty() {
            eprintln!("{}: {}", row.name, row.what);
            // What goes wrong in one row keeps no other from its turn; dropping it ends its programs.
            AssertUnwindSafe((row.run)(services.clone()))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| row.broken())
        } else {
            row.not_run(&format!("without {}", missing.join(", ")))
        };
        for result in &results {
            eprintln!("  {}", result.line());
        }
        measured.extend(results);
    }
    measured
}
