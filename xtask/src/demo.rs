//! `cargo xtask demo`: a program that hangs as jobs do, under the tool.
//!
//! The program is this one: a parent starts a chatty child with its stdout in a pipe, and waits for the child to end
//! before it reads the pipe. The child fills the pipe and can never end.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::exec::{shown, status};
use crate::run;
use crate::workspace::as_root;

/// What the child writes: more than the 64 KiB a pipe holds.
const CHATTER_LINES: u32 = 20_000;
/// The tool's own status for a job that was ended because its time was up.
const ENDED_BY_TIMEOUT: i32 = 124;

/// What can be asked of this task.
#[derive(clap::Args)]
pub struct Args {
    /// Enlarges the full pipe instead of ending the program, which then finishes
    #[arg(long)]
    relieve: bool,
}

/// Runs the hanging program under `tracer-user run`, in folders of its own.
///
/// # Errors
/// When the tool does not build, does not run, or neither ends the hanging program nor lets it finish.
pub fn run(args: &Args) -> Result<()> {
    let tool = run::build_quickly()?;
    let place = tempfile::tempdir_in(memory()).context("cannot make a temporary folder")?;
    let this = env::current_exe().context("cannot find this program")?;
    println!(
        "A parent waits for its child to end before it reads the child's output; the child has much to say.\n"
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
        bail!("`{}` was to end with {expected}: {ended}", shown(&traced));
    }
    Ok(())
}

/// A place in memory, where traces belong.
#[must_use]
pub fn memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_path_buf() } else { env::temp_dir() }
}

/// The hanging program.
///
/// # Errors
/// When its child cannot be started or waited for.
pub fn parent() -> Result<()> {
    let mut child = Command::new(env::current_exe()?).arg("demo-child").stdout(Stdio::piped()).spawn()?;
    let ended = child.wait()?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().context("no pipe")?, &mut said)?;
    println!("the child said {} bytes, {ended}", said.len());
    Ok(())
}

/// Its child.
///
/// # Errors
/// When nobody reads what it says any more.
pub fn child() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in 0..CHATTER_LINES {
        writeln!(out, "{line}: all is well")?;
    }
    Ok(())
}
