//! Observers of live sessions: `cli` prints, the AutoSkillit mirror writes files, tests collect.

use crate::core::diagnosis::Diagnosis;
use crate::core::record::{Line, SessionId};
use crate::store::autoskillit::Mirror;

/// Why a diagnosis is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiagnosisTrigger {
    /// Nothing has made progress for a long time.
    NoProgress,
    /// The job has reached its time limit.
    TimeLimit,
    /// Nothing in the job has made progress for as long as is allowed.
    IdleLimit,
    /// The tracer was asked to end the job.
    EndRequest,
}

/// A session at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStatus {
    /// Time since the session began, nanoseconds.
    pub elapsed_ns: u64,
    /// Number of living processes.
    pub alive: usize,
    /// Number of processes that joined.
    pub forks: u64,
    /// Number of processes that ended.
    pub exits: u64,
    /// Number of writes that are blocked now.
    pub open_stalls: usize,
    /// Number of events that were lost.
    pub lost: u64,
}

/// Something that an observer may show or store.
#[derive(Clone, Copy, Debug)]
pub enum SessionEvent<'a> {
    /// Lines of the trace, as they are written.
    Lines(&'a [Line]),
    /// A message for the user: one line, reported once.
    Notice(&'a str),
    /// A line of the kernel programs' own debug log. Only where that was requested.
    Debug(&'a str),
    /// A diagnosis. An observer makes durable what has to outlive the job before it returns: what is done
    /// about a hang comes afterwards.
    Diagnosis(&'a Diagnosis, DiagnosisTrigger),
    /// The status, a few times a second.
    Status(&'a SessionStatus),
}

/// Observes any number of sessions. A session may have several observers; each gets every event, in order.
pub trait Observer {
    /// Takes an event of a session.
    fn observe(&mut self, session: &SessionId, event: SessionEvent<'_>);

    /// How many messages it could not show, because their reader takes nothing.
    fn undelivered(&self) -> u64 {
        0
    }
}

/// The observers of one session.
pub struct Observers<'o> {
    session: SessionId,
    list: Vec<Box<dyn Observer + 'o>>,
}

impl<'o> Observers<'o> {
    /// No observers yet.
    pub fn new(session: SessionId) -> Self {
        Self { session, list: Vec::new() }
    }

    /// Adds an observer.
    pub fn add(&mut self, observer: impl Observer + 'o) {
        self.list.push(Box::new(observer));
    }

    /// Passes an event to each of them.
    pub fn emit(&mut self, event: SessionEvent<'_>) {
        for observer in &mut self.list {
            observer.observe(&self.session, event);
        }
    }

    /// How many messages the observers could not show.
    pub fn undelivered(&self) -> u64 {
        self.list.iter().map(|observer| observer.undelivered()).sum()
    }

    /// Reports a message to the user.
    pub fn notice(&mut self, text: &str) {
        self.emit(SessionEvent::Notice(text));
    }
}

impl<T: Observer + ?Sized> Observer for &mut T {
    fn observe(&mut self, session: &SessionId, event: SessionEvent<'_>) {
        (**self).observe(session, event);
    }

    fn undelivered(&self) -> u64 {
        (**self).undelivered()
    }
}

impl Observer for Mirror {
    fn observe(&mut self, _: &SessionId, event: SessionEvent<'_>) {
        if let SessionEvent::Lines(lines) = event {
            self.append(lines);
        }
    }
}
