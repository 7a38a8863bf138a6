//! `sessions`: arguments, and the session log as a table, a timeline or JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::report;
use super::report_target::ReportArgs;
use super::session_table::{table, took};
use super::shared::LayoutArg;
use super::since::{self, Since};
use super::value::{self, Format, FormatArg};
use crate::core::redact;
use crate::core::retention::RetentionPolicy;
use crate::core::summary::{SUBTYPES, Summary};
use crate::core::text::ByteString;
use crate::core::text::printable;
use crate::session::autoskillit_log;
use crate::session::session_name::resolve;
use crate::session::sessions::{self, HangGroup, SessionFilter, SessionListing, StoredTrace};

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    today: TodayArgs,
}

/// Without a sub-command: the sessions of today.
#[derive(clap::Args, Debug)]
struct TodayArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List sessions, oldest first
    List(ListArgs),
    /// Show one session: its summary and its timeline
    Show(ShowArgs),
    /// Print one session as a JSON document, including its whole trace; or add sessions to AutoSkillit's log
    Export(ExportArgs),
    /// Attach files to a session, such as logs or measurements of what ran it
    Attach(AttachArgs),
    /// Exclude sessions from retention: they are never removed to make room
    Protect(ProtectArgs),
    /// Start listings from now: hide earlier sessions without removing them
    Clear(LogArgs),
    /// Remove finished sessions, the oldest first; protected ones stay
    Prune(PruneArgs),
}

#[derive(clap::Args, Debug)]
struct LogArgs {
    /// The directory of finished sessions [default: /var/log/tracer-user for root, else under
    /// $XDG_STATE_HOME]
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    log_dir: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    /// Only sessions that began then or later: a duration (2h), a time of today (08:00), a date (2026-11-21),
    /// a date and time (2026-11-21 08:00, 2026-11-21T08:00:00Z), today or yesterday
    #[arg(long, value_name = "TIME", value_parser = since::parse)]
    since: Option<Since>,
    /// Only sessions with this label; without a value, with any value
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Only sessions with this outcome; failed means all that did not succeed
    #[arg(long, value_name = "OUTCOME", value_parser = PossibleValuesParser::new(SUBTYPES))]
    outcome: Option<String>,
    /// Group the sessions by the hang they had: how often, first and last seen, tests and labels
    #[arg(long)]
    hangs: bool,
    /// Include sessions from before the last `sessions clear`
    #[arg(long)]
    all: bool,
    /// Only the newest N sessions
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    layout: ReadLayout,
    #[command(flatten)]
    format: FormatArg,
}

/// Whose log is read.
#[derive(clap::Args, Debug)]
struct ReadLayout {
    /// The layout of the log: that of this tool, or AutoSkillit's [default place:
    /// $XDG_DATA_HOME/autoskillit/logs]
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = LayoutArg::Tracer, help_heading = "Files")]
    layout: LayoutArg,
}

#[derive(clap::Args, Debug)]
struct ShowArgs {
    /// The session: its name or the beginning of it, `last`, -2 for the one before the last, or the file of
    /// an export
    #[arg(value_name = "SESSION", allow_negative_numbers = true)]
    session: String,
    #[command(flatten)]
    reports: ReportArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    layout: ReadLayout,
    #[command(flatten)]
    format: FormatArg,
}

/// What an export is for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ExportFormat {
    /// For programs, complete
    Json,
    /// For the Perfetto viewer (binary)
    Perfetto,
}

#[derive(clap::Args, Debug)]
struct ExportArgs {
    /// The sessions: their names or the beginnings of them, `last`, or -2 for the one before the last;
    /// without
    /// --to only one
    #[arg(required = true, value_name = "SESSION", allow_negative_numbers = true)]
    sessions: Vec<String>,
    /// The layout in which --to writes
    #[arg(long, value_enum, value_name = "LAYOUT", help_heading = "Files")]
    layout: Option<LayoutArg>,
    /// The format on standard output
    #[arg(long, value_enum, default_value_t = ExportFormat::Json, value_name = "FORMAT", conflicts_with = "to")]
    format: ExportFormat,
    /// Add the sessions to AutoSkillit's log in this directory
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    to: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(clap::Args, Debug)]
struct AttachArgs {
    /// The session: its name or the beginning of it, `last`, or -2 for the one before the last
    #[arg(value_name = "SESSION", allow_negative_numbers = true)]
    session: String,
    /// The files; each keeps its name
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(clap::Args, Debug)]
struct ProtectArgs {
    /// The sessions: their names or the beginnings of them, `last`, or -2 for the one before the last
    #[arg(required = true, value_name = "SESSION", allow_negative_numbers = true)]
    sessions: Vec<String>,
    /// Undo: make them subject to retention again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct PruneLimits {
    /// Remove sessions that began longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    older_than: Option<Duration>,
    /// Keep at most this many sessions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep: Option<u64>,
    /// Keep at most this much of sessions
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    size: Option<u64>,
}

