//! `doctor`: what was typed, and its report as text.

use super::exit::{Exit, Failure};
use super::output::Output;
use super::shared::PlaceArgs;
use super::value::{Format, FormatArg};
use crate::core::requirements::{DoctorReport, Requirement, RequirementVerdict};
use crate::core::text::printable;
use crate::session::doctor::{DoctorOptions, check};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    format: FormatArg,
    #[command(flatten)]
    places: PlaceArgs,
    /// Do not try to load the kernel programs
    #[arg(long)]
    no_kernel: bool,
}

/// Examines and reports: 0 works, 1 degraded, 2 not.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let doctor = check(&DoctorOptions { places: args.places.resolve(), no_kernel: args.no_kernel });
    match args.format.format {
        Format::Json => output.json(&doctor)?,
        Format::Text => output.text(&text(&doctor, output.colour()))?,
    }
    Ok(match doctor.verdict {
        RequirementVerdict::Works => Exit::Success,
        RequirementVerdict::Degraded => Exit::Found,
        RequirementVerdict::Not => Exit::Usage,
    })
}

fn word(verdict: RequirementVerdict) -> &'static str {
    match verdict {
        RequirementVerdict::Works => "works",
        RequirementVerdict::Degraded => "degraded",
        RequirementVerdict::Not => "not",
    }
}

/// A verdict in nine columns, coloured where that is allowed.
fn mark(verdict: RequirementVerdict, colour: bool) -> String {
    let code = match verdict {
        RequirementVerdict::Works => 32,
        RequirementVerdict::Degraded => 33,
        RequirementVerdict::Not => 31,
    };
    let word = word(verdict);
    if colour { format!("\x1b[{code}m{word:<9}\x1b[0m") } else { format!("{word:<9}") }
}

fn text(doctor: &DoctorReport, colour: bool) -> String {
    let width = doctor.requirements.iter().map(|it| it.id.len()).max().unwrap_or(0);
    let mut out = String::new();
    for Requirement { id, found, verdict, lost, remedy, .. } in &doctor.requirements {
        out.push_str(&format!("{} {id:<width$}  {}\n", mark(*verdict, colour), printable(found)));
        let indent = " ".repeat(10 + width + 2);
        if let Some(lost) = lost {
            out.push_str(&format!("{indent}lost: {}\n", printable(lost)));
        }
        if let Some(remedy) = remedy {
            out.push_str(&format!("{indent}do: {}\n", printable(remedy)));
        }
    }
    if let Some(points) = &doctor.fault_points {
        out.push_str(&format!(
            "a test build: with TRACER_FAULT_KILL=NAME it kills itself at {}\n",
            printable(points.join(", "))
        ));
    }
    let events = match doctor.kernel_events {
        Some(true) => "with kernel events",
        Some(false) => "without kernel events: from /proc and pidfds alone",
        None => "kernel events not tried",
    };
    out.push_str(&format!("{} tracer-user on this machine, {events}\n", mark(doctor.verdict, colour)));
    out
}
