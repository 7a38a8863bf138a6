//! The kernel programs identify processes by their numbers in the machine's first pid namespace.

use super::error::KernelError;
use crate::core::identity::{INITIAL_PIDNS_INO, OwnNamespaces};

/// Refuses to run in another pid namespace, where this process sees other numbers than the kernel programs. A
/// `/proc` that shows no namespaces is no reason to refuse.
pub fn require_initial(own: OwnNamespaces) -> Result<(), KernelError> {
    match own.pid {
        Some(pid) if pid != INITIAL_PIDNS_INO => Err(KernelError::InnerPidNamespace),
        _ => Ok(()),
    }
}
