//! The job of a `run`: started so that it cannot notice the tracer, and followed to its end.
//!
//! **Terminal.** Tracer and job share one process group, as `env` and `timeout --foreground` do with theirs:
//! the job has the terminal as it would have it alone, and a shell's `fg`, `bg` and `kill %1` reach both. It
//! follows that:
//! - Ctrl-C and Ctrl-\ reach both at once. The terminal's signals are recognized by their `si_code`, and are
//!   passed on only to a job that has left the process group.
//! - Ctrl-Z must not stop the tracer by itself, since the job may handle or ignore it. The tracer reads the
//!   signal and does nothing. When the job *has* stopped, the tracer stops itself by the same signal, so that
//!   the shell sees its job stopped. The shell continues the group, and so both. A SIGCONT for the tracer
//!   alone is passed on. SIGTTIN and SIGTTOU of a background job are treated the same way.
//! - A job that was stopped by SIGSTOP is reported, and not imitated, where no shell waits to continue it:
//!   then the tracer continues, and its deadlines with it.
//!
//! **Orphans.** The tracer is no child subreaper unless that is requested: orphans of the job are reparented
//! to the process to which they would go without the tracer, and `getppid()` returns what it always returned.
//! The kernel's membership follows them wherever they go. Only without kernel events is the adoption worth
//! the difference.
//!
//! **End.** The job stays a zombie until [`Job::reap`], so that its `/proc` entry can still be read, and its
//! pid cannot be reused before its records are complete.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;

use crate::core::identity::WaitStatus;
use crate::procfs_view::{ProcRoot, table};
use crate::signals::pidfd::PidFd;
use crate::signals::receive::{OriginalSignals, ReceivedSignal, SignalStream, stop_self};
use crate::signals::spawn::{HeldChild, JobCommand, release_inherited_descriptors};
use crate::signals::terminal;
use crate::signals::watched::watched;

/// A second request to end, this soon after the first, ends the tracer at once.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// A job that has not executed anything yet. If it is dropped, it ends without having run.
#[derive(Debug)]
pub struct HeldJob {
    child: HeldChild,
    problem: Option<String>,
}

/// A job that runs, or has ended.
#[derive(Debug)]
pub struct Job<'c> {
    child: &'c HeldChild,
    outcome: Option<AsyncFd<OwnedFd>>,
    exit: AsyncFd<OwnedFd>,
    /// The signal that keeps it stopped, if it is.
    stopped: Option<i32>,
}

/// What happens to a job, and to the tracer as its parent.
#[derive(Debug)]
pub enum JobEvent {
    /// The command's program runs.
    Executed,
    /// The command could not be executed; the job has ended.
    ExecFailed(ExecFailure),
    /// The tracer received a signal. Pass it on with [`Job::pass_on`].
    Signal(ReceivedSignal),
    /// The job was stopped by this signal, and the tracer continues.
    Stopped(i32),
    /// The job runs again.
    Continued,
    /// Job and tracer were stopped together for this long, and both continue. Deadlines move by this much.
    Suspended(Duration),
    /// The job has ended. It is a zombie until [`Job::reap`].
    Ended(WaitStatus),
}

/// Why the command could not be executed.
#[derive(Debug)]
pub struct ExecFailure {
    /// The error of execve(2).
    pub error: io::Error,
}

impl ExecFailure {
    /// The command was not found: env(1) exits with 127 then, and with 126 for any other error.
    pub fn not_found(&self) -> bool {
        self.error.raw_os_error() == Some(libc::ENOENT)
    }
}

/// What was done with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOn {
    /// It was sent to the job.
    Sent,
    /// The terminal sent it to the job as well.
    AlreadyReceived,
    /// The job has ended.
    Gone,
    /// Such a signal is not passed on.
    NotForJob,
}

/// Forks the job, which then waits for [`HeldJob::release`]. Closes, in this process, the descriptors that
/// only the job should hold.
/// `adopt_orphans`: adopt the job's orphans. Needed only without kernel events, which follow them.
pub fn hold(
    command: &JobCommand,
    original: &OriginalSignals,
    adopt_orphans: bool,
) -> anyhow::Result<HeldJob> {
    if adopt_orphans {
        // The argument only means yes. The attribute is of this process, and is not inherited.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("cannot adopt orphans")?;
    }
    let child = HeldChild::fork(command, original).context("cannot start the job")?;
    let released = table::own_descriptors(&ProcRoot::system())
        .map_err(std::io::Error::other)
        .and_then(|open| release_inherited_descriptors(&open));
    let problem =
        released.err().map(|error| format!("the tracer keeps descriptors of the job open: {error}"));
    Ok(HeldJob { child, problem })
}

/// Executes the command in this process, without a tracer. Returns only when that fails.
///
/// # Errors
/// When there is no command that could be executed.
pub fn execute_bare(argv: &[OsString]) -> anyhow::Result<ExecFailure> {
    let command = JobCommand::new(argv, std::env::var_os("PATH").as_deref())?;
    Ok(ExecFailure { error: command.execute_here(None) })
}

impl HeldJob {
    /// The process, for its pid and its start time.
    pub fn process(&self) -> &PidFd {
        self.child.process()
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.process().pid().as_raw_nonzero().get().cast_unsigned()
    }

    /// The child.
    pub fn child(&self) -> &HeldChild {
        &self.child
    }

