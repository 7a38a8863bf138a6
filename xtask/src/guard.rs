//! `cargo xtask guard`: runs one test program and lets it take only so long.
//!
//! `cargo xtask test` has cargo run every test program through this, so that one that hangs costs its own time and not
//! everybody's: why it hangs is told by the tool that is tested here, and then it is ended with all that it started.

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

/// No test program takes a tenth of it on an idle machine.
const MOST: Duration = Duration::from_secs(15 * 60);
/// A diagnosis takes a second.
const DIAGNOSIS: Duration = Duration::from_secs(30);
/// What `timeout` ends with.
const TIMED_OUT: i32 = 124;

/// What is to be run.
#[derive(clap::Args)]
pub struct Args {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// Cargo's option by which this runs every test program.
///
/// # Errors
/// When this program's own path is not to be had.
pub fn cargo_option() -> Result<String> {
    let me = std::env::current_exe().context("the path of this program")?;
    let runner = serde_json::to_string(&[me.to_string_lossy().as_ref(), "guard", "--"])?;
    Ok(format!("target.'cfg(all())'.runner={runner}"))
}

/// Runs the program and ends as it does.
///
/// # Errors
/// When it cannot be started or watched.
pub fn run(args: &Args) -> Result<()> {
    let Some((program, words)) = args.command.split_first() else { return Ok(()) };
    let ended = watch(Command::new(program).args(words), MOST)?;
    let code = ended.map_or(TIMED_OUT, |status| {
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(TIMED_OUT)
    });
    std::process::exit(code);
}

/// Runs a program for at most so long. `None`: it took longer and was ended, after it was told why.
///
/// # Errors
/// When it cannot be started or watched.
fn watch(command: &mut Command, most: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    let pid = Pid::from_child(&child);
    // Our child, not reaped: the number is its.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
    if has_ended(&pidfd, most)? {
        return Ok(Some(child.wait()?));
    }
    eprintln!("`{}` has run for {} s and is ended. Why it hangs:", shown(command), most.as_secs());
    if let Err(error) = diagnose(pid) {
        eprintln!("cannot be said: {error:#}");
    }
    // Opened while their parents live, so that each number is still its process's.
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

fn has_ended(process: &OwnedFd, most: Duration) -> Result<bool> {
    let most = Timespec { tv_sec: i64::try_from(most.as_secs())?, tv_nsec: most.subsec_nanos().into() };
    Ok(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&most)).context("poll")? > 0)
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

/// Everything below a process, as far as the kernel lists children.
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
    fn a_program_that_ends_in_time_hands_its_status_on() {
        let ended = watch(Command::new("sh").args(["-c", "exit 7"]), MOST).unwrap();
        assert_eq!(ended.and_then(|status| status.code()), Some(7));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_below_it() {
        // Both ends of the FIFO are open in the grandchild alone, until it goes.
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
        assert_eq!(reader.join().unwrap().unwrap(), b"", "the end of file comes when nobody writes");
    }
}
