//! Counts what the system calls of some threads return, while a window of observation lasts.
//!
//! The kernel passes the fields of the event `raw_syscalls/sys_exit` (`include/trace/events/syscalls.h`),
//! whose layout is the same on all kernels and architectures. It does so on the way back to user space, with
//! the thread itself as the current task:
//!
//! ```text
//! do_syscall_64 (x86), el0_svc_common (arm64)
//! ├── the call itself                      asleep here for as long as it blocks
//! └── syscall_exit_work (x86), syscall_trace_exit (arm64)
//!     ├── trace_sys_exit(regs, ret)
//!     │   ├── perf_trace_sys_exit          preemption is off
//!     │   │   └── trace_call_bpf           ← on_return
//!     │   └── __bpf_trace_sys_exit         where a program with typed arguments would run
//!     └── signals, restarts                ret may still be one of the kernel's own (ERESTARTSYS is 512, …)
//! ```
//!
//! Why this hook:
//! - One place sees every call with its result.
//! - A call that blocks throughout the window is not counted. A thread that was asleep when the window began
//!   is counted when it comes back: attaching marks every thread (`syscall_regfunc` of
//!   `kernel/tracepoint.c`).
//! - No run is missed. From 7.0 on a program on the tracepoint itself can be preempted, and while it is, the
//!   kernel runs it for no other thread of that CPU (`__bpf_trace_run` of `kernel/trace/bpf_trace.c`): of
//!   eight threads that do nothing but calls on two emulated CPUs, it missed 42 calls in 100. perf turns
//!   preemption off. What remains is a call that returns while its CPU is inside the BPF system call of
//!   another process (`bpf_prog_active`).
//!
//! The cost: while the program is attached, every thread of the machine leaves its calls on a slower path,
//! hence for a window only.
//!
//! Invariant: an entry of `CALLS` is changed by its own thread alone, so nothing is atomic.

use aya_ebpf::{
    EbpfContext as _, bindings::BPF_NOEXIST, helpers::bpf_get_current_pid_tgid, macros::tracepoint,
    programs::TracePointContext,
};
use tracer_ebpf::wire::{CallKey, CallTotals, ErrorCount};

use super::maps::{CALLS, UNCOUNTED, WATCHED};

/// The event's fields, after eight bytes that a program cannot read.
#[repr(C)]
struct SysExit {
    common: u64,
    number: i64,
    result: i64,
}

/// Largest error number (`MAX_ERRNO` of `include/linux/err.h`).
const MAX_ERRNO: i64 = 4095;

/// A system call returns. The result 0 means that perf makes no record of the event.
#[tracepoint(category = "raw_syscalls", name = "sys_exit")]
pub fn on_return(ctx: TracePointContext) -> u32 {
    let current = bpf_get_current_pid_tgid();
    let tgid = (current >> 32) as u32;
    // SAFETY: the value is not read.
    if unsafe { WATCHED.get(tgid) }.is_none() {
        return 0;
    }
    let event = ctx.as_ptr().cast::<SysExit>();
    // SAFETY: the kernel passes these fields, and the verifier checks the accesses.
    let (number, result) = unsafe { ((*event).number, (*event).result) };
    // A return from a signal handler: the registers are those of the interrupted code, which made no call.
    if number < 0 {
        return 0;
    }
    let key = CallKey { tid: current as u32, number: number as u32 };
    match entry(key, tgid) {
        // SAFETY: the map's own memory. No other thread has this key.
        Some(totals) => count(unsafe { &mut *totals }, result),
        None => {
            if let Some(uncounted) = UNCOUNTED.get_ptr_mut(0) {
                // SAFETY: the map's own memory, and this CPU's alone.
                unsafe { *uncounted += 1 };
            }
        }
    }
    0
}

/// The key's entry. `None` when the map is full.
#[inline(always)]
fn entry(key: CallKey, tgid: u32) -> Option<*mut CallTotals> {
    if let Some(totals) = CALLS.get_ptr_mut(key) {
        return Some(totals);
    }
    let first = CallTotals { tgid, ..CallTotals::default() };
    CALLS.insert(key, first, BPF_NOEXIST as u64).ok()?;
    CALLS.get_ptr_mut(key)
}

#[inline(always)]
fn count(totals: &mut CallTotals, result: i64) {
    totals.calls += 1;
    if result == 0 {
        totals.zeros += 1;
    } else if (-MAX_ERRNO..0).contains(&result) {
        let errno = -result as u32;
        for error in &mut totals.errors {
            if error.errno == errno || error.errno == 0 {
                *error = ErrorCount { errno, zero: 0, calls: error.calls + 1 };
                return;
            }
        }
    } else {
        totals.positives += 1;
        totals.sum = totals.sum.wrapping_add(result as u64);
    }
}
