//! A job in which nothing hangs and nothing makes progress: what it waits for from outside, or why that could
//! not be read.

use super::class::Class;
use super::findings;
use super::judge::signal_names;
use super::model::{Confidence, Finding, Role, Verdict};
use super::view::{View, fd_name};
use super::wait_tree::date;
use crate::core::runtime;
use crate::core::text::duration;
use crate::core::waitgraph::{Liveness, Op, Releaser, SeedReason, ThreadKey};

/// The most waits that the sentence lists.
const MOST: usize = 3;

/// The threads of the scope without those of the tracer and the housekeeping threads of runtimes.
fn scope<'v>(view: &'v View<'_>) -> impl Iterator<Item = ThreadKey> + 'v {
    view.graph.index.threads().filter(|key| {
        let process = view.process(key.process);
        process.in_scope
            && !process.is_observer
            && !view.graph.node(*key).dead
            && !runtime::is_housekeeping(process, view.thread(*key))
    })
}

/// The processes that made progress, each once.
pub fn progressing(view: &View<'_>) -> Vec<usize> {
    let mut out: Vec<usize> = view
        .graph
        .index
        .threads()
        .filter(|key| view.process(key.process).in_scope && !view.process(key.process).is_observer)
        .filter(|key| {
            let (process, thread) = (view.process(key.process), view.thread(*key));
            !runtime::is_housekeeping(process, thread) || runtime::is_helper(thread)
        })
        .filter(|key| {
            let seed = view.graph.node(*key).seed.as_ref();
            seed.is_some_and(|seed| seed.reason == SeedReason::Progress)
        })
        .map(|key| key.process)
        .collect();
    out.dedup();
    out
}

/// The finding for a scope in which nothing hangs and nothing made progress. `None`: the scope is empty.
pub fn look(view: &View<'_>) -> Option<Finding> {
    let all: Vec<ThreadKey> = scope(view).collect();
    if all.is_empty() {
        return None;
    }
    let unread: Vec<ThreadKey> = all.iter().copied().filter(|key| is_unread(view, *key)).collect();
    let mut pending: Vec<(ThreadKey, String)> = Vec::new();
    for key in &all {
        if let Some(words) = awaited(view, *key)
            && !pending.iter().any(|(other, said)| other.process == key.process && *said == words)
        {
            pending.push((*key, words));
        }
    }
    if pending.is_empty() || unread.len() * 2 > all.len() {
        return Some(not_seen(view, &all, &unread));
    }
    let polls = pending.iter().all(|(key, _)| view.graph.node(*key).tick.is_some());
    let class = if polls { Class::PollingSleep } else { Class::AtRest };
    let mut finding = Finding::new(class, Verdict::Idle, Confidence::Likely, String::new());
    let said: Vec<String> = pending
        .iter()
        .take(MOST)
        .map(|(key, words)| format!("{} {words}", view.label(key.process)))
        .collect();
    let more = pending.len().saturating_sub(MOST);
    let more = if more > 0 { format!("; {more} more rest in the same way") } else { String::new() };
    let window = duration(view.evidence().clock.quiet_window_ns);
    finding.summary = format!(
        "At rest: nothing made progress within {window}, and nothing waits for what cannot come. {}{more}.",
        said.join("; ")
    );
    finding.processes =
        pending.iter().take(8).map(|(key, _)| findings::party(view, Role::Waiter, *key)).collect();
    let since = pending.iter().filter_map(|(key, _)| view.since(*key)).min();
    finding.since_boot_ns = since;
    finding.blocked_ms = since.map(|since| view.evidence().clock.boot_ns.saturating_sub(since) / 1_000_000);
    Some(finding)
}

fn is_unread(view: &View<'_>, key: ThreadKey) -> bool {
    let seed = view.graph.node(key).seed.as_ref();
    seed.is_some_and(|seed| matches!(seed.reason, SeedReason::Unread(_) | SeedReason::NotMeasured))
}

