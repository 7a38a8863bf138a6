//! `livelock` and `polling-sleep`: programs that run without progress.
//!
//! Movement alone is not progress, and no proof of a loop either. A thread is in a livelock when the counted
//! system calls of the window show one call that returns the same empty result each time, and no party could
//! change that: the end of a file, or an fd whose other ends are stuck.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::findings;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::{CallCount, LockKind, ObjectId, ThreadState, Wait};
use crate::core::text::{duration, grouped};
use crate::core::waitgraph::{Activity, Liveness, ThreadKey, activity};

pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    let scope = view
        .graph
        .index
        .threads()
        .filter(|key| view.process(key.process).in_scope && !view.graph.node(*key).dead);
    scope.filter_map(|key| livelock(view, key).or_else(|| polls_own_lock(view, key))).collect()
}

/// This many calls without effect in a window are no accident.
const VAIN_CALLS: u64 = 100;
/// A thread that only makes system calls without effect spends at least one part in this many of its CPU time
/// in the kernel.
const KERNEL_PART: u64 = 10;
/// The most page faults of a loop: work on memory causes more.
const FEW_FAULTS: u64 = 50;

const EAGAIN: i32 = 11;

/// A thread that never sleeps, and whose system calls have no effect.
fn livelock(view: &View<'_>, key: ThreadKey) -> Option<Finding> {
    let thread = view.thread(key);
    let progress = thread.progress?;
    let window = view.evidence().clock.quiet_window_ns;
    if !progress.is_busy(window) || thread.state != ThreadState::Running {
        return None;
    }
    let (what, verdict) = match &thread.calls {
        Some(calls) => vain_call(view, key, calls)?,
        None => (inferred(view, key)?, Verdict::NotHung),
    };
    let mut finding = Finding::new(
        Class::Livelock,
        verdict,
        Confidence::Likely,
        format!("{} uses the CPU all the time and gets nowhere: {what}.", view.label(key.process)),
    );
    finding.processes = vec![findings::party(view, Role::Waiter, key)];
    finding.advice = vec![
        "Handle the end of file (read returns 0), a hang-up (POLLHUP) and EAGAIN: leave the loop, or wait with poll until there is something.".to_owned(),
    ];
    Some(finding)
}

/// The one call that the thread repeats without effect, in words, and the liveness of the parties that could
/// change its result.
fn vain_call(view: &View<'_>, key: ThreadKey, calls: &[CallCount]) -> Option<(String, Verdict)> {
    let window = view.evidence().clock.quiet_window_ns;
    let total: u64 = calls.iter().map(|call| call.calls).sum();
    if calls.iter().any(|call| call.sum > 0 && takes_bytes(call)) {
        return None;
    }
    let call = calls.iter().filter(|call| takes_bytes(call)).max_by_key(|call| call.calls)?;
    if call.calls < VAIN_CALLS || call.calls * 4 < total {
        return None;
    }
    let name = call.name.as_deref().unwrap_or("a system call");
    let rate = grouped(call.calls.saturating_mul(1_000_000_000) / window.max(1));
    if call.zero == call.calls {
        return Some((
            format!("{name} returns 0, the end of the file, {rate} times a second"),
            Verdict::Livelock,
        ));
    }
    if call.has_error(EAGAIN) && call.zero == 0 {
        let stuck = may_come(view, key) <= Liveness::Orphaned;
        let verdict = if stuck { Verdict::Livelock } else { Verdict::NotHung };
        return Some((format!("{name} fails with EAGAIN {rate} times a second"), verdict));
    }
    None
}

/// The liveness of the other ends of its process's fds that do not block: which one the thread reads is
/// unknown.
fn may_come(view: &View<'_>, key: ThreadKey) -> Liveness {
    let fds = view.process(key.process).fds.iter().flatten();
    let read = fds.filter(|fd| {
        fd.nonblocking
            && fd.access.reads()
            && matches!(
                fd.object,
                ObjectId::Pipe { .. } | ObjectId::Fifo { .. } | ObjectId::Unix { .. } | ObjectId::Inet { .. }
            )
    });
    let expected = read.map(|fd| view.graph.may_become_readable(key, fd.number));
    expected.max().unwrap_or(Liveness::External)
}

fn takes_bytes(call: &CallCount) -> bool {
    matches!(
        call.name.as_deref(),
        Some(
            "read" | "readv" | "pread64" | "recvfrom" | "recvmsg" | "write" | "writev" | "sendto" | "sendmsg"
        )
    )
}

/// Without counted calls: the judgement of the process's own counters.
fn inferred(view: &View<'_>, key: ThreadKey) -> Option<String> {
    let progress = view.thread(key).progress?;
    let moved = view.process(key.process).io_in_window?;
    if moved.read_bytes > 0 || moved.written_bytes > 0 {
        return None;
    }
    let window = duration(view.evidence().clock.quiet_window_ns);
    let percent = progress.kernel_ns? * 100 / progress.cpu_ns.max(1);
    if moved.read_calls >= VAIN_CALLS {
        Some(format!("{} reads brought not one byte within {window}", moved.read_calls))
    } else if percent >= 100 / KERNEL_PART && progress.faults? <= FEW_FAULTS {
        Some(format!(
            "{percent} % of its time passes in system calls, and no byte was read or written within {window}"
        ))
    } else {
        None
    }
}

/// A process that naps repeatedly while it holds a lock of its own on a file that it has open twice: one
/// of its connections waits for the other (SQLite's busy time-out on a database that the program itself has
/// locked).
fn polls_own_lock(view: &View<'_>, key: ThreadKey) -> Option<Finding> {
    let process = view.process(key.process);
    let alone = process.threads.len() == 1;
    let naps = matches!(activity(&view.graph.index, key), Activity::Tick(_))
        && matches!(view.thread(key).wait, Wait::Sleep { .. });
    if !alone || !naps {
        return None;
    }
    let own = view.evidence().locks.as_deref()?.iter().find(|lock| {
        let open = process.fds.iter().flatten().filter(|fd| fd.object == lock.object).count();
        lock.kind == LockKind::Posix && !lock.waiting && lock.pid == Some(process.id.tgid) && open > 1
    })?;
    let mut finding = Finding::new(
        Class::FileLock,
        Verdict::Livelock,
        Confidence::Likely,
        format!(
            "{} naps and tries again, and holds a lock itself on {}, which it has open more than once: one of its connections waits for another one's transaction.",
            view.label(key.process),
            view.object_name(&own.object)
        ),
    );
    finding.subtype = Some("own-lock".to_owned());
    finding.processes = vec![findings::party(view, Role::Waiter, key)];
    finding.resources = vec![findings::resource(view, &own.object)];
    finding.advice = vec![
        "Commit or roll back on the first connection before the second one writes; use one connection for one database in a thread.".to_owned(),
    ];
    Some(finding)
}
