//! A finished session in one record, and its row in the index.
//!
//! Field names are AutoSkillit's where the fact is the same.

mod leaked;
mod summarize;

pub use leaked::{LeakedAncestor, LeakedProcess};
pub use summarize::{SessionEnding, summarize};

use super::session_state::ResourceTotal;
use super::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the summary and of the rows of the index.
pub const SUMMARY_VERSION: u32 = 1;

/// The fate of a session's owner.
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

/// Counts of a session's processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessCounts {
    /// Forked in the session, the root among them when the tracer started it.
    pub forked: u64,
    /// Found running by attaching or polling.
    pub found: u64,
    /// Processes that ended.
    pub exited: u64,
    /// The largest number alive at the same time.
    pub peak: u64,
    /// Processes that were alive when the session was over.
    pub leaked: Vec<LeakedProcess>,
}

/// Totals of blocked writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StallSummary {
    /// The number of them.
    pub count: u64,
    /// The longest, milliseconds.
    pub longest_ms: u64,
    /// The sum of all, milliseconds.
    pub total_ms: u64,
    /// By the resource that was written to, most blocked time first.
    pub by_resource: Vec<ResourceStalls>,
}

/// Blocked writes on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceStalls {
    /// The resource, such as `pipe:[123]`.
    pub resource: String,
    /// Its totals.
    #[serde(flatten)]
    pub total: ResourceTotal,
}

/// `summary.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// [`SUMMARY_VERSION`].
    pub v: u32,
    /// Id of the session.
    pub session_id: String,
    /// Its directory in the log: the id, or `<id>.2` and so on when that was taken.
    pub dir_name: String,
    /// Process id of the root.
    pub pid: u32,
    /// Start time of the root, clock ticks since boot; null when unknown.
    pub starttime_ticks: Option<u64>,
    /// Id of the boot; null when unknown.
    pub boot_id: Option<String>,
    /// Working directory of the root; null when unknown.
    pub cwd: Option<ByteString>,
    /// Arguments of the root.
    pub cmdline: Vec<ByteString>,
    /// The root exited with 0; null when its end is unknown.
    pub success: Option<bool>,
    /// The outcome in a word: `success`, `failed`, `killed`, `timeout`, `hang`, `interrupted`, `detached`,
    /// `rebooted`, `unknown`.
    pub subtype: String,
    /// Exit code of the root; null when it did not exit by itself, or when that is unknown.
    pub exit_code: Option<u8>,
    /// Name of the signal that ended the root; null when none did, or when that is unknown.
    pub signal: Option<String>,
    /// When the session began, RFC 3339.
    pub start_ts: String,
    /// When the root ended, else when the session was over, RFC 3339; null when unknown.
    pub end_ts: Option<String>,
    /// Seconds between the two by CLOCK_BOOTTIME; null when the end is unknown.
    pub duration_seconds: Option<f64>,
    /// Seconds between two samples.
    pub snapshot_interval_seconds: f64,
    /// Number of snapshots.
    pub snapshot_count: u64,
    /// Number of anomalies. A lasting one counts once.
    pub anomaly_count: u64,
    /// Number of anomalies by kind.
    pub anomalies: BTreeMap<String, u64>,
    /// Largest resident memory of one process, KiB; null when none was read.
    pub peak_rss_kb: Option<u64>,
    /// Highest out-of-memory score of one process; null when none was read.
    pub peak_oom_score: Option<i32>,
    /// Highest ratio of open files to the limit, to three digits; null when none was read.
    pub peak_fd_ratio: Option<f64>,
    /// The fate of the root: `EXITED n`, `SIGNALED name`, `RUNNING`, `REBOOTED`, `UNKNOWN`.
    pub termination_reason: String,
    /// Last known name of the root; null when unknown.
    pub tracked_comm: Option<ByteString>,
    /// The root's name changed although no program was executed.
    pub tracked_comm_drift: bool,
    /// The fate of the owner.
    pub owner_fate: OwnerFate,
    /// Counts of the session's processes.
    pub processes: ProcessCounts,
    /// Totals of blocked writes.
    pub stalls: StallSummary,
    /// Events that the kernel made and the session never received.
    pub events_lost: u64,
    /// Snapshots that were dropped from the trace to limit its size.
    pub snapshots_dropped: u64,
    /// Not everything could be written.
    pub degraded: bool,
    /// CPU time of everything that ran in the session, seconds.
    pub cpu_seconds: f64,
    /// The kernel reported forks, execs, exits and stalls; null when the trace has no header.
    pub kernel_events: Option<bool>,
    /// Labels of the session.
    pub labels: BTreeMap<String, String>,
    /// The last hang that was diagnosed; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hang: Option<HangSummary>,
    /// Version of the tracer that finished it.
    pub tracer_version: String,
}

