//! The fields of each kind of line.

use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which process a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Who {
    /// Process id.
    pub pid: u32,
    /// Start, clock ticks since boot.
    pub start_ticks: u64,
}

impl From<ProcessId> for Who {
    fn from(id: ProcessId) -> Self {
        Self { pid: id.tgid, start_ticks: id.start_ticks }
    }
}

impl From<Who> for ProcessId {
    fn from(who: Who) -> Self {
        Self { tgid: who.pid, start_ticks: who.start_ticks }
    }
}

/// `header`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderLine {
    /// Version of the tracer.
    pub tracer_version: String,
    /// Release of the kernel; null when unknown.
    pub kernel: Option<String>,
    /// Name of the machine.
    pub hostname: Option<String>,
    /// The session.
    pub session_id: String,
    /// Which boot; null when it cannot be read.
    pub boot_id: Option<String>,
    /// The process that is traced, with all that descends from it.
    pub root: Who,
    /// Its arguments.
    pub cmdline: Vec<ByteString>,
    /// Fork, exec, exit and stalls are told by the kernel as they happen; else they are polled.
    pub kernel_events: bool,
    /// What the tracer may do here.
    pub capabilities: Vec<String>,
    /// Kernel fields that were not found, and what is not told for lack of them.
    pub offsets_missing: Vec<String>,
    /// Milliseconds between samples.
    pub interval_ms: u64,
    /// Processes that did not change since their last snapshot have none in a sample.
    pub unchanged_left_out: bool,
    /// Beginnings of anomalies.
    pub thresholds: Thresholds,
    /// The rest of the configuration.
    pub config: BTreeMap<String, serde_json::Value>,
}

/// When something becomes an anomaly. The same numbers serve the live session and its replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// A write blocked for this long is a `write_stall`.
    pub stall_ms: u64,
    /// A session without any activity for this long makes `no_progress`.
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
    /// The process.
    #[serde(flatten)]
    pub snapshot: ProcSnapshot,
    /// Taken as the process exited.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_exit: bool,
}

/// `sample`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleLine {
    /// Number of the sample, from 0.
    pub number: u64,
    /// Snapshots written for it.
    pub written: u32,
    /// Processes left out because nothing of them changed.
    pub unchanged: u32,
    /// Processes of the session that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Who>,
}

/// How a process came into the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A process of the session forked it, and the kernel told.
    Fork,
    /// The tracer started it.
    Root,
    /// It ran already when the tracer attached, or was seen first by a look at `/proc`.
    Found,
}

/// `fork`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForkLine {
    /// The process that joined.
    #[serde(flatten)]
    pub who: Who,
    /// How.
    pub origin: Origin,
    /// Its parent; null when unknown.
    pub parent: Option<Who>,
    /// The thread of the parent that called.
    pub parent_tid: Option<u32>,
    /// Start, nanoseconds of CLOCK_BOOTTIME.
    pub start_boottime_ns: Option<u64>,
    /// Inode of its pid namespace.
    pub pidns_ino: Option<u64>,
    /// Its number there.
    pub ns_pid: Option<u32>,
    /// Inode of its pidfd.
    pub pidfd_ino: Option<u64>,
    /// Its name.
    pub comm: Option<ByteString>,
}

/// `exec`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecLine {
    /// The process.
    #[serde(flatten)]
    pub who: Who,
    /// The thread that called, when it was not the leader.
    pub by_thread: Option<u32>,
    /// New name.
    pub comm: ByteString,
    /// File name as given.
    pub filename: Option<ByteString>,
}

/// Where an end was learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The kernel's event.
    Kernel,
    /// The kernel's record, read after the tracer had died.
    FateMap,
    /// A pidfd or `/proc`.
    Proc,
}

/// `exit`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExitLine {
    /// The process.
    #[serde(flatten)]
    pub who: Who,
    /// Wait status as `waitpid` gives it; null when nobody saw it.
    pub status: Option<WaitCode>,
    /// Exit code, when it exited by itself.
    pub exit_code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// Whether it dumped core.
    pub core_dumped: Option<bool>,
    /// Its parent.
    pub parent: Option<Who>,
    /// Who gets its children.
    pub reaper_pid: Option<u32>,
    /// Who sent the signal it died of.
    pub killer: Option<KillerLine>,
    /// Memory shortage ended it.
    pub oom_victim: Option<bool>,
    /// CPU time of all its threads, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Last name.
    pub comm: Option<ByteString>,
    /// It was seen when the process was freed, not when it ended: the line's time is the latest possible.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen_late: bool,
    /// Where this was learnt from.
    pub source: Source,
}

