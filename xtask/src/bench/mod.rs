//! `cargo xtask bench [ROW…]`: the overhead of tracing, compared with no tracing and with other tools.
//!
//! Contenders take turns in every round, so that other load of the machine affects all of them alike. A
//! figure is the median of its rounds. A ratio is relative to the bare time of the same round. No test
//! asserts a figure.

mod context;
mod hangs;
mod hook;
mod measure;
mod quiet_jobs;
mod recovery;
mod rows;
mod stacks;
pub mod workload;

use std::fs;

use anyhow::{Result, bail};

use context::Bench;

use crate::run;
use crate::workspace::is_root;

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Rows to measure [default: all]
    rows: Vec<String>,
    /// Number of rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// For quiet-jobs: a slice of the programs, once
    #[arg(long)]
    quick: bool,
}

/// Measures the requested rows and prints them.
///
/// # Errors
/// When not root, when a row is unknown, or when a contender fails.
pub fn run(args: &Args) -> Result<()> {
    if !is_root() {
        bail!("the kernel's statistics and the other tools need root: run this with sudo");
    }
    let unknown: Vec<&String> =
        args.rows.iter().filter(|name| rows::ROWS.iter().all(|row| row.name != **name)).collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = rows::ROWS.iter().map(|row| row.name).collect();
        bail!("unknown rows {unknown:?}: the rows are {}", names.join(", "));
    }
    let bench = Bench {
        tool: run::build()?,
        this: std::env::current_exe()?,
        place: tempfile::tempdir_in(crate::demo::memory())?,
        rounds: args.rounds.max(1),
        quick: args.quick,
    };
    println!("{}", machine());
    for row in
        rows::ROWS.iter().filter(|row| args.rows.is_empty() || args.rows.iter().any(|name| name == row.name))
    {
        println!("\n{}: {}", row.name, row.about);
        for line in (row.measure)(&bench)? {
            println!("  {line}");
        }
    }
    Ok(())
}

/// The machine that the figures depend on: CPU model, cores, memory, kernel, load.
fn machine() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).map(str::to_string).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_string()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{}, {cores} cores, {} memory; Linux {}; load {}",
        after(&read("/proc/cpuinfo"), "model name"),
        after(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").trim(),
    )
}
