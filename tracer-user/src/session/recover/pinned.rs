//! The kernel's record of a session, from the pins its owner left.

use super::source::{FateSource, KernelRecord};
use crate::core::event::{Event, ProcessFate};
use crate::kernel::{KernelTracer, pinned_sessions, remove_session, unowned_sessions};
use crate::session::clock;
use crate::store::TraceDir;
use std::collections::BTreeSet;
use std::io;

/// Stalls that ended while nobody traced are told from this length on, nanoseconds.
const STALL_THRESHOLD_NS: u64 = 1_000_000_000;

/// Pins that do not say where their sidecar is are left alone for so long, seconds: their owner died while it made or
/// removed them, or was of a version that took no lock on them and may live.
const UNNAMED_AGE: i64 = 3_600;

/// The pins under the BPF file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pinned;

impl FateSource for Pinned {
    fn record(&self, pins: &str) -> Result<Option<Box<dyn KernelRecord>>, String> {
        let sessions = pinned_sessions().map_err(|error| error.to_string())?;
        if !sessions.iter().any(|session| session.name == pins) {
            return Ok(None);
        }
        let tracer = KernelTracer::open(pins, STALL_THRESHOLD_NS).map_err(|error| error.to_string())?;
        Ok(Some(Box::new(Record(tracer))))
    }

    fn collect_orphans(&self, prefix: &str, named: &BTreeSet<String>) -> Result<Vec<String>, String> {
        let mut removed = Vec::new();
        for session in pinned_sessions().map_err(|error| error.to_string())? {
            if session.name.starts_with(prefix) && !named.contains(&session.name) {
                remove_session(&session.name).map_err(|error| format!("{}: {error}", session.name))?;
                removed.push(session.name);
            }
        }
        Ok(removed)
    }

    fn abandoned(&self, remove: bool) -> Result<Vec<String>, String> {
        let now = clock::anchor().wall.as_second();
        let mut found = Vec::new();
        for pins in unowned_sessions().map_err(|error| error.to_string())? {
            let nobodys = match &pins.traces {
                Some(traces) => pins.here && TraceDir::is_gone(traces, &pins.name),
                None => pins.made_at.is_some_and(|made| now - made >= UNNAMED_AGE),
            };
            if !nobodys {
                continue;
            }
            if remove {
                remove_session(&pins.name).map_err(|error| format!("{}: {error}", pins.name))?;
            }
            found.push(pins.name);
        }
        Ok(found)
    }
}

struct Record(KernelTracer);

impl KernelRecord for Record {
    fn fates(&mut self) -> Vec<ProcessFate> {
        self.0.fates()
    }

    fn drain(&mut self) -> (Vec<Event>, u64) {
        let mut events = Vec::new();
        // The fates stay until the session is filed and its pins go.
        self.0.drain_keeping_fates(&mut events);
        (events, self.0.lost().total())
    }

    fn unpin(self: Box<Self>) -> io::Result<()> {
        self.0.finish().map_err(io::Error::other)
    }
}
