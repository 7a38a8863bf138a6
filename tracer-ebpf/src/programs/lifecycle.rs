//! Fork, exec, exit and signals of a session's processes.
//!
//! ```text
//! kernel_clone (kernel/fork.c)
//! ├── copy_process
//! ├── trace_sched_process_fork            ← on_fork, before 6.1
//! └── wake_up_new_task                    the child can run from here on
//!     └── trace_sched_wakeup_new          ← on_new, from 6.1 on: its run queue is locked
//!
//! do_exit (kernel/exit.c), of each thread
//! ├── signal->live is decremented         0: this is the last thread
//! ├── trace_sched_process_exit            ← on_exit; before 6.16 after exit_mm
//! ├── exit_mm, exit_files
//! └── exit_notify
//!     ├── find_new_reaper                 as `reaper` predicts
//!     └── do_notify_parent                once the leader and all other threads are gone
//!         └── trace_signal_generate       ← on_signal
//!
//! release_task, when the process is reaped
//! └── delayed_put_task_struct             after a grace period
//!     └── trace_sched_process_free        ← on_free
//! ```
//!
//! Invariant: every birth and every end is recorded. From Linux 7.0 on a program on a tracepoint can be
//! preempted ("tracing: Guard `__DECLARE_TRACE()` use of `__DO_TRACE_CALL()` with SRCU-fast"), and while it
//! is, the kernel runs it for no other thread of that CPU (`__bpf_trace_run` of `kernel/trace/bpf_trace.c`
//! counts a miss). So births are recorded where interrupts are off, in [`on_new`]. An end that [`on_exit`]
//! missed is recorded by the next program that sees it: [`on_signal`] when the parent is notified, or
//! [`on_free`]. A missed exec costs its event and nothing else.
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
/// `SI_TIMER`: negative, but not sent by a process.
const SI_TIMER: i32 = -2;
const SIGKILL: u32 = 9;
const SIGCHLD: u32 = 17;
const SIGURG: u32 = 23;
const SIGWINCH: u32 = 28;
const SIGRTMIN: u32 = 32;

/// The identity of a process of the session, from its tgid. `None` for any other process.
#[inline(always)]
fn member(tgid: u32) -> Option<ProcessKey> {
    // SAFETY: without preallocation an entry is not reused under a reader.
    let start = unsafe { LIVE.get(tgid) }?;
    Some(ProcessKey { tgid, zero: 0, start_ticks: *start })
}

/// A member forks: the child is a member before it runs. For kernels whose maps cannot grow where [`on_new`]
/// runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn on_fork(ctx: BtfTracePointContext) -> i32 {
    let child: *const u8 = ctx.arg(1);
    born(&ctx, child)
}

/// As [`on_fork`], where the kernel lets a new task run for the first time (`wake_up_new_task` of
/// `kernel/sched/core.c`). Its run queue is locked, so that nothing can preempt this program. For kernels
/// whose maps grow from memory of their own (6.1 and later, `bpf_htab.ma`). Others would call the allocator,
/// which may wake a thread, which takes that lock.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn on_new(ctx: BtfTracePointContext) -> i32 {
    let child: *const u8 = ctx.arg(0);
    born(&ctx, child)
}

