//! The end of a live session: its owner writes the last line and files it.

use std::path::PathBuf;

use jiff::Timestamp;

use super::driver::SessionDriver;
use crate::core::record::EndReason;
use crate::core::summary::{LeakedProcess, OwnerFate, SessionEnding, Summary};
use crate::store::{LogConfig, SessionLog};

/// How the owner ends a session.
#[derive(Clone, Copy, Debug)]
pub struct OwnerEnding<'a> {
    /// Why the session is over.
    pub reason: EndReason,
    /// How this process came to own the session.
    pub owner_fate: OwnerFate,
    /// When the root ended, by the wall clock; `None` when unknown.
    pub end: Option<Timestamp>,
    /// The processes that outlived the root.
    pub leaked: &'a [LeakedProcess],
}

impl<'a> OwnerEnding<'a> {
    /// The owner began the session itself, and it is over now.
    pub fn now(reason: EndReason, leaked: &'a [LeakedProcess]) -> Self {
        Self { reason, owner_fate: OwnerFate::Finished, end: Some(Timestamp::now()), leaked }
    }

    /// The same for the summary.
    pub fn session_ending(&self) -> SessionEnding<'a> {
        SessionEnding {
            owner_fate: self.owner_fate,
            degraded: false,
            end: self.end,
            tracer_version: env!("CARGO_PKG_VERSION"),
            leaked: self.leaked,
        }
    }
}

/// Finishes a session. What prevents that is reported to the observers, and left to the next recovery.
/// Returns the summary, and the directory of the session; `None` when it could not be filed.
pub fn finish(
    driver: SessionDriver<'_>,
    ending: &OwnerEnding<'_>,
    log: &LogConfig,
) -> (Summary, Option<PathBuf>) {
    let (mut recorder, sources) = driver.into_parts();
    let log = match SessionLog::open(log) {
        Ok(log) => log,
        Err(error) => {
            let fate = match recorder.files() {
                Some(_) => "waits for `tracer-user recover`",
                None => "is lost",
            };
            recorder.notice(&format!("the session was not filed and {fate}: {error}"));
            let summary = recorder.summary(&ending.session_ending());
            recorder.abandon();
            return (summary, None);
        }
    };
    recorder.end(ending.reason);
    // The observers are needed after the recorder is gone.
    let mut observers = recorder.take_observers();
    let result = recorder.finish(&log, &ending.session_ending(), sources.into_remove_pins());
    match result {
        Ok(finished) => {
            for notice in finished.notices {
                observers.notice(&notice.0);
            }
            let filed = log.path().join("sessions").join(&finished.filed.dir_name);
            (finished.summary, Some(filed))
        }
        Err(error) => {
            observers
                .notice(&format!("the session was not filed and waits for `tracer-user recover`: {error}"));
            (*error.summary, None)
        }
    }
}
