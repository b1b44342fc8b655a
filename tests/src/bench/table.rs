//! The table, as text and as a page of the documentation.

use std::fmt::{self, Write};

/// One comparison.
#[derive(Debug, Clone)]
pub struct Row {
    what: String,
    ours: String,
    other: String,
    ratio: String,
    target: String,
}

impl Row {
    /// Ours and the other in the same unit.
    pub fn compare(what: &str, unit: &str, ours: f64, other: (&str, f64)) -> Self {
        let ratio = if other.1 > 0.0 {
            format!("{:.2}", ours / other.1)
        } else {
            "–".into()
        };
        let other = format!("{} {unit} ({})", number(other.1), other.0);
        Self {
            what: what.into(),
            ours: format!("{} {unit}", number(ours)),
            other,
            ratio,
            target: String::new(),
        }
    }

    /// A figure that has no counterpart.
    pub fn alone(what: &str, ours: String) -> Self {
        Self {
            what: what.into(),
            ours,
            other: "–".into(),
            ratio: "–".into(),
            target: String::new(),
        }
    }

    /// From the columns that an example prints.
    pub fn columns(what: &str, ours: &str, other: &str, ratio: &str) -> Self {
        let text = |s: &str| if s.is_empty() { "–".to_owned() } else { s.to_owned() };
        Self {
            what: what.into(),
            ours: text(ours),
            other: text(other),
            ratio: text(ratio),
            target: String::new(),
        }
    }

    /// A measurement that could not be made.
    pub fn impossible(what: &str, why: &str) -> Self {
        let why: String = why
            .lines()
            .next()
            .unwrap_or("no reason given")
            .chars()
            .take(160)
            .collect();
        Self {
            what: what.into(),
            ours: "not measured".into(),
            other: why,
            ratio: "–".into(),
            target: String::new(),
        }
    }

    /// What is aimed at.
    pub fn aim(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:48} {:>18} | {} | ratio {}",
            self.what, self.ours, self.other, self.ratio
        )?;
        if self.target.is_empty() {
            Ok(())
        } else {
            write!(f, " | aim {}", self.target)
        }
    }
}

/// All rows, grouped.
#[derive(Debug, Default)]
pub struct Table(Vec<(String, Vec<Row>)>);

impl Table {
    /// Adds a group.
    pub fn add(&mut self, name: &str, rows: Vec<Row>) {
        self.0.push((name.to_owned(), rows));
    }

    /// The page that `docs/benchmarks.md` holds.
    pub fn page(&self, machine: &str, date: &str) -> String {
        let mut page = format!(
            "# Benchmarks\n\nWritten by `make bench`; do not edit. Ours and its counterpart run in the same run on the same machine: \
             compare ratios, not figures of different days.\n\nMachine: {machine}  \nDate: {date}\n\n\
             | what | ours | peer or floor | ratio | aim |\n|---|---|---|---|---|\n"
        );
        for (name, rows) in &self.0 {
            let _ = writeln!(page, "| **{name}** | | | | |");
            for row in rows {
                let cell = |text: &str| text.replace('|', "/");
                let (what, ours, other) = (cell(&row.what), cell(&row.ours), cell(&row.other));
                let _ = writeln!(
                    page,
                    "| {what} | {ours} | {other} | {} | {} |",
                    row.ratio,
                    cell(&row.target)
                );
            }
        }
        page
    }
}
