//! `exhaustion` and `slow-progress`: a limit that was reached, or a job that is held back by its CPU quota or
//! by the load of the machine. None of them is a hang.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::findings;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;

/// A cgroup that was throttled for more than one part in this many of the window is limited by its quota.
const THROTTLED_PART: u64 = 4;
/// A process that was ready to run and had no CPU for more than this part of the window is held back by the
/// load: one in so many.
const DELAYED_PART: u64 = 2;

pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    let scope: Vec<usize> =
        (0..view.evidence().processes.len()).filter(|at| view.process(*at).in_scope).collect();
    let mut out: Vec<Finding> = scope.iter().filter_map(|at| reached(view, *at)).collect();
    // A quota explains a delay, too, and more precisely.
    let slow = scope.iter().find_map(|at| throttled(view, *at));
    out.extend(slow.or_else(|| delayed(view, &scope)));
    out
}

fn reached(view: &View<'_>, at: usize) -> Option<Finding> {
    let limits = view.process(at).limits?;
    let full = |used: Option<u64>, most: Option<u64>| match (used, most) {
        (Some(used), Some(most)) if most > 0 && used >= most => Some((used, most)),
        _ => None,
    };
    let files = full(limits.open_files, limits.open_files_soft);
    let tasks = full(limits.cgroup_pids, limits.cgroup_pids_max);
    let (what, (used, most), advice) = if let Some(files) = files {
        (
            "open files (RLIMIT_NOFILE): the next open, pipe or socket fails with EMFILE",
            files,
            "Close what is not needed (fds leak in loops that fail half-way), or raise `ulimit -n`.",
        )
    } else {
        (
            "tasks of its cgroup (pids.max): the next fork or thread fails with EAGAIN",
            tasks?,
            "Collect zombies and end what is left behind, start fewer workers, or raise `pids.max`.",
        )
    };
    let mut finding = Finding::new(
        Class::Exhaustion,
        Verdict::NotHung,
        Confidence::Proven,
        format!("{} has used {used} of {most} {what}.", view.label(at)),
    );
    finding.processes = vec![findings::party(view, Role::Holder, view.face(at))];
    finding.advice = vec![advice.to_owned()];
    Some(finding)
}

fn throttled(view: &View<'_>, at: usize) -> Option<Finding> {
    let window_us = view.evidence().clock.quiet_window_ns / 1000;
    let throttled = view.process(at).limits?.throttled_us?;
    if window_us == 0 || throttled < window_us / THROTTLED_PART {
        return None;
    }
    let mut finding = Finding::new(
        Class::SlowProgress,
        Verdict::NotHung,
        Confidence::Proven,
        format!(
            "The cgroup of {} was throttled for {} ms within {} ms by its CPU quota (cpu.max): slow, not hung.",
            view.label(at),
            throttled / 1000,
            window_us / 1000
        ),
    );
    finding.processes = vec![findings::party(view, Role::Waiter, view.face(at))];
    finding.advice =
        vec!["Give the job more CPU, start fewer workers, or scale its time-outs with the quota.".to_owned()];
    Some(finding)
}

/// The process of the scope that waited longest for a CPU, where that was long.
fn delayed(view: &View<'_>, scope: &[usize]) -> Option<Finding> {
    let window_us = view.evidence().clock.quiet_window_ns / 1000;
    let delay = |at: usize| view.process(at).limits?.run_delay_us;
    let (delay_us, at) = scope.iter().filter_map(|at| Some((delay(*at)?, *at))).max()?;
    if window_us == 0 || delay_us < window_us / DELAYED_PART {
        return None;
    }
    let machine = view.evidence().host.cpu_pressure_us.map_or_else(String::new, |pressure_us| {
        let percent = (pressure_us.saturating_mul(100) / window_us).min(100);
        format!(", the machine was short of CPU for {percent} % of that time")
    });
    let mut finding = Finding::new(
        Class::SlowProgress,
        Verdict::NotHung,
        Confidence::Proven,
        format!(
            "{} was ready to run and had no CPU for {} ms within {} ms{machine}: slow, not hung.",
            view.label(at),
            delay_us / 1000,
            window_us / 1000
        ),
    );
    finding.processes = vec![findings::party(view, Role::Waiter, view.face(at))];
    finding.advice = vec![
        "Start fewer workers, end what else runs on this machine, or scale the job's time-outs with its load.".to_owned(),
    ];
    Some(finding)
}
