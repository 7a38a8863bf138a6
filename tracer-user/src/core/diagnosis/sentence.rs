//! The sentence of a finding: the waiter, its call, the resource, the duration, and why no party lets it
//! continue.

use super::case::{Case, Shape};
use super::judge::Judgement;
use super::view::{View, fd_name};
use crate::core::evidence::{ObjectFacts, ObjectId, ThreadState, Timeout, Wait};
use crate::core::text::{duration, grouped, list};
use crate::core::waitgraph::{Alternative, Op, Releaser, ThreadKey};

/// The sentence.
pub fn of(view: &View<'_>, case: &Case, judgement: &Judgement) -> String {
    let alternative = case.alternative(view);
    let waiter = view.label(case.waiter.process);
    let blocked = match view.blocked_ns(case.waiter) {
        Some(ns) => {
            format!("has been blocked for {} {}", duration(ns), doing(view, case.waiter, alternative))
        }
        None => format!("is blocked {}", doing(view, case.waiter, alternative)),
    };
    let observer = observer(view, case);
    let opening = match observer {
        Some(up) => {
            let observer = with_place(view, view.face(up), &view.label(up));
            let which = with_place(view, case.waiter, "which");
            format!("{observer} waits for {}, {which} {blocked}", the_end_of(view, up, &waiter))
        }
        None => format!("{} {blocked}", with_place(view, case.waiter, &waiter)),
    };
    let state = alternative.object.as_ref().and_then(|id| state_of(view, id, alternative.op));
    let because = judgement.because.clone().unwrap_or_else(|| because(view, case, observer));
    match state {
        Some(state) => format!("{opening}: {state}, and {because}."),
        None => format!("{opening}, and {because}."),
    }
}

/// A process of the scope that waits, directly or not, for the waiter: the one that appears to hang.
fn observer(view: &View<'_>, case: &Case) -> Option<usize> {
    let others = case.members.iter().chain(&case.upstream).map(|key| key.process);
    others.filter(|p| *p != case.waiter.process && view.process(*p).in_scope).find(|p| {
        let threads = view.process(*p).threads.len();
        (0..threads).any(|thread| {
            let key = ThreadKey { process: *p, thread };
            let alternatives = &view.graph.node(key).alternatives;
            alternatives.iter().any(|w| w.op == Op::Exit && reaches(w, case.waiter.process))
        })
    })
}

fn reaches(alternative: &Alternative, process: usize) -> bool {
    alternative
        .conditions
        .iter()
        .flat_map(|r| &r.releasers)
        .any(|a| matches!(a, Releaser::Process { process: p, .. } if *p == process))
}

fn the_end_of(view: &View<'_>, up: usize, waiter: &str) -> String {
    let traced = view.process(up).threads.iter().any(|t| matches!(t.wait, Wait::WaitChild { .. }));
    if traced { format!("the exit of {waiter}") } else { waiter.to_owned() }
}

/// The name of a thread's process, with the place in its own code at which the thread waits where that is
/// known.
fn with_place(view: &View<'_>, key: ThreadKey, name: &str) -> String {
    match super::code::place(view.process(key.process), view.thread(key)) {
        Some(place) => format!("{name}, at {},", place.text),
        None => name.to_owned(),
    }
}

