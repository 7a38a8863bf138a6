//! The hook on context switches: writers that sleep, and how long they slept.
//!
//! ```text
//! __schedule (kernel/sched/core.c)        the run queue is locked
//! ├── prev->nvcsw or nivcsw is incremented
//! ├── trace_sched_switch(preempt, prev, next)   ← on_switch
//! │   ├── `wake` for next                 it comes back: how long did it sleep?
//! │   └── `sleep` for prev                it goes to sleep: inside a write?
//! └── context_switch                      next runs
//! ```
//!
//! Prototype: `sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next)`, from 5.18 on
//! with a fourth argument, which is not used.
//!
//! Why this hook: it sees every sleep in a write, whatever the call and the file, and what the sleep waits
//! for can be read from the thread's registers, since the thread is still inside its call.
//!
//! A job that lives on pipes sleeps for microseconds a hundred thousand times a second. So a sleep costs one
//! store into an array slot, and a wake-up one look-up there. Evidence is gathered only for a sleep that has
//! outlasted the threshold, when it ends. One slot serves all threads whose ids share the low bits. While it
//! is taken, the others go to a map, and the slot counts them, so that only they pay for the second look-up.
//! Two threads that take the same free slot in the same instant on two CPUs leave one of them unseen for that
//! one sleep.
//!
//! Not every wake-up is seen: the kernel does not run a program that is already running on the CPU, and there
//! are kernels that run none on behalf of some processes, so that a thread that follows such a process on a
//! CPU comes back unseen. Hence a slot has its thread's count of context switches. When the thread has left
//! the CPU again since, the duration of its sleep is unknown: nothing is recorded, and the slot is free. The
//! user side ends the stall that it had reported open.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, generated::bpf_task_pt_regs},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tracer_ebpf::{
    limits,
    wire::{Inspection, StallRecord, WriterSlot, kind},
};

use super::{
    emit::{header, now_boot_ns},
    file,
    maps::{COLLISIONS, SLOTS, STALL_CURSORS, STALL_LOG, SWITCH_HOOK},
    read::{self, direct, global, probe},
};

/// `PF_KTHREAD | PF_IO_WORKER` (`include/linux/sched.h`): threads without a system call of their own.
const NO_SYSTEM_CALL: u32 = 0x0020_0010;
/// `TASK_INTERRUPTIBLE`, in 5.10 to 7.x.
const TASK_INTERRUPTIBLE: u32 = 1;

/// A context switch.
#[btf_tracepoint(function = "sched_switch")]
pub fn on_switch(ctx: BtfTracePointContext) -> i32 {
    let next: *const u8 = ctx.arg(2);
    wake(next);
    let preempted: u64 = ctx.arg(0);
    let prev: *const u8 = ctx.arg(1);
    if preempted & 0xff == 0 && direct!(prev, task_state: u32) & TASK_INTERRUPTIBLE != 0 {
        sleep(prev);
    }
    0
}

/// The thread goes to sleep. When it does so inside a write, its slot gets the time.
#[inline(always)]
fn sleep(task: *const u8) {
    if direct!(task, task_flags: u32) & NO_SYSTEM_CALL != 0 {
        return;
    }
    let (number, regs) = system_call(task);
    if number >= 512 {
        return;
    }
    let word = (number >> 6) as usize & 7;
    // SAFETY: inside the array; volatile as in `global!`.
    let calls =
        unsafe { core::ptr::read_volatile((&raw const read::ABI.write_calls).cast::<u64>().add(word)) };
    if calls & (1 << (number & 63)) == 0 {
        return;
    }
    if waits_for_input(task as u64, regs, number) {
        return;
    }
    let tid = direct!(task, task_pid: u32);
    let switches = switches(task);
    let Some(slot) = SLOTS.get_ptr_mut(tid & (limits::WRITER_SLOTS - 1)) else { return };
    let since_boot_ns = now_boot_ns();
    // SAFETY: the map's own memory. Other CPUs touch the slot only for another thread, see the module.
    unsafe {
        // A slot of its own: it came back unseen.
        if (*slot).tid == 0 || (*slot).tid == tid {
            (*slot).since_boot_ns = since_boot_ns;
            (*slot).task = task as u64;
            (*slot).regs = regs;
            (*slot).switches = switches;
            core::ptr::write_volatile(&raw mut (*slot).tid, tid);
            return;
        }
    }
    let entry = WriterSlot { tid, collisions: 0, since_boot_ns, task: task as u64, regs, switches };
    if COLLISIONS.insert(tid, entry, 0).is_ok() {
        // SAFETY: as above. A count that two CPUs change at the same time can be wrong, and is corrected at
        // zero.
        unsafe { (*slot).collisions += 1 };
    }
}

