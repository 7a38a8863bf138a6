//! How a run ended.

use std::path::PathBuf;

use super::job::ExecFailure;
use crate::core::diagnosis::{self, Diagnosis};
use crate::core::escalation::Termination;
use crate::core::evidence::{Clock, Evidence, Scope};
use crate::core::identity::WaitStatus;
use crate::core::record::EndReason;
use crate::core::summary::{LeakedProcess, Summary};
use crate::session::clock;

/// The result of a run.
#[derive(Debug)]
pub struct RunEnd {
    /// How the job ended.
    pub job: JobOutcome,
    /// Why the tracer ended the job; `None`: it did not.
    pub ended_by_us: Option<EndReason>,
    /// The processes that outlived the job.
    pub leaked: Vec<LeakedProcess>,
    /// The terminations of the leaked processes, where they were requested.
    pub reaped: Vec<Termination>,
    /// The session's summary; `None`: the job was not traced, or not to its end.
    pub summary: Option<Summary>,
    /// Where the session was filed; `None` when it could not be.
    pub filed: Option<PathBuf>,
    /// The last diagnosis; `None` when there was no reason to make one.
    pub diagnosis: Option<Box<Diagnosis>>,
}

/// A diagnosis for a run in which nothing had to be diagnosed.
pub fn nothing_hung(summary: &Summary) -> Diagnosis {
    let anchor = clock::anchor();
    diagnosis::diagnose(&Evidence {
        clock: Clock {
            taken_at_unix_ns: i64::try_from(anchor.wall.as_nanosecond()).unwrap_or_default(),
            boot_ns: anchor.boot_ns,
            quiet_window_ns: 0,
        },
        scope: Scope::Session(summary.session_id.clone()),
        kernel_events: summary.kernel_events == Some(true),
        ..Evidence::default()
    })
}

/// How the job ended, for the exit status.
#[derive(Debug)]
pub enum JobOutcome {
    /// By itself or by a signal.
    Ended(WaitStatus),
    /// It never ran.
    NotExecuted(ExecFailure),
    /// It may still run: the tracer was asked twice to end, by this signal, or the job survived SIGKILL.
    LeftAlone(i32),
}

impl RunEnd {
    /// A run without a session, or whose session broke off.
    pub fn without_session(job: JobOutcome, ended_by_us: Option<EndReason>) -> Self {
        let (leaked, reaped) = (Vec::new(), Vec::new());
        Self { job, ended_by_us, leaked, reaped, summary: None, filed: None, diagnosis: None }
    }
}
