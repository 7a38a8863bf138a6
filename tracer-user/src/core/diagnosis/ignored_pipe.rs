//! Full pipes that a process does not drain although other events may wake it: likely hangs, never proven.
//!
//! A thread that may continue counts as able to do whatever its process could do. A test runner's worker is
//! an exception: one of its threads serves the controller's commands, which may come at any time, while the
//! thread that runs the test waits for the exit of a child that cannot end, because it writes into a pipe
//! that this process holds. A thread that drains the pipe would be reading it already: there is
//! something to read.

use super::case::{Case, Shape};
use super::view::View;
use crate::core::evidence::{ObjectId, Timeout, Wait};
use crate::core::waitgraph::{Alternative, Liveness, Op, Releaser, ThreadKey};

/// The cases. Writers without any liveness are in the proven cases already.
pub fn cases(view: &View<'_>) -> Vec<Case> {
    let index = &view.graph.index;
    let blocked = index.threads().filter(|key| {
        view.process(key.process).in_scope
            && view.thread(*key).moved == Some(false)
            && matches!(view.graph.thread(*key), Liveness::Soon | Liveness::Active | Liveness::External)
    });
    blocked.filter_map(|key| one(view, key)).collect()
}

fn one(view: &View<'_>, waiter: ThreadKey) -> Option<Case> {
    let node = view.graph.node(waiter);
    if node.seed.is_some() || node.alternatives.len() != 1 {
        return None;
    }
    let alternative = node.alternatives.first().filter(|alternative| alternative.op == Op::Write)?;
    let object =
        alternative.object.filter(|id| matches!(id, ObjectId::Pipe { .. } | ObjectId::Unix { .. }))?;
    let holder = only_holder(alternative).filter(|at| *at != waiter.process)?;
    let end = other_end(view, object);
    let threads: Vec<ThreadKey> = (0..view.process(holder).threads.len())
        .map(|thread| ThreadKey { process: holder, thread })
        .filter(|key| !view.graph.node(*key).dead)
        .collect();
    if threads.iter().any(|key| !rests_elsewhere(view, *key, end)) {
        return None;
    }
    let upstream: Vec<ThreadKey> =
        threads.into_iter().filter(|key| waits_for_the_end(view, *key, waiter.process)).collect();
    (!upstream.is_empty()).then(|| Case {
        shape: Shape::Idle,
        waiter,
        at: 0,
        waiters: vec![waiter],
        holders: vec![holder],
        members: Vec::new(),
        upstream,
        follows: None,
    })
}

fn only_holder(alternative: &Alternative) -> Option<usize> {
    match alternative.conditions.as_slice() {
        [one] => match one.releasers.as_slice() {
            [Releaser::Process { process, .. }] => Some(*process),
            _ => None,
        },
        _ => None,
    }
}

/// What the reader holds: the pipe, or the socket's peer.
fn other_end(view: &View<'_>, object: ObjectId) -> ObjectId {
    match view.facts(&object) {
        crate::core::evidence::ObjectFacts::Unix(facts) => {
            facts.peer.map_or(object, |ino| ObjectId::Unix { ino })
        }
        _ => object,
    }
}

/// It rested, no time-out will end its wait, and it waits neither for this end nor for room for what it has
/// read.
fn rests_elsewhere(view: &View<'_>, key: ThreadKey, end: ObjectId) -> bool {
    let thread = view.thread(key);
    let endless = match &thread.wait {
        Wait::WaitChild { .. } => true,
        Wait::Read { timeout, .. }
        | Wait::Futex { timeout, .. }
        | Wait::Poll { set: Some(_), timeout }
        | Wait::Epoll { timeout, .. } => *timeout == Timeout::Never,
        _ => false,
    };
    let alternatives = &view.graph.node(key).alternatives;
    let elsewhere = alternatives.iter().all(|alternative| {
        alternative.op != Op::Write && alternative.object.is_none_or(|object| object != end)
    });
    let known = view.graph.node(key).seed.is_none();
    thread.moved == Some(false) && endless && elsewhere && known
}

fn waits_for_the_end(view: &View<'_>, key: ThreadKey, of: usize) -> bool {
    let index = &view.graph.index;
    // Where its signal handlers could not be read, a loop is assumed to wake for its children: no hang may
    // follow from missing evidence.
    let assumed = view.process(key.process).caught.is_none()
        && !matches!(view.thread(key).wait, Wait::WaitChild { .. });
    let alternatives = (view.graph.node(key).alternatives.iter())
        .filter(|alternative| alternative.op == Op::Exit && (alternative.fd.is_some() || !assumed));
    alternatives
        .flat_map(|alternative| &alternative.conditions)
        .flat_map(|condition| &condition.releasers)
        .any(|releaser| match releaser {
            Releaser::Process { process, .. } => *process == of || index.is_ancestor(*process, of),
            _ => false,
        })
}
