//! The fields of each kind of line.

use crate::core::anomaly::{Anomaly, AnomalyKind, Phase, Severity};
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A process, as lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ProcessKey {
    /// Process id.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
}

impl From<ProcessId> for ProcessKey {
    fn from(id: ProcessId) -> Self {
        Self { pid: id.tgid, start_ticks: id.start_ticks }
    }
}

impl From<ProcessKey> for ProcessId {
    fn from(key: ProcessKey) -> Self {
        Self { tgid: key.pid, start_ticks: key.start_ticks }
    }
}

/// `header`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderLine {
    /// Version of the tracer.
    pub tracer_version: String,
    /// Release of the kernel; null when unknown.
    pub kernel: Option<String>,
    /// Name of the machine; null when unknown.
    pub hostname: Option<String>,
    /// Id of the session.
    pub session_id: String,
    /// Id of the boot; null when it could not be read.
    pub boot_id: Option<String>,
    /// The process that is traced, together with all its descendants.
    pub root: ProcessKey,
    /// Arguments of the root.
    pub cmdline: Vec<ByteString>,
    /// The kernel reports forks, execs, exits and stalls as they happen. False: `/proc` is polled.
    pub kernel_events: bool,
    /// The tracer's capabilities on this machine.
    pub capabilities: Vec<String>,
    /// Kernel fields that were not found, with what is not reported for lack of each.
    pub offsets_missing: Vec<String>,
    /// Time between two samples, milliseconds.
    pub interval_ms: u64,
    /// A sample has no snapshot of a process that did not change since its last one.
    pub unchanged_left_out: bool,
    /// Thresholds of anomalies.
    pub thresholds: Thresholds,
    /// The rest of the configuration.
    pub config: BTreeMap<String, serde_json::Value>,
}

/// Thresholds of anomalies. The live session and its replay use the same values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// A write that is blocked for this long, milliseconds, is a `write_stall`.
    pub stall_ms: u64,
    /// A session without any activity for this long, milliseconds, raises `no_progress`.
    pub no_progress_ms: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { stall_ms: 1_000, no_progress_ms: 60_000 }
    }
}

/// `snapshot`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotLine {
    /// The process at this moment.
    #[serde(flatten)]
    pub snapshot: ProcSnapshot,
}

/// `sample`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleLine {
    /// Number of the sample, from 0.
    pub number: u64,
    /// Number of snapshots that were written for it.
    pub written: u32,
    /// Number of processes that were left out because they did not change.
    pub unchanged: u32,
    /// Processes of the session that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<ProcessKey>,
}

/// How a process came into the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A process of the session forked it, and the kernel reported that.
    Fork,
    /// The tracer started it.
    Root,
    /// It ran already when the tracer attached, or polling `/proc` found it.
    Found,
}

/// `fork`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForkLine {
    /// The process that joined.
    #[serde(flatten)]
    pub process: ProcessKey,
    /// How it joined.
    pub origin: Origin,
    /// Its parent; null when unknown.
    pub parent: Option<ProcessKey>,
    /// The parent's thread that forked; null when unknown.
    pub parent_tid: Option<u32>,
    /// Start time, CLOCK_BOOTTIME nanoseconds; null when unknown.
    pub start_boottime_ns: Option<u64>,
    /// Inode of its pid namespace; null when unknown.
    pub pidns_ino: Option<u64>,
    /// Its pid in that namespace; null when unknown.
    pub ns_pid: Option<u32>,
    /// Inode of its pidfd; null when unknown.
    pub pidfd_ino: Option<u64>,
    /// Its name; null when unknown.
    pub comm: Option<ByteString>,
}

/// `exec`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecLine {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessKey,
    /// The thread that called execve; null when it was the main thread.
    pub by_thread: Option<u32>,
    /// The new name.
    pub comm: ByteString,
    /// The file as it was given to execve; null when unknown.
    pub filename: Option<ByteString>,
}

/// How the end of a process was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitSource {
    /// From the kernel's event.
    Kernel,
    /// From the kernel's fate map, read after the tracer had died.
    FateMap,
    /// From a wait status, a pidfd or `/proc`.
    Proc,
}

/// `exit`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExitLine {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessKey,
    /// Wait status as `waitpid` returns it; null when unknown.
    pub status: Option<WaitStatus>,
    /// Exit code; null when the process did not exit by itself, or when that is unknown.
    pub exit_code: Option<u8>,
    /// Name of the signal that ended it; null when none did, or when that is unknown.
    pub signal: Option<String>,
    /// It dumped core; null when unknown.
    pub core_dumped: Option<bool>,
    /// Its parent at the end; null when unknown.
    pub parent: Option<ProcessKey>,
    /// The process that inherits its children; null when unknown.
    pub reaper_pid: Option<u32>,
    /// The sender of the signal it died of; null when there is none, or when it is unknown.
    pub killer: Option<KillerLine>,
    /// The out-of-memory killer ended it; null when unknown.
    pub oom_victim: Option<bool>,
    /// CPU time of all its threads, nanoseconds; null when unknown.
    pub cpu_ns: Option<u64>,
    /// Its last name; null when unknown.
    pub comm: Option<ByteString>,
    /// The end was seen when the process was freed, not when it ended: the line's time is the latest
    /// possible.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen_late: bool,
    /// How this was learned.
    pub source: ExitSource,
}

