//! Full pipes that a process overlooks which could go on, for other things: likely hangs, never proved ones.
//!
//! A thread that may go on counts as able to do whatever its process could. A test runner's worker breaks that: one thread of it serves the
//! controller's commands, which may come any time, while the thread that runs the test waits for the exit of a child that cannot end, because it
//! writes into a pipe that this very process holds. Were any thread there to drain that pipe, it would be at it: there is something to read.

use super::case::{Case, Shape};
use super::view::View;
use crate::core::evidence::{ObjectId, Timeout, Wait};
use crate::core::waitgraph::{Actor, Hope, Op, ThreadKey, Way};

/// The cases. Whoever has no hope at all is in the proved ones.
pub fn cases(view: &View<'_>) -> Vec<Case> {
    let index = &view.graph.index;
    let blocked = index.threads().filter(|key| {
        view.process(key.process).in_scope
            && view.thread(*key).moved == Some(false)
            && matches!(view.graph.thread(*key), Hope::Soon | Hope::Active | Hope::External)
    });
    blocked.filter_map(|key| one(view, key)).collect()
}

fn one(view: &View<'_>, waiter: ThreadKey) -> Option<Case> {
    let standing = view.graph.standing(waiter);
    if standing.seed.is_some() || standing.ways.len() != 1 {
        return None;
    }
    let way = standing.ways.first().filter(|way| way.op == Op::Write)?;
    let object = way.object.filter(|id| matches!(id, ObjectId::Pipe { .. } | ObjectId::Unix { .. }))?;
    let holder = only_holder(way).filter(|at| *at != waiter.process)?;
    let end = other_end(view, object);
    let threads: Vec<ThreadKey> = (0..view.process(holder).threads.len())
        .map(|thread| ThreadKey { process: holder, thread })
        .filter(|key| !view.graph.standing(*key).dead)
        .collect();
    if threads.iter().any(|key| !rests_elsewhere(view, *key, end)) {
        return None;
    }
    let upstream: Vec<ThreadKey> =
        threads.into_iter().filter(|key| waits_for_the_end(view, *key, waiter.process)).collect();
    (!upstream.is_empty()).then(|| Case {
        shape: Shape::Rest,
        waiter,
        way: 0,
        waiters: vec![waiter],
        holders: vec![holder],
        members: Vec::new(),
        upstream,
        follows: None,
    })
}

fn only_holder(way: &Way) -> Option<usize> {
    match way.all.as_slice() {
        [one] => match one.any.as_slice() {
            [Actor::Process { process, .. }] => Some(*process),
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

/// It did not move, no time-out will end its wait, and it waits neither for this end nor to hand on what it has read.
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
    let ways = &view.graph.standing(key).ways;
    let elsewhere =
        ways.iter().all(|way| way.op != Op::Write && way.object.is_none_or(|object| object != end));
    let known = view.graph.standing(key).seed.is_none();
    thread.moved == Some(false) && endless && elsewhere && known
}

fn waits_for_the_end(view: &View<'_>, key: ThreadKey, of: usize) -> bool {
    let index = &view.graph.index;
    let ways = view.graph.standing(key).ways.iter().filter(|way| way.op == Op::Exit);
    ways.flat_map(|way| &way.all).flat_map(|requirement| &requirement.any).any(|actor| match actor {
        Actor::Process { process, .. } => *process == of || index.is_ancestor(*process, of),
        _ => false,
    })
}
