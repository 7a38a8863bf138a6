//! A session while its owner lives: the fold, its trace, its sidecar's lock; and its end.

use super::autoskillit::Mirror;
use super::dir::TraceDir;
use super::fault::point;
use super::log::{Filed, Filing, LogError, SessionLog, Staged};
use super::sidecar::{Claim, SessionFiles};
use super::writer::{Limits, Notice, TraceWriter};
use crate::core::record::sidecar::Enrollment;
use crate::core::record::{Body, Line, LostPlace, SessionId, SessionIdError};
use crate::core::session_state::{Input, SessionState};
use crate::core::summary::{SessionEnding, SessionMeta, Summary, summarize};
use crate::core::time::Anchor;
use std::io;

/// A session that is being traced, or finished.
#[derive(Debug)]
pub struct LiveSession {
    id: SessionId,
    enrollment: Enrollment,
    claim: Option<Claim>,
    writer: TraceWriter,
    state: SessionState,
    diagnosis: Option<serde_json::Value>,
    mirror: Option<Mirror>,
}

/// Why a session could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Its id may not become a name.
    #[error("{0}")]
    SessionId(#[from] SessionIdError),
    /// The system said no.
    #[error("the session cannot be enrolled: {0}")]
    Io(#[from] io::Error),
}

/// What one input came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    /// The lines it made, anomalies among them.
    pub lines: Vec<Line>,
    /// What to tell the user; each is told once.
    pub notices: Vec<Notice>,
}

/// How a session is finished.
pub struct Finish<'a> {
    /// What the trace does not know of its end.
    pub ending: SessionEnding<'a>,
    /// Retention never takes it.
    pub protected: bool,
}

/// A finished session.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Its summary, as filed.
    pub summary: Summary,
    /// Where it was filed.
    pub filed: Filed,
    /// Evidence or pins that could not be removed; the next recovery tries again.
    pub notices: Vec<Notice>,
}

/// A session that could not be filed. Its evidence stays for the next recovery, and its lock is let go of.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct FinishError {
    /// Why.
    #[source]
    pub error: LogError,
    /// What would have been filed.
    pub summary: Box<Summary>,
}

impl LiveSession {
    /// Enrols a session: sidecar first, whole and locked, then the trace. Call it before the root may exec.
    ///
    /// The lock lives in this process's open file. A child that was forked before it execs shares that file: it has to
    /// exec, or to end, when this process dies.
    ///
    /// # Errors
    /// Says what is in the way; nothing is left behind then.
    pub fn create(dir: &TraceDir, enrollment: Enrollment, limits: Limits) -> Result<Self, CreateError> {
        let id = SessionId::parse(&enrollment.session_id)?;
        let claim = Claim::publish(dir.dir(), &enrollment)?;
        match TraceWriter::create(dir.dir(), claim.files(), limits) {
            Ok(writer) => Ok(Self::with(id, enrollment, Some(claim), writer, SessionState::new())),
            Err(error) => {
                // The first error is the one to tell.
                let _ = dir.dir().unlink(claim.files().sidecar());
                Err(error.into())
            }
        }
    }

    /// A session without any file, for when there is no place for one. It cannot be recovered.
    ///
    /// # Errors
    /// When the id may not become a name.
    pub fn in_memory(enrollment: Enrollment, limits: Limits) -> Result<Self, CreateError> {
        let id = SessionId::parse(&enrollment.session_id)?;
        Ok(Self::with(id, enrollment, None, TraceWriter::in_memory(limits), SessionState::new()))
    }

    /// Goes on with a session that was claimed and whose trace was replayed into `state`.
    pub fn adopt(
        id: SessionId,
        enrollment: Enrollment,
        claim: Claim,
        writer: TraceWriter,
        state: SessionState,
        diagnosis: Option<serde_json::Value>,
    ) -> Self {
        Self { diagnosis, ..Self::with(id, enrollment, Some(claim), writer, state) }
    }

    fn with(
        id: SessionId,
        enrollment: Enrollment,
        claim: Option<Claim>,
        writer: TraceWriter,
        state: SessionState,
    ) -> Self {
        Self { id, enrollment, claim, writer, state, diagnosis: None, mirror: None }
    }

    /// Takes one thing that was learnt: into the fold, and its lines into the trace. `boot_ns` is when it was learnt; a
    /// kernel event's own time is used instead of it.
    pub fn push(&mut self, anchor: &Anchor, boot_ns: u64, input: Input) -> Pushed {
        if let Input::Diagnosis(diagnosis) = &input {
            self.diagnosis = Some(diagnosis.clone());
        }
        let mut lines = self.state.push(anchor, boot_ns, input);
        let appended = self.writer.append(&lines);
        if let Some(mirror) = &mut self.mirror {
            mirror.append(&lines);
        }
        if appended.snapshots_dropped > 0 {
            let lost = self.state.lost(anchor, boot_ns, appended.snapshots_dropped, LostPlace::OldSnapshots);
            // It is far smaller than the room that was just made.
            self.writer.append(&lost);
            lines.extend(lost);
        }
        Pushed { lines, notices: appended.notices }
    }

