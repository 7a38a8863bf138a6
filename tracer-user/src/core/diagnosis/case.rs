//! From the solved graph to the waits that explain it: who cannot go on, in which way, and who would have to act.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::ignored_pipe;
use super::view::View;
use crate::core::evidence::{ObjectId, Scope, Wait};
use crate::core::waitgraph::{
    Alternative, Component, Liveness, Op, Releaser, Seed, SeedReason, ThreadKey, components,
};

/// What a wait comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// A cycle of stuck threads.
    Cycle,
    /// Stuck, and nobody is there who could act.
    DeadEnd,
    /// Whoever could act has no reason to.
    Idle,
    /// Whoever could act cannot be seen from here.
    Outside,
}

/// A wait that explains others.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it comes down to.
    pub shape: Shape,
    /// The thread whose wait is the story.
    pub waiter: ThreadKey,
    /// Which of its ways out.
    pub alternative: usize,
    /// All threads that wait in the same way for the same; `waiter` first.
    pub waiters: Vec<ThreadKey>,
    /// Processes that could let it go on, by position.
    pub holders: Vec<usize>,
    /// The cycle's threads, for [`Shape::Cycle`].
    pub members: Vec<ThreadKey>,
    /// Threads that wait for the waiter, directly or not, outside of `members`.
    pub upstream: Vec<ThreadKey>,
    /// Position of the case that this one follows from.
    pub follows: Option<usize>,
}

impl Case {
    /// The way that is the story.
    pub fn alternative<'v>(&self, view: &'v View<'_>) -> &'v Alternative {
        &view.graph.node(self.waiter).alternatives[self.alternative]
    }
}

