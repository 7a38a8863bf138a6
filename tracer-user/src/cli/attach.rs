//! `attach`: arguments for tracing a process tree that is already running.

use std::time::Duration;

use super::exit::{Exit, Failure};
use super::live_output::{LiveOutput, summary_line};
use super::output::Output;
use super::report_target::ReportArgs;
use super::run::session_id;
use super::shared::{PlaceArgs, WatchArgs};
use super::value;
use crate::session::attach;
use crate::session::options::{AttachOptions, AttachTargets, OnHang};

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the session
    #[arg(long, value_name = "ID", value_parser = session_id)]
    session_id: Option<String>,
    /// Attach a label to the session; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::key_value)]
    labels: Vec<(String, String)>,
    /// Stop to trace after this long; the processes are left alone
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    reports: ReportArgs,
    /// Print each fork, exec, exit, signal and blocked write as it happens
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    places: PlaceArgs,
    /// Trace all processes of the CI job in which this command runs, those of later steps too, until a
    /// signal ends it. They are found by RUNNER_TRACKING_ID, CI_JOB_ID, BUILDKITE_JOB_ID, BUILD_ID or the
    /// control group
    #[arg(long, conflicts_with = "pids")]
    job: bool,
    /// The processes to trace, with all their descendants
    #[arg(required_unless_present = "job", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pids: Vec<u32>,
}

/// Traces the tree until it has ended or a signal ends the tracer. The tree itself is left alone.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let options = AttachOptions {
        targets: if args.job { AttachTargets::Job } else { AttachTargets::Pids(args.pids) },
        session_id: args.session_id,
        labels: args.labels,
        places: args.places.resolve(),
        watch: args.watch.watch(),
        recording: args.watch.recording(output.verbosity()),
        timeout: args.timeout,
    };
    if options.watch.on_hang == OnHang::Interrupt {
        return Err(Failure::usage(
            "attach: --on-hang interrupt: attach never ends a process it did not start; use report or relieve",
        ));
    }
    let quiet = args.watch.quiet;
    let mut live = LiveOutput::new(output, args.events, quiet, args.reports);
    let end = attach::attach(&options, &mut live).map_err(|error| Failure::from(error.context("attach")))?;
    drop(live);
    if !quiet {
        output.note(&summary_line(&end.summary, end.filed.as_deref()));
    }
    Ok(Exit::Success)
}