/// The thread comes back. A sleep in a write that lasted for the threshold is a stall.
#[inline(always)]
fn wake(task: *const u8) {
    let tid = direct!(task, task_pid: u32);
    if tid == 0 {
        // The idle task.
        return;
    }
    let Some(slot) = SLOTS.get_ptr_mut(tid & (limits::WRITER_SLOTS - 1)) else { return };
    // SAFETY: the map's own memory. The slot is this thread's until its id is removed.
    let (since_boot_ns, left) = unsafe {
        if (*slot).tid == tid {
            let since = ((*slot).since_boot_ns, (*slot).switches);
            core::ptr::write_volatile(&raw mut (*slot).tid, 0);
            since
        } else if (*slot).collisions != 0 {
            let Some(entry) = COLLISIONS.get(tid) else { return };
            let since = (entry.since_boot_ns, entry.switches);
            let _ = COLLISIONS.remove(tid);
            (*slot).collisions -= 1;
            since
        } else {
            return;
        }
    };
    let lasted_ns = now_boot_ns().wrapping_sub(since_boot_ns);
    let Some(settings) = SWITCH_HOOK.get(0) else { return };
    if lasted_ns >= settings.threshold_ns && switches(task) == left {
        ended(task, tid, since_boot_ns);
    }
}

/// Number of times the thread has left the CPU.
#[inline(always)]
fn switches(task: *const u8) -> u64 {
    direct!(task, task_nvcsw: u64) + direct!(task, task_nivcsw: u64)
}

/// Whether a thread is still in the sleep that began when it had left the CPU this many times.
#[inline(always)]
pub fn sleeps_still(task: u64, switches: u64) -> bool {
    let now = probe!(task, task_nvcsw: u64) + probe!(task, task_nivcsw: u64);
    now == switches && probe!(task, task_state: u32) & TASK_INTERRUPTIBLE != 0
}

/// Number of the system call that the thread is in, and the address of its user registers.
#[inline(always)]
fn system_call(task: *const u8) -> (u32, u64) {
    let number_at = global!(ABI.regs_number);
    let in_stack = global!(ABI.regs_in_stack);
    if in_stack != 0 {
        let regs = direct!(task, task_stack: u64) + in_stack as u64;
        return (read::at::<u32>(regs, number_at), regs);
    }
    // SAFETY: the task is alive, being switched. The verifier knows the type of the pointer that the helper
    // returns.
    unsafe {
        let regs = bpf_task_pt_regs(task.cast_mut().cast()) as *const u8;
        let number = core::ptr::read_volatile(regs.add(number_at as usize).cast::<u32>());
        (number, regs as u64)
    }
}

/// Whether a call that moves data between two files sleeps because its input is empty.
#[inline(always)]
fn waits_for_input(task: u64, regs: u64, number: u32) -> bool {
    if number == global!(ABI.splice) || number == global!(ABI.tee) || number == global!(ABI.sendfile) {
        let output = file::of_fd(task, output_fd(regs, number));
        return file::is_pipe(output) && !file::is_full_pipe(output)
            || !file::is_pipe(output) && input_is_empty(task, regs, number);
    }
    if number == global!(ABI.vmsplice) {
        return !file::is_full_pipe(file::of_fd(task, output_fd(regs, number)));
    }
    false
}

/// Whether the call's input is an empty pipe.
#[inline(always)]
fn input_is_empty(task: u64, regs: u64, number: u32) -> bool {
    let nth = if number == global!(ABI.sendfile) { 1 } else { 0 };
    file::is_empty_pipe(file::of_fd(task, argument(regs, nth)))
}

/// The file descriptor that a write-family call writes to.
#[inline(always)]
pub fn output_fd(regs: u64, number: u32) -> u32 {
    let nth = if number == global!(ABI.splice) {
        2
    } else if number == global!(ABI.tee) {
        1
    } else {
        0
    };
    argument(regs, nth)
}

/// The n-th argument of the system call, as an int.
#[inline(always)]
fn argument(regs: u64, nth: usize) -> u32 {
    let at = match nth {
        0 => global!(ABI.regs_args[0]),
        1 => global!(ABI.regs_args[1]),
        _ => global!(ABI.regs_args[2]),
    };
    read::at::<u32>(regs, at)
}

/// Describes a thread's blocked write.
#[inline(always)]
pub fn describe(task: u64, regs: u64, out: &mut Inspection) {
    let number = read::at::<u32>(regs, global!(ABI.regs_number));
    let fd = output_fd(regs, number);
    out.record.process = read::process_key(task);
    out.record.tid = probe!(task, task_pid: u32);
    out.record.comm = read::comm(task);
    out.record.syscall = number;
    out.record.fd = fd as i32;
    file::describe(file::of_fd(task, fd), out);
}

/// Records the end of a stall in this CPU's run of the log.
#[inline(never)]
fn ended(task: *const u8, tid: u32, since_boot_ns: u64) {
    let (_, regs) = system_call(task);
    let mut found = Inspection::default();
    describe(task as u64, regs, &mut found);
    let record = &mut found.record;
    record.header = header::<StallRecord>(kind::STALL_CLOSED, now_boot_ns());
    record.since_boot_ns = since_boot_ns;
    record.tid = tid;
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(cursor) = STALL_CURSORS.get_ptr_mut(cpu) {
        let run = global!(LOG.run);
        // SAFETY: the map's own memory, and this CPU's alone: the hook does not nest.
        let written = unsafe { *cursor };
        let index = (cpu * run + (written as u32 & (run - 1))) & (limits::STALL_LOG_RECORDS - 1);
        if let Some(entry) = STALL_LOG.get_ptr_mut(index) {
            // SAFETY: as above. The cursor moves after the record is whole.
            unsafe {
                *entry = *record;
                core::ptr::write_volatile(cursor, written + 1);
            }
        }
    }
}
