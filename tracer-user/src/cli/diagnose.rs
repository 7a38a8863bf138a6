//! `diagnose`: what hangs now, and why.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::{report, value};
use crate::session::diagnose::{self, DiagnoseOptions};
use crate::session::live::relieve;
use crate::session::options::{ReportFormat, ReportTo};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    about: ScopeArgs,
    /// How long nobody may have moved to count as stuck
    #[arg(long, value_name = "DURATION", default_value = "400ms", value_parser = value::positive_duration)]
    quiet_window: Duration,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    format: Format,
    /// Write a report as well: text, json, markdown, html, junit, dot or mermaid; may be given several times
    #[arg(long = "report", value_name = "FORMAT=PATH", value_parser = super::run::report_to)]
    reports: Vec<ReportTo>,
    /// Enlarge the full pipes of a hang in place, so that it can go on; this cures nothing
    #[arg(long)]
    relieve: bool,
    /// Where live sessions are kept, for --session [default: as for run]
    #[arg(long, value_name = "DIR")]
    trace_dir: Option<PathBuf>,
}

/// The processes in question: one of these.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// The process with this pid and all that it started
    #[arg(long, value_name = "PID", value_parser = value::pid)]
    pid: Option<u32>,
    /// The session with this id that is traced now; its beginning will do
    #[arg(long, value_name = "ID")]
    session: Option<String>,
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
    /// For a forge's pages
    Markdown,
    /// For a browser
    Html,
    /// For CI's test reports
    Junit,
    /// The graph, for Graphviz
    Dot,
    /// The graph, for Markdown pages that draw it
    Mermaid,
    /// All that was seen, as JSON: what the diagnosis was made from
    Evidence,
}

impl Format {
    /// As a report; `None` for what was seen.
    fn report(self) -> Option<ReportFormat> {
        Some(match self {
            Self::Text => ReportFormat::Text,
            Self::Json => ReportFormat::Json,
            Self::Markdown => ReportFormat::Markdown,
            Self::Html => ReportFormat::Html,
            Self::Junit => ReportFormat::Junit,
            Self::Dot => ReportFormat::Dot,
            Self::Mermaid => ReportFormat::Mermaid,
            Self::Evidence => return None,
        })
    }
}

/// Looks, judges, and reports.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let scope = match (args.about.pid, args.about.session) {
        (Some(pid), _) => diagnose::DiagnoseScope::Tree(pid),
        (None, Some(id)) => diagnose::DiagnoseScope::Session { id, trace_dir: args.trace_dir },
        (None, None) => diagnose::DiagnoseScope::Machine,
    };
    let config = DiagnoseOptions { scope, quiet_window: args.quiet_window };
    let answer = diagnose::diagnose(&config).context("diagnose")?;
    report::write(&answer.diagnosis, &args.reports)?;
    match args.format.report() {
        Some(format) => {
            let colour = output.colour();
            output.text(&report::render(&answer.diagnosis, format, colour)?)?;
        }
        None => output.json(&answer.evidence)?,
    }
    if args.relieve {
        for done in relieve::relieve(&answer.diagnosis) {
            output.note(&done);
        }
    }
    let hung = answer.diagnosis.verdict.is_hang();
    if hung {
        report::publish(&answer.diagnosis, |name| std::env::var(name).ok())?;
    }
    Ok(if hung { Exit::Found } else { Exit::Success })
}
