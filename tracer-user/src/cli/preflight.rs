//! `preflight`: arguments, and the report as text.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::shared::PlaceArgs;
use super::value::{self, Format, FormatArg};
use crate::core::leftover::{LeftoverKind, LeftoverStatus, PreflightReport};
use crate::core::readiness::ReadinessStatus;
use crate::core::text::printable;
use crate::session::preflight::readiness::ReadinessOptions;
use crate::session::preflight::{PreflightOptions, find_leftovers};

/// How many notes of each kind the text report shows.
const NOTES: usize = 3;

/// Arguments that `preflight` and `reap` share.
#[derive(clap::Args, Debug)]
pub struct SearchArgs {
    /// Processes of this checkout count as yours [default: the repository of the current directory]
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// Ignore findings listed in this file (written by --save)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    #[command(flatten)]
    places: PlaceArgs,
}

impl SearchArgs {
    /// The options of the session function.
    pub fn resolve(self) -> PreflightOptions {
        PreflightOptions {
            places: self.places.resolve(),
            repo: self.repo,
            baseline: self.baseline,
            ..PreflightOptions::default()
        }
    }
}

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Check that this port is free; may be repeated
    #[arg(long = "port", value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// Check that the socket files matching this pattern are free; may be repeated
    #[arg(long = "socket", value_name = "GLOB")]
    sockets: Vec<String>,
    /// Check that the suite's interpreter can import this module; may be repeated
    #[arg(long = "import", value_name = "MODULE", help_heading = "Suite")]
    imports: Vec<String>,
    /// Check that pytest can collect the suite's tests
    #[arg(long, help_heading = "Suite")]
    collect: bool,
    /// The interpreter that runs the suite
    #[arg(long, value_name = "PROGRAM", default_value = "python3", help_heading = "Suite")]
    python: PathBuf,
    /// The longest time for each check of the suite
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration, default_value = "60s", help_heading = "Suite")]
    check_timeout: Duration,
    /// Write the current findings to this file, as a baseline for later runs
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    format: FormatArg,
}

/// Reports leftovers. Exit status: 0 clean, 1 something is left.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let save = args.save;
    let saved = save.is_some();
    let readiness = ReadinessOptions {
        python: args.python,
        imports: args.imports,
        collect: args.collect,
        limit: args.check_timeout,
    };
    let options = PreflightOptions {
        ports: args.ports,
        sockets: args.sockets,
        save,
        readiness,
        ..args.search.resolve()
    };
    let report = find_leftovers(&options).context("preflight")?.report;
    match args.format.format {
        Format::Json => output.json(&report)?,
        Format::Text => output.text(&text(&report))?,
    }
    // Writing a baseline succeeds whatever the baseline contains.
    Ok(if report.clean || saved { Exit::Success } else { Exit::Finding })
}

fn text(report: &PreflightReport) -> String {
    let mut out = String::new();
    let mut notes: HashMap<LeftoverKind, usize> = HashMap::new();
    for finding in &report.findings {
        if finding.status == LeftoverStatus::Note {
            let count = notes.entry(finding.kind).or_default();
            *count += 1;
            if *count > NOTES {
                continue;
            }
        }
        let word = match finding.status {
            LeftoverStatus::Left => "left",
            LeftoverStatus::InUse => "in use",
            LeftoverStatus::Unknown => "unknown",
            LeftoverStatus::Note => "note",
        };
        out.push_str(&format!("{word:<8} {}\n", printable(&finding.sentence)));
        if let Some(command) = &finding.command {
            out.push_str(&format!("         do: {}\n", printable(command)));
        }
    }
    let more: usize = notes.values().map(|count| count.saturating_sub(NOTES)).sum();
    if more > 0 {
        out.push_str(&format!("note     and {more} more like these: --format json lists all\n"));
    }
    for check in &report.checks {
        let word = match check.status {
            ReadinessStatus::Ready => "ready",
            ReadinessStatus::Broken => "broken",
            ReadinessStatus::Unknown => "unknown",
        };
        out.push_str(&format!("{word:<8} {}\n", printable(&check.sentence)));
    }
    for problem in &report.problems {
        out.push_str(&format!("unseen   {}\n", printable(problem)));
    }
    if report.clean {
        out.push_str("clean: nothing of earlier runs is left\n");
    }
    out
}
