//! `diagnose`: arguments and output.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::report_target::{DiagnoseFormat, ReportTarget};
use super::{report, value};
use crate::session::diagnose::{self, DiagnoseOptions};
use crate::session::live::relieve;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Time between the two readings; a thread that did nothing in between counts as blocked
    #[arg(long, value_name = "DURATION", default_value = "400ms", value_parser = value::positive_duration)]
    quiet_window: Duration,
    /// The format on standard output
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: DiagnoseFormat,
    #[arg(long = "report", value_name = "FORMAT=PATH", value_parser = ReportTarget::parse, help = ReportTarget::help("Write a report to a file as well"))]
    reports: Vec<ReportTarget>,
    /// Enlarge the full pipes of a hang in place, so that the job can go on; this does not fix the cause
    #[arg(long)]
    relieve: bool,
    /// The directory of live sessions, for --session [default: as for run]
    #[arg(long, value_name = "DIR")]
    trace_dir: Option<PathBuf>,
}

/// What to diagnose: one of these.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// The process with this pid and its descendants
    #[arg(long, value_name = "PID", value_parser = value::pid)]
    pid: Option<u32>,
    /// The live session with this id; a unique prefix is enough
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// All processes of this machine
    #[arg(long)]
    all: bool,
}

/// Collects evidence, diagnoses it, and reports.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let scope = match (args.scope.pid, args.scope.session) {
        (Some(pid), _) => diagnose::DiagnoseScope::Tree(pid),
        (None, Some(id)) => diagnose::DiagnoseScope::Session { id, trace_dir: args.trace_dir },
        (None, None) => diagnose::DiagnoseScope::Machine,
    };
    let config = DiagnoseOptions { scope, quiet_window: args.quiet_window };
    let answer = diagnose::diagnose(&config).context("diagnose")?;
    report::write(&answer.diagnosis, &args.reports)?;
    match args.format {
        DiagnoseFormat::Report(format) => output.text(&format.render(&answer.diagnosis, output.color())?)?,
        DiagnoseFormat::Evidence => output.json(&answer.evidence)?,
    }
    if args.relieve {
        for done in relieve::relieve(&answer.diagnosis) {
            output.note(&done);
        }
    }
    let hung = answer.diagnosis.verdict.is_hang();
    if hung {
        report::publish(&answer.diagnosis, |name| std::env::var(name).ok())?;
    }
    Ok(if hung { Exit::Finding } else { Exit::Success })
}
