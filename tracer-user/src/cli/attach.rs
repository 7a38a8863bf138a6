//! `attach`: what was typed to follow a tree that runs already.

use super::exit::{Exit, Failure};
use super::live::{Live, summary_line};
use super::output::Output;
use super::run::session_id;
use super::shared::{PlaceArgs, WatchArgs};
use super::value;
use crate::session::attach;
use crate::session::options::{AttachOptions, OnHang};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the session
    #[arg(long, value_name = "ID", value_parser = session_id)]
    session_id: Option<String>,
    /// Note this of the session; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::key_value)]
    labels: Vec<(String, String)>,
    /// Print each fork, exec, exit, signal and blocked write as it happens
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    places: PlaceArgs,
    /// The processes to follow, with all that descends from them
    #[arg(required = true, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pids: Vec<u32>,
}

/// Follows the tree until it has ended or somebody wants us to stop; the tree is left alone.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let options = AttachOptions {
        pids: args.pids,
        session_id: args.session_id,
        labels: args.labels,
        places: args.places.resolve(),
        watch: args.watch.watch(),
        recording: args.watch.recording(output.verbosity()),
    };
    if options.watch.on_hang == OnHang::Interrupt {
        return Err(Failure::usage(
            "attach: --on-hang interrupt: what was attached to is left alone; use report or relieve",
        ));
    }
    let quiet = args.watch.quiet;
    let mut live = Live::new(output, args.events, quiet, Vec::new());
    let end = attach::attach(&options, &mut live).map_err(|error| Failure::from(error.context("attach")))?;
    drop(live);
    if !quiet {
        output.note(&summary_line(&end.summary, end.filed.as_deref()));
    }
    Ok(Exit::Success)
}
