//! What was measured: a table for people, JSON for machines, a document for both.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a row has to reach.
#[derive(Clone, Copy)]
pub enum Target {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    /// With its unit.
    ValueAtMost(f64, &'static str),
}

impl Target {
    fn is_met(self, value: f64, ratio: Option<f64>) -> bool {
        match self {
            Self::RatioAtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Self::RatioAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Self::ValueAtMost(most, _) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::RatioAtLeast(least) => format!("≥ {least:.2} of the limit"),
            Self::RatioAtMost(most) => format!("≤ {most:.1} × the limit"),
            Self::ValueAtMost(most, unit) => format!("≤ {most:.0} {unit}"),
        }
    }
}

/// One row of the report.
pub struct Measured {
    pub name: String,
    /// None: it was not run.
    pub value: Option<f64>,
    pub unit: &'static str,
    pub limit: Option<f64>,
    pub ratio: Option<f64>,
    pub target: Target,
    /// How it was measured, and what else was seen.
    pub notes: Vec<String>,
    /// Wrong answers and violated invariants: with any, nothing else counts.
    pub wrong: Vec<String>,
}

impl Measured {
    pub fn value(name: impl Into<String>, value: f64, unit: &'static str, target: Target) -> Self {
        Self {
            name: name.into(),
            value: Some(value),
            unit,
            limit: None,
            ratio: None,
            target,
            notes: vec![],
            wrong: vec![],
        }
    }

    pub fn not_run(name: &str, why: &str, target: Target) -> Self {
        let notes = vec![format!("not run {why}")];
        Self { value: None, notes, ..Self::value(name, f64::NAN, "", target) }
    }

    pub fn beside(self, limit: f64, ratio: f64) -> Self {
        Self { limit: Some(limit), ratio: Some(ratio), ..self }
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The outcome of a check, or of anything else that must not go wrong.
    pub fn checked(mut self, checked: &Result<String, String>) -> Self {
        match checked {
            Ok(note) => self.notes.push(note.clone()),
            Err(wrong) => self.wrong.push(wrong.clone()),
        }
        self
    }

    pub fn ok(&self) -> bool {
        self.wrong.is_empty() && self.value.is_some_and(|value| self.target.is_met(value, self.ratio))
    }

    fn verdict(&self) -> String {
        match self.value {
            _ if !self.wrong.is_empty() => "WRONG".to_owned(),
            None => "not run".to_owned(),
            _ if self.ok() => "ok".to_owned(),
            Some(value) => format!("missed by {:.0} %", self.missed_by(value) * 100.0),
        }
    }

    fn missed_by(&self, value: f64) -> f64 {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        match self.target {
            Target::RatioAtLeast(least) => 1.0 - ratio / least,
            Target::RatioAtMost(most) => ratio / most - 1.0,
            Target::ValueAtMost(most, _) => value / most - 1.0,
        }
    }

    pub fn line(&self) -> String {
        let record = self.record();
        let mut line = format!("{}: {}", self.name, record.cells()[1..].join(" | "));
        for note in self.wrong.iter().chain(&self.notes) {
            line.push_str("\n    ");
            line.push_str(note);
        }
        line
    }

    fn record(&self) -> Record {
        Record {
            name: self.name.clone(),
            value: self.value,
            unit: self.unit.to_owned(),
            limit: self.limit,
            ratio: self.ratio,
            target: self.target.text(),
            ok: self.ok(),
            verdict: self.verdict(),
            notes: self.notes.clone(),
            wrong: self.wrong.clone(),
        }
    }
}

/// A row as `benchmarks.json` keeps it.
#[derive(Serialize, Deserialize)]
pub struct Record {
    name: String,
    value: Option<f64>,
    unit: String,
    limit: Option<f64>,
    ratio: Option<f64>,
    target: String,
    ok: bool,
    verdict: String,
    notes: Vec<String>,
    wrong: Vec<String>,
}

impl Record {
    fn cells(&self) -> [String; 6] {
        let number =
            |number: Option<f64>| number.map(|n| format!("{} {}", shown(n), self.unit)).unwrap_or_default();
        [
            self.name.clone(),
            number(self.value),
            number(self.limit),
            self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            self.target.clone(),
            self.verdict.clone(),
        ]
    }
}

fn shown(number: f64) -> String {
    match number {
        n if n >= 1_000.0 => format!("{n:.0}"),
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

const HEAD: [&str; 6] = ["row", "value", "limit", "ratio", "target", ""];

/// A Markdown table that is also fit to be read as it is.
pub fn table(rows: &[Record]) -> String {
    let mut lines: Vec<[String; 6]> = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(Record::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let written = |line: &[String; 6]| {
        let cells = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.map(|width| "-".repeat(width));
    let mut text = written(&lines[0]);
    text.push_str(&written(&rule));
    text.extend(lines[1..].iter().map(written));
    text
}

/// `benchmarks.json` in the target folder. After a run of some rows, the others are there as they were measured last.
/// Answers all of them.
pub fn keep(measured: &[Measured], is_whole: bool) -> Vec<Record> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("."));
    let file = folder.join("benchmarks.json");
    let mut records: Vec<Record> = measured.iter().map(Measured::record).collect();
    if !is_whole {
        let before = std::fs::read(&file).unwrap_or_default();
        let before: Vec<Record> = serde_json::from_slice(&before).unwrap_or_default();
        records = merged(before, records);
    }
    let text = serde_json::to_string_pretty(&records).expect("JSON");
    std::fs::write(&file, text + "\n").expect("the target folder can be written");
    println!("{}", file.display());
    records
}

fn merged(before: Vec<Record>, mut now: Vec<Record>) -> Vec<Record> {
    let mut all = Vec::new();
    for record in before {
        match now.iter().position(|new| new.name == record.name) {
            Some(at) => all.push(now.remove(at)),
            None => all.push(record),
        }
    }
    all.extend(now);
    all
}

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Replaces what stands between the marks of the document; what people wrote around it stays.
pub fn write_document(path: &str, machine: &str, rows: &[Record]) {
    let document = std::fs::read_to_string(path).unwrap_or_default();
    let (before, rest) = document.split_once(BEGIN).unwrap_or((&document, ""));
    let after = rest.split_once(END).map_or("\n", |(_, after)| after);
    let mut text = format!("{before}{BEGIN}\n\nMachine: {machine}\n\n{}\n", table(rows));
    for row in rows {
        let notes: Vec<&str> = row.wrong.iter().chain(&row.notes).map(String::as_str).collect();
        text.push_str(&format!("- `{}`: {}\n", row.name, notes.join("; ")));
    }
    text.push_str(&format!("\n{END}{after}"));
    std::fs::write(path, text).expect("the document can be written");
    println!("{path}");
}