impl PruneLimits {
    fn policy(&self) -> RetentionPolicy {
        let keep = self.keep.map_or(usize::MAX, |keep| usize::try_from(keep).unwrap_or(usize::MAX));
        RetentionPolicy { max_age: self.older_than, max_bytes: self.size, ..RetentionPolicy::count(keep) }
    }
}

#[derive(clap::Args, Debug)]
struct PruneArgs {
    #[command(flatten)]
    limits: PruneLimits,
    /// Only report what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    format: FormatArg,
}

fn label(argument: &str) -> Result<(String, String), String> {
    if argument.contains('=') { value::key_value(argument) } else { Ok((argument.to_owned(), String::new())) }
}

/// Runs the sub-command.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    match &args.command {
        None => {
            let today = SessionFilter { since: Some(Since::Today.time()), ..SessionFilter::default() };
            list_filtered(&today, &args.today.log, LayoutArg::Tracer, args.today.format.format, output)?;
        }
        Some(Command::List(args)) => list(args, output)?,
        Some(Command::Show(args)) => show(args, output)?,
        Some(Command::Export(args)) => export(args, output)?,
        Some(Command::Attach(args)) => return attach(args, output),
        Some(Command::Protect(args)) => {
            let log = sessions::log(args.log.log_dir.clone());
            let names =
                args.sessions.iter().map(|name| resolve(&log, name)).collect::<Result<Vec<_>, _>>()?;
            sessions::protect(&log, &names, !args.off)?;
            let how = if args.off { "subject to retention again" } else { "excluded from retention" };
            output.note(&format!("{}: {how}", names.join(", ")));
        }
        Some(Command::Clear(args)) => {
            let log = sessions::log(args.log_dir.clone());
            let from = sessions::clear(&log)?;
            let hidden = sessions::list(&log, &SessionFilter::default())?.hidden;
            output.note(&format!(
                "listings begin at {from}: {} before are hidden and kept; `tracer-user sessions list --all` lists them",
                value::counted(hidden, "session", "sessions")
            ));
        }
        Some(Command::Prune(args)) => prune(args, output)?,
    }
    Ok(Exit::Success)
}

fn export(args: &ExportArgs, output: &mut Output) -> Result<(), Failure> {
    let log = sessions::log(args.log.log_dir.clone());
    let names = args.sessions.iter().map(|name| resolve(&log, name)).collect::<Result<Vec<_>, _>>()?;
    match (&args.to, args.layout, names.as_slice()) {
        (Some(to), Some(LayoutArg::Autoskillit), names) => {
            for name in names {
                let added = autoskillit_log::export(&log, name, to)?;
                let how = if added.already { "was there already as" } else { "is there as" };
                output.note(&format!("{name}: {how} {}", to.join("sessions").join(added.dir_name).display()));
            }
            Ok(())
        }
        (None, _, [name]) => {
            let shown = sessions::show(&log, name, true)?;
            match args.format {
                ExportFormat::Json => output.json(&shown),
                ExportFormat::Perfetto => output.bytes(&report::perfetto(&shown)?),
            }
        }
        (None, ..) => {
            Err(Failure::usage("sessions export: one session at a time is printed; --to adds several"))
        }
        (Some(_), ..) => Err(Failure::usage("sessions export: --to needs --layout autoskillit")),
    }
}

fn attach(args: &AttachArgs, output: &mut Output) -> Result<Exit, Failure> {
    let log = sessions::log(args.log.log_dir.clone());
    let session = resolve(&log, &args.session)?;
    let (attached, problems) = sessions::attach(&log, &session, &args.files)?;
    for problem in &problems {
        output.note(problem);
    }
    output.note(&format!("{session}: {attached} file(s) attached"));
    Ok(if problems.is_empty() { Exit::Success } else { Exit::Failed })
}

