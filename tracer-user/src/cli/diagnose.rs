//! `diagnose`: what hangs now, and why.

use std::time::Duration;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::value;
use crate::core::diagnosis::Diagnosis;
use crate::session::diagnose::{self, Ask, Config, LookError};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    about: About,
    /// How long nobody may have moved to count as stuck
    #[arg(long, value_name = "DURATION", default_value = "400ms", value_parser = value::positive_duration)]
    quiet_window: Duration,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    format: Format,
}

/// About what; one of them.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct About {
    /// The process with this pid and all that it started
    #[arg(long, value_name = "PID", value_parser = value::pid)]
    pid: Option<u32>,
    /// Every process of the machine
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// All that was seen, as JSON: what the diagnosis was made from
    Evidence,
}

/// Looks, judges, and reports.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let ask = args.about.pid.map_or(Ask::All, Ask::Tree);
    let config = Config { ask, quiet_window: args.quiet_window };
    let answer = diagnose::diagnose(&config).map_err(refused)?;
    match args.format {
        Format::Text => output.text(&text(&answer.diagnosis))?,
        Format::Json => output.json(&answer.diagnosis)?,
        Format::Evidence => output.json(&answer.evidence)?,
    }
    Ok(if answer.diagnosis.findings.is_empty() { Exit::Success } else { Exit::Found })
}

/// A pid that is nobody's was typed wrongly, or came too late; all else is the tracer's trouble.
fn refused(error: LookError) -> Failure {
    Failure::failed(format!("diagnose: {error}"))
}

/// Sentences alone.
fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    for finding in &diagnosis.findings {
        out.push_str(&finding.summary);
        out.push('\n');
        for line in &finding.advice {
            out.push_str(&format!("  {line}\n"));
        }
    }
    for line in diagnosis.refuted.iter().chain(&diagnosis.problems) {
        out.push_str(&format!("({line})\n"));
    }
    out.push_str(&format!("verdict: {}\n", diagnosis.verdict.id()));
    out
}
