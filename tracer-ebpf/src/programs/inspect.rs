//! Describes one writer slot, or one file of the calling process, on demand.
//!
//! Run by `BPF_PROG_TEST_RUN` and never attached. A slot's task may end at any moment. So its address is read
//! only by the helper that tolerates that, and the answer is valid only if the slot is unchanged afterwards.

use aya_ebpf::{helpers::bpf_get_current_task, macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_ebpf::{
    limits,
    wire::{Inspection, StallRecord, WriterSlot, ask, kind},
};

use super::{
    emit::{header, now_boot_ns},
    file,
    maps::{COLLISIONS, INSPECTION, SLOTS},
    read::probe,
    stall,
};

/// First argument: what the second one is ([`ask`]). The answer is in [`INSPECTION`].
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn look(ctx: RawTracePointContext) -> i32 {
    let what: u64 = ctx.arg(0);
    let which: u64 = ctx.arg(1);
    let mut found = Inspection::default();
    if what == ask::OWN_FD {
        // SAFETY: the helper has no preconditions.
        let file = file::of_fd(unsafe { bpf_get_current_task() } as u64, which as u32);
        found.valid = (file != 0) as u32;
        file::describe(file, &mut found);
        found.unix_peer = file::unix_peer(file);
    } else if let Some(slot) = slot(what, which) {
        stall::describe(slot.task, slot.regs, &mut found);
        found.record.header = header::<StallRecord>(kind::STALL_OPEN, now_boot_ns());
        found.record.since_boot_ns = slot.since_boot_ns;
        let unchanged = match self::slot(what, which) {
            Some(after) => after.tid == slot.tid && after.since_boot_ns == slot.since_boot_ns,
            None => false,
        };
        let sleeps = stall::sleeps_still(slot.task, slot.switches);
        found.valid = (unchanged && sleeps && found.record.tid == slot.tid) as u32;
    }
    if let Some(answer) = INSPECTION.get_ptr_mut(0) {
        // SAFETY: the map's own memory. A session asks one question at a time.
        unsafe { *answer = found };
    }
    0
}

/// First argument: address of a pipe's file, from the answer of [`look`]. Second: the buffer to begin with.
/// Writes the bytes in [`limits::PIPE_BUFFERS`] buffers into the answer. A program of its own, since the
/// verifier would follow the loop once for every path to it.
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn fill(ctx: RawTracePointContext) -> i32 {
    let first: u64 = ctx.arg(1);
    let bytes = file::pipe_bytes(ctx.arg(0), first as u32);
    if let Some(answer) = INSPECTION.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { (*answer).record.used_bytes = bytes };
    }
    0
}

#[inline(always)]
fn slot(what: u64, which: u64) -> Option<WriterSlot> {
    let slot = if what == ask::SLOT {
        SLOTS.get(which as u32 & (limits::WRITER_SLOTS - 1)).copied()
    } else {
        // SAFETY: the map's own memory. An entry may be reused for another thread while it is copied: the
        // answer counts only if a second look finds the same, see the module.
        unsafe { COLLISIONS.get(which as u32) }.copied()
    }?;
    (slot.tid != 0 && probe!(slot.task, task_pid: u32) == slot.tid).then_some(slot)
}
