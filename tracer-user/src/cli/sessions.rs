//! `sessions`: arguments, and the session log as a table, a timeline or JSON.

use std::path::PathBuf;
use std::time::Duration;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::shared::LayoutArg;
use super::value::{self, Format, FormatArg};
use crate::core::redact;
use crate::core::summary::{IndexRow, Summary};
use crate::core::text::ByteString;
use crate::core::text::printable;
use crate::session::autoskillit_log;
use crate::session::sessions::{self, SessionFilter, SessionListing, StoredTrace};

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
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
    /// Only sessions that began within this duration, or since a time such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Only sessions with this label; without a value, with any value
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Only sessions with this outcome: success, failed, killed, timeout, hang, interrupted, rebooted,
    /// unknown
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
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
    /// The session, by the name that `sessions list` shows
    session: String,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    layout: ReadLayout,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(clap::Args, Debug)]
struct ExportArgs {
    /// The sessions, by the names that `sessions list` shows; without --to only one
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<String>,
    /// The layout in which --to writes
    #[arg(long, value_enum, value_name = "LAYOUT", help_heading = "Files")]
    layout: Option<LayoutArg>,
    /// Add the sessions to AutoSkillit's log in this directory
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    to: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(clap::Args, Debug)]
struct AttachArgs {
    /// The session, by the name that `sessions list` shows
    session: String,
    /// The files; each keeps its name
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(clap::Args, Debug)]
struct ProtectArgs {
    /// The sessions, by the names that `sessions list` shows
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<String>,
    /// Undo: make them subject to retention again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Clone, Copy, Debug)]
enum Since {
    Ago(Duration),
    At(jiff::Timestamp),
}

fn since(argument: &str) -> Result<Since, String> {
    if let Ok(at) = argument.parse() {
        return Ok(Since::At(at));
    }
    value::duration(argument)
        .map(Since::Ago)
        .map_err(|_| "neither a duration such as 2h nor a time such as 2026-11-21T08:00:00Z".to_owned())
}

fn label(argument: &str) -> Result<(String, String), String> {
    if argument.contains('=') { value::key_value(argument) } else { Ok((argument.to_owned(), String::new())) }
}

/// Runs the sub-command.
pub fn execute(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    match &args.command {
        Command::List(args) => list(args, output)?,
        Command::Show(args) => show(args, output)?,
        Command::Export(args) => export(args, output)?,
        Command::Attach(args) => return attach(args, output),
        Command::Protect(args) => {
            sessions::protect(&sessions::log(args.log.log_dir.clone()), &args.sessions, !args.off)?;
            let how = if args.off { "subject to retention again" } else { "excluded from retention" };
            output.note(&format!("{}: {how}", args.sessions.join(", ")));
        }
        Command::Clear(args) => {
            let from = sessions::clear(&sessions::log(args.log_dir.clone()))?;
            output.note(&format!("listings begin at {from}"));
        }
    }
    Ok(Exit::Success)
}

fn export(args: &ExportArgs, output: &mut Output) -> Result<(), Failure> {
    let log = sessions::log(args.log.log_dir.clone());
    match (&args.to, args.layout, args.sessions.as_slice()) {
        (Some(to), Some(LayoutArg::Autoskillit), names) => {
            for name in names {
                let added = autoskillit_log::export(&log, name, to)?;
                let how = if added.already { "was there already as" } else { "is there as" };
                output.note(&format!("{name}: {how} {}", to.join("sessions").join(added.dir_name).display()));
            }
            Ok(())
        }
        (None, _, [name]) => output.json(&sessions::show(&log, name, true)?),
        (None, ..) => {
            Err(Failure::usage("sessions export: one session at a time is printed; --to adds several"))
        }
        (Some(_), ..) => Err(Failure::usage("sessions export: --to needs --layout autoskillit")),
    }
}

fn attach(args: &AttachArgs, output: &mut Output) -> Result<Exit, Failure> {
    let log = sessions::log(args.log.log_dir.clone());
    let (attached, problems) = sessions::attach(&log, &args.session, &args.files)?;
    for problem in &problems {
        output.note(problem);
    }
    output.note(&format!("{}: {attached} file(s) attached", args.session));
    Ok(if problems.is_empty() { Exit::Success } else { Exit::Failed })
}

fn list(args: &ListArgs, output: &mut Output) -> Result<(), Failure> {
    let now = crate::session::clock::anchor().wall;
    let filter = SessionFilter {
        since: args.since.map(|since| match since {
            Since::At(at) => at,
            Since::Ago(ago) => now.checked_sub(ago).unwrap_or(jiff::Timestamp::MIN),
        }),
        labels: args.labels.clone(),
        outcome: args.outcome.clone(),
        include_cleared: args.all,
        limit: args.limit,
    };
    let log_dir = args.log.log_dir.clone();
    let listing = match args.layout.layout {
        LayoutArg::Tracer => sessions::list(&sessions::log(log_dir), &filter)?,
        LayoutArg::Autoskillit => autoskillit_log::list(&autoskillit_log::path(log_dir)?, &filter)?,
    };
    match args.format.format {
        Format::Json => output.json(&listing),
        Format::Text => {
            for problem in &listing.problems {
                output.note(problem);
            }
            output.text(&table(&listing))
        }
    }
}

/// Longer cells move what follows them; a name in a file of another version may have any length.
const WIDEST_COLUMN: usize = 64;

fn table(listing: &SessionListing) -> String {
    if listing.sessions.is_empty() {
        return "no sessions\n".to_owned();
    }
    let head = ["SESSION", "BEGAN", "TOOK", "OUTCOME", "STALLS", "ANOMALIES", "LABELS", "COMMAND"]
        .map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(listing.sessions.iter().map(row)).collect();
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count()).min(WIDEST_COLUMN);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(row: &IndexRow) -> [String; 8] {
    let labels: Vec<_> =
        row.labels.iter().map(|(key, value)| format!("{key}={}", redact::line(value))).collect();
    let began = row.timestamp.get(..19).unwrap_or(&row.timestamp).replace('T', " ");
    [
        printable(&row.dir_name),
        printable(&began),
        row.duration_seconds.map_or_else(|| "?".to_owned(), took),
        outcome(row),
        row.stall_count.to_string(),
        row.anomaly_count.to_string(),
        printable(labels.join(",")),
        redact::line(&row.command.escaped()),
    ]
}

fn outcome(row: &IndexRow) -> String {
    let owner = match row.owner_fate {
        crate::core::summary::OwnerFate::Finished => "",
        crate::core::summary::OwnerFate::Died => ", tracer died",
        crate::core::summary::OwnerFate::Adopted => ", taken over",
    };
    printable(format!("{} ({}{owner})", row.subtype, row.termination_reason))
}

fn took(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0) / 60.0),
    }
}

fn show(args: &ShowArgs, output: &mut Output) -> Result<(), Failure> {
    let log_dir = args.log.log_dir.clone();
    let shown = match args.layout.layout {
        LayoutArg::Tracer => sessions::show(&sessions::log(log_dir), &args.session, false)?,
        LayoutArg::Autoskillit => {
            autoskillit_log::show(&autoskillit_log::path(log_dir)?, &args.session, false)?
        }
    };
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
