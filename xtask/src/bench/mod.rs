//! `cargo xtask bench [ROW…]`: what tracing costs, as ratios within one run, against nothing and against other tools.
//!
//! Contenders take turns, round by round, so that what else the machine does hits all alike; a figure is the median of
//! its rounds. Ratios are of each round's own bare time. Figures are for reading: no test asserts one.

mod hangs;
mod hook;
mod measure;
mod quiet_jobs;
mod recovery;
mod rows;
pub mod workload;

use std::fs;

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::run;
use crate::workspace::is_root;

/// What can be asked of this task.
#[derive(clap::Args)]
pub struct Args {
    /// Rows to measure; without any, all
    rows: Vec<String>,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// For quiet-jobs: a slice of the programs, once
    #[arg(long)]
    quick: bool,
}

/// What every row is given.
pub struct Bench {
    /// The tool, built for release.
    tool: std::path::PathBuf,
    /// This program, for its workloads.
    this: std::path::PathBuf,
    /// A place in memory for traces.
    place: TempDir,
    rounds: usize,
    quick: bool,
}

/// A row of the table: adding one is adding one of these to [`rows::ROWS`].
pub struct Row {
    /// As it is asked for.
    name: &'static str,
    /// What is measured, and the goal.
    about: &'static str,
    measure: fn(&Bench) -> Result<Vec<String>>,
}

/// Measures the rows asked for and prints them.
///
/// # Errors
/// When not root, when a row is unknown, or when a contender fails.
pub fn run(args: &Args) -> Result<()> {
    if !is_root() {
        bail!("the kernel's statistics and the other tools need root: run it through sudo");
    }
    let unknown: Vec<&String> =
        args.rows.iter().filter(|name| rows::ROWS.iter().all(|row| row.name != **name)).collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = rows::ROWS.iter().map(|row| row.name).collect();
        bail!("no rows {unknown:?}; there are {}", names.join(", "));
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

/// Processor, cores, memory, kernel, load: what the figures depend on.
fn machine() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).map(str::to_string).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_string()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{}, {cores} cores, {} of memory; Linux {}; load {}",
        after(&read("/proc/cpuinfo"), "model name"),
        after(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").trim(),
    )
}
