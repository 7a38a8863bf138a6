//! `recover`: what was typed, and its report.

use std::time::Duration;

use super::exit::{Exit, Failure};
use super::live::Live;
use super::output::Output;
use super::shared::{LayoutArg, PlaceArgs};
use super::value::{self, Format, FormatArg};
use crate::core::gates::RecoveryAction;
use crate::session::options::{Layout, RetentionPolicy};
use crate::session::recover::adopt::follow_all;
use crate::session::recover::{
    self, Adoption, RecoverConfig, RecoverOptions, RecoveryOutcome, RecoveryReport,
};

/// What was typed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Take over sessions whose job still runs, and trace them to their end
    #[arg(long)]
    adopt: bool,
    /// Leave sessions alone that were written to so lately
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "30s")]
    min_age: Duration,
    /// Whose files to read: the tracer's own, or AutoSkillit's in the directory that --trace-dir names
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = LayoutArg::Tracer, help_heading = "Files")]
    layout: LayoutArg,
    /// How many finished sessions are kept
    #[arg(long, value_name = "N", default_value_t = 2000, help_heading = "Files")]
    max_sessions: usize,
    /// Do as if BPF were not to be had
    #[arg(long)]
    no_kernel: bool,
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    format: FormatArg,
}

impl Args {
    fn resolve(&self) -> Result<RecoverOptions, Failure> {
        let places = self.places.resolve();
        let layout = self.layout.into();
        if layout == Layout::AutoSkillit && places.trace_dir.is_none() {
            let what = "recover: --layout autoskillit: name the directory of its files with --trace-dir";
            return Err(Failure::usage(what));
        }
        Ok(RecoverOptions {
            places,
            layout,
            min_age: self.min_age,
            adopt: self.adopt,
            dry_run: self.dry_run,
            retention: RetentionPolicy::count(self.max_sessions),
            no_kernel: self.no_kernel,
        })
    }
}

/// Recovers, and prints what was found and done.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let config = args.resolve()?.resolve()?;
    let mut report = recover::recover(&config, &mut || true);
    let adopted = std::mem::take(&mut report.adopted);
    match args.format.format {
        Format::Json => output.json(&report)?,
        Format::Text => output.text(&text(&report))?,
    }
    if !adopted.is_empty() {
        go_on(adopted, &config, output)?;
    }
    Ok(if report.failed() > 0 { Exit::Failed } else { Exit::Success })
}

/// Traces what was taken over to its end.
fn go_on(adopted: Vec<Adoption>, config: &RecoverConfig, output: &Output) -> Result<(), Failure> {
    let count = adopted.len();
    output.note(&format!("tracing {count} session(s) to their end; what ends this leaves them as they were"));
    for summary in follow_all(adopted, &config.log, &mut Live::new(output, false, true, Vec::new()))? {
        output.note(&format!("{}: {}", summary.dir_name, summary.termination_reason));
    }
    Ok(())
}

/// The report for people: a session a line, its reasons behind it.
fn text(report: &RecoveryReport) -> String {
    let mut out = String::new();
    for entry in &report.sessions {
        let name = entry.session_id.as_deref().unwrap_or(&entry.files);
        let reasons: Vec<_> = entry.verdict.reasons.iter().map(ToString::to_string).collect();
        let what = match (&entry.outcome, entry.verdict.action) {
            (RecoveryOutcome::Filed { dir_name, termination_reason, .. }, _) => {
                format!("finished as {dir_name} ({termination_reason})")
            }
            (RecoveryOutcome::Adopted, _) => "taken over".to_owned(),
            (RecoveryOutcome::Failed(why), _) => format!("not finished, {why}"),
            (RecoveryOutcome::Left, RecoveryAction::Skip) => "left alone".to_owned(),
            (RecoveryOutcome::Left, RecoveryAction::Adopt) => "would be taken over".to_owned(),
            (RecoveryOutcome::Left, RecoveryAction::Recover | RecoveryAction::FinishRebooted) => {
                "would be finished".to_owned()
            }
        };
        out.push_str(&line(&format!("{name}: {what}: {}", reasons.join("; "))));
    }
    for swept in &report.swept {
        out.push_str(&line(&format!("removed {swept}")));
    }
    for removal in &report.retention.removals {
        let verb = if report.dry_run { "would remove" } else { "removed" };
        out.push_str(&line(&format!("{verb} {removal}")));
    }
    for problem in &report.problems {
        out.push_str(&line(&format!("problem: {problem}")));
    }
    if report.sessions.is_empty() && report.problems.is_empty() {
        out.push_str("nothing to recover\n");
    }
    out
}

fn line(text: &str) -> String {
    format!("{}\n", crate::core::text::printable(text))
}
