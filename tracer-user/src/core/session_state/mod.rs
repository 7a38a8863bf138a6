//! A session as one fold over ordered inputs.
//!
//! What the shells learn (kernel events, samples, losses, diagnoses, the end) is pushed in order; out come the lines
//! of the trace, anomalies among them, and running totals. The fold never looks at an input itself: it makes the
//! line first and then applies the line. So a recorded trace, applied line by line, gives the same anomalies and
//! the same totals as the live session did, by construction.

mod sample;
#[cfg(test)]
mod tests;
mod totals;
mod tracker;

pub use totals::{ResourceTotal, StallTotals, Totals, resource_id};
pub use tracker::{Forebear, Member, Tracker};

use super::event::{Event, EventBody};
use super::record::{
    AnomalyLine, Body, DiagnosisLine, EndReason, ExitLine, FooterLine, ForkLine, HeaderLine, Line, LostLine,
    LostWhere, NoteLine, SnapshotLine, TRACE_VERSION, Who,
};
use super::snapshot::ProcSnapshot;
use super::time::{Anchor, Stamper};

/// One thing a session learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The session begins, or goes on with another owner.
    Header(Box<HeaderLine>),
    /// A process that no fork event told of: the root, or one found while attaching or polling.
    Joined(Box<ForkLine>),
    /// The kernel said something. Its own time counts.
    Kernel(Event),
    /// An end that was learnt from something else than an event.
    Ended(Box<ExitLine>),
    /// All processes of the session were looked at.
    Sample(SampleSet),
    /// One process as it exited.
    ExitSnapshot(Box<ProcSnapshot>),
    /// Something is missing.
    Lost(LostLine),
    /// What hangs and why.
    Diagnosis(serde_json::Value),
    /// A remark.
    Note(NoteLine),
    /// The session is over.
    End(EndReason),
}

/// A look at all processes of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleSet {
    /// Those that could be read. Members of the session that are missing here count as unread.
    pub snapshots: Vec<ProcSnapshot>,
}

/// The fold's state.
#[derive(Clone, Debug, Default)]
pub struct SessionState {
    stamper: Stamper,
    next_seq: u64,
    last_boot_ns: u64,
    tracker: Tracker,
}

impl SessionState {
    /// Nothing happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one input. `boot_ns` is when it was learnt; a kernel event's own time is used instead of it.
    pub fn push(&mut self, anchor: &Anchor, boot_ns: u64, input: Input) -> Vec<Line> {
        let mut lines = Vec::new();
        match input {
            Input::Header(header) => self.emit(anchor, boot_ns, Body::Header(header), &mut lines),
            Input::Joined(join) => self.emit(anchor, boot_ns, Body::Fork(join), &mut lines),
            Input::Kernel(event) => {
                let repeated =
                    matches!(&event.body, EventBody::Exit(exit) if self.tracker.has_ended(exit.process));
                if !repeated {
                    self.emit(anchor, event.boot_ns, Body::from_event(&event), &mut lines);
                }
            }
            Input::Ended(exit) => {
                if !self.tracker.has_ended(exit.who.into()) {
                    self.emit(anchor, boot_ns, Body::Exit(exit), &mut lines);
                }
            }
            Input::Sample(set) => {
                for body in self.tracker.sample_lines(set) {
                    self.emit(anchor, boot_ns, body, &mut lines);
                }
            }
            Input::ExitSnapshot(snapshot) => {
                let line = SnapshotLine { snapshot: *snapshot, at_exit: true };
                self.emit(anchor, boot_ns, Body::Snapshot(Box::new(line)), &mut lines);
            }
            Input::Lost(lost) => self.emit(anchor, boot_ns, Body::Lost(lost), &mut lines),
            Input::Diagnosis(diagnosis) => {
                self.emit(anchor, boot_ns, Body::Diagnosis(DiagnosisLine { diagnosis }), &mut lines);
            }
            Input::Note(note) => self.emit(anchor, boot_ns, Body::Note(note), &mut lines),
            Input::End(reason) => {
                let leaked = self.tracker.alive().map(Who::from).collect();
                self.emit(anchor, boot_ns, Body::Footer(FooterLine { reason, leaked }), &mut lines);
            }
        }
        lines
    }

    /// Takes a line of a recorded trace; gives the anomalies it raises, which the trace has as lines of their own.
    pub fn replay(&mut self, line: &Line) -> Vec<AnomalyLine> {
        self.stamper.observe(&line.ts);
        self.next_seq = self.next_seq.max(line.seq.saturating_add(1));
        self.last_boot_ns = self.last_boot_ns.max(line.boot_ns);
        self.tracker.apply(line.boot_ns, &line.body)
    }

    /// What is known of the session.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The time of the last line, CLOCK_BOOTTIME nanoseconds.
    pub fn last_boot_ns(&self) -> u64 {
        self.last_boot_ns
    }

    /// A line that says how many lines could not be written or were dropped.
    pub fn lost(&mut self, anchor: &Anchor, boot_ns: u64, count: u64, place: LostWhere) -> Vec<Line> {
        self.push(anchor, boot_ns, Input::Lost(LostLine { count, place }))
    }

    fn emit(&mut self, anchor: &Anchor, boot_ns: u64, body: Body, lines: &mut Vec<Line>) {
        let anomalies = self.tracker.apply(boot_ns, &body);
        self.line(anchor, boot_ns, body, lines);
        for anomaly in anomalies {
            self.line(anchor, boot_ns, Body::Anomaly(Box::new(anomaly)), lines);
        }
    }

    fn line(&mut self, anchor: &Anchor, boot_ns: u64, body: Body, lines: &mut Vec<Line>) {
        let stamp = self.stamper.stamp(anchor, boot_ns);
        self.last_boot_ns = self.last_boot_ns.max(boot_ns);
        lines.push(Line {
            v: TRACE_VERSION,
            seq: self.next_seq,
            ts: stamp.ts,
            ts_adjusted: stamp.adjusted,
            boot_ns,
            body,
        });
        self.next_seq += 1;
    }
}
