//! The kernel's record of a session, from the pins its owner left.

use super::source::{FateSource, KernelRecord, PinError};
use crate::core::event::{Event, ProcessFate};
use crate::kernel::{KernelTracer, pinned_sessions, remove_session, unowned_sessions};
use crate::session::clock;
use crate::store::TraceDir;
use std::collections::BTreeSet;
use std::io;

/// The shortest stall that is reported when it ended without an owner, nanoseconds.
const STALL_THRESHOLD_NS: u64 = 1_000_000_000;

/// Pins that do not name their trace directory are left alone until they are this old, seconds. Their owner
/// died while it made or removed them, or it is of a version that took no lock on them and may be alive.
const UNNAMED_AGE: i64 = 3_600;

/// The pins under the BPF file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pinned;

impl FateSource for Pinned {
    fn record(&self, pins: &str) -> Result<Option<Box<dyn KernelRecord>>, PinError> {
        if !pinned_sessions()?.iter().any(|session| session.name == pins) {
            return Ok(None);
        }
        Ok(Some(Box::new(Record(KernelTracer::open(pins, STALL_THRESHOLD_NS)?))))
    }

    fn collect_orphans(&self, prefix: &str, named: &BTreeSet<String>) -> Result<Vec<String>, PinError> {
        let mut removed = Vec::new();
        for session in pinned_sessions()? {
            if session.name.starts_with(prefix) && !named.contains(&session.name) {
                remove(&session.name)?;
                removed.push(session.name);
            }
        }
        Ok(removed)
    }

    fn abandoned(&self, remove_them: bool) -> Result<Vec<String>, PinError> {
        let now = clock::anchor().wall.as_second();
        let mut abandoned = Vec::new();
        for pins in unowned_sessions()? {
            let has_no_owner = match &pins.traces {
                Some(traces) => pins.here && TraceDir::is_gone(traces, &pins.name),
                None => pins.made_at.is_some_and(|made| now - made >= UNNAMED_AGE),
            };
            if !has_no_owner {
                continue;
            }
            if remove_them {
                remove(&pins.name)?;
            }
            abandoned.push(pins.name);
        }
        Ok(abandoned)
    }
}

fn remove(name: &str) -> Result<(), PinError> {
    remove_session(name).map_err(|error| PinError::NotRemoved { name: name.to_owned(), error })
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
