//! The diagnosis on recorded evidence: each class, and what looks like it and is not.

mod blocked_reads;
mod blocked_writes;
mod exits;
mod kernel_waits;
mod locks;
mod others;
mod properties;

use super::{Diagnosis, Role};

/// The processes in a role of the first finding, in order.
fn roles(said: &Diagnosis, role: Role) -> Vec<u32> {
    said.findings[0].processes.iter().filter(|p| p.role == role).map(|p| p.pid).collect()
}
