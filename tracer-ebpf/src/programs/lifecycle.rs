//! Fork, exec, exit and signals of a session's processes.
//!
//! No birth and no end is missed. From Linux 7.0 on a program on a tracepoint can be preempted ("tracing: Guard
//! `__DECLARE_TRACE()` use of `__DO_TRACE_CALL()` with SRCU-fast"), and while it is, the kernel runs it for nobody else on
//! that CPU (`__bpf_trace_run` of `kernel/trace/bpf_trace.c` counts a miss). So births are told where interrupts are off,
//! [`on_new`], and an end that [`on_exit`] missed is told by the next of these that sees it: [`on_signal`], when the parent
//! is notified, and [`on_free`], when the process is freed. A missed exec costs its event, no more.
//!
//! Prototypes (`include/trace/events/sched.h`, `signal.h`):
//! - `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
//! - `sched_wakeup_new(struct task_struct *p)`
//! - `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
//! - `sched_process_exit(struct task_struct *p)`, from 6.16 on with a second argument `bool group_dead`
//! - `sched_process_free(struct task_struct *p)`
//! - `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel_str_bytes},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tracer_ebpf::{
    limits::{COMM_BYTES, NS_PER_TICK, REAPER_DEPTH},
    wire::{ExecRecord, ExitRecord, Fate, ForkRecord, ProcessKey, SignalRecord, fate_flags, kind, lost},
};

use super::{
    emit::{count_lost, header, now_boot_ns, output, reserve, submit},
    maps::{EXIT_SCRATCH, FATES, LIVE},
    read::{self, direct, global, probe},
};

/// `SIGNAL_GROUP_EXIT` (`include/linux/sched/signal.h`).
const SIGNAL_GROUP_EXIT: u32 = 4;
/// `SI_KERNEL` (`include/uapi/asm-generic/siginfo.h`).
const SI_KERNEL: i32 = 0x80;
/// `SI_TIMER`: negative, but nobody sent it.
const SI_TIMER: i32 = -2;
const SIGKILL: u32 = 9;
const SIGCHLD: u32 = 17;
const SIGURG: u32 = 23;
const SIGWINCH: u32 = 28;
const SIGRTMIN: u32 = 32;

/// The identity of a process of the session, from its tgid; `None` for everybody else.
#[inline(always)]
fn member(tgid: u32) -> Option<ProcessKey> {
    // SAFETY: without preallocation an entry is not reused under a reader.
    let start = unsafe { LIVE.get(tgid) }?;
    Some(ProcessKey { tgid, zero: 0, start_ticks: *start })
}

/// A child of a member is a member, before it runs. On kernels whose maps cannot be added to where [`on_new`] runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn on_fork(ctx: BtfTracePointContext) -> i32 {
    let child: *const u8 = ctx.arg(1);
    born(&ctx, child)
}

/// As [`on_fork`], where the kernel lets a new task run for the first time (`wake_up_new_task` of `kernel/sched/core.c`): its
/// run queue is locked, so that nothing can preempt this. For kernels whose maps have memory of their own to grow with (6.1
/// and later, `bpf_htab.ma`): others would ask the allocator, which may wake somebody, for which that lock is taken.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn on_new(ctx: BtfTracePointContext) -> i32 {
    let child: *const u8 = ctx.arg(0);
    born(&ctx, child)
}

/// The current thread has made a task.
#[inline(always)]
fn born(ctx: &BtfTracePointContext, child: *const u8) -> i32 {
    let parent = bpf_get_current_pid_tgid();
    let Some(parent_key) = member((parent >> 32) as u32) else { return 0 };
    let tgid = direct!(child, task_tgid: u32);
    if direct!(child, task_pid: u32) != tgid {
        // A thread.
        return 0;
    }
    let child_start_boottime_ns = read::start_ns(child as u64);
    let child_key = ProcessKey { tgid, zero: 0, start_ticks: child_start_boottime_ns / NS_PER_TICK };
    let inner = read::inner(child as u64);
    let fate = Fate {
        parent: parent_key,
        pidns_ino: inner.pidns_ino,
        pidfd_ino: inner.pidfd_ino,
        ns_pid: inner.ns_pid,
        ..Fate::default()
    };
    if LIVE.insert(tgid, child_key.start_ticks, 0).is_err() || FATES.insert(child_key, fate, 0).is_err() {
        count_lost(lost::MEMBERS);
    }
    debug!(ctx, "fork: {} made {}", parent_key.tgid, tgid);
    if let Some(mut entry) = reserve::<ForkRecord>() {
        entry.write(ForkRecord {
            header: header::<ForkRecord>(kind::FORK, now_boot_ns()),
            parent: parent_key,
            child: child_key,
            child_start_boottime_ns,
            parent_tid: parent as u32,
            child_ns_pid: inner.ns_pid,
            pidns_ino: inner.pidns_ino,
            pidfd_ino: inner.pidfd_ino,
            comm: read::comm(child as u64),
        });
        submit(entry);
    }
    0
}

