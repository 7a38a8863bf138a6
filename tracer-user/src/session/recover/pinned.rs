//! The kernel's record of a session, from the pins its owner left.

use super::source::{FateSource, KernelRecord, PinError};
use crate::core::event::{Event, ProcessFate};
use crate::core::identity::OwnNamespaces;
use crate::kernel::{KernelTracer, pinned_sessions, remove_session, remove_unused_hooks, unowned};
use crate::procfs_view::{ProcRoot, table};
use crate::store::TraceDir;
use std::collections::BTreeSet;
use std::io;

/// The shortest stall that is reported when it ended without an owner, nanoseconds.
const STALL_THRESHOLD_NS: u64 = 1_000_000_000;

/// The pins under the BPF file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pinned;

fn own_namespaces() -> OwnNamespaces {
    table::own_namespaces(&ProcRoot::system())
}

impl FateSource for Pinned {
    fn record(&self, pins: &str) -> Result<Option<Box<dyn KernelRecord>>, PinError> {
        if !pinned_sessions()?.iter().any(|session| session.name == pins) {
            return Ok(None);
        }
        Ok(Some(Box::new(Record(KernelTracer::open(pins, STALL_THRESHOLD_NS, own_namespaces())?))))
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
        let mut abandoned = Vec::new();
        let found = unowned(own_namespaces())?;
        for pins in found.sessions {
            // Their owner is dead. Where they name no trace directory, it died while it made or removed them,
            // and no sidecar names them.
            let has_no_owner = match &pins.traces {
                Some(traces) if pins.here => TraceDir::is_gone(traces, &pins.name),
                // The path is of another mount namespace. It is gone with the last process there.
                Some(_) => !table::mount_namespaces(&ProcRoot::system())
                    .is_some_and(|living| pins.namespace.is_none_or(|it| living.contains(&it))),
                None => true,
            };
            if !has_no_owner {
                continue;
            }
            if remove_them {
                remove(&pins.name)?;
            }
            abandoned.push(pins.name);
        }
        if remove_them && !found.hooks.is_empty() {
            remove_unused_hooks()?;
        }
        abandoned.extend(found.hooks);
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