/// The current thread has created the task `child`.
#[inline(always)]
fn born(ctx: &BtfTracePointContext, child: *const u8) -> i32 {
    let parent = bpf_get_current_pid_tgid();
    let Some(parent_key) = member((parent >> 32) as u32) else { return 0 };
    let tgid = direct!(child, task_tgid: u32);
    if direct!(child, task_pid: u32) != tgid {
        // A thread, not a process.
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

/// A member executes a program. It stays the same process.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn on_exec(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    let old_tid: u32 = ctx.arg(1);
    let program: *const u8 = ctx.arg(2);
    let Some(process) = member(direct!(task, task_tgid: u32)) else { return 0 };
    if let Some(fate) = FATES.get_ptr_mut(process) {
        // SAFETY: the map's own memory. Only a thread of this process execs.
        unsafe { (*fate).flags |= fate_flags::EXECED };
    }
    debug!(&ctx, "exec: {}", process.tgid);
    let Some(mut entry) = reserve::<ExecRecord>() else { return 0 };
    let filename: u64 = probe!(program, binprm_filename: u64);
    let record = entry.as_mut_ptr();
    // SAFETY: the ring's memory, as large as the record. Every field is written before it is submitted.
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

/// A thread ends. When it is the last of a member, this is the member's fate.
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

/// A task is freed. Records the end of a process that [`on_exit`] missed, and of which no parent was
/// notified.
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
    // The number may have been given to another member since.
    if member(tgid).is_some_and(|now| now.start_ticks == process.start_ticks) {
        let _ = LIVE.remove(tgid);
    }
    ended(&ctx, Seen::Freed, process, task, task);
    0
}

/// Whether the caller, a thread of this member, has to record the end: no thread lives, and no other has
/// recorded it.
#[inline(always)]
fn claim(process: ProcessKey, task: u64) -> bool {
    let signal: u64 = probe!(task, task_signal: u64);
    probe!(signal, signal_live: u32) == 0 && LIVE.remove(process.tgid).is_ok()
}

/// The program that sees an end, and its entry in the scratch memory: one program may be preempted by
/// another.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Ending = 0,
    Notifying = 1,
    Freed = 2,
}

/// Records a member's end. `task` is the thread on whose behalf the program runs.
///
/// The status is the one that `wait_task_zombie` of `kernel/exit.c` reports: the group's where a flag says
/// that it exited as a group, else the leader's own, whichever thread ends last.
#[inline(always)]
fn ended(ctx: &BtfTracePointContext, seen: Seen, process: ProcessKey, task: u64, leader: u64) {
    let signal: u64 = probe!(task, task_signal: u64);
    let wait_status = if probe!(signal, signal_flags: u32) & SIGNAL_GROUP_EXIT != 0 {
        probe!(signal, signal_group_exit_code: u32)
    } else {
        probe!(leader, task_exit_code: u32)
    };
    let Some(record) = EXIT_SCRATCH.get_ptr_mut(seen as u32) else { return };
    // SAFETY: the map's own memory, and this program's alone on this CPU: it does not nest in itself.
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
        // The last signal that was sent is not the one that ended it.
        fate.killer_tgid = 0;
        fate.killer_signal = 0;
        fate.killer_comm = [0; COMM_BYTES];
    }
    // The sum contains the threads that were released: `__exit_signal` of `kernel/exit.c`.
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
    // A process that is freed has no parent any more.
    fate.reaper_tgid = if seen == Seen::Freed { 0 } else { reaper(leader, signal) };
    fate.comm = read::comm(leader);
    if FATES.insert(process, &*fate, 0).is_err() {
        count_lost(lost::MEMBERS);
    }
    debug!(ctx, "exit: {} status {:x}", process.tgid, wait_status);
    output(record);
}

/// The process that inherits the children of a dying one, as `find_new_reaper` of `kernel/exit.c` decides:
/// the nearest ancestor of the same pid namespace that is a subreaper, else the namespace's init. 0: unknown.
#[inline(always)]
fn reaper(leader: u64, signal: u64) -> u32 {
    if read::bit(signal, global!(OFFSETS.signal_has_child_subreaper)) {
        let level = read::namespace_level(leader);
        let mut ancestor = leader;
        let mut seen_all = false;
        for _ in 0..REAPER_DEPTH {
            ancestor = probe!(ancestor, task_real_parent: u64);
            let tgid = probe!(ancestor, task_tgid: u32);
            // Ancestors above the namespace's init do not count, and the machine's init has none.
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

/// A signal is sent to a member. The sender is kept in the member's fate, in case the signal ends it.
///
/// Signals that are frequent and end no process (SIGCHLD, SIGURG of Go's scheduler, window changes, real-time
/// signals of threading libraries) make no event.
#[btf_tracepoint(function = "signal_generate")]
pub fn on_signal(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the helper has no preconditions.
    let current = unsafe { bpf_get_current_task() } as u64;
    if let Some(process) = member((bpf_get_current_pid_tgid() >> 32) as u32)
        && claim(process, current)
    {
        // The current member notifies its parent (`do_notify_parent` of `kernel/signal.c`).
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
        // SAFETY: the map's own memory. Two senders at the same time can mix their names. Both sent a signal.
        unsafe {
            // No later signal can be the one that ends it.
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
