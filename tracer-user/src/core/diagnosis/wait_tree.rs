//! The wait tree: the processes of the scope, and what each of their threads waits for. Facts, no judgement.
//!
//! It is made from the evidence alone and judges nothing, so it is true whatever the verdict, and it is the
//! answer where no verdict is possible.

use std::collections::BTreeMap;

use super::code;
use super::deaths::{Death, deaths_of_line};
use super::findings::resource_ref;
use super::model::{ChildDeath, Holder, ProcessWaits, ThreadActivity, ThreadWaits, WaitTree};
use super::view::View;
use crate::core::evidence::{ThreadState, Timeout, Wait};
use crate::core::redact;
use crate::core::runtime;
use crate::core::time;
use crate::core::waitgraph::{Activity, Alternative, NO_DEADLINE_NS, Releaser, ThreadKey, activity};

/// The most processes that are listed.
const MOST: usize = 200;

/// The tree of the scope.
pub(super) fn wait_tree(view: &View<'_>) -> WaitTree {
    let evidence = view.evidence();
    let scope: Vec<usize> = (0..evidence.processes.len())
        .filter(|at| view.process(*at).in_scope && !view.process(*at).is_observer)
        .collect();
    let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for at in &scope {
        let parent = view.graph.index.by_tgid(view.process(*at).ppid);
        let parent = parent.filter(|parent| *parent != *at && scope.binary_search(parent).is_ok());
        children.entry(parent).or_default().push(*at);
    }
    let mut out = WaitTree::default();
    let mut todo: Vec<(usize, usize)> =
        children.get(&None).into_iter().flatten().rev().map(|at| (*at, 0)).collect();
    while let Some((at, depth)) = todo.pop() {
        if out.processes.len() >= MOST {
            out.omitted += 1;
        } else {
            out.processes.push(process_waits(view, at, depth));
        }
        todo.extend(children.get(&Some(at)).into_iter().flatten().rev().map(|child| (*child, depth + 1)));
    }
    out
}

fn process_waits(view: &View<'_>, at: usize, depth: usize) -> ProcessWaits {
    let process = view.process(at);
    let (threads, idle_threads) = threads(view, at);
    ProcessWaits {
        pid: process.id.tgid,
        start_ticks: process.id.start_ticks,
        ppid: process.ppid,
        depth,
        comm: process.comm.printable(),
        title: super::view::title(process),
        cmdline: process.cmdline.as_deref().map(redact::argv).unwrap_or_default(),
        test: view.test(at).map(str::to_owned),
        zombie: process.zombie,
        exit: process.exit_status.filter(|_| process.zombie).map(super::deaths::status),
        halted: view.halted(at),
        threads,
        idle_threads,
        last_death: deaths_of_line(view, at).last().map(|death| child_death(view, death)),
    }
}

fn child_death(view: &View<'_>, death: &Death) -> ChildDeath {
    ChildDeath {
        pid: death.process.tgid,
        comm: death.comm.printable(),
        how: death.status.map(super::deaths::status),
        ago_ms: death.at_boot_ns.map(|at| view.evidence().clock.boot_ns.saturating_sub(at) / 1_000_000),
        collected: death.collected,
    }
}

/// The threads that matter, and the number of the others: the housekeeping threads of a runtime, and threads
/// that wait in memory in the same way as a listed one.
fn threads(view: &View<'_>, at: usize) -> (Vec<ThreadWaits>, usize) {
    let process = view.process(at);
    let mut out: Vec<ThreadWaits> = Vec::new();
    let mut idle = 0;
    for thread in 0..process.threads.len() {
        let key = ThreadKey { process: at, thread };
        let facts = view.thread(key);
        if matches!(facts.state, ThreadState::Zombie | ThreadState::Dead) {
            continue;
        }
        let leader = facts.tid == process.id.tgid;
        let waits = thread_waits(view, key);
        let in_memory = matches!(facts.wait, Wait::Futex { .. });
        let same = |other: &ThreadWaits| {
            other.doing == waits.doing && other.activity == waits.activity && other.at == waits.at
        };
        if !leader
            && (runtime::is_housekeeping(process, facts)
                || in_memory && out.iter().any(same)
                || out.len() >= 16)
        {
            idle += 1;
        } else {
            out.push(waits);
        }
    }
    (out, idle)
}

fn thread_waits(view: &View<'_>, key: ThreadKey) -> ThreadWaits {
    let (process, thread) = (view.process(key.process), view.thread(key));
    let node = view.graph.node(key);
    let activity = activity(&view.graph.index, key);
    // The weightiest of several alternatives is shown.
    let alternative = super::case::weightiest(view, key);
    let clock = view.evidence().clock;
    ThreadWaits {
        tid: thread.tid,
        name: thread.comm.as_ref().filter(|name| **name != process.comm).map(|name| name.printable()),
        activity: match activity {
            Activity::Unmeasured => ThreadActivity::Unknown,
            Activity::Rest => ThreadActivity::Rest,
            Activity::Tick(_) => ThreadActivity::Tick,
            Activity::Progress => ThreadActivity::Progress,
        },
        call: view.waits_in(key),
        doing: super::sentence::waits_for(view, key),
        object: alternative.and_then(|a| a.object).map(|id| resource_ref(view, &id)),
        held_by: alternative.map(|a| holders(view, a)).unwrap_or_default(),
        since_boot_ns: view.since(key),
        waited_ms: view.blocked_ns(key).map(|ns| ns / 1_000_000),
        ends_at: node
            .ends_in_ns
            .or_else(|| sleep_ns(&thread.wait))
            .and_then(|ns| date(clock.taken_at_unix_ns, ns)),
        wakes_every_ms: match activity {
            Activity::Tick(tick) => tick.period_ns.map(|ns| (ns / 1_000_000).max(1)),
            _ => None,
        },
        at: code::place(process, thread),
        stack: code::frames(thread),
    }
}

fn sleep_ns(wait: &Wait) -> Option<u64> {
    match wait {
        Wait::Sleep { timeout: Timeout::After(ns) } => *ns,
        _ => None,
    }
}

/// The date this many nanoseconds after a moment; `None` where that is outside of the calendar.
pub(super) fn date(unix_ns: i64, after_ns: u64) -> Option<String> {
    if after_ns >= NO_DEADLINE_NS * 730 {
        return None;
    }
    time::rfc3339(unix_ns.checked_add(i64::try_from(after_ns).ok()?)?)
}

fn holders(view: &View<'_>, alternative: &Alternative) -> Vec<Holder> {
    let mut seen = Vec::new();
    for releaser in alternative.conditions.iter().flat_map(|c| &c.releasers) {
        let process = match releaser {
            Releaser::Process { process, .. } => *process,
            Releaser::Thread(key) => key.process,
            _ => continue,
        };
        if !seen.contains(&process) && seen.len() < 8 {
            seen.push(process);
        }
    }
    let holder = |at: usize| {
        let process = view.process(at);
        Holder { pid: process.id.tgid, title: super::view::title(process) }
    };
    seen.into_iter().map(holder).collect()
}
