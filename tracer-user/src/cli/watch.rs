//! `watch`: the wait tree of a job, drawn again and again.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::termios::tcgetwinsize;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::value;
use crate::core::diagnosis::Diagnosis;
use crate::core::report::wait_lines;
use crate::core::text::printable;
use crate::session::diagnose::{self, DiagnoseOptions, DiagnoseScope};

/// Clears the screen, and puts the cursor into its first row.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// Rows of a screen whose size is unknown.
const ROWS: u16 = 24;

/// Arguments of the verb.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The process with this pid and its descendants [default: the one session that is traced now]
    #[arg(value_name = "PID", value_parser = value::pid, conflicts_with = "session")]
    pid: Option<u32>,
    /// The live session with this id; a unique prefix is enough
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Print the tree once; without a terminal nothing else is done
    #[arg(long)]
    once: bool,
    /// Time between two trees
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = value::positive_duration)]
    every: Duration,
    /// The directory of live sessions [default: as for run]
    #[arg(long, value_name = "DIR")]
    trace_dir: Option<PathBuf>,
}

/// Draws the tree until the job is gone.
pub fn execute(args: Args, output: &mut Output) -> Result<Exit, Failure> {
    let scope = match args.pid {
        Some(pid) => DiagnoseScope::Tree(pid),
        // Every id begins with nothing: that is the one session there is.
        None => DiagnoseScope::Session { id: args.session.unwrap_or_default(), trace_dir: args.trace_dir },
    };
    let quiet_window = Duration::from_millis(400).min(args.every / 2);
    let options = DiagnoseOptions { scope, quiet_window, stacks: false };
    let first = diagnose::diagnose(&options).context("watch")?.diagnosis;
    if args.once || !std::io::stdout().is_terminal() {
        output.text(&text(&first, usize::MAX, usize::MAX))?;
        return Ok(Exit::Success);
    }
    let mut diagnosis = first;
    loop {
        let drawn = Instant::now();
        let (rows, columns) = size();
        output.text(&format!("{CLEAR}{}", text(&diagnosis, rows, columns)))?;
        std::thread::sleep(args.every.saturating_sub(quiet_window).saturating_sub(drawn.elapsed()));
        diagnosis = match diagnose::diagnose(&options) {
            Ok(answer) if answer.diagnosis.waits.processes.is_empty() => break,
            Ok(answer) => answer.diagnosis,
            // Its processes are gone, and with them what is to be watched.
            Err(_) => break,
        };
    }
    output.note("watch: the job has ended");
    Ok(Exit::Success)
}

/// Rows and columns of the terminal.
fn size() -> (usize, usize) {
    let size = tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or((usize::from(ROWS), 80), |size| (size.ws_row.into(), size.ws_col.into()))
}

/// The verdict and the tree, cut to a screen.
fn text(diagnosis: &Diagnosis, rows: usize, columns: usize) -> String {
    let mut out = format!("{}\n", cut(&format!("verdict: {}", diagnosis.verdict.id()), columns));
    // One row for the verdict, one for what is left out, one for the cursor.
    for line in wait_lines(&diagnosis.waits, rows.saturating_sub(3)) {
        out.push_str(&cut(&printable(&line), columns));
        out.push('\n');
    }
    out
}

fn cut(line: &str, columns: usize) -> String {
    line.chars().take(columns).collect()
}
