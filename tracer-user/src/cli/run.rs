//! `run`: arguments and outcome of a traced run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::ArgAction;
use clap::builder::BoolishValueParser;

use super::exit::{Exit, Failure};
use super::live_output::{LiveOutput, leaked_line, summary_line};
use super::output::Output;
use super::report;
use super::report_target::{ReportArgs, ReportPlace};
use super::shared::{LayoutArg, PlaceArgs, WatchArgs};
use super::value;
use crate::core::record::EndReason;
use crate::core::summary::Summary;
use crate::session::options::{RunOptions, TimeLimits};
use crate::session::run::job::execute_bare;
use crate::session::run::{self, JobOutcome};

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Trace the job; false runs it without a tracer, as TRACER_ENABLED=0 does
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new(), action = ArgAction::Set, default_value_t = true)]
    enabled: bool,
    /// Name of the session
    #[arg(long, value_name = "ID", value_parser = session_id)]
    session_id: Option<String>,
    /// Attach a label to the session; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::key_value)]
    labels: Vec<(String, String)>,
    /// End the job after this long: SIGINT, SIGTERM, SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration)]
    timeout: Option<Duration>,
    /// End the job when nothing in it has made progress for this long, whatever the reason
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration)]
    max_idle: Option<Duration>,
    #[command(flatten)]
    reports: ReportArgs,
    /// Print each fork, exec, exit, signal and blocked write as it happens
    #[arg(long)]
    events: bool,
    /// Do not run the job if it cannot be traced: exit with 125 instead
    #[arg(long)]
    require_tracing: bool,
    /// End processes that are still alive after the job
    #[arg(long)]
    reap_leaked: bool,
    /// Exit with 1 when the job exited with 0 and processes outlived it
    #[arg(long)]
    fail_on_leak: bool,
    /// The file layout to write
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = LayoutArg::Tracer, help_heading = "Files")]
    layout: LayoutArg,
    /// With --layout autoskillit: the log to which the session is added [default:
    /// $XDG_DATA_HOME/autoskillit/logs]
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    autoskillit_log: Option<PathBuf>,
    /// Attach the files of this directory to the session when the job has ended
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    keep: Option<PathBuf>,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    places: PlaceArgs,
    /// The job: a program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Args {
    /// The options of the session function.
    pub fn resolve(self, verbosity: u8) -> RunOptions {
        RunOptions {
            command: self.command,
            session_id: self.session_id,
            labels: self.labels,
            places: self.places.resolve(),
            watch: self.watch.watch(),
            recording: self.watch.recording(verbosity),
            limits: TimeLimits { timeout: self.timeout, max_idle: self.max_idle },
            reap_leaked: self.reap_leaked,
            require_tracing: self.require_tracing,
            layout: self.layout.into(),
            autoskillit_log: self.autoskillit_log,
            keep: self.keep,
        }
    }
}

/// A session id, which becomes a file name.
pub(super) fn session_id(argument: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if argument.is_empty()
        || argument.len() > 128
        || argument.starts_with('.')
        || !argument.chars().all(allowed)
    {
        return Err(
            "a session id has at most 128 of A-Z a-z 0-9 . _ - and does not begin with a dot".to_owned()
        );
    }
    Ok(argument.to_owned())
}

/// Runs the job. An error of the tracer before the job runs ends with 125.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    if !args.enabled {
        if output.verbosity() > 0 {
            output.note("run: not traced: --enabled is false");
            // The exec ends the thread that writes.
            super::stderr::settle(Duration::from_millis(200));
        }
        let program = args.command.first().cloned().unwrap_or_default();
        let failure = execute_bare(&args.command).context("run")?;
        return ended(JobOutcome::NotExecuted(failure), &program);
    }
    let (events, reports, fail_on_leak) = (args.events, args.reports.clone(), args.fail_on_leak);
    let quiet = args.watch.quiet;
    let options = args.resolve(output.verbosity());
    let program = options.command.first().cloned().unwrap_or_default();
    let name = options.session_id.clone().unwrap_or_else(|| "session".to_owned());
    if reports.targets(&name).iter().any(|report| report.place == ReportPlace::Stdout) {
        let text = "run: --report: standard output is the job's; write to a file or to /dev/stderr";
        return Err(Failure::failed(text));
    }
    report::check(&reports, &name).context("run")?;
    let mut live = LiveOutput::new(output, events, quiet, reports.clone());
    let end = run::run(&options, &mut live).context("run")?;
    let lanes = live.into_lanes();
    for leaked in &end.leaked {
        output.note(&leaked_line(leaked));
    }
    for reaped in &end.reaped {
        output.note(&reaped.sentence());
    }
    let executed = !matches!(end.job, JobOutcome::NotExecuted(_));
    if let Some(summary) = end.summary.as_ref().filter(|_| !quiet && executed) {
        output.note(&summary_line(summary, end.filed.as_deref()));
    }
    if let Some(summary) = &end.summary {
        let name = &summary.session_id;
        if end.diagnosis.is_none()
            && let Err(error) = report::write(&run::nothing_hung(summary), lanes.as_ref(), &reports, name)
        {
            output.note(&format!("{error:#}"));
        }
        if let Some(directory) = reports.directory() {
            output.note(&format!("reports: {}/{name}.*", directory.display()));
        }
    }
    if let Some(reason) = end.ended_by_us {
        output.note(&ended_line(reason, end.summary.as_ref()));
        return Ok(Exit::TimedOut);
    }
    let exit = ended(end.job, &program)?;
    let is_success = exit.code() == Exit::Success.code();
    Ok(if fail_on_leak && is_success && !end.leaked.is_empty() { Exit::Finding } else { exit })
}

/// Why the tracer ended the job, in one line.
fn ended_line(reason: EndReason, summary: Option<&Summary>) -> String {
    let seconds = summary.and_then(|summary| summary.duration_seconds);
    let after = seconds.map_or_else(String::new, |seconds| format!(" after {seconds:.1} s"));
    let why = match reason {
        EndReason::Hang => "it hung",
        EndReason::MaxIdle => "nothing in it made progress for the duration of --max-idle",
        _ => "the time of --timeout was over",
    };
    let own = summary.map_or_else(String::new, |summary| {
        format!("; the job itself: {}", summary.termination_reason.to_lowercase())
    });
    format!("ended the job{after} because {why}: exit status {}{own}", Exit::TimedOut.code())
}

/// The exit status, as for env(1).
fn ended(end: JobOutcome, program: &std::ffi::OsStr) -> Result<Exit, Failure> {
    match end {
        JobOutcome::Ended(status) => Ok(Exit::Job(status)),
        JobOutcome::LeftAlone(signal) => Ok(Exit::Signalled(signal.unsigned_abs().try_into().unwrap_or(0))),
        JobOutcome::NotExecuted(failure) => {
            let exit = if failure.not_found() { Exit::NotFound } else { Exit::CannotExecute };
            let reason = os_message(&failure.error);
            Err(Failure::failed(format!("run: {}: {reason}", program.display())).with_exit(exit))
        }
    }
}

/// The system's error message, without the number that Rust appends.
fn os_message(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_may_become_a_file_name() {
        for good in ["a", "ci-42.retry_1"] {
            assert_eq!(session_id(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "a\n", &"x".repeat(129)] {
            assert!(session_id(bad).is_err(), "{bad:?}");
        }
    }
}
