//! What a session's kernel events reported before the moment of the evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteString, ObjectId};
use crate::core::identity::{ProcessId, WaitStatus};

/// Earlier events. Their number is bounded by the session: the oldest may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct History {
    /// Events are known since this time, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: Option<u64>,
    /// Events that were lost: with any, a proof that needs history becomes `likely`.
    pub lost: u64,
    /// Processes that ended.
    pub exits: Vec<ExitSeen>,
    /// Processes that were created.
    pub forks: Vec<ForkSeen>,
    /// Writes that are blocked now.
    pub blocked_writes: Vec<BlockedWrite>,
    /// Signals sent.
    pub signals: Vec<SignalSeen>,
}

/// A process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitSeen {
    /// CLOCK_BOOTTIME nanoseconds.
    pub at_boot_ns: u64,
    /// The process.
    pub process: ProcessId,
    /// Its parent.
    #[serde(default)]
    pub parent: Option<ProcessId>,
    /// Its exit status.
    #[serde(default)]
    pub status: Option<WaitStatus>,
    /// Tgid of the sender of the signal that ended it.
    #[serde(default)]
    pub killer: Option<u32>,
    /// The kernel's OOM killer ended it.
    #[serde(default)]
    pub oom: Option<bool>,
    /// Last comm.
    #[serde(default)]
    pub comm: ByteString,
}

/// A process was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForkSeen {
    /// CLOCK_BOOTTIME nanoseconds.
    pub at_boot_ns: u64,
    /// Its parent.
    pub parent: ProcessId,
    /// The new process.
    pub child: ProcessId,
}

/// A write that is blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockedWrite {
    /// The process.
    pub process: ProcessId,
    /// Which thread.
    pub tid: u32,
    /// Since when, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: u64,
    /// On which fd.
    #[serde(default)]
    pub fd: Option<u32>,
    /// The object that it writes to.
    #[serde(default)]
    pub object: Option<ObjectId>,
}

/// A signal was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalSeen {
    /// CLOCK_BOOTTIME nanoseconds.
    pub at_boot_ns: u64,
    /// The receiver.
    pub target: ProcessId,
    /// The sender; `None` for the kernel.
    #[serde(default)]
    pub sender: Option<ProcessId>,
    /// Signal number.
    pub signal: u32,
    /// It was queued; false when ignored, pending already or lost.
    pub delivered: bool,
}
