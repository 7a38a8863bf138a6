//! The clocks. Only this module reads them for the session layer.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Anchor;

/// CLOCK_BOOTTIME, nanoseconds.
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Both clocks at one moment.
pub fn anchor() -> Anchor {
    Anchor { wall: Timestamp::now(), boot_ns: boot_ns() }
}
