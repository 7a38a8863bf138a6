//! The kernel's own record of a session, as recovery asks for it.

use crate::core::event::{Event, ProcessFate};
use std::collections::BTreeSet;
use std::io;

/// The pins of one session whose owner died.
pub trait KernelRecord {
    /// What became of every process of the session. Takes nothing away.
    fn fates(&mut self) -> Vec<ProcessFate>;

    /// The events that nobody read yet, and how many the kernel had no room for. What was read is gone: only who
    /// owns the session may call this.
    fn drain(&mut self) -> (Vec<Event>, u64);

    /// Removes the pins.
    ///
    /// # Errors
    /// What the system says.
    fn unpin(self: Box<Self>) -> io::Result<()>;
}

/// Where kernel records are found.
pub trait FateSource: Send + Sync {
    /// The record of the session whose sidecar names these pins. The name is only ever looked up among the pins there
    /// are, never used as a path. `None` when there is no such session.
    ///
    /// # Errors
    /// Why pins that are there cannot be read.
    fn record(&self, pins: &str) -> Result<Option<Box<dyn KernelRecord>>, String>;

    /// Removes pins that begin with `prefix` and are named by no sidecar; gives their names. No session may be at its
    /// beginning, where it has pins and no sidecar yet.
    ///
    /// # Errors
    /// Why they cannot be looked at.
    fn collect_orphans(&self, prefix: &str, named: &BTreeSet<String>) -> Result<Vec<String>, String>;

    /// The names of pins that are provably nobody's, whichever trace directory they were made for: their owner is dead,
    /// and the directory whose sidecar would name them is gone. With `remove` they are removed.
    ///
    /// # Errors
    /// Why they cannot be looked at.
    fn abandoned(&self, remove: bool) -> Result<Vec<String>, String> {
        let _ = remove;
        Ok(Vec::new())
    }
}

/// A machine without kernel events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKernel;

impl FateSource for NoKernel {
    fn record(&self, _: &str) -> Result<Option<Box<dyn KernelRecord>>, String> {
        Ok(None)
    }

    fn collect_orphans(&self, _: &str, _: &BTreeSet<String>) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// The last component of a path of pins, which is the name they are looked up by.
pub fn pin_name(pins: &str) -> &str {
    pins.trim_end_matches('/').rsplit('/').next().unwrap_or(pins)
}
