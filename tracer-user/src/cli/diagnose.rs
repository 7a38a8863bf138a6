//! `diagnose`: arguments and output.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::report_target::{DiagnoseFormat, ReportArgs};
use super::{report, value};
use crate::core::diagnosis::{ScopeInfo, Verdict};
use crate::core::redact;
use crate::core::report::TextStyle;
use crate::session::diagnose::{self, DiagnoseOptions, DiagnoseScope};
use crate::session::live::relieve;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Time between the two readings; a thread that did nothing in between counts as blocked
    #[arg(long, value_name = "DURATION", default_value = "400ms", value_parser = value::positive_duration)]
    quiet_window: Duration,
    /// Do not read the stacks of the threads that wait
    #[arg(long)]
    no_stacks: bool,
    /// The format on standard output
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: DiagnoseFormat,
    #[command(flatten)]
    reports: ReportArgs,
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
    /// Evidence that `--format evidence` wrote earlier, here or on another machine; - is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Collects evidence, diagnoses it, and reports.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let scope = match (args.scope.pid, args.scope.session, args.scope.from) {
        (Some(pid), ..) => DiagnoseScope::Tree(pid),
        (_, Some(id), _) => DiagnoseScope::Session { id, trace_dir: args.trace_dir },
        (_, _, Some(path)) => DiagnoseScope::Recorded(path),
        _ => DiagnoseScope::Machine,
    };
    if args.relieve && matches!(scope, DiagnoseScope::Recorded(_)) {
        return Err(Failure::usage(
            "--relieve: recorded evidence is of another moment: use --pid, --session or --all",
        ));
    }
    let config = DiagnoseOptions { scope, quiet_window: args.quiet_window, stacks: !args.no_stacks };
    report::check(&args.reports, "diagnosis").context("diagnose")?;
    let mut answer = diagnose::diagnose(&config).context("diagnose")?;
    let name = name(&answer.diagnosis.scope);
    report::write(&answer.diagnosis, None, &args.reports, &name)?;
    let style = TextStyle { color: output.color(), verbose: output.verbosity() > 0 };
    match args.format {
        DiagnoseFormat::Report(format) => output.bytes(&format.render(&answer.diagnosis, None, style)?)?,
        DiagnoseFormat::Evidence => {
            for process in &mut answer.evidence.processes {
                process.cmdline = process.cmdline.take().map(|words| redact::arguments(&words));
            }
            output.json(&answer.evidence)?;
        }
    }
    if args.relieve {
        for done in relieve::relieve(&answer.diagnosis) {
            output.note(&done);
        }
    }
    let hung = answer.diagnosis.verdict.is_hang();
    if hung {
        report::publish(&answer.diagnosis, &name, false, |name| std::env::var(name).ok())?;
    }
    Ok(match answer.diagnosis.verdict {
        _ if hung => Exit::Finding,
        Verdict::Unknown => Exit::Unknown,
        _ => Exit::Success,
    })
}

/// What was diagnosed, as a file name.
fn name(scope: &ScopeInfo) -> String {
    match (scope.pid, &scope.session) {
        (Some(pid), _) => format!("pid-{pid}"),
        (_, Some(session)) => session.clone(),
        _ => "machine".to_owned(),
    }
}
