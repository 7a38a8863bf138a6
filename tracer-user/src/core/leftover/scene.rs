//! One look at what may be left, as plain values.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::identity::ProcessId;
use crate::core::text::ByteString;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    /// Which.
    pub id: ProcessId,
    /// Its parent's number.
    pub ppid: u32,
    /// Its user; `None` when that cannot be told.
    pub uid: Option<u32>,
    /// Its name.
    pub comm: ByteString,
    /// Its arguments; empty when they cannot be read.
    pub cmdline: Vec<ByteString>,
    /// Its working directory.
    pub cwd: Option<ByteString>,
    /// Its program.
    pub exe: Option<ByteString>,
    /// It has ended and was not collected.
    pub zombie: bool,
    /// Orphans come to it: init, or a child subreaper that is known as one.
    pub reaper: bool,
}

/// That a process is a session's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The session.
    pub session: String,
    /// Its owner lives.
    pub running: bool,
    /// How it is known.
    pub proof: String,
}

/// A socket somebody listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `tcp`, `udp` or `unix`.
    pub protocol: &'static str,
    /// Its address or name, for people.
    pub address: String,
    /// Its port.
    pub port: Option<u16>,
    /// Its file; an abstract name begins with a NUL.
    pub path: Option<ByteString>,
    /// The network namespace its address is one of, by name and number; `None`: the one we look from.
    pub namespace: Option<String>,
    /// It was asked about.
    pub asked: bool,
    /// Who has it open.
    pub holders: Vec<ProcessId>,
}

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// UNIX socket.
    Socket,
    /// In `/dev/shm`.
    SharedMemory,
    /// Names a pid.
    PidFile,
}

/// Whether a file is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Nobody uses it; how that was proved.
    Stale(String),
    /// Cannot be told, and why.
    Unknown(String),
}

/// A file that may be left. Those in use are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: ByteString,
    /// What.
    pub kind: FileKind,
    /// Whether somebody uses it.
    pub state: FileState,
    /// Why it is ours: a session, the checkout, or that it was asked about. `None`: it may be anybody's of this user.
    pub ours: Option<String>,
    /// The session in whose time it was last written.
    pub session: Option<String>,
}

/// A session whose owner died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its id, or the names of its files.
    pub session: String,
}

/// The checkout whose processes count as ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its directory, absolute and without links.
    pub dir: ByteString,
    /// Whose processes count.
    pub uid: u32,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: u64,
    /// Every process.
    pub processes: Vec<Proc>,
    /// Ourselves and whoever started us, up to init.
    pub us: BTreeSet<u32>,
    /// What is known to be a session's.
    pub ties: BTreeMap<ProcessId, Tie>,
    /// The checkout.
    pub checkout: Option<Checkout>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Files that may be left.
    pub files: Vec<File>,
    /// Sessions whose owner died.
    pub unfinished: Vec<Unfinished>,
    /// Pins of the kernel side that are nobody's.
    pub pins: Vec<String>,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

/// What is asked beside the general question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// These ports have to be free.
    pub ports: Vec<u16>,
    /// These processes are to be told of, whatever they are.
    pub pids: Vec<u32>,
    /// Keys of what was there before.
    pub baseline: BTreeSet<String>,
}
