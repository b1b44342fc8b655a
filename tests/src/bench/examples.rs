//! Measurements that live beside the code they measure, as examples. Each prints a line of headings and then lines of
//! `name TAB ours TAB peer or floor TAB ratio`.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Row;
use crate::binaries;
use crate::process;

/// Runs one example and reads its rows.
pub(super) async fn run(name: &'static str) -> Result<Vec<Row>> {
    let program = binaries::folder().join("examples").join(name);
    ensure!(program.exists(), "the example {name} is not built");
    let said = tokio::task::spawn_blocking(move || process::run(&mut Command::new(program))).await??;
    let mut lines = said.lines().filter(|l| l.contains('\t'));
    let headings: Vec<&str> = lines
        .next()
        .with_context(|| format!("{name} printed nothing"))?
        .split('\t')
        .collect();
    let unit = |column: usize| {
        headings
            .get(column)
            .and_then(|h| h.split_once(' '))
            .map_or("", |(_, unit)| unit)
    };
    let rows = lines.map(|line| {
        let mut columns = line.split('\t');
        let mut next = |column: usize| match columns.next().map(str::trim) {
            None | Some("") | Some("-") => String::new(),
            Some(value) if column == 0 || column == 3 => value.to_owned(),
            Some(value) => format!("{value} {}", unit(column)).trim_end().to_owned(),
        };
        Row::columns(&next(0), &next(1), &next(2), &next(3))
    });
    Ok(rows.collect())
}