/// A member runs another program; it stays the same process.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn on_exec(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    let old_tid: u32 = ctx.arg(1);
    let program: *const u8 = ctx.arg(2);
    let Some(process) = member(direct!(task, task_tgid: u32)) else { return 0 };
    if let Some(fate) = FATES.get_ptr_mut(process) {
        // SAFETY: the map's own memory; only this process's own thread execs.
        unsafe { (*fate).flags |= fate_flags::EXECED };
    }
    debug!(&ctx, "exec: {}", process.tgid);
    let Some(mut entry) = reserve::<ExecRecord>() else { return 0 };
    let filename: u64 = probe!(program, binprm_filename: u64);
    let record = entry.as_mut_ptr();
    // SAFETY: the ring's memory, as large as the record; every field is written before it is submitted.
    unsafe {
        (*record).header = header::<ExecRecord>(kind::EXEC, now_boot_ns());
        (*record).process = process;
        (*record).old_tid = old_tid;
        (*record).comm = read::comm(task as u64);
        core::ptr::write_bytes((&raw mut (*record).filename).cast::<u64>(), 0, 32);
        let read = bpf_probe_read_kernel_str_bytes(filename as *const u8, &mut (*record).filename);
        (*record).filename_bytes = match read {
            Ok(bytes) => bytes.len() as u32,
            Err(_) => 0,
        };
    }
    submit(entry);
    0
}

/// The last thread of a member ends: its fate.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn on_exit(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    let Some(process) = member(direct!(task, task_tgid: u32)) else { return 0 };
    let task = task as u64;
    if claim(process, task) {
        let leader: u64 = probe!(task, task_group_leader: u64);
        ended(&ctx, Seen::Ending, process, task, leader);
    }
    0
}

/// The last of all that is done with a task. The end of a process that nobody was notified of, and that [`on_exit`] missed.
#[btf_tracepoint(function = "sched_process_free")]
pub fn on_free(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    let tgid = direct!(task, task_tgid: u32);
    if direct!(task, task_pid: u32) != tgid {
        return 0;
    }
    let task = task as u64;
    let process = ProcessKey { tgid, zero: 0, start_ticks: read::start_ns(task) / NS_PER_TICK };
    // SAFETY: without preallocation an entry is not reused under a reader.
    let Some(fate) = (unsafe { FATES.get(process) }) else { return 0 };
    // A leader that another thread replaced by an exec is freed while its process lives.
    let signal: u64 = probe!(task, task_signal: u64);
    if fate.exit_boot_ns != 0 || probe!(signal, signal_live: u32) != 0 {
        return 0;
    }
    // Its number may be another member's by now.
    if member(tgid).is_some_and(|now| now.start_ticks == process.start_ticks) {
        let _ = LIVE.remove(tgid);
    }
    ended(&ctx, Seen::Freed, process, task, task);
    0
}

/// Whether the caller, a thread of this member, is to tell of its end: no thread of it lives, and nobody has told yet.
#[inline(always)]
fn claim(process: ProcessKey, task: u64) -> bool {
    let signal: u64 = probe!(task, task_signal: u64);
    probe!(signal, signal_live: u32) == 0 && LIVE.remove(process.tgid).is_ok()
}

/// By which program an end was seen, and its place in the scratch memory: one may be preempted by another.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Ending = 0,
    Notifying = 1,
    Freed = 2,
}

/// Tells of a member's end; `task` is the thread that sees to it.
///
/// The status is what `wait_task_zombie` of `kernel/exit.c` reports: the group's where a flag says that it
/// exited as a group, else the leader's own, whichever thread comes last.
#[inline(always)]
fn ended(ctx: &BtfTracePointContext, seen: Seen, process: ProcessKey, task: u64, leader: u64) {
    let signal: u64 = probe!(task, task_signal: u64);
    let wait_status = if probe!(signal, signal_flags: u32) & SIGNAL_GROUP_EXIT != 0 {
        probe!(signal, signal_group_exit_code: u32)
    } else {
        probe!(leader, task_exit_code: u32)
    };
    let Some(record) = EXIT_SCRATCH.get_ptr_mut(seen as u32) else { return };
    // SAFETY: the map's own memory, and this program's on this CPU alone: it does not nest in itself.
    let record = unsafe { &mut *record };
    let boot_ns = now_boot_ns();
    record.header = header::<ExitRecord>(kind::EXIT, boot_ns);
    record.process = process;
    let fate = &mut record.fate;
    // SAFETY: without preallocation an entry is not reused under a reader.
    match unsafe { FATES.get(process) } {
        Some(born) => *fate = *born,
        None => *fate = Fate::default(),
    }
    fate.exit_boot_ns = boot_ns;
    fate.wait_status = wait_status;
    if probe!(signal, signal_oom_mm: u64) != 0 {
        fate.flags |= fate_flags::OOM_VICTIM;
    }
    if fate.killer_signal != wait_status & 0x7f {
        // The last signal that somebody sent is not the one that ended it.
        fate.killer_tgid = 0;
        fate.killer_signal = 0;
        fate.killer_comm = [0; COMM_BYTES];
    }
    // The sum has the threads that were released: `__exit_signal` of `kernel/exit.c`.
    let released = probe!(signal, signal_sum_sched_runtime: u64);
    let of = |task: u64| probe!(task, task_sum_exec_runtime: u64);
    match seen {
        Seen::Ending if task != leader => fate.cpu_ns = released + of(leader) + of(task),
        Seen::Ending | Seen::Notifying => fate.cpu_ns = released + of(leader),
        Seen::Freed => {
            fate.cpu_ns = released;
            fate.flags |= fate_flags::SEEN_LATE;
        }
    }
    // Who is freed has no parent any more.
    fate.reaper_tgid = if seen == Seen::Freed { 0 } else { reaper(leader, signal) };
    fate.comm = read::comm(leader);
    if FATES.insert(process, &*fate, 0).is_err() {
        count_lost(lost::MEMBERS);
    }
    debug!(ctx, "exit: {} status {:x}", process.tgid, wait_status);
    output(record);
}

