//! `unreaped-child`: a dead child that its parent does not collect, or a parent that waits for the exit of a
//! process whose leader has ended while other threads are alive.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::findings;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ThreadState, Wait};
use crate::core::signal::Signal;
use crate::core::waitgraph::{Liveness, Op, ThreadKey};

/// Zombies of the scope whose parents are quiet and do not wait, and zombie leaders with live threads that a
/// process waits for.
pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    let mut out = Vec::new();
    for at in 0..view.evidence().processes.len() {
        let process = view.process(at);
        if !process.in_scope {
            continue;
        }
        if process.zombie {
            out.extend(uncollected(view, at));
        } else if process.threads.iter().any(|t| t.tid == process.id.tgid && t.state == ThreadState::Zombie) {
            out.extend(leader_gone(view, at));
        }
    }
    out
}

fn uncollected(view: &View<'_>, at: usize) -> Option<Finding> {
    let child = view.process(at);
    let parent_at = view.graph.index.by_tgid(child.ppid)?;
    let parent = view.process(parent_at);
    let quiet = parent.threads.iter().all(|t| t.moved == Some(false));
    let collects = parent
        .threads
        .iter()
        .any(|t| matches!(t.wait, Wait::WaitChild { .. } | Wait::Running | Wait::Unreadable));
    if !quiet || collects || parent.threads.is_empty() {
        return None;
    }
    let how = child.exit_status.map_or_else(String::new, |s| match (s.exit_code(), s.signal()) {
        (Some(code), _) => format!(" with status {code}"),
        (_, Some(signal)) => format!(" by signal {signal}"),
        _ => String::new(),
    });
    let summary = format!(
        "{} has ended{how}, and its parent {} does not collect it: it is {}.",
        view.label(at),
        view.label(parent_at),
        view.rest(parent_at)
    );
    let mut notes = Vec::new();
    if parent.ignored.is_some_and(|set| set.contains(Signal::CHLD)) {
        notes.push(
            "The parent ignores SIGCHLD, yet its child became a zombie: it was set up after the child's end."
                .to_owned(),
        );
    }
    if parent.threads.iter().all(|t| t.blocked.is_some_and(|set| set.contains(Signal::CHLD))) {
        notes.push(
            "The parent blocks SIGCHLD in every thread: it cannot notice the end by a signal.".to_owned(),
        );
    }
    let mut finding = Finding::new(Class::UnreapedChild, Verdict::NotHung, Confidence::Proven, summary);
    finding.notes = notes;
    let leader = ThreadKey { process: at, thread: 0 };
    finding.processes = vec![
        findings::party(view, Role::Waiter, leader),
        findings::party(view, Role::Holder, view.face(parent_at)),
    ];
    finding.advice = vec![
        "Collect every child: `wait()` or `poll()` on each `Popen`, `waitpid(-1, WNOHANG)` in a SIGCHLD handler, or ignore SIGCHLD before the first fork.".to_owned(),
        "In a container give process 1 an init (`docker run --init`, tini): orphans are its children.".to_owned(),
    ];
    finding.go_on = vec![
        "A zombie takes a process number and nothing else; it goes when its parent collects it or ends."
            .to_owned(),
    ];
    Some(finding)
}

fn leader_gone(view: &View<'_>, at: usize) -> Option<Finding> {
    let alive = |key: &ThreadKey| !view.graph.node(*key).dead;
    let threads: Vec<ThreadKey> = (0..view.process(at).threads.len())
        .map(|thread| ThreadKey { process: at, thread })
        .filter(alive)
        .collect();
    if threads.is_empty() || threads.iter().any(|key| view.graph.thread(*key) > Liveness::Idle) {
        return None;
    }
    let waits = |key: &ThreadKey| {
        let alternatives = &view.graph.node(*key).alternatives;
        alternatives
            .iter()
            .filter(|w| w.op == Op::Exit)
            .flat_map(|w| &w.conditions)
            .flat_map(|r| &r.releasers)
            .any(|a| view.graph.threads_of(a).iter().any(|to| to.process == at))
    };
    let waiter = view.graph.index.threads().find(|key| waits(key))?;
    let summary = format!(
        "{} waits for the exit of {}, whose first thread has ended while {} of its threads live on: it counts as dead only when all are gone.",
        view.label(waiter.process),
        view.label(at),
        threads.len()
    );
    let mut finding = Finding::new(Class::UnreapedChild, Verdict::OrphanedWait, Confidence::Likely, summary);
    finding.processes =
        vec![findings::party(view, Role::Waiter, waiter), findings::party(view, Role::Holder, threads[0])];
    finding.advice = vec![
        "End the process with `exit`, not its main thread with `pthread_exit`; let the main thread join the others.".to_owned(),
    ];
    finding.go_on = vec!["End the threads that live on: a signal to the process reaches them.".to_owned()];
    Some(finding)
}
