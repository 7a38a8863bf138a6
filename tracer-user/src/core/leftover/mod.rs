//! What earlier runs left behind: from what is there to what is left, in use by somebody else, or unknown.
//!
//! Nothing is told by a process's name. A process is *ours* when a session of this tracer made it (the kernel's
//! record or the session log says so, by number and start time), or when it runs from the checkout asked about
//! (working directory, executable or an argument under it) as the same user. It is *left* when it is ours and its
//! session is over, or whoever started it is gone. Whatever else runs on the machine is a stranger's: it can be
//! in the way, and is then named as such, but is never ended and never counted as left.

mod judge;
mod plan;
mod ports;
mod scene;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::ByteString;

pub use judge::judge;
pub use plan::{Ending, Plan, REAP_SCHEMA, Reaped, Selection};
pub use ports::named_ports;
pub use scene::{Asked, Checkout, File, FileKind, FileState, Listener, Proc, Scene, Tie, Unfinished};

/// The report's schema.
pub const SCHEMA: &str = "tracer.preflight/1";

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A process of a session that is over.
    LeakedProcess,
    /// A process of the checkout whose starter is gone.
    Orphan,
    /// A process that has ended and that its parent does not collect.
    Zombie,
    /// A port or socket that somebody listens on.
    Listener,
    /// A UNIX socket's file.
    SocketFile,
    /// A file in `/dev/shm`.
    SharedMemory,
    /// A file that names its owner's pid.
    PidFile,
    /// A session whose owner died before it was finished.
    UnfinishedSession,
    /// Programs and maps in the kernel of a session whose tracer and trace directory are gone.
    Pins,
    /// A process that was asked about and that is not left.
    Process,
}

/// What is to be thought of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Left behind by us, and proved so: `reap` may remove it.
    Left,
    /// In the way of the next run, and not ours to end.
    InUse,
    /// It cannot be told whether somebody uses it: never removed.
    Unknown,
    /// Worth knowing, in nobody's way.
    Note,
}

impl Status {
    /// The next run would meet it.
    pub fn breaks(self) -> bool {
        matches!(self, Self::Left | Self::InUse)
    }
}

/// Whose it is, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "owner", rename_all = "snake_case")]
pub enum Ownership {
    /// A session's.
    Session {
        /// Its id.
        session: String,
        /// It still runs.
        running: bool,
        /// How that is known.
        proof: String,
    },
    /// The checkout's.
    Checkout {
        /// How that is known.
        proof: String,
    },
    /// Somebody else's.
    Stranger,
    /// Cannot be told.
    Unknown,
}

impl Ownership {
    /// Whether `reap` may touch it.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Session { running: false, .. } | Self::Checkout { .. })
    }
}

/// A process of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Culprit {
    /// Its number.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub start_ticks: u64,
    /// Its name.
    pub comm: ByteString,
    /// Its arguments, with what looks like a secret masked.
    pub cmdline: Vec<String>,
    /// Seconds since it started.
    pub age_seconds: u64,
    /// Whose it is.
    #[serde(flatten)]
    pub ownership: Ownership,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// What to think of it.
    pub status: Status,
    /// Names it for `--baseline`: the same thing has the same key as long as it exists.
    pub key: String,
    /// One sentence.
    pub sentence: String,
    /// The command that removes it; null where none does.
    pub command: Option<String>,
    /// The processes it is about.
    pub processes: Vec<Culprit>,
    /// The file it is about.
    pub path: Option<ByteString>,
    /// The port it is about.
    pub port: Option<u16>,
    /// The network namespace of that port; null when it is the one that was looked from.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The session it is of.
    pub session: Option<String>,
}

/// What `preflight` reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preflight {
    /// `tracer.preflight/1`.
    pub schema: String,
    /// Nothing is left, and nothing is in the way.
    pub clean: bool,
    /// The checkout whose processes count as ours; null when there is none.
    pub checkout: Option<ByteString>,
    /// What was found, the gravest first.
    pub findings: Vec<Finding>,
    /// What could not be looked at, a line each.
    pub problems: Vec<String>,
}
