//! `reap`: what was typed, its plan and what came of it.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Context as _;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::preflight::LookArgs;
use super::value::{self, Format, FormatArg};
use crate::core::leftover::{Ownership, ReapPlan, ReapReport, ReapSelection};
use crate::core::text::printable;
use crate::session::live::terminate::EscalationEvent;
use crate::session::preflight::reap::{ReapOptions, reap};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Reap what is left of the session with this id; may be given several times
    #[arg(long = "session", value_name = "ID", required_unless_present_any = ["ports", "pids", "all_mine"])]
    sessions: Vec<String>,
    /// Reap whoever of yours holds this port; may be given several times
    #[arg(long = "port", value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// Reap this process, if it is yours; may be given several times
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',', value_parser = value::pid)]
    pids: Vec<u32>,
    /// Reap everything that preflight finds left
    #[arg(long)]
    all_mine: bool,
    /// Do it; without this the plan is shown and nothing happens
    #[arg(long)]
    yes: bool,
    /// How long to wait after each of SIGINT and SIGTERM
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "3s")]
    grace: Duration,
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    format: FormatArg,
}

/// Reaps: 0 when nothing that was meant is left, 1 otherwise, and always 1 for a plan that was only shown.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let format = args.format.format;
    let options = ReapOptions {
        selection: ReapSelection {
            sessions: args.sessions,
            ports: args.ports,
            pids: args.pids,
            all_mine: args.all_mine,
        },
        yes: args.yes,
        grace: args.grace,
        preflight: args.look.resolve(),
    };
    // The plan is told before anything is done.
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
    Ok(if reaped.clean() { Exit::Success } else { Exit::Found })
}

fn plan_as_text(plan: &ReapPlan) -> String {
    let mut out = String::new();
    for ending in &plan.end {
        let process = &ending.process;
        let proof = match &process.ownership {
            Ownership::Session { session, proof, .. } => format!("session {session}: {proof}"),
            Ownership::Checkout { proof } => proof.clone(),
            Ownership::Stranger | Ownership::Unknown => "unproved".to_owned(),
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
        out.push_str("nothing was done: add --yes to do it\n");
    } else if reaped.plan.is_empty() && reaped.plan.refused.is_empty() {
        out.push_str("nothing to reap\n");
    }
    out
}
