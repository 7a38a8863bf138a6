//! The clocks that absolute time-outs are measured against.

use rustix::time::{ClockId, clock_gettime};

/// One moment on three clocks, nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clocks {
    /// CLOCK_REALTIME.
    pub realtime: u64,
    /// CLOCK_MONOTONIC.
    pub monotonic: u64,
    /// CLOCK_BOOTTIME.
    pub boottime: u64,
}

impl Clocks {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let read = |clock| {
            let time = clock_gettime(clock);
            (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
        };
        Self {
            realtime: read(ClockId::Realtime),
            monotonic: read(ClockId::Monotonic),
            boottime: read(ClockId::Boottime),
        }
    }

    /// The clock with a number (include/uapi/linux/time.h); an alarm clock shows the time of its namesake.
    pub(crate) fn numbered(self, clock: u64) -> Option<u64> {
        const REALTIME: u64 = 0;
        const MONOTONIC: u64 = 1;
        const BOOTTIME: u64 = 7;
        const REALTIME_ALARM: u64 = 8;
        const BOOTTIME_ALARM: u64 = 9;
        match clock {
            REALTIME | REALTIME_ALARM => Some(self.realtime),
            MONOTONIC => Some(self.monotonic),
            BOOTTIME | BOOTTIME_ALARM => Some(self.boottime),
            _ => None,
        }
    }
}
