//! `livelock` and `polling-sleep`: things that move and may get nowhere. Movement is progress as far as anybody can see, so neither is called hung.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::findings;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ThreadState, Timeout, Wait};
use crate::core::waitgraph::{Liveness, ThreadKey};

pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    let scope: Vec<ThreadKey> = view
        .graph
        .index
        .threads()
        .filter(|key| view.process(key.process).in_scope && !view.graph.node(*key).dead)
        .collect();
    let mut out: Vec<Finding> = scope.iter().filter_map(|key| livelock(view, *key)).collect();
    out.extend(polling(view, &scope));
    out
}

/// As many reads without a byte are no accident.
const VAIN_READS: u64 = 100;
/// Of its CPU time, a thread that does nothing but vain system calls spends at least this part in the kernel: one in so many.
const KERNEL_PART: u64 = 10;
/// Work on memory makes page faults; a loop makes none.
const FEW_FAULTS: u64 = 50;

/// A thread that never sleeps, and whose system calls bring nothing.
fn livelock(view: &View<'_>, key: ThreadKey) -> Option<Finding> {
    let thread = view.thread(key);
    let progress = thread.progress?;
    if !progress.is_busy(view.evidence().clock.quiet_window_ns) || thread.state != ThreadState::Running {
        return None;
    }
    let moved = view.process(key.process).io_in_window?;
    if moved.read_bytes > 0 || moved.written_bytes > 0 {
        return None;
    }
    let percent = progress.kernel_ns? * 100 / progress.cpu_ns.max(1);
    let what = if moved.read_calls >= VAIN_READS {
        format!("{} reads brought not one byte", moved.read_calls)
    } else if percent >= 100 / KERNEL_PART && progress.faults? <= FEW_FAULTS {
        format!("{percent} % of its time passes in system calls, and no byte was read or written")
    } else {
        return None;
    };
    let mut finding = Finding::told(
        Class::Livelock,
        Verdict::NotHung,
        Confidence::Likely,
        format!(
            "{} uses the CPU all the time and gets nowhere: {what} within {} ms. It may be a busy loop.",
            view.label(key.process),
            view.evidence().clock.quiet_window_ns / 1_000_000
        ),
    );
    finding.processes = vec![findings::party(view, Role::Waiter, key)];
    finding.advice = vec![
        "Handle the end of file (read returns 0), a hang-up (POLLHUP) and EAGAIN: leave the loop, or wait with poll until there is something.".to_owned(),
        "See which call it repeats: `strace -c -p`, `perf trace -s -p`.".to_owned(),
    ];
    Some(finding)
}

/// All that moves in the scope sleeps for a moment, looks, and sleeps again.
fn polling(view: &View<'_>, scope: &[ThreadKey]) -> Option<Finding> {
    let window = view.evidence().clock.quiet_window_ns;
    let moving: Vec<ThreadKey> =
        scope.iter().copied().filter(|key| view.thread(*key).moved == Some(true)).collect();
    let naps = |key: &ThreadKey| {
        let thread = view.thread(*key);
        let short =
            matches!(thread.wait, Wait::Sleep { timeout: Timeout::After(Some(ns)) } if ns < 10_000_000_000);
        short && thread.progress.is_some_and(|p| window > 0 && p.cpu_ns < window / 50 && p.switches <= 20)
    };
    let others_rest = scope
        .iter()
        .all(|key| view.graph.thread(*key) <= Liveness::Idle || naps(key) || leads_to_naps(view, *key));
    if moving.is_empty() || !moving.iter().all(naps) || !others_rest {
        return None;
    }
    let key = moving[0];
    let mut finding = Finding::told(
        Class::PollingSleep,
        Verdict::NotHung,
        Confidence::Likely,
        format!(
            "All that moves in this job is {}, which sleeps, looks at something, and sleeps again: it waits for a condition that no system call shows.",
            view.label(key.process)
        ),
    );
    finding.processes = moving.iter().map(|key| findings::party(view, Role::Waiter, *key)).collect();
    finding.advice = vec![
        "See what it looks at (`strace -p`), and bound the loop: a time-out that says what was waited for."
            .to_owned(),
    ];
    Some(finding)
}

/// It waits, and its hope is another's movement.
fn leads_to_naps(view: &View<'_>, key: ThreadKey) -> bool {
    view.thread(key).moved == Some(false) && !view.graph.node(key).alternatives.is_empty()
}
