//! The kernel's record of a session, from the pins its owner left.

use super::source::{FateSource, KernelFate, KernelRecord};
use crate::core::event::Event;
use crate::kernel::{KernelTracer, pinned_sessions, remove_session};
use std::collections::BTreeSet;
use std::io;

/// Stalls that ended while nobody traced are told from this length on, nanoseconds.
const STALL_THRESHOLD_NS: u64 = 1_000_000_000;

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
}

struct Record(KernelTracer);

impl KernelRecord for Record {
    fn fates(&mut self) -> Vec<KernelFate> {
        self.0
            .fates()
            .into_iter()
            .map(|(process, fate)| KernelFate {
                process,
                ended: fate.exit_boot_ns.zip(fate.exit),
                parent: fate.parent,
                extras: fate.extras,
            })
            .collect()
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
