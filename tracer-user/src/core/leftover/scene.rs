//! The observations that leftovers are judged by, as plain values.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::identity::ProcessId;
use crate::core::text::ByteString;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    /// Its identity.
    pub id: ProcessId,
    /// Pid of its parent.
    pub ppid: u32,
    /// Its user; `None` when unknown.
    pub uid: Option<u32>,
    /// Its name.
    pub comm: ByteString,
    /// Its arguments; empty when they could not be read.
    pub cmdline: Vec<ByteString>,
    /// Its working directory; `None` when unknown.
    pub cwd: Option<ByteString>,
    /// Its executable; `None` when unknown.
    pub exe: Option<ByteString>,
    /// It has ended and was not reaped.
    pub zombie: bool,
    /// Orphans are reparented to it: it is init, or known to be a child subreaper.
    pub reaper: bool,
    /// The control group of the service that it is in, up to `NAME.service`; `None` when it is in none, or
    /// that is unknown.
    pub service: Option<ByteString>,
    /// Pid of the leader of its login session.
    pub session: u32,
    /// It has a controlling terminal.
    pub terminal: bool,
    /// What its environment says of where it was started: `PWD`, `_` and `VIRTUAL_ENV`. Read for requested
    /// processes alone.
    pub environment: Vec<ByteString>,
}

/// The proof that a process belongs to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTie {
    /// The session.
    pub session: String,
    /// Its owner lives.
    pub running: bool,
    /// The proof, in words.
    pub proof: String,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `tcp`, `udp` or `unix`.
    pub protocol: &'static str,
    /// Its address or name, for people.
    pub address: String,
    /// Its port; `None` for a UNIX socket.
    pub port: Option<u16>,
    /// The file of a UNIX socket; an abstract name begins with a NUL.
    pub path: Option<ByteString>,
    /// The network namespace of its address, by name and number; `None`: that of this process.
    pub namespace: Option<String>,
    /// It matches a requested pattern.
    pub asked: bool,
    /// The processes that have it open.
    pub holders: Vec<ProcessId>,
}

/// The kind of a file that may be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A UNIX socket.
    Socket,
    /// A file in `/dev/shm`.
    SharedMemory,
    /// A file that contains a pid.
    PidFile,
}

/// Whether a file may be in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It is unused. The proof.
    Stale(String),
    /// Unknown, and why.
    Unknown(String),
}

/// A file that may be left. It is not known to be in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftoverFile {
    /// Its path.
    pub path: ByteString,
    /// Its kind.
    pub kind: FileKind,
    /// Whether it may be in use.
    pub state: FileState,
    /// Why it may be removed: it belongs to a session or to the checkout, or was requested. `None`: any
    /// program of this user may own it.
    pub owned: Option<String>,
    /// It matches a requested pattern.
    pub asked: bool,
    /// The finished session that made it; `None` when there is no proof of one.
    pub session: Option<String>,
    /// The finished session during which it was last written. That proves nothing: every other program wrote
    /// at that time, too.
    pub written_during: Option<String>,
    /// Root does not remove it; `None` when nothing forbids that.
    pub exposed: Option<ExposedFile>,
}

/// Another user can change a directory on the way to a file, so that root does not remove the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedFile {
    /// The directory.
    pub directory: ByteString,
    /// Its owner, when that is neither root nor this user; `None` when its mode lets others write to it.
    pub owner: Option<u32>,
    /// Owner of the file.
    pub file_owner: u32,
}

/// A session whose owner died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedSession {
    /// Its id, or the stem of its files.
    pub session: String,
}

/// The checkout whose processes count as owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its directory, absolute and without links.
    pub dir: ByteString,
    /// The user whose processes count.
    pub uid: u32,
}

/// Everything that was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: u64,
    /// The user who asks.
    pub uid: u32,
    /// Pid of this process.
    pub own_pid: u32,
    /// All processes.
    pub processes: Vec<Proc>,
    /// This process and its ancestors, up to init.
    pub own_ancestry: BTreeSet<u32>,
    /// The processes that provably belong to a session.
    pub ties: BTreeMap<ProcessId, SessionTie>,
    /// The checkout; `None` when there is none.
    pub checkout: Option<Checkout>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Files that may be left.
    pub files: Vec<LeftoverFile>,
    /// Sessions whose owner died.
    pub unfinished: Vec<UnfinishedSession>,
    /// Kernel pins that provably have no owner.
    pub pins: Vec<String>,
    /// What could not be examined, one line each.
    pub problems: Vec<String>,
    /// Where a search ended before its end, one line each. What was not searched is not clean.
    pub incomplete: Vec<String>,
}

/// What the user requests beside the general report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreflightRequest {
    /// These ports have to be free.
    pub ports: Vec<u16>,
    /// These processes are reported, whatever they are.
    pub pids: Vec<u32>,
    /// Keys of findings that existed before. They are not reported.
    pub baseline: BTreeSet<String>,
    /// The option by which `reap` finds the same checkout again, as one types it, after a space.
    pub repo_option: String,
    /// The options by which `reap` and `recover` find the same sessions again, as one types them.
    pub place_options: String,
}
