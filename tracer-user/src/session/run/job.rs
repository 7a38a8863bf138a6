//! The job of a `run`: started so that it cannot tell it is watched, and followed to its end.
//!
//! **Terminal.** Tracer and job share one process group, as `env` and `timeout --foreground` do with theirs: the
//! job has the terminal as it would have it alone, and a shell's `fg`, `bg` and `kill %1` reach both. What
//! follows from it:
//! - Ctrl-C and Ctrl-\ reach both at once. The terminal's signals are told by their `si_code`, and are passed
//!   on only to a job that has left our group.
//! - Ctrl-Z must not stop the tracer by itself, since the job may handle or ignore it. The tracer reads the
//!   signal and does nothing; when the job *has* stopped, it stops itself by the same signal, so that the shell
//!   sees its job stopped. The shell continues the group, and so both. A SIGCONT for the tracer alone is passed
//!   on. A background job's SIGTTIN and SIGTTOU go the same way.
//! - A job stopped by SIGSTOP is something to report, not to imitate, where no shell waits to continue us:
//!   then the tracer goes on, and its deadlines with it.
//!
//! **Orphans.** The tracer is no child subreaper unless it is asked to be: the job's orphans go to the process
//! they would go to without us, and `getppid()` tells them what it always told them. The kernel's membership
//! knows them wherever they go; only without kernel events is the adoption worth the difference.
//!
//! **End.** The job stays a zombie until [`Job::reap`], so that its `/proc` entry can still be read and its
//! number cannot be given to anybody else before its records are complete.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;

use crate::core::identity::WaitStatus;
use crate::signals::pidfd::PidFd;
use crate::signals::receive::{Original, Received, Signals, stop_self};
use crate::signals::spawn::{Child, Command, SpawnError, let_go_of_inherited};
use crate::signals::terminal;
use crate::signals::watched::watched;

/// A second request to end counts as impatience when it comes this soon after the first.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Adopt the job's orphans. Needed only where no kernel events follow them.
    pub adopt_orphans: bool,
}

/// A job that has not executed anything yet. Dropped, it ends without having run.
#[derive(Debug)]
pub struct HeldJob {
    child: Child,
}

/// A job that runs, or has ended.
#[derive(Debug)]
pub struct Job {
    child: Child,
    outcome: Option<AsyncFd<OwnedFd>>,
    exit: AsyncFd<OwnedFd>,
    /// The signal that keeps it stopped, if it is.
    stopped: Option<i32>,
}

/// What happens to a job, and to the tracer as its keeper.
#[derive(Debug)]
pub enum JobEvent {
    /// The command's program runs.
    Executed,
    /// The command could not be executed; the job has ended.
    ExecFailed(ExecFailure),
    /// A signal came for us. Pass it on with [`Job::pass_on`].
    Signal(Received),
    /// The job was stopped by this signal, and stays so while we go on.
    Stopped(i32),
    /// The job runs again.
    Continued,
    /// The job and we were stopped, and both go on. Deadlines should be moved by so long.
    Suspended(Duration),
    /// The job has ended. It is a zombie until [`Job::reap`].
    Ended(WaitStatus),
}

/// Why the command could not be executed.
#[derive(Debug)]
pub struct ExecFailure {
    /// What execve(2) said.
    pub error: io::Error,
}

impl ExecFailure {
    /// Nothing of that name was found, which env(1) tells by 127; everything else by 126.
    pub fn not_found(&self) -> bool {
        self.error.raw_os_error() == Some(libc::ENOENT)
    }
}

/// What became of a signal that was to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The job got it from us.
    Sent,
    /// The terminal gave it to the job when it gave it to us.
    HadIt,
    /// The job has ended.
    Gone,
    /// It is nothing that is passed on.
    Ours,
}