/// A raw wait status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct WaitCode(pub u32);

impl ExitLine {
    /// The wait status.
    pub fn wait_status(&self) -> Option<WaitStatus> {
        self.status.map(|code| WaitStatus(code.0))
    }
}

/// Who killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KillerLine {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: ByteString,
    /// The signal.
    pub signal: String,
}

/// `signal`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignalLine {
    /// Who gets it.
    #[serde(flatten)]
    pub who: Who,
    /// The signal.
    pub signal: String,
    /// Who sent it; null when the kernel did.
    pub sender: Option<Who>,
    /// Sender's name; null when the kernel sent it.
    pub sender_comm: Option<ByteString>,
    /// `si_code`.
    pub code: i32,
    /// Whether it was queued for delivery.
    pub delivered: bool,
    /// For the whole process.
    pub group: bool,
}

/// Beginning or end of a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StallPhase {
    /// The write has been blocked for the threshold, and still is.
    Open,
    /// The write went on.
    Close,
}

/// `stall`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StallLine {
    /// The process.
    #[serde(flatten)]
    pub who: Who,
    /// Beginning or end.
    pub phase: StallPhase,
    /// The thread.
    pub tid: u32,
    /// Its name.
    pub comm: ByteString,
    /// Since when, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: u64,
    /// How long so far, or in all, nanoseconds.
    pub length_ns: u64,
    /// File descriptor.
    pub fd: Option<u32>,
    /// System call number.
    pub syscall: Option<u32>,
    /// What it is blocked on: `pipe`, `fifo`, `unix_socket`, `socket`, `tty`, `other`; null when unknown.
    pub resource: Option<String>,
    /// Inode, or the number of the socket.
    pub inode: Option<u64>,
    /// Device of the file's file system.
    pub device: Option<u32>,
    /// `AF_*` of a socket.
    pub socket_family: Option<u16>,
    /// `SOCK_*` of a socket.
    pub socket_type: Option<u16>,
    /// Pipe buffers in use.
    pub slots_used: Option<u32>,
    /// Pipe buffers there are.
    pub slots: Option<u32>,
    /// Bytes in it.
    pub used_bytes: Option<u64>,
    /// Bytes it takes.
    pub capacity_bytes: Option<u64>,
    /// Read ends of the pipe.
    pub readers: Option<u32>,
    /// Write ends of the pipe.
    pub writers: Option<u32>,
    /// At its end: whether that was seen as it happened. False: it was found to be over, and ended some time before.
    #[serde(default)]
    pub end_seen: Option<bool>,
}

/// `anomaly`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnomalyLine {
    /// What.
    pub anomaly: crate::core::anomaly::AnomalyKind,
    /// How grave.
    pub severity: crate::core::anomaly::Severity,
    /// `once`, or the beginning or the end of one that lasts.
    pub phase: crate::core::anomaly::Phase,
    /// The process; null when it is about the session.
    pub process: Option<Who>,
    /// Its name.
    pub comm: Option<ByteString>,
    /// How long it lasted, milliseconds; at its end only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_ms: Option<u64>,
    /// The values that made it one.
    pub detail: BTreeMap<String, serde_json::Value>,
}

/// `diagnosis`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiagnosisLine {
    /// The diagnosis.
    pub diagnosis: serde_json::Value,
}

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LostWhere {
    /// Events that did not fit into the kernel's ring.
    Ring,
    /// Stalls that were overwritten before they were read.
    StallLog,
    /// Records that could not be decoded.
    Decode,
    /// Old snapshots that made room in the trace.
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
    pub place: LostWhere,
}

/// `note`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoteLine {
    /// A short name for programs, such as `adopted` or `degraded`.
    pub code: String,
    /// For people.
    pub text: String,
}

/// Why a session was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The root ended by itself.
    RootEnded,
    /// The tracer ended the job when its time was over.
    Timeout,
    /// The tracer ended the job because it hung.
    Hang,
    /// The tracer was asked to end and ended the job.
    Interrupted,
    /// The tracer left the job alone and went.
    Detached,
    /// The owner had died; another process finished the session.
    Recovered,
    /// The machine had been booted again.
    Rebooted,
}

/// `footer`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FooterLine {
    /// Why the session was over.
    pub reason: EndReason,
    /// Processes of the session that were still alive.
    pub leaked: Vec<Who>,
}
