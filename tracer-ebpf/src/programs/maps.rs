//! All maps.
//!
//! `LIVE`, `FATES`, `EVENTS`, `LOST` and `INSPECTION` are one session's own. `WATCHED`, `CALLS` and
//! `UNCOUNTED` belong to one window. The others belong to the hook on context switches, which is loaded once
//! for the whole machine: the loader gives every session the same.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use tracer_ebpf::{
    limits,
    wire::{
        CallKey, CallTotals, ExitRecord, Fate, HookSettings, Inspection, ProcessKey, StallRecord, WriterSlot,
    },
};

/// `BPF_F_NO_PREALLOC`: memory for the entries there are, not for all there could be.
const NO_PREALLOC: u32 = 1;
/// Memory for all entries. Before 6.1 the kernel warns (`check_map_prog_compatibility` of
/// `kernel/bpf/verifier.c`) when a program on a raw tracepoint or a perf event has a hash map without it.
const PREALLOC: u32 = 0;
/// `BPF_F_MMAPABLE`: the user side walks the map without a system call per entry.
const MMAPABLE: u32 = 1 << 10;

/// The session's living processes: tgid → start time (ticks, see [`ProcessKey`]).
#[map]
pub static LIVE: HashMap<u32, u64> = HashMap::with_max_entries(limits::SESSION_PROCESSES, NO_PREALLOC);

/// The fate of each process of the session that the user side has not collected yet.
#[map]
pub static FATES: HashMap<ProcessKey, Fate> =
    HashMap::with_max_entries(limits::SESSION_PROCESSES, NO_PREALLOC);

/// Events. Those of one CPU are in the order in which they happened.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(limits::RING_BYTES, 0);

/// Counts of what did not fit, by [`tracer_ebpf::wire::lost`].
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(tracer_ebpf::wire::lost::KINDS, 0);

/// Memory in which an exit record is put together, since it is too large for the stack. One entry for each
/// program that makes them.
#[map]
pub static EXIT_SCRATCH: PerCpuArray<ExitRecord> = PerCpuArray::with_max_entries(3, 0);

/// Answer of the inspection program.
#[map]
pub static INSPECTION: Array<Inspection> = Array::with_max_entries(1, 0);

/// Settings of the hook on context switches.
#[map]
pub static SWITCH_HOOK: Array<HookSettings> = Array::with_max_entries(1, 0);

/// Sleeping writers of the whole machine, by the low bits of their thread id.
#[map]
pub static SLOTS: Array<WriterSlot> = Array::with_max_entries(limits::WRITER_SLOTS, MMAPABLE);

/// Sleeping writers whose slot was taken.
#[map]
pub static COLLISIONS: HashMap<u32, WriterSlot> =
    HashMap::with_max_entries(limits::WRITER_COLLISIONS, PREALLOC);

/// Stalls that have ended. CPU n has the n-th run of entries and overwrites the oldest, see `read::LOG`.
#[map]
pub static STALL_LOG: Array<StallRecord> = Array::with_max_entries(limits::STALL_LOG_RECORDS, MMAPABLE);

/// Number of records that each CPU has ever written to its run.
#[map]
pub static STALL_CURSORS: Array<u64> = Array::with_max_entries(limits::CPUS, MMAPABLE);

/// The processes (tgid) whose system calls are counted. The value is not used.
#[map]
pub static WATCHED: HashMap<u32, u32> = HashMap::with_max_entries(limits::WATCHED_PROCESSES, PREALLOC);

/// Counts of the watched processes' system calls.
#[map]
pub static CALLS: HashMap<CallKey, CallTotals> = HashMap::with_max_entries(limits::CALLS, PREALLOC);

/// Calls for which [`CALLS`] had no room.
#[map]
pub static UNCOUNTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
