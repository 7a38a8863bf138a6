//! `cargo xtask guard` (internal): runs one test program with a time limit.
//!
//! `cargo xtask test` makes cargo run every test program through this. A program that hangs is diagnosed by
//! the tool under test and then ended with everything it started, so that it does not block the whole run.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::exec::shown;

/// The limit. On an idle machine no test program takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Limit of a diagnosis, which takes about a second.
const DIAGNOSIS: Duration = Duration::from_secs(30);
/// The exit status of timeout(1).
const TIMED_OUT: i32 = 124;

/// Arguments of the task.
#[derive(clap::Args)]
pub struct Args {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// The cargo option that makes cargo run every test program through this task.
///
/// # Errors
/// When the path of this program is unknown.
pub fn cargo_option() -> Result<String> {
    let me = std::env::current_exe().context("the path of this program")?;
    let runner = serde_json::to_string(&[me.to_string_lossy().as_ref(), "guard", "--"])?;
    Ok(format!("target.'cfg(all())'.runner={runner}"))
}

/// Runs the program and exits with its status.
///
/// # Errors
/// When it cannot be started or watched.
pub fn run(args: &Args) -> Result<()> {
    let Some((program, words)) = args.command.split_first() else { return Ok(()) };
    let ended = watch(Command::new(program).args(words), LIMIT)?;
    let code = ended.map_or(TIMED_OUT, |status| {
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(TIMED_OUT)
    });
    std::process::exit(code);
}

/// Runs a program for at most `limit`. `None`: it took longer, was diagnosed, and was ended.
///
/// # Errors
/// When it cannot be started or watched.
fn watch(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    let pid = Pid::from_child(&child);
    // It is our child and not reaped, so the pid cannot have been reused.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
    if has_ended(&pidfd, limit)? {
        return Ok(Some(child.wait()?));
    }
    eprintln!("`{}` has been running for {} s and is ended. Diagnosis:", shown(command), limit.as_secs());
    if let Err(error) = diagnose(pid) {
        eprintln!("no diagnosis: {error:#}");
    }
    // Opened while their parents live, so that no pid has been reused.
    let started: Vec<OwnedFd> = descendants(pid)
        .into_iter()
        .filter_map(|pid| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok())
        .collect();
    for process in std::iter::once(&pidfd).chain(&started) {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
    child.wait()?;
    Ok(None)
}

fn has_ended(process: &OwnedFd, limit: Duration) -> Result<bool> {
    let timeout = Timespec { tv_sec: i64::try_from(limit.as_secs())?, tv_nsec: limit.subsec_nanos().into() };
    Ok(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)).context("poll")? > 0)
}

fn diagnose(pid: Pid) -> Result<()> {
    let me = std::env::current_exe()?;
    let mut diagnosis = Command::new(me.with_file_name("tracer-user"))
        .args(["diagnose", "--pid", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .spawn()
        .context("cannot start tracer-user")?;
    let process = pidfd_open(Pid::from_child(&diagnosis), PidfdFlags::empty())?;
    if !has_ended(&process, DIAGNOSIS)? {
        diagnosis.kill()?;
    }
    diagnosis.wait()?;
    Ok(())
}

/// All descendants of a process, as far as the kernel lists children.
fn descendants(of: Pid) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut next = vec![of.as_raw_nonzero().get()];
    while let Some(pid) = next.pop() {
        let threads = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            next.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .filter(|pid| found.insert(*pid)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_in_time_passes_its_status_on() {
        let ended = watch(Command::new("sh").args(["-c", "exit 7"]), LIMIT).unwrap();
        assert_eq!(ended.and_then(|status| status.code()), Some(7));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_its_descendants() {
        // Only the grandchild holds the write end of the FIFO, until it is ended.
        let place = tempfile::tempdir().unwrap();
        let fifo = place.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let script = "sh -c 'sleep 1000' > \"$0\" & wait";
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::read(fifo)
        });
        let ended = watch(Command::new("sh").args(["-c", script]).arg(&fifo), Duration::from_millis(300));
        assert!(ended.unwrap().is_none());
        assert_eq!(reader.join().unwrap().unwrap(), b"", "end of file means that no writer is left");
    }
}
