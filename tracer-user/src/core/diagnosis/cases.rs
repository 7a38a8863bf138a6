//! From the solved graph to the waits that explain it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::case::{
    Case, Shape, has_workers_at_rest, holders, is_worker_at_rest, parent_rests_in_memory, single, threads_of,
    weight,
};
use super::ignored_pipe;
use super::view::View;
use crate::core::evidence::{ObjectId, Scope, Wait};
use crate::core::waitgraph::{
    Alternative, Component, Liveness, Op, Releaser, SeedReason, ThreadKey, components, is_own_wake_up,
};

/// All cases that the scope touches: first the roots, then those that follow from them.
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
        match undated(view, key) {
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

/// The liveness of a thread, regardless of the date at which its wait ends by itself: a wait with a date for
/// a party that has no reason to act is reported with its date.
fn undated(view: &View<'_>, key: ThreadKey) -> Liveness {
    let liveness = view.graph.thread(key);
    if liveness != Liveness::Idle || !view.graph.node(key).is_dated() {
        return liveness;
    }
    // That its own threads could wake it adds nothing to the date.
    let own = |alternative: &&Alternative| {
        let mut releasers = alternative.conditions.iter().flat_map(|condition| &condition.releasers);
        releasers.all(|releaser| matches!(releaser, Releaser::Peers(at) if *at == key.process))
    };
    let alternatives = view.graph.node(key).alternatives.iter().filter(|alternative| !own(alternative));
    let best = alternatives.map(|alternative| view.graph.alternative(alternative)).max();
    best.filter(|best| *best == Liveness::Orphaned).unwrap_or(liveness)
}

fn is_asked_for(view: &View<'_>, case: &Case) -> bool {
    let touched = || {
        let threads = case.waiters.iter().chain(&case.members).chain(&case.upstream);
        threads.map(|key| key.process).any(|p| view.process(p).in_scope)
    };
    // A whole machine has many terminals and sockets at rest: only those that something else waits for are
    // reported.
    let worth =
        case.shape != Shape::Outside || view.evidence().scope != Scope::All || !case.upstream.is_empty();
    touched() && worth
}

/// The wait that explains a cycle: the weightiest of all waits that close it, or that lead into it and are
/// owed.
fn cycle(view: &View<'_>, part: &Component) -> Option<Case> {
    let inside: HashSet<ThreadKey> = part.threads.iter().copied().collect();
    let mut best: Option<(Rank, ThreadKey, usize)> = None;
    let mut consider = |key: ThreadKey, member: bool| {
        for (at, alternative) in view.graph.node(key).alternatives.iter().enumerate() {
            if !threads_of(view, alternative).any(|to| inside.contains(&to)) {
                continue;
            }
            // A thread outside of the cycle matters when the cycle owes it something: a writer at a full pipe
            // whose reader waits in the cycle.
            let owed = alternative.op.is_owed() && alternative.object.is_some();
            if !member && !owed {
                continue;
            }
            let rank = rank(view, key, alternative, member);
            if best.is_none_or(|(best, ..)| rank > best) {
                best = Some((rank, key, at));
            }
        }
    };
    for key in &part.threads {
        consider(*key, true);
    }
    let leads_in = view.graph.index.threads().filter(|key| {
        view.graph.thread(*key) == Liveness::Stuck && !inside.contains(key) && !view.graph.node(*key).dead
    });
    for key in leads_in {
        consider(key, false);
    }
    let (_, waiter, at) = best?;
    let mut members = part.threads.clone();
    if !inside.contains(&waiter) {
        members.insert(0, waiter);
    }
    Some(Case {
        shape: Shape::Cycle,
        waiter,
        at,
        waiters: vec![waiter],
        holders: holders(view, waiter, at),
        members,
        upstream: Vec::new(),
        follows: None,
    })
}

/// How well a wait explains the others of its cycle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    weight: u32,
    /// Of several full pipes in a row the last one explains the others: its reader waits for something else.
    last: bool,
    /// The waiter sleeps in a call on this object alone, not in an event loop.
    direct: bool,
    member: bool,
}

fn rank(view: &View<'_>, key: ThreadKey, alternative: &Alternative, member: bool) -> Rank {
    let worker = is_worker_at_rest(view, key, alternative);
    let leader = view.thread(key).tid == view.process(key.process).id.tgid;
    let own = match alternative.op {
        // Workers of a pool wait for work. The cause is their parent's main thread, which has none for them.
        _ if worker && parent_rests_in_memory(view, key.process) => 1,
        Op::Read
            if alternative.object.is_some_and(|id| is_own_wake_up(&view.graph.index, key.process, &id)) =>
        {
            2
        }
        Op::Futex if leader && has_workers_at_rest(view, key.process) => 60,
        _ => weight(alternative),
    };
    let last = !threads_of(view, alternative)
        .any(|to| view.graph.node(to).alternatives.iter().any(|a| weight(a) >= own));
    let direct = !matches!(view.thread(key).wait, Wait::Poll { .. } | Wait::Epoll { .. });
    Rank { weight: own, last, direct, member }
}

