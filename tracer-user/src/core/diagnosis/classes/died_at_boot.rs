//! `died-at-boot`: somebody waits for the first connection of a child that has ended in failure.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::findings;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::Wait;
use crate::core::identity::WaitStatus;
use crate::core::waitgraph::{Liveness, Op, ThreadKey};

pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    (0..view.evidence().processes.len())
        .filter(|at| view.process(*at).in_scope)
        .filter_map(|at| one(view, at))
        .collect()
}

fn one(view: &View<'_>, at: usize) -> Option<Finding> {
    let process = view.process(at);
    let index = &view.graph.index;
    // Nothing but accept, on every thread that waits for others; a server with live children has other things to do.
    if view.graph.process(at) > Liveness::Idle || index.children(at).iter().any(|c| !view.process(*c).zombie)
    {
        return None;
    }
    let keys: Vec<ThreadKey> =
        (0..process.threads.len()).map(|thread| ThreadKey { process: at, thread }).collect();
    let accepts = |key: &ThreadKey| {
        let alternatives = &view.graph.node(*key).alternatives;
        !alternatives.is_empty()
            && alternatives.iter().all(|w| w.op == Op::Accept)
            && view.graph.node(*key).seed.is_none()
    };
    let waiter = keys
        .iter()
        .copied()
        .find(|key| matches!(view.thread(*key).wait, Wait::Accept { .. }) && accepts(key))?;
    let failed = |status: Option<WaitStatus>| status.filter(|s| s.exit_code() != Some(0));
    let children = index.children(at);
    let failures: Vec<usize> =
        children.iter().copied().filter(|c| failed(view.process(*c).exit_status).is_some()).collect();
    if failures.is_empty() || failures.len() != children.len() {
        return None;
    }
    let child = failures[0];
    let status = failed(view.process(child).exit_status)?;
    let how = match (status.exit_code(), status.signal()) {
        (Some(code), _) => format!("with status {code}"),
        (_, Some(signal)) => format!("by signal {signal}"),
        _ => String::new(),
    };
    let mut finding = Finding::told(
        Class::DiedAtBoot,
        Verdict::OrphanedWait,
        Confidence::Likely,
        format!(
            "{} waits for a connection, and {}, the only child it has started, ended {how}: nobody is left who was to connect.",
            view.label(at),
            view.label(child)
        ),
    );
    finding.processes = vec![
        findings::party(view, Role::Waiter, waiter),
        findings::party(view, Role::Holder, ThreadKey { process: child, thread: 0 }),
    ];
    finding.advice = vec![
        "Wait for readiness and for the child's end at once: poll the listener together with a pidfd or SIGCHLD, and bound the wait.".to_owned(),
    ];
    finding.go_on =
        vec!["Connect to the listener once, or end the waiter; then see why the child failed.".to_owned()];
    Some(finding)
}