/// Of several ways or waits, the higher one is the story: what holds an object comes before what merely follows its end.
fn weight(alternative: &Alternative) -> u32 {
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

/// All cases that the question reaches, roots first, then what follows from them.
pub fn cases(view: &View<'_>) -> Vec<Case> {
    let mut roots = Vec::new();
    let parts = components(&view.graph);
    for part in &parts {
        if part.cyclic && part.sink {
            roots.extend(cycle(view, part));
        } else if part.sink {
            roots.extend(part.threads.iter().filter_map(|key| dead_end(view, *key)));
        }
    }
    for key in view.graph.index.threads() {
        match view.graph.thread(key) {
            Liveness::Orphaned => roots.extend(origin(view, key, Liveness::Orphaned, Shape::Idle)),
            Liveness::External => roots.extend(origin(view, key, Liveness::External, Shape::Outside)),
            _ => {}
        }
    }
    let mut cases = merge(view, roots);
    attach_upstream(view, &mut cases);
    cases.extend(ignored_pipe::cases(view));
    cases.retain(|case| is_asked_for(view, case));
    let follow_ups: Vec<Case> =
        cases.iter().enumerate().flat_map(|(at, case)| consequences(view, at, case)).collect();
    let follow_ups = merge(view, follow_ups);
    cases.extend(follow_ups);
    cases
}

fn is_asked_for(view: &View<'_>, case: &Case) -> bool {
    let touched = || {
        let threads = case.waiters.iter().chain(&case.members).chain(&case.upstream);
        threads.map(|key| key.process).any(|p| view.process(p).in_scope)
    };
    // On a whole machine, terminals and sockets at rest are everywhere: only what something else waits for is worth a word.
    let worth =
        case.shape != Shape::Outside || view.evidence().scope != Scope::All || !case.upstream.is_empty();
    touched() && worth
}

fn cycle(view: &View<'_>, part: &Component) -> Option<Case> {
    let inside: HashSet<ThreadKey> = part.threads.iter().copied().collect();
    let mut best: Option<((u32, bool, bool), ThreadKey, usize)> = None;
    for key in &part.threads {
        for (at, alternative) in view.graph.node(*key).alternatives.iter().enumerate() {
            let closes = alternative
                .conditions
                .iter()
                .flat_map(|r| &r.releasers)
                .flat_map(|a| view.graph.threads_of(a))
                .any(|to| inside.contains(&to));
            let direct = !matches!(view.thread(*key).wait, Wait::Poll { .. } | Wait::Epoll { .. });
            // Of several full pipes in a row the last one is the story: its reader waits for something else.
            let last = !alternative
                .conditions
                .iter()
                .flat_map(|r| &r.releasers)
                .flat_map(|a| view.graph.threads_of(a))
                .any(|to| view.graph.node(to).alternatives.iter().any(|w| weight(w) >= weight(alternative)));
            let rank = (weight(alternative), last, direct);
            if closes && best.is_none_or(|(best, ..)| rank > best) {
                best = Some((rank, *key, at));
            }
        }
    }
    let (.., waiter, alternative) = best?;
    let holders = holders(view, waiter, alternative);
    Some(Case {
        shape: Shape::Cycle,
        waiter,
        alternative,
        waiters: vec![waiter],
        holders,
        members: part.threads.clone(),
        upstream: Vec::new(),
        follows: None,
    })
}

fn dead_end(view: &View<'_>, waiter: ThreadKey) -> Option<Case> {
    let alternatives = &view.graph.node(waiter).alternatives;
    let alternative = (0..alternatives.len()).max_by_key(|at| weight(&alternatives[*at]))?;
    Some(single(view, Shape::DeadEnd, waiter, alternative))
}

fn single(view: &View<'_>, shape: Shape, waiter: ThreadKey, alternative: usize) -> Case {
    Case {
        shape,
        waiter,
        alternative,
        waiters: vec![waiter],
        holders: holders(view, waiter, alternative),
        members: Vec::new(),
        upstream: Vec::new(),
        follows: None,
    }
}

/// The processes that could meet the way, in order.
fn holders(view: &View<'_>, waiter: ThreadKey, alternative: usize) -> Vec<usize> {
    let mut out = Vec::new();
    for releaser in
        view.graph.node(waiter).alternatives[alternative].conditions.iter().flat_map(|r| &r.releasers)
    {
        let process = match releaser {
            Releaser::Process { process, .. } => *process,
            Releaser::Thread(key) => key.process,
            _ => continue,
        };
        if !out.contains(&process) {
            out.push(process);
        }
    }
    out
}

/// The ways that decide a thread's hope, weightiest first.
fn deciding(view: &View<'_>, key: ThreadKey, liveness: Liveness) -> Vec<usize> {
    let alternatives = &view.graph.node(key).alternatives;
    let mut out: Vec<usize> =
        (0..alternatives.len()).filter(|at| view.graph.alternative(&alternatives[*at]) == liveness).collect();
    out.sort_by_key(|at| std::cmp::Reverse(weight(&alternatives[*at])));
    out
}

/// The case that starts at this thread, unless its hope is what another blocked thread has.
fn origin(view: &View<'_>, key: ThreadKey, liveness: Liveness, shape: Shape) -> Option<Case> {
    let seed = view.graph.node(key).seed.as_ref();
    // What cannot be read tells nothing; what has a time-out waits for nobody for ever.
    let silent = |s: &Seed| {
        s.liveness == liveness && matches!(s.reason, SeedReason::Unread(_))
            || matches!(s.reason, SeedReason::TimeOut(_))
    };
    if seed.is_some_and(silent) {
        return None;
    }
    let alternative =
        deciding(view, key, liveness).into_iter().find(|at| next(view, key, *at, liveness).is_empty())?;
    Some(single(view, shape, key, alternative))
}

/// The blocked threads that a deciding way hands the hope on from; empty when the hope starts here.
fn next(view: &View<'_>, key: ThreadKey, alternative: usize, liveness: Liveness) -> Vec<ThreadKey> {
    let alternative = &view.graph.node(key).alternatives[alternative];
    let mut out = Vec::new();
    for releaser in alternative.conditions.iter().flat_map(|r| &r.releasers) {
        if view.graph.through(alternative.op, releaser) != liveness {
            continue;
        }
        if view.graph.releaser(releaser) != liveness {
            // The actor itself is merely at rest: what it owes makes it the end of the chain.
            return Vec::new();
        }
        let threads = view.graph.threads_of(releaser);
        let deciders = threads.iter().copied().filter(|t| view.graph.thread(*t) == liveness);
        for thread in deciders {
            if deciding(view, thread, liveness).is_empty() {
                return Vec::new();
            }
            out.push(thread);
        }
        if threads.is_empty() {
            return Vec::new();
        }
    }
    out
}

/// Cases with the same wait for the same parties become one with several waiters.
fn merge(view: &View<'_>, cases: Vec<Case>) -> Vec<Case> {
    type Key = (Shape, Op, Option<ObjectId>, Vec<usize>, Option<usize>, Option<usize>);
    let mut at: BTreeMap<Key, usize> = BTreeMap::new();
    let mut out: Vec<Case> = Vec::new();
    for case in cases {
        let alternative = case.alternative(view);
        let alone = (alternative.object.is_none() && case.holders.is_empty()).then_some(case.waiter.process);
        let mut holders = case.holders.clone();
        holders.sort_unstable();
        let key = (case.shape, alternative.op, alternative.object, holders, alone, case.follows);
        match at.get(&key) {
            Some(first) if case.shape != Shape::Cycle => out[*first].waiters.extend(case.waiters),
            _ => {
                at.insert(key, out.len());
                out.push(case);
            }
        }
    }
    out
}

/// The blocked threads of the same hope that wait for `key`, by the ways that decide.
fn waits_for(view: &View<'_>) -> BTreeMap<ThreadKey, Vec<ThreadKey>> {
    let mut out: BTreeMap<ThreadKey, Vec<ThreadKey>> = BTreeMap::new();
    for key in view.graph.index.threads() {
        let liveness = view.graph.thread(key);
        let targets: Vec<ThreadKey> = match liveness {
            Liveness::Stuck => view.graph.successors(key),
            Liveness::Orphaned | Liveness::External => deciding(view, key, liveness)
                .into_iter()
                .flat_map(|alternative| next(view, key, alternative, liveness))
                .collect(),
            _ => continue,
        };
        for to in targets {
            out.entry(to).or_default().push(key);
        }
    }
    out
}

fn attach_upstream(view: &View<'_>, cases: &mut [Case]) {
    let waiting = waits_for(view);
    for case in cases {
        let own: BTreeSet<ThreadKey> = case.waiters.iter().chain(&case.members).copied().collect();
        let mut seen = own.clone();
        let mut todo: Vec<ThreadKey> = own.iter().copied().collect();
        while let Some(key) = todo.pop() {
            for up in waiting.get(&key).into_iter().flatten() {
                if seen.insert(*up) {
                    todo.push(*up);
                }
            }
        }
        case.upstream = seen.difference(&own).copied().collect();
    }
}

/// What waits upstream of a case for an object of its own is a story of its own, which follows from the first.
fn consequences(view: &View<'_>, at: usize, case: &Case) -> Vec<Case> {
    let mut out = Vec::new();
    for key in &case.upstream {
        let liveness = view.graph.thread(*key);
        let Some(alternative) = deciding(view, *key, liveness).into_iter().next() else { continue };
        let op = view.graph.node(*key).alternatives[alternative].op;
        if matches!(op, Op::Write | Op::Lock | Op::Semaphore | Op::OpenFifo | Op::Connect) {
            out.push(Case { follows: Some(at), ..single(view, case.shape, *key, alternative) });
        }
    }
    out
}
