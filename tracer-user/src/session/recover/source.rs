//! The kernel's own record of a session, as recovery uses it.

use crate::core::event::{Event, ProcessFate};
use crate::kernel::KernelError;
use std::collections::BTreeSet;
use std::io;

/// The pins of one session whose owner died.
pub trait KernelRecord {
    /// The fate of every process of the session. Removes nothing.
    fn fates(&mut self) -> Vec<ProcessFate>;

    /// The events that were not read yet, and how many did not fit in the kernel's ring. Reading an event
    /// removes it: only the owner of the session may call this.
    fn drain(&mut self) -> (Vec<Event>, u64);

    /// Removes the pins.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn unpin(self: Box<Self>) -> io::Result<()>;
}

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// They cannot be listed or read.
    #[error(transparent)]
    Unreadable(#[from] KernelError),
    /// They cannot be removed.
    #[error("{name}: {error}")]
    NotRemoved {
        /// The name of the session's pins.
        name: String,
        /// The cause.
        #[source]
        error: KernelError,
    },
}

/// Where the kernel's records are found.
pub trait FateSource: Send + Sync {
    /// The record of the session whose sidecar names these pins; `None` when there is no such session. The
    /// name is looked up among the existing pins, and never used as a path.
    ///
    /// # Errors
    /// When existing pins cannot be read.
    fn record(&self, pins: &str) -> Result<Option<Box<dyn KernelRecord>>, PinError>;

    /// Removes pins whose name begins with `prefix` and is in no sidecar, and returns their names. No session
    /// may be at its beginning, where it has pins and no sidecar yet.
    ///
    /// # Errors
    /// When they cannot be listed or removed.
    fn collect_orphans(&self, prefix: &str, named: &BTreeSet<String>) -> Result<Vec<String>, PinError>;

    /// The names of pins that provably have no owner, whichever trace directory they were made for: their
    /// owner is dead, and the directory whose sidecar would name them is gone. With `remove` they are
    /// removed.
    ///
    /// # Errors
    /// When they cannot be listed or removed.
    fn abandoned(&self, remove: bool) -> Result<Vec<String>, PinError> {
        let _ = remove;
        Ok(Vec::new())
    }
}

/// A machine without kernel events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKernel;

impl FateSource for NoKernel {
    fn record(&self, _: &str) -> Result<Option<Box<dyn KernelRecord>>, PinError> {
        Ok(None)
    }

    fn collect_orphans(&self, _: &str, _: &BTreeSet<String>) -> Result<Vec<String>, PinError> {
        Ok(Vec::new())
    }
}

/// The last component of a path of pins: the name by which they are looked up.
pub fn pin_name(pins: &str) -> &str {
    pins.trim_end_matches('/').rsplit('/').next().unwrap_or(pins)
}
