//! `died-at-boot`: a process waits for the first connection, and the child that was to make it has ended in
//! failure.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::deaths::{Death, deaths_of_line};
use crate::core::diagnosis::findings;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::{InetFacts, ObjectFacts, ObjectId, UnixFacts, UnixState};
use crate::core::runtime;
use crate::core::waitgraph::{Liveness, Op, ThreadKey, is_own_wake_up};

pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    (0..view.evidence().processes.len())
        .filter(|at| view.process(*at).in_scope)
        .filter_map(|at| one(view, at))
        .collect()
}

fn one(view: &View<'_>, at: usize) -> Option<Finding> {
    let process = view.process(at);
    let index = &view.graph.index;
    // A server that chose to handle signals, or has children or clients, has other things to wait for.
    let live_child = index.children(at).iter().any(|child| !view.process(*child).zombie);
    let service = runtime::chosen_signals(process).is_none_or(|set| !set.is_empty());
    if view.graph.process(at) > Liveness::Ticking || live_child || service || has_client(view, at) {
        return None;
    }
    let waiter = (0..process.threads.len())
        .map(|thread| ThreadKey { process: at, thread })
        .find(|key| waits_for_connections_alone(view, *key))?;
    let deaths = deaths_of_line(view, at);
    // Children with another name (`ldconfig`, a shell) ran for something else. One of the same name that
    // succeeded shows that the process expects such an end.
    let child = deaths.iter().rev().find(|death| death.is_failure())?;
    let mut same = deaths.iter().filter(|death| death.comm == child.comm);
    let alone = same.clone().count() == 1;
    if !same.all(Death::is_failure) {
        return None;
    }
    let mut finding = Finding::new(
        Class::DiedAtBoot,
        Verdict::OrphanedWait,
        Confidence::Likely,
        format!(
            "{} waits for a connection, and {} (pid {}), the {} that it has started, {}: no process is left that was to connect.",
            view.label(at),
            child.comm.printable(),
            child.process.tgid,
            if alone { "only child of this name" } else { "last of the children of this name" },
            child.words(view.evidence().clock.boot_ns)
        ),
    );
    finding.since_boot_ns = view.since(waiter);
    finding.blocked_ms = view.blocked_ns(waiter).map(|ns| ns / 1_000_000);
    finding.processes = vec![findings::party(view, Role::Waiter, waiter)];
    if let Some(zombie) = index.by_tgid(child.process.tgid).filter(|at| view.process(*at).zombie) {
        finding.processes.push(findings::party(view, Role::Holder, ThreadKey { process: zombie, thread: 0 }));
    }
    finding.advice = vec![
        "Wait for readiness and for the child's end at once: poll the listener together with a pidfd or SIGCHLD, and bound the wait.".to_owned(),
    ];
    finding.go_on =
        vec!["Connect to the listener once, or end the waiter; then see why the child failed.".to_owned()];
    Some(finding)
}

/// The thread waits only for connections and for the process's own wake-ups.
fn waits_for_connections_alone(view: &View<'_>, key: ThreadKey) -> bool {
    let node = view.graph.node(key);
    let own = |id: ObjectId| is_own_wake_up(&view.graph.index, key.process, &id);
    let mut others = node.alternatives.iter().filter(|a| !a.object.is_some_and(own)).peekable();
    others.peek().is_some() && others.all(|a| a.op == Op::Accept) && node.seed.is_none()
}

/// A client is connected already.
fn has_client(view: &View<'_>, at: usize) -> bool {
    view.process(at).fds.iter().flatten().any(|fd| match view.facts(&fd.object) {
        ObjectFacts::Inet(InetFacts { remote: Some(remote), .. }) => remote.port != 0,
        ObjectFacts::Unix(UnixFacts { state: Some(UnixState::Connected), path: Some(_), .. }) => true,
        _ => false,
    })
}
