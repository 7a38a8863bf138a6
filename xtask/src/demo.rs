//! `cargo xtask demo`: runs a program that hangs, under the tool.
//!
//! The program is this one: a parent starts a child with its stdout in a pipe and waits for the child's exit
//! before it reads the pipe. The child fills the pipe and can never exit.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::exec::{shown, status};
use crate::run;
use crate::workspace::as_root;

/// The child writes this many lines: more than the 64 KiB that a pipe holds.
const CHILD_LINES: u32 = 20_000;
/// The tool's exit status for a job that was ended by `--timeout`.
const ENDED_BY_TIMEOUT: i32 = 124;

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Enlarge the full pipe instead of ending the program, so that it finishes
    #[arg(long)]
    relieve: bool,
}

/// Runs the hanging program under `tracer-user run`, with directories of its own.
///
/// # Errors
/// When the tool does not build or does not exit as expected.
pub fn run(args: &Args) -> Result<()> {
    let tool = run::build_quickly()?;
    let place = tempfile::tempdir_in(memory()).context("cannot create a temporary directory")?;
    let this = env::current_exe().context("cannot find this program")?;
    println!(
        "A parent waits for its child's exit before it reads the child's output, and the child writes a lot.\n"
    );
    let mut traced = as_root(tool);
    traced.args(["run", "--events", "--stall-threshold", "500ms", "--timeout", "3s", "--grace", "500ms"]);
    let expected = if args.relieve {
        traced.args(["--hang-after", "1s", "--on-hang", "relieve"]);
        0
    } else {
        ENDED_BY_TIMEOUT
    };
    traced.arg("--trace-dir").arg(place.path().join("traces")).arg("--log-dir").arg(place.path().join("log"));
    traced.arg("--").arg(this).arg("demo-parent");
    let ended = status(&mut traced)?;
    if ended.code() != Some(expected) {
        bail!("`{}` should have exited with {expected}: {ended}", shown(&traced));
    }
    Ok(())
}

/// A directory in memory for traces.
#[must_use]
pub fn memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_path_buf() } else { env::temp_dir() }
}

/// The parent.
///
/// # Errors
/// When the child cannot be started or waited for.
pub fn parent() -> Result<()> {
    let mut child = Command::new(env::current_exe()?).arg("demo-child").stdout(Stdio::piped()).spawn()?;
    let ended = child.wait()?;
    let mut output = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().context("no pipe")?, &mut output)?;
    println!("the child wrote {} bytes, {ended}", output.len());
    Ok(())
}

/// The child.
///
/// # Errors
/// When the pipe is closed.
pub fn child() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in 0..CHILD_LINES {
        writeln!(out, "{line}: still running")?;
    }
    Ok(())
}