/// The sender of a fatal signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KillerLine {
    /// Process id.
    pub pid: u32,
    /// Name of the process.
    pub comm: ByteString,
    /// Name of the signal.
    pub signal: String,
}

/// `signal`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignalLine {
    /// The process that the signal was sent to.
    #[serde(flatten)]
    pub process: ProcessKey,
    /// Name of the signal.
    pub signal: String,
    /// The sender; null when the kernel sent it.
    pub sender: Option<ProcessKey>,
    /// Name of the sender; null when the kernel sent it.
    pub sender_comm: Option<ByteString>,
    /// `si_code`.
    pub code: i32,
    /// It was queued for delivery. False: it was ignored, already pending, or lost.
    pub delivered: bool,
    /// It was sent to the whole process, not to one thread.
    pub group: bool,
}

/// Beginning or end of a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StallPhase {
    /// The write has been blocked for the threshold, and still is.
    Open,
    /// The write continued.
    Close,
}

/// `stall`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StallLine {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessKey,
    /// Beginning or end.
    pub phase: StallPhase,
    /// The thread that writes.
    pub tid: u32,
    /// Name of the thread.
    pub comm: ByteString,
    /// Since when the write is blocked, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: u64,
    /// How long so far, or in all, nanoseconds.
    pub length_ns: u64,
    /// File descriptor; null when unknown.
    pub fd: Option<u32>,
    /// System call number; null when unknown.
    pub syscall: Option<u32>,
    /// What is written to: `pipe`, `fifo`, `unix_socket`, `socket`, `tty`, `other`; null when unknown.
    pub resource: Option<String>,
    /// Inode of the file, or number of the socket; null when unknown.
    pub inode: Option<u64>,
    /// Device of the file's file system; null when unknown.
    pub device: Option<u32>,
    /// `AF_*` of a socket; null for other resources.
    pub socket_family: Option<u16>,
    /// `SOCK_*` of a socket; null for other resources.
    pub socket_type: Option<u16>,
    /// Pipe buffers in use; null when unknown.
    pub slots_used: Option<u32>,
    /// Pipe buffers in all; null when unknown.
    pub slots: Option<u32>,
    /// Bytes that wait to be read; null when unknown.
    pub used_bytes: Option<u64>,
    /// Bytes that fit in; null when unknown.
    pub capacity_bytes: Option<u64>,
    /// Number of read ends of a pipe; null when unknown.
    pub readers: Option<u32>,
    /// Number of write ends of a pipe; null when unknown.
    pub writers: Option<u32>,
    /// At the end: it was seen as it happened. False: the write was found to have continued some time before.
    #[serde(default)]
    pub end_seen: Option<bool>,
}

/// `anomaly`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnomalyLine {
    /// The kind of the anomaly.
    pub anomaly: AnomalyKind,
    /// Its severity.
    pub severity: Severity,
    /// `once`, or the beginning or the end of one that lasts.
    pub phase: Phase,
    /// The process; null when the anomaly is about the session.
    pub process: Option<ProcessKey>,
    /// Name of the process; null when unknown.
    pub comm: Option<ByteString>,
    /// How long it lasted, milliseconds; at its end only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_ms: Option<u64>,
    /// The values that made it one.
    pub detail: BTreeMap<String, serde_json::Value>,
}

impl From<Anomaly> for AnomalyLine {
    fn from(anomaly: Anomaly) -> Self {
        Self {
            anomaly: anomaly.kind,
            severity: anomaly.kind.severity(),
            phase: anomaly.phase,
            process: anomaly.process.map(Into::into),
            comm: anomaly.comm,
            length_ms: anomaly.length_ns.map(|ns| ns / 1_000_000),
            detail: anomaly.detail,
        }
    }
}

/// `diagnosis`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiagnosisLine {
    /// The diagnosis, in the schema `tracer.diagnosis/1`.
    pub diagnosis: serde_json::Value,
}

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LostPlace {
    /// Events that did not fit into the kernel's ring.
    Ring,
    /// Stalls that were overwritten before they were read.
    StallLog,
    /// Records that could not be decoded.
    Decode,
    /// Old snapshots that were dropped to make room in the trace.
    OldSnapshots,
    /// Lines that could not be written.
    Trace,
}

/// `lost`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LostLine {
    /// How many.
    pub count: u64,
    /// Where.
    pub place: LostPlace,
}

/// `note`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoteLine {
    /// A short name for programs, such as `adopted` or `degraded`.
    pub code: String,
    /// A sentence for people.
    pub text: String,
}

/// Why a session was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The root ended by itself.
    RootEnded,
    /// The tracer ended the job at its time limit.
    Timeout,
    /// The tracer ended the job because nothing in it had made progress for as long as was allowed.
    MaxIdle,
    /// The tracer ended the job because it hung.
    Hang,
    /// The tracer was asked to end, and ended the job.
    Interrupted,
    /// The tracer left, and the job continued.
    Detached,
    /// The owner died, and another process finished the session.
    Recovered,
    /// The machine was rebooted.
    Rebooted,
}

/// `footer`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FooterLine {
    /// Why the session was over.
    pub reason: EndReason,
    /// Processes of the session that were still alive.
    pub leaked: Vec<ProcessKey>,
}
