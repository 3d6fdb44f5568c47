//! What was found, and how it is shown.

use std::io::IsTerminal;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    /// It works, and is not how it should be.
    Warn,
    /// It does not work, or must not go live like this.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    pub level: Level,
    pub what: &'static str,
    pub detail: String,
    /// What to do; empty when all is well.
    pub advice: String,
}

/// In the order in which they were found.
#[derive(Debug, Default)]
pub struct Findings {
    pub list: Vec<Finding>,
    /// Printed as they are found: some take their time.
    shown: bool,
}

impl Findings {
    pub(super) fn shown() -> Self {
        Self { shown: true, ..Self::default() }
    }

    pub(super) fn ok(&mut self, what: &'static str, detail: impl Into<String>) {
        self.add(Level::Ok, what, detail, "");
    }

    pub(super) fn warn(&mut self, what: &'static str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Warn, what, detail, advice);
    }

    pub(super) fn fail(&mut self, what: &'static str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Fail, what, detail, advice);
    }

    fn add(
        &mut self,
        level: Level,
        what: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let finding = Finding { level, what, detail: detail.into(), advice: advice.into() };
        if self.shown {
            finding.show();
        }
        self.list.push(finding);
    }

    /// Has nothing failed?
    pub fn is_healthy(&self) -> bool {
        self.count(Level::Fail) == 0
    }

    fn count(&self, level: Level) -> usize {
        self.list.iter().filter(|finding| finding.level == level).count()
    }

    pub(super) fn show_verdict(&self) {
        println!();
        match (self.count(Level::Fail), self.count(Level::Warn)) {
            (0, 0) => println!("Everything is in order."),
            (0, warned) => println!("It works; {warned} to look at."),
            (failed, warned) => println!("{failed} to mend, {warned} to look at."),
        }
    }
}

impl Finding {
    /// For a terminal, in its colours if it is one.
    fn show(&self) {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (word, colour) = match self.level {
            Level::Ok => ("OK  ", 32),
            Level::Warn => ("WARN", 33),
            Level::Fail => ("FAIL", 31),
        };
        let word = if colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
        println!("  {word}  {:<12} {}", self.what, self.detail);
        if !self.advice.is_empty() {
            println!("                     -> {}", self.advice);
        }
    }
}