fn dead_end(view: &View<'_>, waiter: ThreadKey) -> Option<Case> {
    let alternatives = &view.graph.node(waiter).alternatives;
    let at = (0..alternatives.len()).max_by_key(|at| weight(&alternatives[*at]))?;
    Some(single(view, Shape::DeadEnd, waiter, at))
}

/// The alternatives that decide a thread's liveness, weightiest first.
fn deciding(view: &View<'_>, key: ThreadKey, liveness: Liveness) -> Vec<usize> {
    let alternatives = &view.graph.node(key).alternatives;
    let mut out: Vec<usize> =
        (0..alternatives.len()).filter(|at| view.graph.alternative(&alternatives[*at]) == liveness).collect();
    out.sort_by_key(|at| std::cmp::Reverse(weight(&alternatives[*at])));
    out
}

/// The case that starts at this thread, unless another blocked thread passes the liveness on to it.
fn origin(view: &View<'_>, key: ThreadKey, liveness: Liveness, shape: Shape) -> Option<Case> {
    let silent = view.graph.node(key).seed.as_ref().is_some_and(|seed| match seed.reason {
        // A wait that could not be read shows nothing.
        SeedReason::Unread(_) => seed.liveness == liveness,
        // A wait for the network with a time-out ends by itself.
        SeedReason::TimeOut(_) => liveness == Liveness::External,
        _ => false,
    });
    if silent {
        return None;
    }
    let at =
        deciding(view, key, liveness).into_iter().find(|at| next(view, key, *at, liveness).is_empty())?;
    Some(single(view, shape, key, at))
}

/// The blocked threads from which a deciding alternative passes the liveness on; empty when it starts here.
///
/// It starts where a party outside decides. It also starts at a party that is only at rest, unless another
/// party of the same alternative passes the liveness on from elsewhere: then the reason is there.
fn next(view: &View<'_>, key: ThreadKey, at: usize, liveness: Liveness) -> Vec<ThreadKey> {
    let (mut out, starts_here) = hands_on(view, key, at, liveness);
    if starts_here {
        out.retain(|thread| !leads_to(view, *thread, key, liveness));
    }
    out
}

/// The blocked threads that pass the liveness on, and whether some party does not.
fn hands_on(view: &View<'_>, key: ThreadKey, at: usize, liveness: Liveness) -> (Vec<ThreadKey>, bool) {
    let alternative = &view.graph.node(key).alternatives[at];
    let mut out = Vec::new();
    let mut starts_here = false;
    for releaser in alternative.conditions.iter().flat_map(|condition| &condition.releasers) {
        if view.graph.through(alternative.op, releaser) != liveness {
            continue;
        }
        let threads = view.graph.threads_of(releaser);
        if threads.is_empty() && liveness == Liveness::External {
            return (Vec::new(), true);
        }
        let mut deciders: Vec<ThreadKey> =
            threads.into_iter().filter(|thread| undated(view, *thread) == liveness).collect();
        let all = deciders.len();
        deciders.retain(|thread| !deciding(view, *thread, liveness).is_empty());
        starts_here |= view.graph.releaser(releaser) != liveness || deciders.len() < all || all == 0;
        out.extend(deciders);
    }
    (out, starts_here)
}

/// Whether a thread's wait leads to another thread, by parties of the same liveness.
fn leads_to(view: &View<'_>, from: ThreadKey, to: ThreadKey, liveness: Liveness) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut todo = vec![from];
    while let Some(key) = todo.pop() {
        if key == to {
            return true;
        }
        for at in deciding(view, key, liveness) {
            let (next, _) = hands_on(view, key, at, liveness);
            todo.extend(next.into_iter().filter(|thread| seen.insert(*thread)));
        }
    }
    false
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

/// For each thread, the blocked threads of the same liveness that wait for it, by the alternatives that
/// decide.
fn waits_for(view: &View<'_>) -> BTreeMap<ThreadKey, Vec<ThreadKey>> {
    let mut out: BTreeMap<ThreadKey, Vec<ThreadKey>> = BTreeMap::new();
    for key in view.graph.index.threads() {
        let liveness = undated(view, key);
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

/// A thread upstream of a case that waits for an object of its own is a case of its own, which follows from
/// the first.
fn consequences(view: &View<'_>, at: usize, case: &Case) -> Vec<Case> {
    let mut out = Vec::new();
    for key in &case.upstream {
        let liveness = undated(view, *key);
        let Some(alternative) = deciding(view, *key, liveness).into_iter().next() else { continue };
        let op = view.graph.node(*key).alternatives[alternative].op;
        if matches!(op, Op::Write | Op::Lock | Op::Semaphore | Op::OpenFifo | Op::Connect) {
            out.push(Case { follows: Some(at), ..single(view, case.shape, *key, alternative) });
        }
    }
    out
}
