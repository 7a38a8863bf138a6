//! A session as one fold over ordered inputs.
//!
//! The shells push what they learn (kernel events, samples, losses, diagnoses, the end) in order. The fold
//! returns the lines of the trace, anomalies among them, and keeps running totals. It first makes a line of
//! an input and then applies the *line*, never the input itself. A recorded trace, applied line by line,
//! therefore gives the same anomalies and the same totals as the live session did, by construction.

mod history;
mod input;
mod sample;
mod stalls;
#[cfg(test)]
mod tests;
mod totals;
mod tracker;

pub use history::{EventHistory, pipe_facts};
pub use input::{Input, Join, SampleSet};
pub use totals::{ResourceTotal, StallTotals, Totals, resource_id};
pub use tracker::{Member, MemberAncestor, Tracker};

use super::anomaly::Anomaly;
use super::event::{Event, EventBody, Exit};
use super::record::{
    AnomalyLine, Body, DiagnosisLine, ExitLine, ExitSource, FooterLine, Line, LostLine, LostPlace, NoteLine,
    ProcessKey, TRACE_VERSION,
};
use super::time::{Anchor, Stamper};

/// The state of the fold.
#[derive(Clone, Debug, Default)]
pub struct SessionState {
    stamper: Stamper,
    next_seq: u64,
    last_boot_ns: u64,
    tracker: Tracker,
}

impl SessionState {
    /// The state before the first input.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one input and returns its lines. `boot_ns` is when it was learned, CLOCK_BOOTTIME nanoseconds. A
    /// kernel event's own time is used instead.
    pub fn push(&mut self, anchor: &Anchor, boot_ns: u64, input: Input) -> Vec<Line> {
        let mut lines = Vec::new();
        match input {
            Input::Header(header) => self.emit(anchor, boot_ns, Body::Header(header), &mut lines),
            Input::Joined(join) => {
                self.emit(anchor, boot_ns, Body::Fork(Box::new(join.into())), &mut lines);
            }
            Input::Kernel(event) => self.take_event(anchor, event, &mut lines),
            Input::Ended(exit, source) => self.take_exit(anchor, boot_ns, &exit, source, &mut lines),
            Input::Sample(set) => {
                for body in self.tracker.sample_lines(set) {
                    self.emit(anchor, boot_ns, body, &mut lines);
                }
            }
            Input::Lost { count, place } => {
                self.emit(anchor, boot_ns, Body::Lost(LostLine { count, place }), &mut lines);
            }
            Input::Diagnosis(diagnosis) => {
                self.emit(anchor, boot_ns, Body::Diagnosis(DiagnosisLine { diagnosis }), &mut lines);
            }
            Input::Note { code, text } => {
                self.emit(anchor, boot_ns, Body::Note(NoteLine { code, text }), &mut lines);
            }
            Input::End(reason) => {
                let leaked = self.tracker.alive().map(ProcessKey::from).collect();
                self.emit(anchor, boot_ns, Body::Footer(FooterLine { reason, leaked }), &mut lines);
            }
        }
        lines
    }

    fn take_event(&mut self, anchor: &Anchor, event: Event, lines: &mut Vec<Line>) {
        match &event.body {
            EventBody::Exit(exit) => {
                self.take_exit(anchor, event.boot_ns, exit, ExitSource::Kernel, lines);
            }
            _ => self.emit(anchor, event.boot_ns, Body::from_event(&event), lines),
        }
    }

    /// An end is reported once, by whichever source was first.
    fn take_exit(
        &mut self,
        anchor: &Anchor,
        boot_ns: u64,
        exit: &Exit,
        source: ExitSource,
        lines: &mut Vec<Line>,
    ) {
        if !self.tracker.has_ended(exit.process) {
            let line = ExitLine::from_exit(exit, source);
            self.emit(anchor, boot_ns, Body::Exit(Box::new(line)), lines);
        }
    }

    /// Applies a line of a recorded trace. Returns the anomalies it raises; the recorded trace has them as
    /// lines of their own.
    pub fn replay(&mut self, line: &Line) -> Vec<Anomaly> {
        self.stamper.observe(&line.ts);
        self.next_seq = self.next_seq.max(line.seq.saturating_add(1));
        self.last_boot_ns = self.last_boot_ns.max(line.boot_ns);
        self.tracker.apply(line.boot_ns, &line.body)
    }

    /// What is known of the session.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The time of the latest line, CLOCK_BOOTTIME nanoseconds.
    pub fn last_boot_ns(&self) -> u64 {
        self.last_boot_ns
    }

    /// The lines that report a loss.
    pub fn lost(&mut self, anchor: &Anchor, boot_ns: u64, count: u64, place: LostPlace) -> Vec<Line> {
        self.push(anchor, boot_ns, Input::Lost { count, place })
    }

    fn emit(&mut self, anchor: &Anchor, boot_ns: u64, body: Body, lines: &mut Vec<Line>) {
        let anomalies = self.tracker.apply(boot_ns, &body);
        lines.push(self.line(anchor, boot_ns, body));
        for anomaly in anomalies {
            let body = Body::Anomaly(Box::new(AnomalyLine::from(anomaly)));
            lines.push(self.line(anchor, boot_ns, body));
        }
    }

    fn line(&mut self, anchor: &Anchor, boot_ns: u64, body: Body) -> Line {
        let stamp = self.stamper.stamp(anchor, boot_ns);
        self.last_boot_ns = self.last_boot_ns.max(boot_ns);
        let seq = self.next_seq;
        self.next_seq += 1;
        Line { v: TRACE_VERSION, seq, ts: stamp.ts, ts_adjusted: stamp.adjusted, boot_ns, body }
    }
}
