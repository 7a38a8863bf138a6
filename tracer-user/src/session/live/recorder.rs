//! The owner of a session's state: the fold, its trace, and the lock on its sidecar.
//!
//! Everything that is learned of a session passes through [`SessionRecorder::push`], in order: into the fold,
//! from there as lines into the trace, and to the observers. A live session and one that is recovered from
//! its files are the same type; [`super::sources`] feeds a live one.

use std::io;

use super::observer::{DiagnosisTrigger, Observer, Observers, SessionEvent, SessionStatus};
use crate::core::diagnosis::Diagnosis;
use crate::core::identity::ProcessId;
use crate::core::record::sidecar::Enrollment;
use crate::core::record::{Body, EndReason, Line, LostPlace, SessionId, SessionIdError};
use crate::core::session_state::{EventHistory, Input, SessionState};
use crate::core::summary::{SessionEnding, SessionMeta, Summary, summarize};
use crate::core::time::Anchor;
use crate::session::clock;
use crate::store::fault::point;
use crate::store::finish::{FinishedSession, RemovePins, SessionEvidence, StagedSession, finish};
use crate::store::{
    Claim, Filing, Limits, LogError, Notice, SessionFiles, SessionLog, TraceDir, TraceWriter,
};

/// See the module.
pub struct SessionRecorder<'o> {
    id: SessionId,
    enrollment: Enrollment,
    /// `None` for a session in memory.
    claim: Option<Claim>,
    writer: TraceWriter,
    state: SessionState,
    history: EventHistory,
    diagnosis: Option<serde_json::Value>,
    observers: Observers<'o>,
}

/// Why a session could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Its id may not become a file name.
    #[error("{0}")]
    SessionId(#[from] SessionIdError),
    /// The file system refused.
    #[error("the session cannot be enrolled: {0}")]
    Io(#[from] io::Error),
}

/// The result of one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    /// The lines it made, anomalies among them.
    pub lines: Vec<Line>,
    /// Messages for the user. Each is reported once.
    pub notices: Vec<Notice>,
}

/// A session that could not be filed. Its evidence stays for the next recovery, and its lock is released.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct FinishError {
    /// The cause.
    #[source]
    pub error: LogError,
    /// What would have been filed.
    pub summary: Box<Summary>,
}

/// A session that was read back from its files, and whose lock this process holds.
#[derive(Debug)]
pub struct ReplayedSession {
    /// Its id.
    pub id: SessionId,
    /// Its enrollment.
    pub enrollment: Enrollment,
    /// Its sidecar, locked.
    pub claim: Claim,
    /// Its trace.
    pub writer: TraceWriter,
    /// The fold over the lines of the trace.
    pub state: SessionState,
    /// The last diagnosis in the trace.
    pub diagnosis: Option<serde_json::Value>,
}

impl<'o> SessionRecorder<'o> {
    /// Enrolls a session: the sidecar first, whole and locked, then the trace. Call this before the root may
    /// exec.
    ///
    /// The lock lives in this process's open file. A child that is forked before it execs shares that file,
    /// so it has to exec, or to end, when this process dies.
    ///
    /// # Errors
    /// When the session cannot be enrolled. Nothing is left behind then.
    pub fn create(dir: &TraceDir, enrollment: Enrollment, limits: Limits) -> Result<Self, CreateError> {
        let id = SessionId::parse(&enrollment.session_id)?;
        let claim = Claim::publish(dir.dir(), &enrollment)?;
        match TraceWriter::create(dir.dir(), claim.files(), limits) {
            Ok(writer) => Ok(Self::with(id, enrollment, Some(claim), writer)),
            Err(error) => {
                // The first error is the one to report.
                let _ = dir.dir().unlink(claim.files().sidecar());
                Err(error.into())
            }
        }
    }

    /// A session without files, where no place for them is available. It cannot be recovered.
    ///
    /// # Errors
    /// When the id may not become a file name.
    pub fn in_memory(enrollment: Enrollment, limits: Limits) -> Result<Self, CreateError> {
        let id = SessionId::parse(&enrollment.session_id)?;
        Ok(Self::with(id, enrollment, None, TraceWriter::in_memory(limits)))
    }

    /// Continues a session that was read back from its files.
    pub fn resume(session: ReplayedSession) -> Self {
        let ReplayedSession { id, enrollment, claim, writer, state, diagnosis } = session;
        Self { state, diagnosis, ..Self::with(id, enrollment, Some(claim), writer) }
    }

    fn with(id: SessionId, enrollment: Enrollment, claim: Option<Claim>, writer: TraceWriter) -> Self {
        Self {
            observers: Observers::new(id.clone()),
            id,
            enrollment,
            claim,
            writer,
            state: SessionState::new(),
            history: EventHistory::default(),
            diagnosis: None,
        }
    }

    /// From now on this observer gets the session's events, too.
    pub fn subscribe(&mut self, observer: impl Observer + 'o) {
        self.observers.add(observer);
    }

    /// From now on these observers get the session's events, and no others.
    pub fn set_observers(&mut self, observers: Observers<'o>) {
        self.observers = observers;
    }

