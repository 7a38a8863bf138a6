//! Follows a job with nothing but its pidfd: for when the session cannot be kept.
//!
//! No event loop, no new descriptor and no file is needed, so that this works when all of that has failed.
//! Signals are passed on and the time limit is kept.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::receive::wait_for_signal;
use super::spawn::HeldChild;
use super::terminal;
use crate::core::identity::WaitStatus;

/// How long a signal is waited for before the job is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What a job that reached its time limit is sent, in order.
const ESCALATION: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::KILL];

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainEnd {
    /// With this status. `timed_out`: it was ended for its time limit.
    Ended {
        /// Its status.
        status: WaitStatus,
        /// It had reached its time limit.
        timed_out: bool,
    },
    /// It survived SIGKILL.
    Survived,
}

/// Follows a released job to its end, and reaps it.
///
/// # Errors
/// When it is not a child of this process, or was reaped already.
pub fn follow(child: &HeldChild, timeout: Option<Duration>, grace: Duration) -> io::Result<PlainEnd> {
    let mut due = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut steps = ESCALATION.into_iter();
    let mut timed_out = false;
    loop {
        if let Some(status) = child.process().reap_child()? {
            return Ok(PlainEnd::Ended { status, timed_out });
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            let Some(signal) = steps.next() else { return Ok(PlainEnd::Survived) };
            timed_out = true;
            due = Instant::now().checked_add(grace);
            // A job of another user cannot be sent signals, and is waited for all the same.
            let _ = child.process().send(signal);
        }
        let left = due.map_or(LOOK_EVERY, |due| due.saturating_duration_since(Instant::now()));
        let Some(received) = wait_for_signal(left.min(LOOK_EVERY)) else { continue };
        let job_has_it =
            received.from_terminal() && terminal::shares_our_group(child.process().pid()) == Some(true);
        let passed_on = received.is_for_the_job() && !job_has_it;
        if let Some(signal) = Signal::from_named_raw(received.signal).filter(|_| passed_on) {
            let _ = child.process().send(signal);
        }
    }
}
