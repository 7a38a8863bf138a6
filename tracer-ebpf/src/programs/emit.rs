//! Output: records into the session's ring, and counts of what did not fit.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, maps::ring_buf::RingBufEntry};
use tracer_ebpf::{
    limits,
    wire::{Header, WIRE_VERSION, lost},
};

use super::maps::{EVENTS, LOST};

/// `BPF_RB_AVAIL_DATA`.
const AVAIL_DATA: u64 = 0;
/// `BPF_RB_NO_WAKEUP`.
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
const FORCE_WAKEUP: u64 = 2;

/// Nanoseconds of CLOCK_BOOTTIME.
#[inline(always)]
pub fn now_boot_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The header of a record of type `T`.
#[inline(always)]
pub fn header<T>(kind: u16, boot_ns: u64) -> Header {
    Header { kind, version: WIRE_VERSION, size_bytes: size_of::<T>() as u32, boot_ns }
}

/// Reserves room for a record. `None`, and counted, when the ring is full.
#[inline(always)]
pub fn reserve<T>() -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count_lost(lost::EVENTS);
    }
    entry
}

/// Submits a record that was reserved and filled.
#[inline(always)]
pub fn submit<T>(entry: RingBufEntry<T>) {
    entry.submit(wake_flag());
}

/// Copies a record into the ring. Counted when the ring is full.
#[inline(always)]
pub fn output<T>(record: &T) {
    if EVENTS.output::<T>(record, wake_flag()).is_err() {
        count_lost(lost::EVENTS);
    }
}

/// The reader has a timer and is woken only when much is waiting.
#[inline(always)]
fn wake_flag() -> u64 {
    if EVENTS.query(AVAIL_DATA) >= limits::RING_WAKE_BYTES { FORCE_WAKEUP } else { NO_WAKEUP }
}

/// Counts something that did not fit, by [`lost`].
#[inline(always)]
pub fn count_lost(kind: u32) {
    if let Some(count) = LOST.get_ptr_mut(kind) {
        // SAFETY: the map's own memory, and this CPU's alone.
        unsafe { *count += 1 };
    }
}