    /// From now on AutoSkillit's own files are written too, in the directory in which its readers look.
    ///
    /// # Errors
    /// What the system says; the session is as it was then.
    pub fn mirror_to(&mut self, place: &std::path::Path) -> io::Result<()> {
        self.mirror = Some(Mirror::create(place, &self.enrollment)?);
        Ok(())
    }

    /// From now on its trace may take so much.
    pub fn limit(&mut self, limits: Limits) {
        self.writer.limit(limits);
    }

    /// What is known of the session.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Its enrollment.
    pub fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }

    /// Its id.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The names of its files; `None` when it has none.
    pub fn files(&self) -> Option<&SessionFiles> {
        self.claim.as_ref().map(Claim::files)
    }

    /// The last diagnosis.
    pub fn diagnosis(&self) -> Option<&serde_json::Value> {
        self.diagnosis.as_ref()
    }

    /// Not everything could be written.
    pub fn degraded(&self) -> bool {
        self.writer.degraded()
    }

    /// The summary as it would be now.
    pub fn summary(&self, ending: &SessionEnding<'_>) -> Summary {
        let ending = SessionEnding { degraded: ending.degraded || self.writer.degraded(), ..ending.clone() };
        summarize(&self.id, &self.enrollment, self.state.tracker(), &ending)
    }

    /// Finishes it: durable in the log first, then trace and sidecar go, then `unpin` takes the kernel's pins away. Push
    /// [`Input::End`] before.
    ///
    /// # Errors
    /// When it cannot be filed: then nothing was removed, and the next recovery finds it.
    pub fn finish(
        self,
        log: &SessionLog,
        finish: &Finish<'_>,
        unpin: impl FnOnce() -> io::Result<()>,
    ) -> Result<Finished, FinishError> {
        point("finish.begin");
        let mut summary = self.summary(&finish.ending);
        let filed = self
            .stage(log, finish)
            .and_then(|staged| log.commit(vec![staged]))
            .and_then(|mut filed| filed.pop().ok_or_else(|| log.nothing_filed()));
        let filed = match filed {
            Ok(filed) => filed,
            Err(error) => return Err(FinishError { error, summary: Box::new(summary) }),
        };
        summary.dir_name.clone_from(&filed.dir_name);
        point("finish.durable");
        let mirrored = self.mirror.map_or(Ok(()), Mirror::remove);
        let mut notices = remove_evidence(self.claim, unpin);
        notices.extend(
            mirrored.err().map(|error| Notice(format!("AutoSkillit's files cannot be removed: {error}"))),
        );
        Ok(Finished { summary, filed, notices })
    }

    /// Writes it beside the log's sessions; the first half of [`Self::finish`], for who finishes many at a time.
    ///
    /// # Errors
    /// Says what went wrong; nothing is left in the log then.
    pub fn stage(&self, log: &SessionLog, finish: &Finish<'_>) -> Result<Staged, LogError> {
        let mut lines = self.writer.lines().map_err(|error| log.unreadable(error))?;
        log.stage(Filing {
            summary: self.summary(&finish.ending),
            meta: SessionMeta { labels: self.enrollment.labels.clone(), protected: finish.protected },
            lines: &mut lines,
            diagnosis: self.diagnosis.as_ref(),
        })
    }

    /// The lock and the files, for who has filed it.
    pub fn into_claim(self) -> Option<Claim> {
        self.claim
    }
}

/// Removes what a filed session has left: trace, sidecar, pins.
pub fn remove_evidence(claim: Option<Claim>, unpin: impl FnOnce() -> io::Result<()>) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some(claim) = claim
        && let Err(error) = claim.remove()
    {
        // Pins stay for as long as a sidecar names them: the next recovery needs both.
        return vec![Notice(format!("the finished session's trace cannot be removed: {error}"))];
    }
    if let Err(error) = unpin() {
        notices.push(Notice(format!("the session's pins cannot be removed: {error}")));
    }
    point("finish.unpinned");
    notices
}

/// Whether a line is a diagnosis, and which.
pub fn diagnosis_of(line: &Line) -> Option<&serde_json::Value> {
    match &line.body {
        Body::Diagnosis(diagnosis) => Some(&diagnosis.diagnosis),
        _ => None,
    }
}
