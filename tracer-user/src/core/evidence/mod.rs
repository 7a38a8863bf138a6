//! One moment of the machine, as plain values: what the diagnosis judges.
//!
//! `procfs_view` fills these types (with help of a session's kernel events), `diagnosis` reads them. Nothing
//! here decides anything. Three rules hold for every field:
//!
//! - Unknown is `None`. An empty list means that there is nothing; `None` means that it could not be read.
//! - Identity is a [`ProcessId`] or an [`ObjectId`]. A bare number names a process only inside one moment,
//!   where `/proc` itself does so (`ppid`, `/proc/locks`); [`Evidence::process`] returns its process.
//! - Foreign text (comm, argv, paths) is a [`ByteString`]: bytes that cannot be printed without a choice of
//!   escaping.
//!
//! [`Evidence`] holds *every process that was found on the machine*, not just the scope: another holder of
//! the end of a pipe decides between a deadlock and an orphaned wait. [`Process::in_scope`] marks the scope.

mod call_count;
mod history;
mod object;
mod process;
mod stack;
mod thread;

pub use crate::core::text::ByteString;
pub use call_count::{CallCount, CallWindow, NoCallWindow};
pub use history::{BlockedWrite, ExitSeen, ForkSeen, History, SignalSeen};
pub use object::{
    AnonKind, EpollItem, InetFacts, LockEntry, LockKind, LockMode, Object, ObjectFacts, ObjectId, PipeFacts,
    PtySide, SocketAddress, TcpState, UnixFacts, UnixKind, UnixState,
};
pub use process::{Access, Fd, FdLock, IoCounters, Limits, Process, Ptraced, Terminal, Unread};
pub use stack::{FrameKind, StackFrame};
pub use thread::{
    ChildTarget, FutexOp, FutexShared, PollFd, Progress, Syscall, Thread, ThreadState, Timeout, Wait, events,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::ProcessId;

/// The schema's name. A reader refuses any other.
pub const SCHEMA: &str = "tracer.evidence/1";

/// A document that is not evidence of this version.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// It is not JSON, or has another shape.
    #[error("it is no recorded evidence: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It has another version.
    #[error("its schema is {found:?}, and this program reads {SCHEMA:?}")]
    Schema {
        /// The schema that it names.
        found: String,
    },
}

/// One moment of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: String,
    /// The time of the samples.
    pub clock: Clock,
    /// The machine.
    pub host: Host,
    /// The scope: the processes that the question is about.
    pub scope: Scope,
    /// The kernel events of a session were available.
    pub kernel_events: bool,
    /// Every process of the machine that was found, by tgid.
    pub processes: Vec<Process>,
    /// Facts about the objects behind the fds, for those that a process waits on or holds.
    pub objects: Vec<Object>,
    /// `/proc/locks`; `None` when it could not be read.
    pub locks: Option<Vec<LockEntry>>,
    /// Earlier kernel events; `None` without a session that recorded them.
    pub history: Option<History>,
    /// The tests that failed in the last runs of the scope's test runners, from the runners' own records.
    pub last_failed: Vec<LastFailed>,
    /// The coverage of the reading.
    pub reach: Reach,
    /// What could not be read, and why, one line each.
    pub problems: Vec<Problem>,
}

impl Evidence {
    /// Reads recorded evidence, as [`Evidence::to_json`] writes it.
    ///
    /// # Errors
    /// When it is not evidence, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EvidenceError> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            schema: String,
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.schema != SCHEMA {
            return Err(EvidenceError::Schema { found: head.schema });
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The evidence as a document, in one line.
    ///
    /// # Errors
    /// None is known: every value of it can be written.
    pub fn to_json(&self) -> Result<String, EvidenceError> {
        Ok(serde_json::to_string(self)?)
    }

    /// The process that `/proc/<tgid>` named at this moment.
    pub fn process(&self, tgid: u32) -> Option<&Process> {
        self.processes.iter().find(|p| p.id.tgid == tgid)
    }

    /// The facts about `id`.
    pub fn object(&self, id: &ObjectId) -> Option<&Object> {
        self.objects.iter().find(|o| o.id == *id)
    }
}

/// When the evidence was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Clock {
    /// Wall clock at the second sample, nanoseconds since 1970 UTC.
    pub taken_at_unix_ns: i64,
    /// CLOCK_BOOTTIME at the second sample, nanoseconds.
    pub boot_ns: u64,
    /// Time between the two samples, nanoseconds; 0 when there was one sample only (then every `moved` is
    /// `None`).
    pub quiet_window_ns: u64,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Host {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// `uname -r`.
    pub kernel: Option<ByteString>,
    /// `uname -n`.
    pub hostname: Option<ByteString>,
    /// `/proc/sys/fs/pipe-max-size`, bytes: how far an unprivileged user can enlarge a pipe.
    pub pipe_max_size: Option<u64>,
    /// `/proc/sys/fs/pipe-user-pages-soft`, pages: past it a new pipe of that user gets two pages only.
    pub pipe_user_pages_soft: Option<u64>,
    /// Time within the window in which some task of the machine was ready to run and had no CPU, microseconds
    /// (`/proc/pressure/cpu`); `None` where the kernel does not count it.
    #[serde(default)]
    pub cpu_pressure_us: Option<u64>,
}

/// The scope of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every process of the machine.
    #[default]
    All,
    /// This process and its descendants.
    Tree(ProcessId),
    /// The processes of the session with this id.
    Session(String),
}

/// The coverage of the reading, which proofs rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Reach {
    /// `/proc` showed every process of the machine: the initial pid namespace, no `hidepid`.
    pub whole_machine: bool,
    /// UNIX socket peers were read (sock_diag).
    pub unix_peers: bool,
    /// TCP and UDP sockets were read, in the network namespaces of the processes in scope.
    pub inet_sockets: bool,
}

/// The tests that failed in the last run of a runner, from its own record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastFailed {
    /// The runner that runs now.
    pub process: ProcessId,
    /// The first failed tests.
    pub tests: Vec<ByteString>,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The process, when it belongs to one.
    pub process: Option<ProcessId>,
    /// The part: `fds`, `syscall`, `sock_diag`, …
    pub what: String,
    /// The error of the system.
    pub why: String,
}