/// Forks the job, which then waits for [`HeldJob::release`]. Gives up, in this process, the descriptors that
/// only the job should hold.
pub fn hold(spec: &JobSpec, original: &Original) -> anyhow::Result<HeldJob> {
    let command = Command::new(&spec.argv, std::env::var_os("PATH").as_deref())?;
    if spec.adopt_orphans {
        // The argument only says yes; the attribute is this process's and is not inherited.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("cannot adopt orphans")?;
    }
    let child = Child::fork(&command, original).map_err(|error| match error {
        SpawnError::Command(_) => anyhow::Error::new(error),
        SpawnError::System { .. } => anyhow::Error::new(error).context("cannot start the job"),
    })?;
    let_go_of_inherited().context("cannot give up the job's descriptors")?;
    Ok(HeldJob { child })
}

impl HeldJob {
    /// The process, for its number and its start time.
    pub fn process(&self) -> &PidFd {
        self.child.process()
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.process().pid().as_raw_nonzero().get().cast_unsigned()
    }

    /// Lets it execute. Needs a tokio runtime with I/O.
    pub fn release(mut self) -> anyhow::Result<Job> {
        let outcome = watched(self.child.outcome().try_clone()?).context("cannot watch the job's start")?;
        let exit = self.child.process().as_fd().try_clone_to_owned()?;
        let exit = watched(exit).context("cannot watch the job")?;
        self.child.release().context("cannot let the job start")?;
        Ok(Job { child: self.child, outcome: Some(outcome), exit, stopped: None })
    }
}

impl Job {
    /// The process.
    pub fn process(&self) -> &PidFd {
        self.child.process()
    }

    /// What happens next. Nothing is lost when the future is dropped, so it fits into a `select!`.
    pub async fn next(&mut self, signals: &mut Signals) -> io::Result<JobEvent> {
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
                libc::SIGCHLD => self.look_at_stop()?,
                libc::SIGCONT => {
                    // Without asking whether the job is stopped: it may be about to. One too many harms nobody.
                    if !received.from_terminal() {
                        self.child.process().send(Signal::CONT)?;
                    }
                    None
                }
                // The job got these as well and decides; see the module's text.
                libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => None,
                _ => Some(JobEvent::Signal(received)),
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Passes a signal on to the job, unless the terminal did already.
    pub fn pass_on(&self, received: &Received) -> io::Result<Passed> {
        let process = self.child.process();
        let Some(signal) = Signal::from_named_raw(received.signal).filter(|_| received.is_for_the_job())
        else {
            return Ok(Passed::Ours);
        };
        if received.from_terminal() && terminal::shares_our_group(process.pid()) == Some(true) {
            return Ok(Passed::HadIt);
        }
        Ok(if process.send(signal)? { Passed::Sent } else { Passed::Gone })
    }

    /// Takes the ended job out of the process table. `None` while it lives.
    pub fn reap(&self) -> io::Result<Option<WaitStatus>> {
        self.child.process().reap_child()
    }

    /// After a SIGCHLD: whether the job stopped or goes on, and we with it.
    fn look_at_stop(&mut self) -> io::Result<Option<JobEvent>> {
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

    /// Whether a shell would have seen its job stop, had it not put us in between.
    fn stops_us(&self, signal: i32) -> bool {
        terminal::shares_our_group(self.child.process().pid()) == Some(true)
            && terminal::has_job_control()
            && (signal != libc::SIGSTOP || terminal::ours_is_in_foreground())
    }
}

/// Whether somebody who asked the tracer to end asks again, and means it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    asked: Option<Instant>,
}

impl Patience {
    /// Takes note of a signal that came `at`. True when it is a second Ctrl-C, or a second request to end, soon
    /// after the first: then the tracer ends at once and leaves the session to be recovered.
    pub fn ends_with(&mut self, received: &Received, at: Instant) -> bool {
        if !matches!(received.signal, libc::SIGINT | libc::SIGQUIT) {
            return false;
        }
        let before = self.asked.replace(at);
        before.is_some_and(|before| at.saturating_duration_since(before) < IMPATIENCE)
    }
}

/// Waits for the child's word about its exec: `None` when it runs. For ever, once that was told.
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
