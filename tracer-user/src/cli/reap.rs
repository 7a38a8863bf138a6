//! `reap`: arguments, the plan and its outcome as text.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Context as _;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::preflight::SearchArgs;
use super::value::{self, Format, FormatArg};
use crate::core::leftover::{Ownership, ReapPlan, ReapReport, ReapSelection};
use crate::core::text::printable;
use crate::session::live::terminate::EscalationEvent;
use crate::session::preflight::PreflightOptions;
use crate::session::preflight::reap::{ReapOptions, reap};

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// End what is left of this session; may be repeated
    #[arg(long = "session", value_name = "ID", required_unless_present_any = ["ports", "pids", "sockets", "all_mine"])]
    sessions: Vec<String>,
    /// End your process that holds this port; may be repeated
    #[arg(long = "port", value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// Remove the stale socket files matching this pattern, and end your processes that listen on such a
    /// socket; may be repeated
    #[arg(long = "socket", value_name = "GLOB")]
    sockets: Vec<String>,
    /// End this process if it is yours; may be repeated. It may run as another user
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',', value_parser = value::pid)]
    pids: Vec<u32>,
    /// End everything that preflight reports as left
    #[arg(long)]
    all_mine: bool,
    /// Carry out the plan; without this it is only shown
    #[arg(long)]
    yes: bool,
    /// How long to wait after SIGINT and after SIGTERM
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "3s")]
    grace: Duration,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    format: FormatArg,
}

/// Ends leftovers. Exit status: 0 when none of the selected ones is left, 1 otherwise and for a plan that was
/// only shown.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let format = args.format.format;
    let options = ReapOptions {
        selection: ReapSelection {
            sessions: args.sessions,
            ports: args.ports,
            pids: args.pids,
            sockets: !args.sockets.is_empty(),
            all_mine: args.all_mine,
        },
        yes: args.yes,
        grace: args.grace,
        preflight: PreflightOptions { sockets: args.sockets, ..args.search.resolve() },
    };
    // The plan is printed before it is carried out.
    let shared = RefCell::new(&mut *output);
    let mut printed = Ok(());
    let reaped = reap(
        &options,
        |plan| {
            if format == Format::Text {
                let mut output = shared.borrow_mut();
                printed = output.text(&plan_as_text(plan)).and_then(|()| output.finish());
            }
        },
        |step| match step {
            EscalationEvent::Step(step, count) => {
                shared.borrow().note(&format!("{} to {count} processes", step.signal().name()))
            }
            EscalationEvent::Done(terminations) => shared.borrow().note(&terminations.sentence()),
        },
    )
    .context("reap")?;
    printed?;
    match format {
        Format::Json => output.json(&reaped)?,
        Format::Text => output.text(&outcome_as_text(&reaped))?,
    }
    Ok(if reaped.clean() { Exit::Success } else { Exit::Finding })
}

fn plan_as_text(plan: &ReapPlan) -> String {
    let mut out = String::new();
    for ending in &plan.end {
        let process = &ending.process;
        let proof = match &process.ownership {
            Ownership::Session { session, proof, .. } => format!("session {session}: {proof}"),
            Ownership::Checkout { proof } => proof.clone(),
            Ownership::Stranger | Ownership::Unknown => "unproven".to_owned(),
        };
        let what =
            if process.cmdline.is_empty() { process.comm.escaped() } else { process.cmdline.join(" ") };
        out.push_str(&format!(
            "end      {} (pid {}): {}; yours because: {}\n",
            printable(&what),
            process.pid,
            printable(&ending.why),
            printable(&proof)
        ));
    }
    for path in &plan.remove {
        out.push_str(&format!("remove   {}\n", path.escaped()));
    }
    for refused in &plan.refused {
        out.push_str(&format!("refuse   {}\n", printable(refused)));
    }
    out
}

fn outcome_as_text(reaped: &ReapReport) -> String {
    let mut out = String::new();
    for terminations in &reaped.ended {
        out.push_str(&format!("ended    {}\n", terminations.sentence()));
    }
    for path in &reaped.removed {
        out.push_str(&format!("removed  {}\n", path.escaped()));
    }
    for problem in &reaped.problems {
        out.push_str(&format!("problem  {}\n", printable(problem)));
    }
    for survivor in &reaped.survived {
        out.push_str(&format!("survived {}\n", printable(&survivor.sentence)));
    }
    if reaped.dry_run && !reaped.plan.is_empty() {
        out.push_str("nothing was done: add --yes to carry out the plan\n");
    } else if reaped.plan.is_empty() && reaped.plan.refused.is_empty() {
        out.push_str("nothing to reap\n");
    }
    out
}
