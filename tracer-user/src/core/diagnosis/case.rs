//! From the solved graph to the waits that explain it: who cannot go on, in which way, and who would have to act.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::overlooked;
use super::view::View;
use crate::core::evidence::{ObjectId, Scope, Wait};
use crate::core::waitgraph::{Actor, Component, Hope, Op, Seed, ThreadKey, Way, Why, components};

/// What a wait comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// A cycle of stuck threads.
    Cycle,
    /// Stuck, and nobody is there who could act.
    DeadEnd,
    /// Whoever could act has no reason to.
    Rest,
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
    pub way: usize,
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
    pub fn way<'v>(&self, view: &'v View<'_>) -> &'v Way {
        &view.graph.standing(self.waiter).ways[self.way]
    }
}

/// Of several ways or waits, the higher one is the story: what holds an object comes before what merely follows its end.
fn weight(way: &Way) -> u32 {
    match way.op {
        Op::Write => 100,
        Op::Lock => 90,
        Op::Semaphore => 80,
        Op::OpenFifo => 75,
        Op::Connect => 70,
        Op::Trace => 65,
        Op::ReadTerminal => 55,
        Op::Read => 50,
        Op::Futex if way.all.iter().flat_map(|r| &r.any).count() > 1 => 45,
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
            Hope::Orphaned => roots.extend(origin(view, key, Hope::Orphaned, Shape::Rest)),
            Hope::External => roots.extend(origin(view, key, Hope::External, Shape::Outside)),
            _ => {}
        }
    }
    let mut cases = merge(view, roots);
    attach_upstream(view, &mut cases);
    cases.extend(overlooked::cases(view));
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
        for (at, way) in view.graph.standing(*key).ways.iter().enumerate() {
            let closes = way
                .all
                .iter()
                .flat_map(|r| &r.any)
                .flat_map(|a| view.graph.threads_of(a))
                .any(|to| inside.contains(&to));
            let direct = !matches!(view.thread(*key).wait, Wait::Poll { .. } | Wait::Epoll { .. });
            // Of several full pipes in a row the last one is the story: its reader waits for something else.
            let last = !way
                .all
                .iter()
                .flat_map(|r| &r.any)
                .flat_map(|a| view.graph.threads_of(a))
                .any(|to| view.graph.standing(to).ways.iter().any(|w| weight(w) >= weight(way)));
            let rank = (weight(way), last, direct);
            if closes && best.is_none_or(|(best, ..)| rank > best) {
                best = Some((rank, *key, at));
            }
        }
    }
    let (.., waiter, way) = best?;
    let holders = holders(view, waiter, way);
    Some(Case {
        shape: Shape::Cycle,
        waiter,
        way,
        waiters: vec![waiter],
        holders,
        members: part.threads.clone(),
        upstream: Vec::new(),
        follows: None,
    })
}

fn dead_end(view: &View<'_>, waiter: ThreadKey) -> Option<Case> {
    let ways = &view.graph.standing(waiter).ways;
    let way = (0..ways.len()).max_by_key(|at| weight(&ways[*at]))?;
    Some(single(view, Shape::DeadEnd, waiter, way))
}

fn single(view: &View<'_>, shape: Shape, waiter: ThreadKey, way: usize) -> Case {
    Case {
        shape,
        waiter,
        way,
        waiters: vec![waiter],
        holders: holders(view, waiter, way),
        members: Vec::new(),
        upstream: Vec::new(),
        follows: None,
    }
}

/// The processes that could meet the way, in order.
fn holders(view: &View<'_>, waiter: ThreadKey, way: usize) -> Vec<usize> {
    let mut out = Vec::new();
    for actor in view.graph.standing(waiter).ways[way].all.iter().flat_map(|r| &r.any) {
        let process = match actor {
            Actor::Process { process, .. } => *process,
            Actor::Thread(key) => key.process,
            _ => continue,
        };
        if !out.contains(&process) {
            out.push(process);
        }
    }
    out
}

/// The ways that decide a thread's hope, weightiest first.
fn deciding(view: &View<'_>, key: ThreadKey, hope: Hope) -> Vec<usize> {
    let ways = &view.graph.standing(key).ways;
    let mut out: Vec<usize> = (0..ways.len()).filter(|at| view.graph.way(&ways[*at]) == hope).collect();
    out.sort_by_key(|at| std::cmp::Reverse(weight(&ways[*at])));
    out
}

/// The case that starts at this thread, unless its hope is what another blocked thread has.
fn origin(view: &View<'_>, key: ThreadKey, hope: Hope, shape: Shape) -> Option<Case> {
    let seed = view.graph.standing(key).seed.as_ref();
    // What cannot be read tells nothing; what has a time-out waits for nobody for ever.
    let silent =
        |s: &Seed| s.hope == hope && matches!(s.why, Why::Unread(_)) || matches!(s.why, Why::TimeOut(_));
    if seed.is_some_and(silent) {
        return None;
    }
    let way = deciding(view, key, hope).into_iter().find(|at| next(view, key, *at, hope).is_empty())?;
    Some(single(view, shape, key, way))
}

/// The blocked threads that a deciding way hands the hope on from; empty when the hope starts here.
fn next(view: &View<'_>, key: ThreadKey, way: usize, hope: Hope) -> Vec<ThreadKey> {
    let way = &view.graph.standing(key).ways[way];
    let mut out = Vec::new();
    for actor in way.all.iter().flat_map(|r| &r.any) {
        if view.graph.through(way.op, actor) != hope {
            continue;
        }
        if view.graph.actor(actor) != hope {
            // The actor itself is merely at rest: what it owes makes it the end of the chain.
            return Vec::new();
        }
        let threads = view.graph.threads_of(actor);
        let deciders = threads.iter().copied().filter(|t| view.graph.thread(*t) == hope);
        for thread in deciders {
            if deciding(view, thread, hope).is_empty() {
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
        let way = case.way(view);
        let alone = (way.object.is_none() && case.holders.is_empty()).then_some(case.waiter.process);
        let mut holders = case.holders.clone();
        holders.sort_unstable();
        let key = (case.shape, way.op, way.object, holders, alone, case.follows);
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
        let hope = view.graph.thread(key);
        let targets: Vec<ThreadKey> = match hope {
            Hope::Stuck => view.graph.successors(key),
            Hope::Orphaned | Hope::External => {
                deciding(view, key, hope).into_iter().flat_map(|way| next(view, key, way, hope)).collect()
            }
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
        let hope = view.graph.thread(*key);
        let Some(way) = deciding(view, *key, hope).into_iter().next() else { continue };
        let op = view.graph.standing(*key).ways[way].op;
        if matches!(op, Op::Write | Op::Lock | Op::Semaphore | Op::OpenFifo | Op::Connect) {
            out.push(Case { follows: Some(at), ..single(view, case.shape, *key, way) });
        }
    }
    out
}
