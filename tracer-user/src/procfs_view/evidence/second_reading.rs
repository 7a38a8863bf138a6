//! The second reading: which threads moved in the quiet window, and which processes were born or have ended
//! in it.

use std::collections::HashSet;

use super::memory::Memory;
use super::process::Collector;
use super::thread_sample::{self, ProcessSample, Samples, ThreadSample};
use crate::core::evidence::{Evidence, ObjectFacts, Process, Scope, Thread};
use crate::procfs_view::proc_dir::ProcDir;

/// Completes the evidence of the first reading with what the quiet window showed.
pub(crate) fn complete(
    evidence: &mut Evidence,
    collector: &mut Collector<'_>,
    before: &Samples,
    after: &Samples,
) {
    evidence.processes.retain(|p| after.get(&p.id.tgid).is_some_and(|now| now.id == p.id));
    let window_ns = evidence.clock.quiet_window_ns;
    for process in evidence.processes.iter_mut().filter(|p| !p.kernel_thread) {
        if let (Some(then), Some(now)) = (before.get(&process.id.tgid), after.get(&process.id.tgid)) {
            compare(process, collector, then, now, window_ns);
        }
    }
    add_newborn(evidence, collector, before, after);
    evidence.processes.sort_by_key(|p| p.id);
    note_ended_targets(evidence);
}

fn compare(
    process: &mut Process,
    collector: &mut Collector<'_>,
    then: &ProcessSample,
    now: &ProcessSample,
    window_ns: u64,
) {
    let dir = collector.root.process(process.id.tgid).ok();
    process.threads.retain(|thread| now.threads.iter().any(|sample| sample.tid == thread.tid));
    for sample in &now.threads {
        let old = then.threads.iter().find(|old| old.is_same_thread(sample));
        compare_thread(process, collector, dir.as_ref(), old, sample);
    }
    process.threads.sort_by_key(|thread| thread.tid);
    let busy = |thread: &Thread| thread.progress.is_some_and(|progress| progress.is_busy(window_ns));
    let moved = |thread: &Thread| process.in_scope && thread.moved == Some(true);
    if process.threads.iter().any(|thread| busy(thread) || moved(thread))
        && let (Some(dir), Some(before)) = (&dir, process.io)
    {
        process.io_in_window = collector.io(dir).map(|after| after.since(&before));
    }
    process.zombie = now.is_zombie();
    if process.fds.is_none() && now.is_ending() {
        process.fds = Some(Vec::new());
        process.unread.retain(|unread| unread.what != "fds");
    }
    process.shared_pending = now.leader().status.shared_pending;
    if process.in_scope
        && let Some(delay_ns) = longest_delay(then, now)
    {
        process.limits.get_or_insert_default().run_delay_us = Some(delay_ns / 1000);
    }
    if process.in_scope
        && let Some(text) = collector.cgroup_texts.get(&process.id.tgid)
        && let Some(now) = collector.cgroups.throttled_now(text)
        && let Some(then) = collector.cgroups.of(text).throttled_us
    {
        process.limits.get_or_insert_default().throttled_us = Some(now.saturating_sub(then));
    }
}

/// The longest time in the window for which one of the threads was ready to run and had no CPU, nanoseconds.
fn longest_delay(then: &ProcessSample, now: &ProcessSample) -> Option<u64> {
    let delay = |sample: &ThreadSample| {
        let old = then.threads.iter().find(|old| old.is_same_thread(sample))?;
        Some(sample.delay_ns?.saturating_sub(old.delay_ns?))
    };
    now.threads.iter().filter_map(delay).max()
}

/// Whether a thread moved. One that did is read again: it does something else now than at the first reading.
fn compare_thread(
    process: &mut Process,
    collector: &mut Collector<'_>,
    dir: Option<&ProcDir>,
    old: Option<&ThreadSample>,
    sample: &ThreadSample,
) {
    let progress = old.map(|old| thread_sample::progress(old, sample));
    let moved = progress.as_ref().is_none_or(|progress| thread_sample::moved(progress, sample));
    if moved && let Some(dir) = dir {
        let fresh = collector.thread(dir, sample, &Memory::of(dir));
        match process.threads.iter_mut().find(|thread| thread.tid == sample.tid) {
            Some(thread) => *thread = fresh,
            None => process.threads.push(fresh),
        }
    }
    if let Some(thread) = process.threads.iter_mut().find(|thread| thread.tid == sample.tid) {
        thread.moved = Some(moved);
        thread.progress = progress;
    }
}

/// Adds the processes born in the window. All their threads count as moved: what they hold, they can act on.
fn add_newborn(evidence: &mut Evidence, collector: &mut Collector<'_>, before: &Samples, after: &Samples) {
    let in_scope: HashSet<u32> =
        evidence.processes.iter().filter(|p| p.in_scope).map(|p| p.id.tgid).collect();
    for sample in after.values().filter(|now| before.get(&now.id.tgid).is_none_or(|old| old.id != now.id)) {
        let child_of_scope = in_scope.contains(&sample.leader().stat.ppid) || evidence.scope == Scope::All;
        if let Some(mut process) = collector.process(sample, child_of_scope && !sample.is_kernel_thread()) {
            for thread in &mut process.threads {
                thread.moved = Some(true);
            }
            evidence.processes.push(process);
        }
    }
}

/// Whether the processes behind pidfds have ended, as the second reading shows them.
fn note_ended_targets(evidence: &mut Evidence) {
    let alive: HashSet<u32> = evidence.processes.iter().filter(|p| !p.zombie).map(|p| p.id.tgid).collect();
    for object in &mut evidence.objects {
        if let ObjectFacts::PidFd { target: Some(tgid), exited } = &mut object.facts {
            *exited = Some(!alive.contains(tgid));
        }
    }
}