    /// The observers, for messages about a session that this recorder finishes.
    pub fn take_observers(&mut self) -> Observers<'o> {
        std::mem::replace(&mut self.observers, Observers::new(self.id.clone()))
    }

    /// Takes one input that is learned now.
    pub fn push(&mut self, input: Input) {
        self.push_at(&clock::anchor(), clock::boot_ns(), input);
    }

    /// Takes one input: into the fold, its lines into the trace and to the observers. `boot_ns` is when it
    /// was learned, CLOCK_BOOTTIME nanoseconds. A kernel event's own time is used instead.
    pub fn push_at(&mut self, anchor: &Anchor, boot_ns: u64, input: Input) -> Pushed {
        match &input {
            Input::Kernel(event) => self.history.note(event),
            Input::Diagnosis(diagnosis) => self.diagnosis = Some(diagnosis.clone()),
            _ => {}
        }
        let mut lines = self.state.push(anchor, boot_ns, input);
        let appended = self.writer.append(&lines);
        if appended.snapshots_dropped > 0 {
            let lost = self.state.lost(anchor, boot_ns, appended.snapshots_dropped, LostPlace::OldSnapshots);
            // These lines are far smaller than the room that was just made.
            self.writer.append(&lost);
            lines.extend(lost);
        }
        for notice in &appended.notices {
            self.notice(&notice.0);
        }
        self.emit(SessionEvent::Lines(&lines));
        Pushed { lines, notices: appended.notices }
    }

    /// Writes a remark into the trace.
    pub fn note(&mut self, code: &str, text: String) {
        self.push(Input::Note { code: code.to_owned(), text });
    }

    /// Reports a message to the user.
    pub fn notice(&mut self, text: &str) {
        self.observers.notice(text);
    }

    /// Writes a diagnosis into the trace, and passes it to the observers once it is there.
    pub fn diagnosed(&mut self, diagnosis: &Diagnosis, trigger: DiagnosisTrigger) {
        self.push(Input::Diagnosis(serde_json::to_value(diagnosis).unwrap_or_default()));
        self.emit(SessionEvent::Diagnosis(diagnosis, trigger));
    }

    /// Passes an event to every observer.
    pub fn emit(&mut self, event: SessionEvent<'_>) {
        self.observers.emit(event);
    }

    /// From now on the trace may take this much room.
    pub fn limit(&mut self, limits: Limits) {
        self.writer.limit(limits);
    }

    /// What is known of the session.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// The latest kernel events of the session.
    pub fn history(&self) -> &EventHistory {
        &self.history
    }

    /// The enrollment.
    pub fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }

    /// The id.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The names of the session's files; `None` for a session in memory.
    pub fn files(&self) -> Option<&SessionFiles> {
        self.claim.as_ref().map(Claim::files)
    }

    /// Not everything could be written.
    pub fn degraded(&self) -> bool {
        self.writer.degraded()
    }

    /// The living processes of the session.
    pub fn alive(&self) -> Vec<ProcessId> {
        self.state.tracker().alive().collect()
    }

    /// The session at a glance, now.
    pub fn status(&self) -> SessionStatus {
        let tracker = self.state.tracker();
        let totals = tracker.totals();
        let now = clock::boot_ns();
        SessionStatus {
            elapsed_ns: now.saturating_sub(tracker.first_boot_ns().unwrap_or(now)),
            alive: tracker.alive_count(),
            forks: totals.forked + totals.found,
            exits: totals.exited,
            open_stalls: tracker.open_stalls().count(),
            lost: totals.events_lost,
        }
    }

    /// The summary as it would be now.
    pub fn summary(&self, ending: &SessionEnding<'_>) -> Summary {
        let ending = SessionEnding { degraded: ending.degraded || self.degraded(), ..ending.clone() };
        summarize(&self.id, &self.enrollment, self.state.tracker(), &ending)
    }

    /// Writes the last line.
    pub fn end(&mut self, reason: EndReason) {
        let undelivered = self.observers.undelivered();
        if undelivered > 0 {
            self.note("messages_lost", format!("{undelivered} messages were not read on standard error"));
        }
        self.push(Input::End(reason));
    }

    /// Finishes the session: durable in the log first, then its evidence and its pins go. Write the last line
    /// before.
    ///
    /// # Errors
    /// When it cannot be filed. Nothing was removed then, and the next recovery finds the session.
    pub fn finish<'a>(
        self,
        log: &SessionLog,
        ending: &SessionEnding<'_>,
        remove_pins: RemovePins<'a>,
    ) -> Result<FinishedSession, FinishError> {
        point("finish.begin");
        let summary = Box::new(self.summary(ending));
        let finished = self
            .stage(log, ending, remove_pins)
            .and_then(|staged| finish(log, vec![staged]))
            .and_then(|(mut finished, _)| finished.pop().ok_or_else(|| log.nothing_filed()));
        finished.map_err(|error| FinishError { error, summary })
    }

    /// Stages the session in the log: the first half of finishing it, for a sweep that finishes many at a
    /// time.
    ///
    /// # Errors
    /// When it cannot be written. Nothing is left in the log then, and the evidence stays.
    pub fn stage<'a>(
        self,
        log: &SessionLog,
        ending: &SessionEnding<'_>,
        remove_pins: RemovePins<'a>,
    ) -> Result<StagedSession<'a>, LogError> {
        let summary = self.summary(ending);
        let mut lines = self.writer.lines().map_err(|error| log.unreadable(error))?;
        let filing = Filing {
            summary,
            meta: SessionMeta { labels: self.enrollment.labels.clone(), protected: false },
            lines: &mut lines,
            diagnosis: self.diagnosis.as_ref(),
        };
        StagedSession::stage(log, filing, SessionEvidence { claim: self.claim, remove_pins })
    }

    /// Releases the session as a tracer that is killed would: all of it stays for a recovery.
    pub fn abandon(self) {}
}

/// The diagnosis in a line; `None` for another kind of line.
pub fn diagnosis_of(line: &Line) -> Option<&serde_json::Value> {
    match &line.body {
        Body::Diagnosis(diagnosis) => Some(&diagnosis.diagnosis),
        _ => None,
    }
}