fn not_seen(view: &View<'_>, all: &[ThreadKey], unread: &[ThreadKey]) -> Finding {
    let window = view.evidence().clock.quiet_window_ns;
    let summary = if window == 0 {
        "Whether anything hangs is unknown: there was only one sample, so progress was not measured."
            .to_owned()
    } else if unread.is_empty() {
        format!(
            "Nothing made progress within {}, and what the job waits for could not be found out.",
            duration(window)
        )
    } else {
        format!(
            "Nothing made progress within {}, and what {} of the job's {} threads wait for could not be read.",
            duration(window),
            unread.len(),
            all.len()
        )
    };
    let mut finding = Finding::new(Class::NotSeen, Verdict::Unknown, Confidence::Likely, summary);
    let which = if unread.is_empty() { all } else { unread };
    finding.processes = which.iter().take(8).map(|key| findings::party(view, Role::Waiter, *key)).collect();
    let pid = all.first().map(|key| view.process(key.process).id.tgid);
    if !unread.is_empty() {
        finding.advice.push(format!(
            "Look again with the rights to read it: `sudo tracer-user diagnose --pid {}`.",
            pid.unwrap_or_default()
        ));
    }
    finding
}

/// What may end a thread's wait from outside, as a clause after its name. `None`: only another thread can.
fn awaited(view: &View<'_>, key: ThreadKey) -> Option<String> {
    let process = view.process(key.process);
    let node = view.graph.node(key);
    if let Some(how) = view.halted(key.process) {
        return Some(format!("is {}", how.id()));
    }
    for alternative in &node.alternatives {
        let fd = alternative.fd.map_or_else(String::new, |fd| format!(" ({})", fd_name(fd)));
        let name = alternative.object.map(|id| view.object_name(&id));
        let releasers = alternative.conditions.iter().flat_map(|condition| &condition.releasers);
        for releaser in releasers {
            match releaser {
                Releaser::Anyone(_) if alternative.op == Op::Accept => {
                    let what = name.as_deref().unwrap_or("its socket");
                    return Some(format!("is kept alive by its listener {what}{fd}"));
                }
                Releaser::Anyone(why) => return Some(format!("rests: {why}")),
                Releaser::Outside(who) => return Some(format!("waits for {who}{fd}")),
                Releaser::Process { process: other, .. }
                    if !view.process(*other).in_scope && view.graph.process(*other) > Liveness::Orphaned =>
                {
                    return Some(format!("waits for {}, outside of the job{fd}", view.label(*other)));
                }
                _ => {}
            }
        }
    }
    let clock = view.evidence().clock;
    match node.seed.as_ref().map(|seed| &seed.reason) {
        Some(SeedReason::TimeOut(Some(ns))) => {
            let at = date(clock.taken_at_unix_ns, *ns).map_or_else(String::new, |at| format!(", until {at}"));
            Some(format!("waits {} more{at}", duration(*ns)))
        }
        Some(SeedReason::TimeOut(None)) => Some("waits for a time".to_owned()),
        Some(SeedReason::Naps(tick)) => Some(match tick.period_ns {
            Some(ns) => format!("wakes every {}, looks, and goes back to sleep", duration(ns)),
            None => "wakes now and then, looks, and goes back to sleep".to_owned(),
        }),
        Some(SeedReason::Signal(set)) => {
            let chosen = set.or(process.caught).filter(|set| !set.is_empty() && set.0.count_ones() < 32);
            Some(match chosen {
                Some(set) => format!("waits for a signal ({})", signal_names(set)),
                None => "waits for a signal".to_owned(),
            })
        }
        Some(SeedReason::Events) => Some("waits for events of the kernel".to_owned()),
        Some(SeedReason::Ready) => Some("is about to continue".to_owned()),
        Some(SeedReason::Says(what)) => Some((*what).to_owned()),
        _ => {
            let chosen = runtime::chosen_signals(process).filter(|set| !set.is_empty())?;
            (view.graph.thread(key) <= Liveness::Idle).then(|| {
                format!("rests until it is sent a signal that it handles ({})", signal_names(chosen))
            })
        }
    }
}
