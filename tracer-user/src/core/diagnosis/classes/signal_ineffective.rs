//! `signal-ineffective`: a signal that was to end a process is pending and blocked, or was dropped, while
//! another process waits for the end.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::findings;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::signal::Signal;
use crate::core::signal::SignalSet;
use crate::core::waitgraph::{Liveness, Op, ThreadKey};

/// Signals that are sent to end a process.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// A process that still runs so long after a signal does not end because of it.
const ENDS_WITHIN_NS: u64 = 2_000_000_000;

fn has(set: Option<SignalSet>, signal: Signal) -> bool {
    set.is_some_and(|set| set.contains(signal))
}

pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    (0..view.evidence().processes.len())
        .filter(|at| view.process(*at).in_scope && !view.process(*at).zombie)
        .filter(|at| view.graph.process(*at) <= Liveness::Idle)
        .filter_map(|at| target(view, at))
        .collect()
}

fn target(view: &View<'_>, at: usize) -> Option<Finding> {
    let process = view.process(at);
    let waiter = waits_for_end(view, at)?;
    let threads = || process.threads.iter();
    let blocked = |signal: Signal| {
        threads().next().is_some()
            && threads().all(|t| has(t.blocked, signal))
            && (has(process.shared_pending, signal) || threads().any(|t| has(t.pending, signal)))
    };
    // What is about to end ignores signals, too.
    let long_ago = view.evidence().clock.boot_ns.saturating_sub(view.evidence().clock.quiet_window_ns);
    let long_ago = long_ago.saturating_sub(ENDS_WITHIN_NS);
    let dropped = |signal: Signal| {
        has(process.ignored, signal)
            && view.evidence().history.as_ref().is_some_and(|h| {
                h.signals.iter().any(|s| {
                    s.target == process.id && s.signal == signal.0 && !s.delivered && s.at_boot_ns <= long_ago
                })
            })
    };
    let (signal, how) = ENDING.into_iter().find_map(|signal| {
        if blocked(signal) {
            Some((signal, "it blocks it in every thread: it is pending and will stay so"))
        } else if dropped(signal) {
            Some((signal, "it ignores it: the kernel dropped it"))
        } else {
            None
        }
    })?;
    let label = view.label(at);
    let mut finding = Finding::new(
        Class::SignalIneffective,
        Verdict::OrphanedWait,
        Confidence::Likely,
        format!(
            "{} waits for the exit of {label}, to which {} was sent, but {how}; it is {}.",
            view.label(waiter.process),
            signal.name(),
            view.rest(at)
        ),
    );
    finding.processes =
        vec![findings::party(view, Role::Waiter, waiter), findings::party(view, Role::Holder, view.face(at))];
    finding.advice = vec![
        "Escalate: after a bounded wait send SIGKILL, which cannot be blocked or ignored.".to_owned(),
        "Restore masks and dispositions before exec (Python: `restore_signals`, `preexec_fn` with `pthread_sigmask`); a shell's background jobs ignore SIGINT and SIGQUIT.".to_owned(),
    ];
    finding.go_on = vec!["`kill -KILL` ends it; the waiter goes on.".to_owned()];
    Some(finding)
}

/// A thread of the scope that waits only for the end of this process.
fn waits_for_end(view: &View<'_>, at: usize) -> Option<ThreadKey> {
    view.graph.index.threads().find(|key| {
        let alternatives = &view.graph.node(*key).alternatives;
        key.process != at
            && view.graph.thread(*key) <= Liveness::Idle
            && alternatives.iter().any(|w| {
                w.op == Op::Exit
                    && w.conditions
                        .iter()
                        .flat_map(|r| &r.releasers)
                        .any(|a| view.graph.threads_of(a).iter().any(|t| t.process == at))
            })
    })
}
