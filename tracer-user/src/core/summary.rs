//! A finished session in one record, and its row in the index.
//!
//! Field names are AutoSkillit's where the fact is the same.

use super::identity::ProcessId;
use super::record::sidecar::Enrollment;
use super::record::{EndReason, Origin, SessionId, Who};
use super::session_state::{ResourceTotal, Tracker};
use super::text::ByteString;
use super::time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the summary and of the rows of the index.
pub const SUMMARY_VERSION: u32 = 1;

/// Resources listed in a summary, those with the most blocked time first.
const TOP_RESOURCES: usize = 16;

/// What became of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerFate {
    /// It finished the session itself.
    Finished,
    /// It died; another process finished the session.
    Died,
    /// It died; another process took the session over, traced it to its end and finished it.
    Adopted,
}

/// What became of the processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessCounts {
    /// Forked in the session, the root among them when the tracer started it.
    pub forked: u64,
    /// Found running while attaching or polling.
    pub found: u64,
    /// Ended.
    pub exited: u64,
    /// Most alive at a time.
    pub peak: u64,
    /// Alive when the session was over.
    pub leaked: Vec<Leaked>,
}

/// A process that was alive when the session was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leaked {
    /// Which.
    #[serde(flatten)]
    pub who: Who,
    /// Its name.
    pub comm: Option<ByteString>,
    /// Its arguments, with what looks like a secret masked; empty when they could not be read.
    #[serde(default)]
    pub cmdline: Vec<String>,
    /// When it was forked, CLOCK_BOOTTIME nanoseconds; null when it was found running.
    #[serde(default)]
    pub forked_boot_ns: Option<u64>,
    /// The same, milliseconds after the session began.
    #[serde(default)]
    pub forked_after_ms: Option<u64>,
    /// Who forked it, who forked that one, and so on to the root; only the nearest of a long line.
    #[serde(default)]
    pub lineage: Vec<Ancestor>,
    /// Which of its descriptors are the job's output; null when that was not looked at.
    #[serde(default)]
    pub output_fds: Option<Vec<u32>>,
}

/// A process that forked another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ancestor {
    /// Which.
    #[serde(flatten)]
    pub who: Who,
    /// Its name when it forked.
    pub comm: Option<ByteString>,
    /// It had ended when the session was over.
    pub ended: bool,
}

impl Leaked {
    /// What a session's own record says of a process that lives.
    pub fn of(tracker: &Tracker, process: ProcessId) -> Self {
        let member = tracker.member(process);
        let forked = member.filter(|member| member.origin == Origin::Fork).map(|it| it.joined_boot_ns);
        let after = forked.zip(tracker.first_boot_ns()).map(|(at, began)| at.saturating_sub(began));
        let forebears = member.map(|member| member.forebears.as_slice()).unwrap_or_default();
        Self {
            who: process.into(),
            comm: member.and_then(|member| member.comm().cloned()),
            cmdline: Vec::new(),
            forked_boot_ns: forked,
            forked_after_ms: after.map(|ns| ns / 1_000_000),
            lineage: forebears
                .iter()
                .map(|it| Ancestor {
                    who: it.process.into(),
                    comm: it.comm.clone(),
                    ended: tracker.member(it.process).is_none(),
                })
                .collect(),
            output_fds: None,
        }
    }
}

/// Blocked writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StallSummary {
    /// How many.
    pub count: u64,
    /// The longest, milliseconds.
    pub longest_ms: u64,
    /// All of them, milliseconds.
    pub total_ms: u64,
    /// By what was written to, most blocked time first.
    pub by_resource: Vec<ResourceStalls>,
}

/// Blocked writes on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceStalls {
    /// Such as `pipe:[123]`.
    pub resource: String,
    /// Its numbers.
    #[serde(flatten)]
    pub total: ResourceTotal,
}

/// `summary.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// [`SUMMARY_VERSION`].
    pub v: u32,
    /// The session.
    pub session_id: String,
    /// Its directory; another than the id when a session of that id was there before.
    pub dir_name: String,
    /// The root.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub starttime_ticks: Option<u64>,
    /// Which boot.
    pub boot_id: Option<String>,
    /// Its working directory.
    pub cwd: Option<ByteString>,
    /// Its arguments.
    pub cmdline: Vec<ByteString>,
    /// It exited with 0; null when nobody knows how it ended.
    pub success: Option<bool>,
    /// In a word: `success`, `failed`, `killed`, `timeout`, `hang`, `interrupted`, `detached`, `rebooted`, `unknown`.
    pub subtype: String,
    /// Exit code of the root; null when it did not exit by itself, or nobody knows.
    pub exit_code: Option<u8>,
    /// The signal that ended the root.
    pub signal: Option<String>,
    /// When the session began.
    pub start_ts: String,
    /// When the root ended, else when the session was over; null when nobody knows.
    pub end_ts: Option<String>,
    /// Between the two, by CLOCK_BOOTTIME.
    pub duration_seconds: Option<f64>,
    /// Seconds between samples.
    pub snapshot_interval_seconds: f64,
    /// Snapshots taken.
    pub snapshot_count: u64,
    /// Anomalies; those that last count once.
    pub anomaly_count: u64,
    /// By kind.
    pub anomalies: BTreeMap<String, u64>,
    /// Most resident memory of one process, KiB.
    pub peak_rss_kb: Option<u64>,
    /// Highest out-of-memory score of one process.
    pub peak_oom_score: Option<i32>,
    /// Highest open files over the limit, to three digits.
    pub peak_fd_ratio: Option<f64>,
    /// What became of the root: `EXITED n`, `SIGNALED name`, `RUNNING`, `REBOOTED`, `UNKNOWN`.
    pub termination_reason: String,
    /// The root's last known name.
    pub tracked_comm: Option<ByteString>,
    /// The name changed though no program was executed.
    pub tracked_comm_drift: bool,
    /// What became of the owner.
    pub owner_fate: OwnerFate,
    /// What became of the processes.
    pub processes: ProcessCounts,
    /// Blocked writes.
    pub stalls: StallSummary,
    /// Events that the kernel made and the session never saw.
    pub events_lost: u64,
    /// Snapshots dropped from the trace to keep its size.
    pub snapshots_dropped: u64,
    /// Not everything could be written.
    pub degraded: bool,
    /// CPU time of everything that ran.
    pub cpu_seconds: f64,
    /// Fork, exec, exit and stalls were told by the kernel.
    pub kernel_events: Option<bool>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Version of the tracer that finished it.
    pub tracer_version: String,
}

