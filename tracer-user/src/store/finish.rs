//! The end of sessions: the one place that has the order of the crash contract.
//!
//! Sessions are staged in the log first. They become durable together, with their rows, and only then does
//! the evidence of each go: trace, sidecar (and its lock with it), and last the kernel's pins. A process that
//! dies here at any instruction leaves each session whole in the log or recoverable from its evidence. A
//! session that is in both is recognized by its identity, and only its evidence is removed.

use super::fault::point;
use super::session_log::{LogError, SessionLog};
use super::sidecar::Claim;
use super::staging::{Filed, Filing, Staged};
use super::writer::Notice;
use crate::core::retention::RetentionPlan;
use crate::core::summary::Summary;
use std::io;

/// Removes the kernel's pins of a session.
pub type RemovePins<'a> = Box<dyn FnOnce() -> io::Result<()> + 'a>;

/// What a session leaves outside of the log, until it is durable there.
pub struct SessionEvidence<'a> {
    /// Sidecar, lock and trace; `None` for a session that was kept in memory.
    pub claim: Option<Claim>,
    /// Removes the kernel's pins.
    pub remove_pins: RemovePins<'a>,
}

impl SessionEvidence<'_> {
    /// Removes trace, sidecar and pins, in this order. Returns what could not be removed; the next recovery
    /// tries again.
    fn remove(self) -> Vec<Notice> {
        if let Some(claim) = self.claim
            && let Err(error) = claim.remove()
        {
            // The pins stay for as long as a sidecar names them: the next recovery needs both.
            return vec![Notice(format!("the finished session's trace cannot be removed: {error}"))];
        }
        let pins = (self.remove_pins)();
        point("finish.unpinned");
        pins.err()
            .map(|error| Notice(format!("the session's pins cannot be removed: {error}")))
            .into_iter()
            .collect()
    }
}

/// A session that is staged in the log, and whose evidence still exists.
pub struct StagedSession<'a> {
    staged: Staged,
    summary: Summary,
    evidence: SessionEvidence<'a>,
}

/// A finished session.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedSession {
    /// Its summary, as filed.
    pub summary: Summary,
    /// Where it was filed.
    pub filed: Filed,
    /// Evidence or pins that could not be removed. The next recovery tries again.
    pub notices: Vec<Notice>,
}

impl<'a> StagedSession<'a> {
    /// Stages a session in the log.
    ///
    /// # Errors
    /// When it cannot be written. Nothing is left in the log then, and its evidence stays.
    pub fn stage(
        log: &SessionLog,
        filing: Filing<'_>,
        evidence: SessionEvidence<'a>,
    ) -> Result<Self, LogError> {
        let summary = filing.summary.clone();
        Ok(Self { staged: log.stage(filing)?, summary, evidence })
    }
}

/// Finishes staged sessions: durable in the log first, then the evidence of each goes. The result has their
/// order. Also returns what retention removed from the log.
///
/// # Errors
/// When they cannot be filed. The evidence of all of them stays then, for the next recovery.
pub fn finish(
    log: &SessionLog,
    sessions: Vec<StagedSession<'_>>,
) -> Result<(Vec<FinishedSession>, RetentionPlan), LogError> {
    let mut staged = Vec::with_capacity(sessions.len());
    let mut remains = Vec::with_capacity(sessions.len());
    for session in sessions {
        staged.push(session.staged);
        remains.push((session.summary, session.evidence));
    }
    let (filed, retention) = log.commit(staged)?;
    point("finish.durable");
    let finished = filed.into_iter().zip(remains).map(|(filed, (mut summary, evidence))| {
        summary.dir_name.clone_from(&filed.dir_name);
        FinishedSession { summary, filed, notices: evidence.remove() }
    });
    Ok((finished.collect(), retention))
}