fn list(args: &ListArgs, output: &mut Output) -> Result<(), Failure> {
    let filter = SessionFilter {
        since: args.since.map(Since::time),
        labels: args.labels.clone(),
        outcome: args.outcome.clone(),
        include_cleared: args.all,
        limit: args.limit,
    };
    if args.hangs {
        let listing = listed(&filter, &args.log, args.layout.layout)?;
        let hangs = sessions::hangs(&listing.sessions);
        return match args.format.format {
            Format::Json => output.json(&hangs),
            Format::Text => output.text(&hang_list(&hangs)),
        };
    }
    list_filtered(&filter, &args.log, args.layout.layout, args.format.format, output)
}

fn listed(filter: &SessionFilter, log: &LogArgs, layout: LayoutArg) -> Result<SessionListing, Failure> {
    let log_dir = log.log_dir.clone();
    Ok(match layout {
        LayoutArg::Tracer => sessions::list(&sessions::log(log_dir), filter)?,
        LayoutArg::Autoskillit => autoskillit_log::list(&autoskillit_log::path(log_dir)?, filter)?,
    })
}

fn list_filtered(
    filter: &SessionFilter,
    log: &LogArgs,
    layout: LayoutArg,
    format: Format,
    output: &mut Output,
) -> Result<(), Failure> {
    let listing = listed(filter, log, layout)?;
    match format {
        Format::Json => output.json(&listing),
        Format::Text => {
            for problem in &listing.problems {
                output.note(problem);
            }
            output.text(&table(&listing))?;
            if let Some(since) = listing.cleared_at.as_ref().filter(|_| listing.hidden > 0) {
                output.note(&format!(
                    "{} from before `sessions clear` ({since}) are hidden: --all lists them",
                    value::counted(listing.hidden, "session", "sessions")
                ));
            }
            Ok(())
        }
    }
}

/// A paragraph a hang: how often, what, where, when, in which tests.
fn hang_list(hangs: &[HangGroup]) -> String {
    if hangs.is_empty() {
        return "no session had a hang that was diagnosed\n".to_owned();
    }
    let day = |time: &str| time.get(..19).unwrap_or(time).replace('T', " ");
    let mut out = String::new();
    for hang in hangs {
        let mut lines = vec![
            format!("{} of {} sessions: {}", hang.count, hang.of, hang.title),
            format!(
                "  first seen {}, last seen {} in {}",
                day(&hang.first_seen),
                day(&hang.last_seen),
                hang.last_session
            ),
        ];
        let listed = |name: &str, values: &mut dyn Iterator<Item = &String>| {
            let values: Vec<&str> = values.take(6).map(String::as_str).collect();
            (!values.is_empty()).then(|| format!("  {name} {}", values.join(", ")))
        };
        lines.extend(listed("at", &mut hang.functions.iter()));
        lines.extend(listed("tests", &mut hang.tests.iter()));
        lines.extend(listed("labels", &mut hang.labels.iter()));
        lines.push(format!("  site {}, shape {}", hang.site, hang.shape));
        for line in lines {
            out.push_str(&printable(&line));
            out.push('\n');
        }
    }
    out
}

fn prune(args: &PruneArgs, output: &mut Output) -> Result<(), Failure> {
    let log = sessions::log_with(args.log.log_dir.clone(), args.limits.policy());
    let report = sessions::prune(&log, args.dry_run)?;
    match args.format.format {
        Format::Json => output.json(&report),
        Format::Text => {
            let verb = if report.dry_run { "would remove" } else { "removed" };
            let removals = &report.removals.removals;
            let lines = removals.iter().map(|removal| printable(format!("{verb} {removal}")) + "\n");
            output.text(&lines.collect::<String>())?;
            output.text(&format!("{verb} {}\n", value::counted(removals.len() as u64, "session", "sessions")))
        }
    }
}

