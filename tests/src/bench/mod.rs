//! Ours beside a peer or a floor, measured in the same run: ratios are what can be compared between machines.
//!
//! A measurement that cannot be made says so in its row; no old figure is ever printed.

mod examples;
mod recorder;
mod table;
mod viewing;

use anyhow::Result;

pub use table::{Row, Table};

/// A group of measurements: its rows, or the reason why there are none.
type Group = (
    &'static str,
    fn() -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<Row>>>>>,
);

const GROUPS: &[Group] = &[
    ("Recorder, 1 stream", || Box::pin(recorder::streams(1))),
    ("Recorder, 12 streams", || Box::pin(recorder::streams(12))),
    ("Recorder, syncs", || Box::pin(recorder::syncs())),
    ("Sealing", || Box::pin(examples::run("seal_speed"))),
    ("Ingest", || Box::pin(examples::run("ingest_speed"))),
    ("Index", || Box::pin(examples::run("index_speed"))),
    ("Ledger", || Box::pin(examples::run("ledger_speed"))),
    ("Keys", || Box::pin(examples::run("keyholder_speed"))),
    ("Viewing", || Box::pin(viewing::first_frame_and_seek())),
    ("Export", || Box::pin(viewing::export())),
    ("Catching up", || Box::pin(viewing::catching_up())),
];

/// Measures everything whose name contains `only` (all without it), printing each row as it comes.
pub async fn measure(only: Option<&str>) -> Table {
    let mut table = Table::default();
    for (name, group) in GROUPS
        .iter()
        .filter(|(n, _)| only.is_none_or(|o| n.to_lowercase().contains(o)))
    {
        println!("\n{name}");
        let rows = match group().await {
            Ok(rows) => rows,
            Err(error) => vec![Row::impossible(name, &format!("{error:#}"))],
        };
        for row in &rows {
            println!("  {row}");
        }
        table.add(name, rows);
    }
    table
}
