//! A wait that explains others: its thread, the deciding alternative, and the processes that would have to
//! act.

use super::view::View;
use crate::core::evidence::Wait;
use crate::core::waitgraph::{Alternative, Op, Releaser, ThreadKey, is_own_wake_up};

/// The form of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// A cycle of stuck threads.
    Cycle,
    /// The thread is stuck, and no process exists that could act.
    DeadEnd,
    /// A process that could act has no reason to.
    Idle,
    /// The party that could act is not visible.
    Outside,
}

/// A wait that explains others.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its form.
    pub shape: Shape,
    /// The thread whose wait explains the others.
    pub waiter: ThreadKey,
    /// Which of its alternatives, by position.
    pub at: usize,
    /// All threads that wait in the same way for the same parties; `waiter` first.
    pub waiters: Vec<ThreadKey>,
    /// Processes that could let it continue, by position.
    pub holders: Vec<usize>,
    /// The cycle's threads, for [`Shape::Cycle`].
    pub members: Vec<ThreadKey>,
    /// Threads that wait for the waiter, directly or not, outside of `members`.
    pub upstream: Vec<ThreadKey>,
    /// Position of the case that this one follows from.
    pub follows: Option<usize>,
}

impl Case {
    /// The alternative that explains the wait.
    pub fn alternative<'v>(&self, view: &'v View<'_>) -> &'v Alternative {
        &view.graph.node(self.waiter).alternatives[self.at]
    }
}

/// Of several alternatives or waits, the weightier one explains the others: a wait on an object weighs more
/// than a wait for an exit.
pub(super) fn weight(alternative: &Alternative) -> u32 {
    match alternative.op {
        Op::Write => 100,
        Op::Lock => 90,
        Op::Semaphore => 80,
        Op::OpenFifo => 75,
        Op::Connect => 70,
        Op::Trace => 65,
        Op::ReadTerminal => 55,
        Op::Read => 50,
        Op::Futex if alternative.conditions.iter().flat_map(|r| &r.releasers).count() > 1 => 45,
        Op::Kernel => 40,
        Op::Accept => 35,
        Op::Exit => 20,
        Op::Futex => 10,
    }
}

/// The weightiest alternative of a thread's wait.
pub fn weightiest<'v>(view: &'v View<'_>, key: ThreadKey) -> Option<&'v Alternative> {
    view.graph.node(key).alternatives.iter().max_by_key(|alternative| weight(alternative))
}

pub(super) fn threads_of<'v>(
    view: &'v View<'_>,
    alternative: &'v Alternative,
) -> impl Iterator<Item = ThreadKey> + 'v {
    let releasers = alternative.conditions.iter().flat_map(|condition| &condition.releasers);
    releasers.flat_map(|releaser| view.graph.threads_of(releaser))
}

/// A worker of a pool that waits for work: it reads a pipe or socket other than its stdin, or waits at a
/// semaphore, that its parent gave it, and the process that could give it work forked or spawned it.
pub fn is_worker_at_rest(view: &View<'_>, key: ThreadKey, alternative: &Alternative) -> bool {
    let process = view.process(key.process);
    let Some(parent) = view.graph.index.by_tgid(process.ppid) else { return false };
    let asked = match alternative.op {
        Op::Read => alternative.fd.is_some_and(|fd| fd > 2),
        Op::Futex => matches!(view.thread(key).wait, Wait::Futex { private: false, .. }),
        _ => false,
    };
    asked && threads_of(view, alternative).any(|to| to.process == parent)
}

/// The first thread of the parent waits for its own process.
pub(super) fn parent_rests_in_memory(view: &View<'_>, at: usize) -> bool {
    let Some(parent) = view.graph.index.by_tgid(view.process(at).ppid) else { return false };
    let leader = view.process(parent).threads.iter().position(|t| t.tid == view.process(parent).id.tgid);
    leader.is_some_and(|thread| {
        let alternatives = &view.graph.node(ThreadKey { process: parent, thread }).alternatives;
        let own = |a: &Alternative| {
            a.op == Op::Futex || a.object.is_some_and(|id| is_own_wake_up(&view.graph.index, parent, &id))
        };
        !alternatives.is_empty() && alternatives.iter().all(own)
    })
}

/// Every child of the process is a worker at rest, and there is one.
pub fn has_workers_at_rest(view: &View<'_>, at: usize) -> bool {
    let mut live =
        view.graph.index.children(at).iter().copied().filter(|c| !view.process(*c).zombie).peekable();
    live.peek().is_some() && live.all(|child| rests_as_worker(view, child))
}

/// Some thread of the process is a worker at rest, and its others do nothing.
pub fn rests_as_worker(view: &View<'_>, at: usize) -> bool {
    (0..view.process(at).threads.len()).map(|thread| ThreadKey { process: at, thread }).any(|key| {
        view.graph.node(key).alternatives.iter().any(|alternative| is_worker_at_rest(view, key, alternative))
    })
}

pub(super) fn single(view: &View<'_>, shape: Shape, waiter: ThreadKey, at: usize) -> Case {
    Case {
        shape,
        waiter,
        at,
        waiters: vec![waiter],
        holders: holders(view, waiter, at),
        members: Vec::new(),
        upstream: Vec::new(),
        follows: None,
    }
}

/// The processes that could meet the alternative, in order.
pub(super) fn holders(view: &View<'_>, waiter: ThreadKey, alternative: usize) -> Vec<usize> {
    let mut out = Vec::new();
    for releaser in
        view.graph.node(waiter).alternatives[alternative].conditions.iter().flat_map(|r| &r.releasers)
    {
        let process = match releaser {
            Releaser::Process { process, .. } | Releaser::Peers(process) => *process,
            Releaser::Thread(key) => key.process,
            _ => continue,
        };
        if !out.contains(&process) {
            out.push(process);
        }
    }
    out
}