/// What the waiter does, to follow "is blocked".
pub fn doing(view: &View<'_>, key: ThreadKey, alternative: &Alternative) -> String {
    let fd = alternative.fd.map_or_else(|| "a file".to_owned(), fd_name);
    let name =
        || alternative.object.as_ref().map_or_else(|| "something".to_owned(), |id| view.object_name(id));
    let looped = view.is_loop(key);
    match alternative.op {
        Op::Write if looped => format!("in an event loop until there is room in {fd}"),
        Op::Read | Op::ReadTerminal if looped => format!("in an event loop until something comes on {fd}"),
        Op::Write => format!("writing to {fd}"),
        Op::Read => format!("reading {fd}"),
        Op::ReadTerminal => format!("reading {fd}, the terminal {}", name()),
        Op::Lock if alternative.object.is_some() => format!("taking a lock on {} ({fd})", name()),
        Op::Lock => "taking a lock in memory".to_owned(),
        Op::Futex => "waiting on a lock or condition in memory".to_owned(),
        Op::Semaphore => format!("waiting on {}", name()),
        Op::OpenFifo => format!("opening the FIFO {}", name()),
        Op::Connect => format!("until {} accepts its connection", name()),
        Op::Accept => format!("waiting for somebody to connect to {}", name()),
        Op::Exit => match exit_targets(view, alternative).as_slice() {
            [] => "waiting for the exit of a child".to_owned(),
            [one] => format!("waiting for the exit of {one}"),
            many => format!("waiting for the exit of any of {}", list(many)),
        },
        Op::Trace => "under its tracer".to_owned(),
        Op::Kernel => match view.thread(key).wchan.as_deref() {
            Some(wchan) if !wchan.is_empty() && wchan != "0" => format!("in the kernel ({wchan})"),
            _ => "in the kernel".to_owned(),
        },
    }
}

/// What a thread waits for, for the wait tree: `reading its stdin`, `asleep for 20.0 s`.
pub fn waits_for(view: &View<'_>, key: ThreadKey) -> String {
    let (process, thread) = (view.process(key.process), view.thread(key));
    if let Some(how) = view.halted(key.process) {
        return how.id().to_owned();
    }
    if let Some(alternative) = super::case::weightiest(view, key) {
        return doing(view, key, alternative);
    }
    match (&thread.wait, thread.state) {
        (Wait::Running, _) | (_, ThreadState::Running) => "running".to_owned(),
        (Wait::Sleep { timeout: Timeout::After(Some(ns)) }, _) => format!("asleep for {}", duration(*ns)),
        (Wait::Sleep { .. }, _) => "asleep".to_owned(),
        (Wait::Pause | Wait::SignalWait { .. }, _) => "waiting for a signal".to_owned(),
        (Wait::Futex { .. }, _) => "waiting on a lock or condition in memory".to_owned(),
        (Wait::WaitChild { .. }, _) if process.threads.len() > 1 => "waiting for a child".to_owned(),
        (Wait::Unreadable, _) => match thread.wchan.as_deref() {
            Some(wchan) if !wchan.is_empty() && wchan != "0" => format!("in the kernel ({wchan})"),
            _ => "in a system call that could not be read".to_owned(),
        },
        _ => match view.waits_in(key) {
            Some(call) => format!("in {call}"),
            None => "in no system call".to_owned(),
        },
    }
}

fn exit_targets(view: &View<'_>, alternative: &Alternative) -> Vec<String> {
    alternative
        .conditions
        .iter()
        .flat_map(|r| &r.releasers)
        .filter_map(|a| match a {
            Releaser::Process { process, .. } => Some(view.label(*process)),
            _ => None,
        })
        .collect()
}

/// What is known of the resource, as a clause.
fn state_of(view: &View<'_>, id: &ObjectId, op: Op) -> Option<String> {
    let name = view.object_name(id);
    match (op, view.facts(id)) {
        (Op::Write, ObjectFacts::Pipe(f)) => {
            let mut parts = Vec::new();
            if let (Some(used), Some(slots)) = (f.slots_used, f.slots) {
                parts.push(format!("{used} of {slots} slots"));
            }
            if let Some(bytes) = f.used_bytes {
                parts.push(format!("{} bytes", grouped(bytes)));
            }
            let detail = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
            Some(format!("{name} is full{detail}"))
        }
        (Op::Read, ObjectFacts::Pipe(_)) => Some(format!("{name} is empty")),
        (Op::Write, ObjectFacts::Unix(f)) => {
            let unread = f.send_queue.map(|n| format!(" ({} bytes that its peer has not read)", grouped(n)));
            Some(format!("the socket {name} is full{}", unread.unwrap_or_default()))
        }
        (Op::Read, ObjectFacts::Unix(_)) => Some(format!("the socket {name} is empty")),
        (Op::Write, ObjectFacts::Inet(_)) => Some(format!("the connection {name} takes no more")),
        (Op::Read, ObjectFacts::Inet(_)) => Some(format!("nothing comes over the connection {name}")),
        (Op::Write, ObjectFacts::Terminal { .. }) => Some(format!("the terminal {name} takes no more")),
        _ => None,
    }
}