/// Who gets the children of a dying process: as `find_new_reaper` of `kernel/exit.c` decides, the nearest
/// ancestor of the same pid namespace that asked for it, else the namespace's init. 0: unknown.
#[inline(always)]
fn reaper(leader: u64, signal: u64) -> u32 {
    if read::bit(signal, global!(OFFSETS.signal_has_child_subreaper)) {
        let level = read::namespace_level(leader);
        let mut ancestor = leader;
        let mut seen_all = false;
        for _ in 0..REAPER_DEPTH {
            ancestor = probe!(ancestor, task_real_parent: u64);
            let tgid = probe!(ancestor, task_tgid: u32);
            // Above the namespace's init there is nobody it could ask, and above the machine's nobody at all.
            if tgid == 0 || read::namespace_level(ancestor) != level {
                seen_all = true;
                break;
            }
            let signal: u64 = probe!(ancestor, task_signal: u64);
            if read::bit(signal, global!(OFFSETS.signal_is_child_subreaper)) {
                return tgid;
            }
        }
        if !seen_all {
            return 0;
        }
    }
    let init: u64 = probe!(read::inner(leader).namespace, pidns_child_reaper: u64);
    probe!(init, task_tgid: u32)
}

/// Somebody signals a member. Kept in its fate, in case it dies of it.
///
/// Signals that come by the thousand and end nothing (SIGCHLD, SIGURG of Go's scheduler, window changes,
/// real-time signals of threading libraries) make no event.
#[btf_tracepoint(function = "signal_generate")]
pub fn on_signal(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the helper has no preconditions.
    let current = unsafe { bpf_get_current_task() } as u64;
    if let Some(process) = member((bpf_get_current_pid_tgid() >> 32) as u32)
        && claim(process, current)
    {
        // It notifies its parent (`do_notify_parent` of `kernel/signal.c`).
        ended(&ctx, Seen::Notifying, process, current, probe!(current, task_group_leader: u64));
    }
    let signal: u32 = ctx.arg(0);
    if signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal >= SIGRTMIN {
        return 0;
    }
    let task: *const u8 = ctx.arg(2);
    let Some(target) = member(direct!(task, task_tgid: u32)) else { return 0 };
    let info: u64 = ctx.arg(1);
    let group: u32 = ctx.arg(3);
    let result: u32 = ctx.arg(4);
    // SEND_SIG_NOINFO and SEND_SIG_PRIV stand in for a siginfo (`include/linux/signal.h`).
    let code = match info {
        0 => 0,
        1 => SI_KERNEL,
        _ => probe!(info, siginfo_si_code: i32),
    };
    let by_process = code <= 0 && code != SI_TIMER;
    let sender = read::process_key(current);
    let sender_comm = read::comm(current);
    if let Some(fate) = FATES.get_ptr_mut(target) {
        // SAFETY: the map's own memory. Two senders at once can mix their names; the signal is told by either.
        unsafe {
            // Nothing can be sent after SIGKILL that it would die of.
            if (*fate).killer_signal != SIGKILL {
                (*fate).killer_signal = signal;
                (*fate).killer_tgid = if by_process { sender.tgid } else { 0 };
                (*fate).killer_comm = if by_process { sender_comm } else { [0; COMM_BYTES] };
            }
        }
    }
    if let Some(mut entry) = reserve::<SignalRecord>() {
        entry.write(SignalRecord {
            header: header::<SignalRecord>(kind::SIGNAL, now_boot_ns()),
            target,
            sender,
            signal,
            code,
            result,
            group,
            sender_comm,
        });
        submit(entry);
    }
    0
}
