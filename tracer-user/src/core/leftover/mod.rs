//! Leftovers of earlier runs: each process, listener and file that exists is left, in use, unknown, or only
//! noted.
//!
//! A process's name proves nothing, nor does the time at which something was made. A process is *owned* when
//! a session of this tracer started it (the kernel's record or the session log says so, by pid and start
//! time), or when it runs from the checkout in question (working directory, executable or an argument under
//! it) as the same user, and neither in a service nor on the terminal of another login session. A process
//! that is requested by its pid needs less: its environment, its interpreter or its parent may name the
//! checkout, and it may run as another user. It is *left* when it is owned and its session is over, or the
//! process that started it is gone. Every other process of the machine is a stranger: it can be in the way,
//! and is then named as such, but it is never ended and never counted as left.

mod files;
mod held;
mod judge;
mod listeners;
mod ownership;
mod plan;
mod ports;
mod scene;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::readiness::ReadinessCheck;
use super::text::ByteString;

pub use held::{HELD_FILE, HeldFile};
pub use judge::judge;
pub use plan::{PlannedEnd, REAP_SCHEMA, ReapPlan, ReapReport, ReapSelection};
pub use ports::named_ports;
pub use scene::{
    Checkout, ExposedFile, FileKind, FileState, LeftoverFile, Listener, PreflightRequest, Proc, Scene,
    SessionTie, UnfinishedSession,
};

/// The report's schema.
pub const SCHEMA: &str = "tracer.preflight/1";

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// A process of a session that is over.
    LeakedProcess,
    /// A process of the checkout whose parent is gone.
    Orphan,
    /// A process that has ended and that its parent has not reaped.
    Zombie,
    /// A listening port or socket.
    Listener,
    /// A UNIX socket's file.
    SocketFile,
    /// A file in `/dev/shm`.
    SharedMemory,
    /// A file that contains its owner's pid.
    PidFile,
    /// A session whose owner died before it was finished.
    UnfinishedSession,
    /// Kernel programs and maps of a session whose tracer and trace directory are gone.
    Pins,
    /// A requested process that is not left.
    Process,
}

/// The status of a finding, gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverStatus {
    /// Provably left by an earlier run: `reap` may remove it.
    Left,
    /// In the way of the next run, and not to be removed by `reap`.
    InUse,
    /// It is unknown whether it is in use: never removed.
    Unknown,
    /// Worth knowing, and not in the way.
    Note,
}

impl LeftoverStatus {
    /// It is in the way of the next run.
    pub fn breaks(self) -> bool {
        matches!(self, Self::Left | Self::InUse)
    }
}

/// The owner of a process, and the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "owner", rename_all = "snake_case")]
pub enum Ownership {
    /// A session started it.
    Session {
        /// The id of the session.
        session: String,
        /// The session still runs.
        running: bool,
        /// The proof.
        proof: String,
    },
    /// It belongs to the checkout.
    Checkout {
        /// The proof.
        proof: String,
    },
    /// It belongs to neither.
    Stranger,
    /// Unknown.
    Unknown,
}

impl Ownership {
    /// `reap` may end it.
    pub fn may_be_reaped(&self) -> bool {
        matches!(self, Self::Session { running: false, .. } | Self::Checkout { .. })
    }
}

/// A process of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftoverProcess {
    /// Process id.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
    /// Its user; null when unknown.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Its name.
    pub comm: ByteString,
    /// Its arguments, secrets redacted.
    pub cmdline: Vec<String>,
    /// Seconds since it started.
    pub age_seconds: u64,
    /// Its owner.
    #[serde(flatten)]
    pub ownership: Ownership,
}

/// One leftover, or something that looks like one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftoverFinding {
    /// Its kind.
    pub kind: LeftoverKind,
    /// Its status.
    pub status: LeftoverStatus,
    /// The key for `--baseline`: the same leftover has the same key as long as it exists.
    pub key: String,
    /// A sentence about it.
    pub sentence: String,
    /// The command that removes it; null when there is none.
    pub command: Option<String>,
    /// The processes that it is about.
    pub processes: Vec<LeftoverProcess>,
    /// The file that it is about; null when it is not about a file.
    pub path: Option<ByteString>,
    /// The port that it is about; null when it is not about a port.
    pub port: Option<u16>,
    /// The network namespace of that port; null for the namespace of `preflight` itself.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The session that left it; null when there is none.
    pub session: Option<String>,
    /// It is a socket that was requested with `--socket`.
    #[serde(default)]
    pub requested: bool,
    /// Why `reap` does not remove it as this user; null when it does.
    #[serde(default)]
    pub protected: Option<String>,
}

/// The report of `preflight`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreflightReport {
    /// `tracer.preflight/1`.
    pub schema: String,
    /// Nothing is left, nothing is in the way, and no search ended before its end.
    pub clean: bool,
    /// The user who asked.
    #[serde(default)]
    pub uid: u32,
    /// The checkout whose processes count as owned; null when there is none.
    pub checkout: Option<ByteString>,
    /// The findings, gravest first.
    pub findings: Vec<LeftoverFinding>,
    /// Whether the suite can start, where that was requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<ReadinessCheck>,
    /// What could not be examined, one line each.
    pub problems: Vec<String>,
}