/// What identifies a hang from session to session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HangSummary {
    /// Version and hash of its wait graph.
    pub shape: String,
    /// Version and hash of the graph with the functions in which its threads wait.
    pub site: String,
    /// The hang in a few words.
    pub title: String,
    /// The functions, with their programs.
    #[serde(default)]
    pub functions: Vec<String>,
    /// The tests that its processes belong to.
    #[serde(default)]
    pub tests: Vec<String>,
}

/// A row of `sessions.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexRow {
    /// [`SUMMARY_VERSION`].
    pub v: u32,
    /// Id of the session.
    pub session_id: String,
    /// Its directory in the log.
    pub dir_name: String,
    /// When the session began, RFC 3339. `sessions clear` hides earlier ones.
    pub timestamp: String,
    /// Working directory of the root; null when unknown.
    pub cwd: Option<ByteString>,
    /// Arguments of the root, joined by spaces and cut at 200 bytes.
    pub command: ByteString,
    /// Labels of the session.
    pub labels: BTreeMap<String, String>,
    /// The label `kitchen_id`, as a column for queries; null without it.
    #[serde(default)]
    pub kitchen_id: Option<String>,
    /// The label `order_id`; null without it.
    #[serde(default)]
    pub order_id: Option<String>,
    /// The label `campaign_id`; null without it.
    #[serde(default)]
    pub campaign_id: Option<String>,
    /// The label `dispatch_id`; null without it.
    #[serde(default)]
    pub dispatch_id: Option<String>,
    /// The root exited with 0; null when its end is unknown.
    pub success: Option<bool>,
    /// The outcome in a word, as in the summary.
    pub subtype: String,
    /// Exit code of the root; null when it did not exit by itself, or when that is unknown.
    pub exit_code: Option<u8>,
    /// The fate of the root, as in the summary.
    pub termination_reason: String,
    /// The fate of the owner.
    pub owner_fate: OwnerFate,
    /// Seconds from the beginning to the end; null when the end is unknown.
    pub duration_seconds: Option<f64>,
    /// Number of snapshots.
    pub snapshot_count: u64,
    /// Number of anomalies.
    pub anomaly_count: u64,
    /// Number of blocked writes.
    pub stall_count: u64,
    /// Largest resident memory of one process, KiB; null when none was read.
    pub peak_rss_kb: Option<u64>,
    /// Highest out-of-memory score of one process; null when none was read.
    pub peak_oom_score: Option<i32>,
    /// Last known name of the root; null when unknown.
    pub tracked_comm: Option<ByteString>,
    /// The root's name changed although no program was executed.
    pub tracked_comm_drift: bool,
    /// The last hang that was diagnosed; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hang: Option<HangSummary>,
}

/// Every outcome in a word: what `subtype` of a summary and of a row can be.
pub const SUBTYPES: [&str; 10] = [
    "success",
    "failed",
    "killed",
    "timeout",
    "idle",
    "hang",
    "interrupted",
    "rebooted",
    "detached",
    "unknown",
];

/// Bytes of a command in a row of the index.
const ROW_COMMAND_BYTES: usize = 200;

impl Summary {
    /// The session's row in the index.
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
            kitchen_id: self.labels.get("kitchen_id").cloned(),
            order_id: self.labels.get("order_id").cloned(),
            campaign_id: self.labels.get("campaign_id").cloned(),
            dispatch_id: self.labels.get("dispatch_id").cloned(),
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
            hang: self.hang.clone(),
        }
    }
}

/// `meta.json`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionMeta {
    /// Labels of the session.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Retention never removes the session.
    #[serde(default)]
    pub protected: bool,
}
