//! Resource limits and I/O counters of a process.

use procfs::FromRead as _;
use procfs::process::{Io, Limits};

pub(crate) use procfs::process::LimitValue;

/// Parses `limits`.
pub(crate) fn limits(text: &[u8]) -> Option<Limits> {
    Limits::from_read(text).ok()
}

/// A limit as a number; `None` when it is unlimited.
pub(crate) fn bounded(limit: LimitValue) -> Option<u64> {
    match limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    }
}

/// Parses `io`: what the process has read and written since its birth.
pub(crate) fn io(text: &[u8]) -> Option<Io> {
    Io::from_read(text).ok()
}