/// A row of `sessions.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexRow {
    /// [`SUMMARY_VERSION`].
    pub v: u32,
    /// The session.
    pub session_id: String,
    /// Its directory.
    pub dir_name: String,
    /// When it began; the fence compares with it.
    pub timestamp: String,
    /// Working directory of the root.
    pub cwd: Option<ByteString>,
    /// Arguments of the root, joined by spaces and cut.
    pub command: ByteString,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// It exited with 0.
    pub success: Option<bool>,
    /// In a word.
    pub subtype: String,
    /// Exit code.
    pub exit_code: Option<u8>,
    /// What became of the root.
    pub termination_reason: String,
    /// What became of the owner.
    pub owner_fate: OwnerFate,
    /// Seconds it took.
    pub duration_seconds: Option<f64>,
    /// Snapshots taken.
    pub snapshot_count: u64,
    /// Anomalies.
    pub anomaly_count: u64,
    /// Blocked writes.
    pub stall_count: u64,
    /// Most resident memory of one process, KiB.
    pub peak_rss_kb: Option<u64>,
    /// Highest out-of-memory score of one process.
    pub peak_oom_score: Option<i32>,
    /// The root's last known name.
    pub tracked_comm: Option<ByteString>,
    /// The name changed though no program was executed.
    pub tracked_comm_drift: bool,
}

/// Bytes of a command in a row of the index.
const ROW_COMMAND_BYTES: usize = 200;

/// What the tracker cannot know of a session's end.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// What became of the owner.
    pub owner_fate: OwnerFate,
    /// Not everything could be written.
    pub degraded: bool,
    /// When the root ended or the session was over, by the wall clock; `None` when nobody knows.
    pub end: Option<jiff::Timestamp>,
    /// Version of the tracer that finishes it.
    pub tracer_version: &'a str,
    /// What was seen of processes that outlived the root, where somebody looked.
    pub leaked: &'a [Leaked],
}

/// The summary of a session.
pub fn summarize(id: &SessionId, enrollment: &Enrollment, tracker: &Tracker, ending: &Ending<'_>) -> Summary {
    let totals = tracker.totals();
    let status = tracker.root_exit().and_then(|(_, exit)| exit.wait_status());
    let reason = tracker.end().map(|(_, reason)| reason);
    let (comm, drift) = tracker.root_name();
    // Without a time by the wall clock nobody knows when it ended, whatever the last line says.
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
                    let seen = ending.leaked.iter().find(|it| ProcessId::from(it.who) == process);
                    seen.cloned().unwrap_or_else(|| Leaked::of(tracker, process))
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
        tracer_version: ending.tracer_version.to_owned(),
    }
}

fn subtype(
    status: Option<super::identity::WaitStatus>,
    root_ended: bool,
    reason: Option<EndReason>,
) -> &'static str {
    match reason {
        Some(EndReason::Timeout) => return "timeout",
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

impl Summary {
    /// Its row in the index.
    pub fn index_row(&self) -> IndexRow {
        let mut command = self.cmdline.iter().map(ByteString::as_bytes).collect::<Vec<_>>().join(&b' ');
        command.truncate(ROW_COMMAND_BYTES);
        IndexRow {
            v: SUMMARY_VERSION,
            session_id: self.session_id.clone(),
            dir_name: self.dir_name.clone(),
            timestamp: self.start_ts.clone(),
            cwd: self.cwd.clone(),
            command: command.into(),
            labels: self.labels.clone(),
            success: self.success,
            subtype: self.subtype.clone(),
            exit_code: self.exit_code,
            termination_reason: self.termination_reason.clone(),
            owner_fate: self.owner_fate,
            duration_seconds: self.duration_seconds,
            snapshot_count: self.snapshot_count,
            anomaly_count: self.anomaly_count,
            stall_count: self.stalls.count,
            peak_rss_kb: self.peak_rss_kb,
            peak_oom_score: self.peak_oom_score,
            tracked_comm: self.tracked_comm.clone(),
            tracked_comm_drift: self.tracked_comm_drift,
        }
    }
}

/// `meta.json`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Meta {
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Retention never takes it.
    #[serde(default)]
    pub protected: bool,
}
