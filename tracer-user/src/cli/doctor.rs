//! `doctor`: arguments, and the report as text.

use anstyle::AnsiColor;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::shared::PlaceArgs;
use super::value::{Format, FormatArg};
use crate::core::requirements::{DoctorReport, Requirement, RequirementVerdict};
use crate::core::text::printable;
use crate::session::doctor::{DoctorOptions, check};

/// Arguments of the verb.
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

/// Examines the machine and reports. Exit status: 0 works, 1 degraded, 2 does not work.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let doctor = check(&DoctorOptions { places: args.places.resolve(), no_kernel: args.no_kernel });
    match args.format.format {
        Format::Json => output.json(&doctor)?,
        Format::Text => output.text(&text(&doctor, output.color()))?,
    }
    Ok(match doctor.verdict {
        RequirementVerdict::Works => Exit::Success,
        RequirementVerdict::Degraded => Exit::Finding,
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

/// A verdict in nine columns, colored where that is allowed.
fn mark(verdict: RequirementVerdict, color: bool) -> String {
    let word = word(verdict);
    if !color {
        return format!("{word:<9}");
    }
    let style = match verdict {
        RequirementVerdict::Works => AnsiColor::Green,
        RequirementVerdict::Degraded => AnsiColor::Yellow,
        RequirementVerdict::Not => AnsiColor::Red,
    }
    .on_default();
    format!("{style}{word:<9}{style:#}")
}

fn text(doctor: &DoctorReport, color: bool) -> String {
    let width = doctor.requirements.iter().map(|it| it.id.len()).max().unwrap_or(0);
    let mut out = String::new();
    for Requirement { id, found, verdict, lost, remedy, .. } in &doctor.requirements {
        out.push_str(&format!("{} {id:<width$}  {}\n", mark(*verdict, color), printable(found)));
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
            "test build: with TRACER_FAULT_KILL=NAME the tracer kills itself at {}\n",
            printable(points.join(", "))
        ));
    }
    let events = match doctor.kernel_events {
        Some(true) => "with kernel events",
        Some(false) => "without kernel events: /proc and pidfds only",
        None => "kernel events not tried",
    };
    out.push_str(&format!("{} tracer-user on this machine, {events}\n", mark(doctor.verdict, color)));
    out
}
