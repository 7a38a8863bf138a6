//! The kernel programs identify processes by their numbers in the machine's first pid namespace.

use std::os::unix::fs::MetadataExt as _;

use super::error::KernelError;
use crate::core::identity::INITIAL_PIDNS_INO;

/// Refuses to run in another pid namespace, where this process sees other numbers than the kernel programs. A
/// `/proc` that shows no namespaces is no reason to refuse.
pub fn require_initial() -> Result<(), KernelError> {
    match std::fs::metadata("/proc/self/ns/pid") {
        Ok(found) if found.ino() != INITIAL_PIDNS_INO => Err(KernelError::InnerPidNamespace),
        _ => Ok(()),
    }
}
