//! A job without a session: the tracer cannot keep one, or it broke off.

use anyhow::Context as _;

use super::end::{JobOutcome, RunEnd};
use super::job::{ExecFailure, HeldJob};
use crate::core::identity::WaitStatus;
use crate::core::record::{EndReason, SessionId};
use crate::session::live::{Observer, SessionEvent};
use crate::session::options::RunOptions;
use crate::signals::plain::{self, PlainEnd};
use crate::signals::receive::OriginalSignals;
use crate::signals::spawn::JobCommand;

/// A message that belongs to no session.
pub fn notice(observer: &mut dyn Observer, text: &str) {
    if let Ok(none) = SessionId::parse("untraced") {
        observer.observe(&none, SessionEvent::Notice(text));
    }
}

/// The last resort: executes the command in this process.
pub fn become_the_job(
    options: &RunOptions,
    command: &JobCommand,
    original: Option<&OriginalSignals>,
    error: anyhow::Error,
    observer: &mut dyn Observer,
) -> anyhow::Result<RunEnd> {
    if options.require_tracing {
        return Err(error);
    }
    notice(observer, &format!("the job runs without being traced, and without a time limit: {error:#}"));
    // The exec ends the thread that writes the message. Counting what is not written waits for it a moment.
    observer.undelivered();
    let error = command.execute_here(original);
    Ok(RunEnd::without_session(JobOutcome::NotExecuted(ExecFailure { error }), None))
}

/// Follows a job without a session to its end. `ended`: its status, if it is known already.
pub fn follow(options: &RunOptions, held: &HeldJob, ended: Option<WaitStatus>) -> anyhow::Result<RunEnd> {
    let child = held.child();
    if let Some(status) = ended {
        // It may have been reaped already.
        let _ = child.process().reap_child();
        return Ok(RunEnd::without_session(JobOutcome::Ended(status), None));
    }
    child.release().context("cannot let the job start")?;
    let end =
        plain::follow(child, options.limits.timeout, options.watch.grace).context("cannot follow the job")?;
    if let Some(error) = child.exec_error() {
        return Ok(RunEnd::without_session(JobOutcome::NotExecuted(ExecFailure { error }), None));
    }
    Ok(match end {
        PlainEnd::Ended { status, timed_out } => {
            RunEnd::without_session(JobOutcome::Ended(status), timed_out.then_some(EndReason::Timeout))
        }
        PlainEnd::Survived => RunEnd::without_session(JobOutcome::LeftAlone(libc::SIGKILL), None),
    })
}
