//! `run`: what was typed for a traced run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::exit::{Exit, Failure};
use super::live::{Live, leaked_line, summary_line};
use super::output::Output;
use super::report;
use super::shared::{LayoutArg, PlaceArgs, WatchArgs};
use super::value;
use crate::session::options::{ReportFormat, ReportTo, RunOptions};
use crate::session::run::{self, JobOutcome};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the session
    #[arg(long, value_name = "ID", value_parser = session_id)]
    session_id: Option<String>,
    /// Note this of the session; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::key_value)]
    labels: Vec<(String, String)>,
    /// End the job when it has run so long: SIGINT, SIGTERM, SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration)]
    timeout: Option<Duration>,
    /// Write a report of a hang, or at the end that there was none: text, json, markdown, html, junit, dot or mermaid;
    /// may be given several times
    #[arg(long = "report", value_name = "FORMAT=PATH", value_parser = report_to)]
    reports: Vec<ReportTo>,
    /// Print each fork, exec, exit, signal and blocked write as it happens
    #[arg(long)]
    events: bool,
    /// End what is left alive after the job
    #[arg(long)]
    reap_leaked: bool,
    /// Whose files to write
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = LayoutArg::Tracer, help_heading = "Files")]
    layout: LayoutArg,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    places: PlaceArgs,
    /// The job: a program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Args {
    /// What it means.
    pub fn resolve(self, verbosity: u8) -> RunOptions {
        RunOptions {
            command: self.command,
            session_id: self.session_id,
            labels: self.labels,
            places: self.places.resolve(),
            watch: self.watch.watch(),
            recording: self.watch.recording(verbosity),
            timeout: self.timeout,
            reports: self.reports,
            reap_leaked: self.reap_leaked,
            layout: self.layout.into(),
        }
    }
}

/// A name that may become a file's.
pub(super) fn session_id(typed: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if typed.is_empty() || typed.len() > 128 || typed.starts_with('.') || !typed.chars().all(allowed) {
        return Err(
            "a session id is at most 128 of A-Z a-z 0-9 . _ - and does not begin with a dot".to_owned()
        );
    }
    Ok(typed.to_owned())
}

/// `FORMAT=PATH`.
pub(super) fn report_to(typed: &str) -> Result<ReportTo, String> {
    let (format, path) = typed.split_once('=').unwrap_or((typed, ""));
    let format = match format {
        "text" => ReportFormat::Text,
        "json" => ReportFormat::Json,
        "markdown" => ReportFormat::Markdown,
        "html" => ReportFormat::Html,
        "junit" => ReportFormat::Junit,
        "dot" => ReportFormat::Dot,
        "mermaid" => ReportFormat::Mermaid,
        _ => {
            return Err("write FORMAT=PATH with text, json, markdown, html, junit, dot or mermaid".to_owned());
        }
    };
    if path.is_empty() {
        return Err("where to? write FORMAT=PATH".to_owned());
    }
    Ok(ReportTo { format, path: PathBuf::from(path) })
}

/// Runs the job. Whatever goes wrong on our side before it runs ends with 125.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let events = args.events;
    let quiet = args.watch.quiet;
    let options = args.resolve(output.verbosity());
    let program = options.command.first().cloned().unwrap_or_default();
    let mut live = Live::new(output, events, quiet, options.reports.clone());
    let end = run::run(&options, &mut live).context("run")?;
    drop(live);
    for leaked in &end.leaked {
        output.note(&leaked_line(leaked));
    }
    for reaped in &end.reaped {
        output.note(&reaped.sentence());
    }
    if !quiet && !matches!(end.job, JobOutcome::NotExecuted(_)) {
        output.note(&summary_line(&end.summary, end.filed.as_deref()));
    }
    if end.diagnosis.is_none()
        && let Err(error) = report::write(&run::nothing_hung(&end.summary), &options.reports)
    {
        output.note(&format!("{error:#}"));
    }
    match end.ended_by_us {
        Some(_) => Ok(Exit::TimedOut),
        None => ended(end.job, &program),
    }
}

/// The exit status, as env(1) has it.
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

/// What the system says, without Rust's number of it.
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

    #[test]
    fn a_report_names_its_format_and_its_place() {
        let to = report_to("junit=out/a=b.xml").expect("well-formed");
        assert_eq!(to, ReportTo { format: ReportFormat::Junit, path: "out/a=b.xml".into() });
        for bad in ["", "junit", "junit=", "=x", "pdf=x"] {
            assert!(report_to(bad).is_err(), "{bad:?}");
        }
    }
}
