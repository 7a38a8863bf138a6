//! Kernel events, decoded: what the shells hand to the session, and what a trace line is made from.
//!
//! Unknown is `None`. Names are bytes: a comm may be cut inside a UTF-8 sequence.

use super::identity::{ProcessId, WaitStatus};

/// One thing that happened, in kernel order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: u64,
    /// What happened.
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventBody {
    /// A process was made.
    Fork(Fork),
    /// A process executed a program.
    Exec(Exec),
    /// A process ended: its last thread is gone.
    Exit(Exit),
    /// A signal was sent.
    Signal(Signal),
    /// A write has been blocked for the threshold, and still is.
    StallOpen(Stall),
    /// A write that had been blocked for at least the threshold went on.
    StallClosed(Stall),
}

/// What else identifies a process, beside [`ProcessId`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentityExtras {
    /// Start, nanoseconds of CLOCK_BOOTTIME.
    pub start_boottime_ns: Option<u64>,
    /// Inode of its pid namespace.
    pub pidns_ino: Option<u64>,
    /// Its number there.
    pub ns_pid: Option<u32>,
    /// Inode of its pidfd; never used twice from Linux 6.14 on.
    pub pidfd_ino: Option<u64>,
}

/// A process was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Who called.
    pub parent: ProcessId,
    /// The thread that called.
    pub parent_tid: Option<u32>,
    /// The new process.
    pub child: ProcessId,
    /// More about the new process.
    pub extras: IdentityExtras,
    /// Its comm.
    pub comm: Vec<u8>,
}

/// A process executed a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The process.
    pub process: ProcessId,
    /// The thread that called, when it was not the leader.
    pub by_thread: Option<u32>,
    /// New comm.
    pub comm: Vec<u8>,
    /// File name as given, `None` when the source of the event does not tell it.
    pub filename: Option<Vec<u8>>,
}

/// A process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The process.
    pub process: ProcessId,
    /// How, `None` when nobody could see it.
    pub status: Option<WaitStatus>,
    /// Its parent at the end or at its birth.
    pub parent: Option<ProcessId>,
    /// Who gets its children.
    pub reaper_tgid: Option<u32>,
    /// Who sent the signal it died of.
    pub killer: Option<Killer>,
    /// Memory shortage ended it; `None` when the source of the event does not tell.
    pub oom_victim: Option<bool>,
    /// CPU time of all its threads, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Last comm; empty when unknown.
    pub comm: Vec<u8>,
    /// It was seen when the process was freed, not when it ended: the event's time is the latest possible.
    pub seen_late: bool,
}

/// A process that sent a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Killer {
    /// Its tgid.
    pub tgid: u32,
    /// Its comm.
    pub comm: Vec<u8>,
    /// The signal.
    pub signal: u32,
}

/// A signal was sent to a process of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Who gets it.
    pub target: ProcessId,
    /// Who sent it; `None` when the kernel did.
    pub sender: Option<ProcessId>,
    /// Sender's comm; empty when the kernel sent it.
    pub sender_comm: Vec<u8>,
    /// Signal number.
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// Whether it was queued for delivery: false when ignored, already pending or lost.
    pub delivered: bool,
    /// For the whole process, not one thread.
    pub group: bool,
}

/// What a write is blocked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// Anonymous pipe.
    Pipe,
    /// Named pipe.
    Fifo,
    /// UNIX socket.
    UnixSocket,
    /// Socket of another family.
    Socket,
    /// Terminal.
    Tty,
    /// Something else.
    Other,
    /// Could not be told.
    Unknown,
}

/// A blocked write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The process.
    pub process: ProcessId,
    /// The thread.
    pub tid: u32,
    /// Comm of the thread.
    pub comm: Vec<u8>,
    /// Since when, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: u64,
    /// File descriptor.
    pub fd: Option<u32>,
    /// System call number.
    pub syscall: Option<u32>,
    /// What kind of thing.
    pub kind: ResourceKind,
    /// Inode of the pipe, FIFO or tty; number of the socket in `/proc/PID/fd`.
    pub inode: Option<u64>,
    /// Device of the file's file system, kernel encoding (major << 20 | minor).
    pub device: Option<u32>,
    /// Socket family and type (`AF_*`, `SOCK_*`).
    pub socket: Option<(u16, u16)>,
    /// Pipe buffers in use, and how many there are.
    pub slots: Option<(u32, u32)>,
    /// Bytes in it.
    pub used_bytes: Option<u64>,
    /// Bytes it takes.
    pub capacity_bytes: Option<u64>,
    /// Read ends and write ends of a pipe, as the kernel counts open file descriptions.
    pub ends: Option<(u32, u32)>,
    /// Whether its end was seen as it happened. `Some(false)`: it was found to be over, at the time of the event; when it
    /// ended before that is not known. `None` while it lasts.
    pub end_seen: Option<bool>,
}
