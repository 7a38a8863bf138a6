//! The summary of a session, from its running totals.

use super::{
    LeakedProcess, OwnerFate, ProcessCounts, ResourceStalls, SUMMARY_VERSION, StallSummary, Summary,
};
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::record::sidecar::Enrollment;
use crate::core::record::{EndReason, SessionId};
use crate::core::session_state::Tracker;
use crate::core::time;

/// Resources that a summary lists, those with the most blocked time first.
const TOP_RESOURCES: usize = 16;

/// What the trace does not contain of a session's end.
#[derive(Clone, Debug)]
pub struct SessionEnding<'a> {
    /// The fate of the owner.
    pub owner_fate: OwnerFate,
    /// Not everything could be written.
    pub degraded: bool,
    /// When the root ended or the session was over, by the wall clock; `None` when unknown.
    pub end: Option<jiff::Timestamp>,
    /// Version of the tracer that finishes it.
    pub tracer_version: &'a str,
    /// Processes that outlived the root, where they were examined.
    pub leaked: &'a [LeakedProcess],
}

/// The summary of a session.
pub fn summarize(
    id: &SessionId,
    enrollment: &Enrollment,
    tracker: &Tracker,
    ending: &SessionEnding<'_>,
) -> Summary {
    let totals = tracker.totals();
    let status = tracker.root_exit().and_then(|(_, exit)| exit.status);
    let reason = tracker.end().map(|(_, reason)| reason);
    let (comm, drift) = tracker.root_name();
    // Without a wall-clock end the time of the last line proves nothing about the end of the root.
    let over = tracker.root_exit().map(|(boot_ns, _)| boot_ns).or_else(|| tracker.end().map(|end| end.0));
    let duration = over
        .filter(|_| ending.end.is_some())
        .zip(tracker.first_boot_ns())
        .map(|(end, start)| end.saturating_sub(start) as f64 / 1_000_000_000.0);
    let mut by_resource: Vec<ResourceStalls> = (totals.stalls.by_resource.iter())
        .map(|(resource, total)| ResourceStalls { resource: resource.clone(), total: total.clone() })
        .collect();
    by_resource.sort_by_key(|resource| std::cmp::Reverse(resource.total.total_ms));
    by_resource.truncate(TOP_RESOURCES);
    let leaked = tracker.alive().filter(|_| tracker.end().is_some_and(|end| end.1 != EndReason::Rebooted));
    Summary {
        v: SUMMARY_VERSION,
        session_id: id.to_string(),
        dir_name: id.to_string(),
        pid: enrollment.pid,
        starttime_ticks: enrollment.starttime_ticks,
        boot_id: enrollment.boot_id.clone(),
        cwd: enrollment.cwd.clone(),
        cmdline: enrollment.cmdline.clone(),
        success: status.map(|status| status.exit_code() == Some(0)),
        subtype: subtype(status, tracker.root_exit().is_some(), reason).to_owned(),
        exit_code: status.and_then(|status| status.exit_code()),
        signal: tracker.root_exit().and_then(|(_, exit)| exit.signal.clone()),
        start_ts: enrollment.enrolled_at.clone(),
        end_ts: ending.end.map(time::render),
        duration_seconds: duration,
        snapshot_interval_seconds: enrollment.interval_ms as f64 / 1000.0,
        snapshot_count: totals.snapshots,
        anomaly_count: totals.anomaly_count(),
        anomalies: totals.anomalies.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect(),
        peak_rss_kb: totals.peak_rss_kb,
        peak_oom_score: totals.peak_oom_score,
        peak_fd_ratio: totals.peak_fd_ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0),
        termination_reason: termination_reason(tracker, reason),
        tracked_comm: comm.cloned().or_else(|| enrollment.comm.clone()),
        tracked_comm_drift: drift,
        owner_fate: ending.owner_fate,
        processes: ProcessCounts {
            forked: totals.forked,
            found: totals.found,
            exited: totals.exited,
            peak: totals.peak_processes,
            leaked: leaked
                .map(|process| {
                    let seen = ending.leaked.iter().find(|it| ProcessId::from(it.process) == process);
                    seen.cloned().unwrap_or_else(|| LeakedProcess::of(tracker, process))
                })
                .collect(),
        },
        stalls: StallSummary {
            count: totals.stalls.count,
            longest_ms: totals.stalls.longest_ns / 1_000_000,
            total_ms: totals.stalls.total_ns / 1_000_000,
            by_resource,
        },
        events_lost: totals.events_lost,
        snapshots_dropped: totals.snapshots_dropped,
        degraded: ending.degraded || totals.lines_lost > 0,
        cpu_seconds: tracker.cpu_ns() as f64 / 1_000_000_000.0,
        kernel_events: tracker.header().map(|header| header.kernel_events),
        labels: enrollment.labels.clone(),
        // A trace of another version may have another shape of it.
        hang: tracker.hang().and_then(|hang| serde_json::from_value(hang.clone()).ok()),
        tracer_version: ending.tracer_version.to_owned(),
    }
}

fn subtype(status: Option<WaitStatus>, root_ended: bool, reason: Option<EndReason>) -> &'static str {
    match reason {
        Some(EndReason::Timeout) => return "timeout",
        Some(EndReason::MaxIdle) => return "idle",
        Some(EndReason::Hang) => return "hang",
        Some(EndReason::Interrupted) => return "interrupted",
        Some(EndReason::Rebooted) if !root_ended => return "rebooted",
        Some(EndReason::Detached) if !root_ended => return "detached",
        _ => {}
    }
    match status {
        Some(status) if status.exit_code() == Some(0) => "success",
        Some(status) if status.exit_code().is_some() => "failed",
        Some(_) => "killed",
        None => "unknown",
    }
}

fn termination_reason(tracker: &Tracker, reason: Option<EndReason>) -> String {
    match tracker.root_exit() {
        Some((_, exit)) => match (exit.exit_code, &exit.signal) {
            (Some(code), _) => format!("EXITED {code}"),
            (None, Some(signal)) => format!("SIGNALED {signal}"),
            (None, None) => "UNKNOWN".to_owned(),
        },
        None if reason == Some(EndReason::Rebooted) => "REBOOTED".to_owned(),
        None if reason == Some(EndReason::Detached) => "RUNNING".to_owned(),
        None => "UNKNOWN".to_owned(),
    }
}