fn show(args: &ShowArgs, output: &mut Output) -> Result<(), Failure> {
    let shown = match args.layout.layout {
        LayoutArg::Tracer => stored(args)?,
        LayoutArg::Autoskillit => {
            let log = autoskillit_log::path(args.log.log_dir.clone())?;
            autoskillit_log::show(&log, &args.session, false)?
        }
    };
    if !args.reports.is_empty() {
        report::write_stored(&shown, &args.reports)?;
    }
    match args.format.format {
        Format::Json => output.json(&shown),
        Format::Text => {
            for problem in &shown.problems {
                output.note(problem);
            }
            output.text(&text(&shown))
        }
    }
}

/// The session that is meant. A word that can only be a path is the file of an export, and so is the name of
/// an existing file that is no session.
fn stored(args: &ShowArgs) -> Result<StoredTrace, Failure> {
    let path = Path::new(&args.session);
    if args.session.contains('/') {
        return Ok(sessions::read_export(path)?);
    }
    let log = sessions::log(args.log.log_dir.clone());
    let shown = resolve(&log, &args.session).and_then(|name| sessions::show(&log, &name, false));
    if shown.is_err() && path.is_file() {
        return Ok(sessions::read_export(path)?);
    }
    Ok(shown?)
}

fn text(shown: &StoredTrace) -> String {
    let mut out = String::new();
    for (key, value) in facts(&shown.summary) {
        out.push_str(&format!("{key:<12}{}\n", printable(&value)));
    }
    if let Some(verdict) = shown.diagnosis.as_ref().and_then(|diagnosis| diagnosis["verdict"].as_str()) {
        out.push_str(&format!("{:<12}{}\n", "diagnosis", printable(verdict)));
    }
    for file in &shown.files {
        out.push_str(&format!("{:<12}{} ({} bytes)\n", "file", printable(&file.name), file.bytes));
    }
    out.push('\n');
    for line in shown.timeline() {
        out.push_str(&redact::line(&printable(&line)));
        out.push('\n');
    }
    out
}

fn facts(summary: &Summary) -> Vec<(&'static str, String)> {
    let words: Vec<_> =
        summary.cmdline.iter().map(|word| word.0.clone()).map(crate::core::evidence::ByteString).collect();
    let kib =
        |kb: Option<u64>| kb.map_or_else(|| "?".to_owned(), |kb| format!("{:.1} MiB", kb as f64 / 1024.0));
    let end = match (&summary.end_ts, summary.duration_seconds) {
        (Some(end), Some(seconds)) => format!("{end}, after {}", took(seconds)),
        (Some(end), None) => end.clone(),
        (None, _) => "time unknown".to_owned(),
    };
    let processes = &summary.processes;
    let stalls = &summary.stalls;
    let mut facts = vec![
        ("session", summary.dir_name.clone()),
        ("command", redact::argv(&words).join(" ")),
        ("root", format!("pid {} ({})", summary.pid, name(summary.tracked_comm.as_ref()))),
        ("began", summary.start_ts.clone()),
        ("ended", end),
        ("outcome", format!("{} ({})", summary.subtype, summary.termination_reason)),
        (
            "processes",
            format!(
                "{} forked, {} found, {} ended, at most {} at a time",
                processes.forked, processes.found, processes.exited, processes.peak
            ),
        ),
        (
            "stalls",
            format!("{}, the longest {} ms, {} ms in all", stalls.count, stalls.longest_ms, stalls.total_ms),
        ),
        ("memory", format!("at most {} in one process", kib(summary.peak_rss_kb))),
        ("cpu", format!("{:.2} s", summary.cpu_seconds)),
        ("events lost", summary.events_lost.to_string()),
    ];
    if summary.owner_fate != crate::core::summary::OwnerFate::Finished {
        let fate = if summary.owner_fate == crate::core::summary::OwnerFate::Died {
            "died"
        } else {
            "died, and another tracer took over"
        };
        facts.push(("tracer", fate.to_owned()));
    }
    for leaked in &processes.leaked {
        facts.push(("leaked", format!("pid {} ({})", leaked.process.pid, name(leaked.comm.as_ref()))));
    }
    for (key, value) in &summary.labels {
        facts.push(("label", format!("{key}={}", redact::line(value))));
    }
    if summary.degraded {
        facts.push(("degraded", "some lines could not be written".to_owned()));
    }
    facts
}

fn name(comm: Option<&ByteString>) -> String {
    comm.map_or_else(|| "?".to_owned(), ByteString::escaped)
}