/// Which end of the resource the holders hold.
fn end(op: Op, id: Option<&ObjectId>) -> &'static str {
    match (op, id) {
        (Op::Write, Some(ObjectId::Pipe { .. } | ObjectId::Fifo { .. })) => "read end",
        (Op::Read, Some(ObjectId::Pipe { .. } | ObjectId::Fifo { .. })) => "write end",
        (Op::Lock, Some(_)) => "lock",
        (_, Some(ObjectId::Pty { .. })) => "other side",
        (_, Some(_)) => "other end",
        (_, None) => "key to it",
    }
}

fn because(view: &View<'_>, case: &Case, observer: Option<usize>) -> String {
    let alternative = case.alternative(view);
    let end = end(alternative.op, alternative.object.as_ref());
    let holders: Vec<String> = case.holders.iter().map(|at| view.label(*at)).collect();
    let own = case.holders.iter().all(|at| *at == case.waiter.process);
    match case.shape {
        Shape::Outside => match alternative.conditions.iter().flat_map(|r| &r.releasers).find_map(outsider) {
            Some(who) => format!("the next step is {who}"),
            None => "the next step is somebody's who cannot be seen from here".to_owned(),
        },
        Shape::DeadEnd => "nobody is left who could let it go on".to_owned(),
        Shape::Cycle | Shape::Idle if own => format!("it holds the only {end} itself"),
        Shape::Cycle if alternative.op == Op::Exit => {
            format!("{} waits for it in turn", list(&holders))
        }
        Shape::Cycle => match case.holders.as_slice() {
            [one] if Some(*one) == observer => format!("{} holds its only {end}", view.label(*one)),
            [one] => {
                format!("{}, which holds its only {end}, {}", view.label(*one), is_doing(view, case, *one))
            }
            _ => format!("all that hold its {end} ({}) wait for it in turn", list(&holders)),
        },
        Shape::Idle => match case.holders.as_slice() {
            [one] if alternative.op == Op::Exit => format!("{} is {}", view.label(*one), view.rest(*one)),
            [one] => format!("{}, which holds its only {end}, is {}", view.label(*one), view.rest(*one)),
            many => {
                let words: Vec<String> =
                    many.iter().map(|at| format!("{} is {}", view.label(*at), view.rest(*at))).collect();
                format!("of those who hold its {end}, {}", list(&words))
            }
        },
    }
}

fn outsider(releaser: &Releaser) -> Option<String> {
    match releaser {
        Releaser::Outside(who) => Some(format!("up to {who}")),
        Releaser::Unseen(why) => Some(format!("up to somebody who cannot be seen: {why}")),
        _ => None,
    }
}

/// What a member of the cycle waits for, to follow its name.
fn is_doing(view: &View<'_>, case: &Case, process: usize) -> String {
    let key =
        case.members.iter().copied().find(|key| key.process == process).unwrap_or_else(|| view.face(process));
    match view.graph.node(key).alternatives.first() {
        Some(_) => {
            let alternatives = &view.graph.node(key).alternatives;
            let alternative = alternatives.iter().find(|w| w.op == Op::Exit).or_else(|| alternatives.first());
            alternative.map_or_else(
                || "waits".to_owned(),
                |alternative| format!("is itself blocked {}", doing(view, key, alternative)),
            )
        }
        None => format!("is {}", view.rest(process)),
    }
}