    /// What went wrong although the job is held.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Lets it execute. Needs a tokio runtime with I/O.
    pub fn release(&self) -> anyhow::Result<Job<'_>> {
        let outcome = watched(self.child.outcome().try_clone()?).context("cannot watch the job's start")?;
        let exit = self.child.process().as_fd().try_clone_to_owned()?;
        let exit = watched(exit).context("cannot watch the job")?;
        self.child.release().context("cannot let the job start")?;
        Ok(Job { child: &self.child, outcome: Some(outcome), exit, stopped: None })
    }
}

impl Job<'_> {
    /// The process.
    pub fn process(&self) -> &PidFd {
        self.child.process()
    }

    /// The next event. Nothing is lost when the future is dropped, so it fits into a `select!`.
    pub async fn next(&mut self, signals: &mut SignalStream) -> io::Result<JobEvent> {
        loop {
            let received = tokio::select! {
                biased;
                outcome = executed(self.outcome.as_ref()) => {
                    self.outcome = None;
                    return Ok(match outcome? {
                        None => JobEvent::Executed,
                        Some(error) => JobEvent::ExecFailed(ExecFailure { error }),
                    });
                }
                status = ended(&self.exit, self.child.process()) => return Ok(JobEvent::Ended(status?)),
                received = signals.next() => received?,
            };
            let event = match received.signal {
                libc::SIGCHLD => self.check_stop()?,
                libc::SIGCONT => {
                    // Whether or not the job is stopped: it may be about to stop, and one SIGCONT too many is
                    // harmless.
                    if !received.from_terminal() {
                        // A job of another user cannot be sent signals, which changes nothing else.
                        let _ = self.child.process().send(Signal::CONT);
                    }
                    None
                }
                // The job received these as well, and decides. See the module's text.
                libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => None,
                _ => Some(JobEvent::Signal(received)),
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Passes a signal on to the job, unless the terminal sent it to the job as well.
    pub fn pass_on(&self, received: &ReceivedSignal) -> io::Result<PassOn> {
        let process = self.child.process();
        let Some(signal) = Signal::from_named_raw(received.signal).filter(|_| received.is_for_the_job())
        else {
            return Ok(PassOn::NotForJob);
        };
        if received.from_terminal() && terminal::shares_our_group(process.pid()) == Some(true) {
            return Ok(PassOn::AlreadyReceived);
        }
        Ok(if process.send(signal)? { PassOn::Sent } else { PassOn::Gone })
    }

    /// Reaps the ended job; `None` while it lives.
    pub fn reap(&self) -> io::Result<Option<WaitStatus>> {
        self.child.process().reap_child()
    }

    /// After a SIGCHLD: the job stopped or continued, and the tracer with it.
    fn check_stop(&mut self) -> io::Result<Option<JobEvent>> {
        let now = self.child.process().stopped_child()?;
        let before = std::mem::replace(&mut self.stopped, now);
        match (before, now) {
            (None, Some(signal)) if self.stops_us(signal) => {
                let since = Instant::now();
                stop_self(signal)?;
                Ok(Some(JobEvent::Suspended(since.elapsed())))
            }
            (None, Some(signal)) => Ok(Some(JobEvent::Stopped(signal))),
            (Some(_), None) => Ok(Some(JobEvent::Continued)),
            _ => Ok(None),
        }
    }

    /// Without the tracer in between, a shell would have seen its job stop.
    fn stops_us(&self, signal: i32) -> bool {
        terminal::shares_our_group(self.child.process().pid()) == Some(true)
            && terminal::has_job_control()
            && (signal != libc::SIGSTOP || terminal::ours_is_in_foreground())
    }
}

/// Detects a second request to end, soon after the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    asked: Option<Instant>,
}

impl Patience {
    /// Takes a signal that was received `at`. True when it is a second Ctrl-C, or a second request to end,
    /// soon after the first: then the tracer ends at once, and leaves the session to be recovered.
    pub fn ends_with(&mut self, received: &ReceivedSignal, at: Instant) -> bool {
        if !matches!(received.signal, libc::SIGINT | libc::SIGQUIT) {
            return false;
        }
        let before = self.asked.replace(at);
        before.is_some_and(|before| at.saturating_duration_since(before) < IMPATIENCE)
    }
}

/// Waits for the result of the child's exec: `None` when it succeeded. Never returns once that was reported.
async fn executed(pipe: Option<&AsyncFd<OwnedFd>>) -> io::Result<Option<io::Error>> {
    let Some(pipe) = pipe else { return std::future::pending().await };
    loop {
        let mut ready = pipe.readable().await?;
        let mut bytes = [0; 4];
        let read = ready.try_io(|pipe| rustix::io::read(pipe, &mut bytes).map_err(io::Error::from));
        return match read {
            Err(_) => continue,
            Ok(Ok(0)) => Ok(None),
            Ok(Ok(4)) => Ok(Some(io::Error::from_raw_os_error(i32::from_ne_bytes(bytes)))),
            Ok(Ok(_)) => Err(io::ErrorKind::InvalidData.into()),
            Ok(Err(error)) => Err(error),
        };
    }
}

async fn ended(exit: &AsyncFd<OwnedFd>, process: &PidFd) -> io::Result<WaitStatus> {
    loop {
        let mut ready = exit.readable().await?;
        if let Some(status) = process.peek_child()? {
            return Ok(status);
        }
        ready.clear_ready();
    }
}
