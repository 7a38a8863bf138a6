//! `recover`: arguments, and the report as text.

use std::time::Duration;

use super::exit::{Exit, Failure};
use super::live_output::LiveOutput;
use super::output::Output;
use super::report_target::ReportArgs;
use super::shared::{LayoutArg, PlaceArgs, RetentionArgs};
use super::value::{self, Format, FormatArg};
use crate::core::gates::RecoveryAction;
use crate::session::options::Layout;
use crate::session::recover::adopt::follow_all;
use crate::session::recover::{
    self, Adoption, RecoverConfig, RecoverOptions, RecoveryOutcome, RecoveryReport,
};

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only report what would be done
    #[arg(long)]
    dry_run: bool,
    /// Take over sessions whose job is still running, and trace them to their end
    #[arg(long)]
    adopt: bool,
    /// Skip sessions written to more recently than this
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "30s")]
    min_age: Duration,
    /// The file layout to read: that of this tool, or AutoSkillit's in the directory given with --trace-dir
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = LayoutArg::Tracer, help_heading = "Files")]
    layout: LayoutArg,
    #[command(flatten)]
    retention: RetentionArgs,
    /// Do not use BPF; poll /proc instead
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
            let what = "recover: --layout autoskillit: --trace-dir is required, the directory of its files";
            return Err(Failure::usage(what));
        }
        Ok(RecoverOptions {
            places,
            layout,
            min_age: self.min_age,
            adopt: self.adopt,
            dry_run: self.dry_run,
            retention: self.retention.policy(),
            no_kernel: self.no_kernel,
        })
    }
}

/// Recovers sessions and reports what was found and done.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let config = args.resolve()?.resolve()?;
    let mut report = recover::recover(&config, &mut || true);
    let adopted = std::mem::take(&mut report.adopted);
    match args.format.format {
        Format::Json => output.json(&report)?,
        Format::Text => output.text(&text(&report))?,
    }
    if !adopted.is_empty() {
        trace_adopted(adopted, &config, output)?;
    }
    Ok(if report.failed() > 0 { Exit::Failed } else { Exit::Success })
}

/// Traces adopted sessions to their end.
fn trace_adopted(adopted: Vec<Adoption>, config: &RecoverConfig, output: &Output) -> Result<(), Failure> {
    let count = adopted.len();
    output.note(&format!(
        "tracing {count} session(s) to their end; ending this tracer leaves the jobs running"
    ));
    for summary in
        follow_all(adopted, &config.log, &mut LiveOutput::new(output, false, true, ReportArgs::default()))?
    {
        output.note(&format!("{}: {}", summary.dir_name, summary.termination_reason));
    }
    Ok(())
}

/// The report as text: one line per session, with the reasons.
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
