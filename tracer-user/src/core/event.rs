//! Kernel events, decoded: what the shells pass to the session, and what a trace line is made from.
//!
//! Unknown is `None`. Names are bytes: a comm may be cut inside a UTF-8 sequence.

use super::identity::{ProcessId, WaitStatus};

/// One event, in kernel order.
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
    /// A process was forked.
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
    /// Its number in that namespace.
    pub ns_pid: Option<u32>,
    /// Inode of its pidfd. Never used twice from Linux 6.14 on.
    pub pidfd_ino: Option<u64>,
}

/// A process was forked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The process that called fork, vfork or clone.
    pub parent: ProcessId,
    /// The thread that called.
    pub parent_tid: Option<u32>,
    /// The new process.
    pub child: ProcessId,
    /// More about the new process's identity.
    pub extras: IdentityExtras,
    /// The child's comm.
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
    /// File name as it was passed to exec. `None` when the source of the event does not report it.
    pub filename: Option<Vec<u8>>,
}

/// A process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The process.
    pub process: ProcessId,
    /// Wait status. `None` when the source of the event does not report it.
    pub status: Option<WaitStatus>,
    /// The parent when it ended, or when it was forked.
    pub parent: Option<ProcessId>,
    /// The process that inherits its children.
    pub reaper_tgid: Option<u32>,
    /// The process that sent the signal it died of.
    pub killer: Option<Killer>,
    /// Whether memory shortage ended it. `None` when the source of the event does not report it.
    pub oom_victim: Option<bool>,
    /// CPU time of all its threads, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Last comm. Empty when unknown.
    pub comm: Vec<u8>,
    /// The end was seen when the process was freed, later than it happened: the event's time is the latest
    /// possible.
    pub seen_late: bool,
}

/// What the kernel side has recorded of a process, whether it runs or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFate {
    /// The process.
    pub process: ProcessId,
    /// When it ended (CLOCK_BOOTTIME, nanoseconds) and how. `None`: it runs.
    pub ended: Option<(u64, Exit)>,
    /// The process that forked it. `None` for one that was enrolled by the user side.
    pub parent: Option<ProcessId>,
    /// More about its identity.
    pub extras: IdentityExtras,
}

impl Exit {
    /// An end of which only the status may be known.
    pub fn of(process: ProcessId, status: Option<WaitStatus>) -> Self {
        Self {
            process,
            status,
            parent: None,
            reaper_tgid: None,
            killer: None,
            oom_victim: None,
            cpu_ns: None,
            comm: Vec::new(),
            seen_late: false,
        }
    }
}

/// A process that sent a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Killer {
    /// Its tgid.
    pub tgid: u32,
    /// Its comm.
    pub comm: Vec<u8>,
    /// The signal's number.
    pub signal: u32,
}

/// A signal was sent to a process of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The receiver.
    pub target: ProcessId,
    /// The sender. `None` when the kernel sent the signal.
    pub sender: Option<ProcessId>,
    /// The sender's comm. Empty when the kernel sent the signal.
    pub sender_comm: Vec<u8>,
    /// Signal number.
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// Whether the signal was queued for delivery: false when ignored, already pending or lost.
    pub delivered: bool,
    /// Whether it was sent to the whole process. False: to one thread.
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
    /// Unknown.
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
    /// When the thread went to sleep, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: u64,
    /// File descriptor.
    pub fd: Option<u32>,
    /// System call number.
    pub syscall: Option<u32>,
    /// What the write is blocked on.
    pub kind: ResourceKind,
    /// Inode of the pipe, FIFO or tty. For a socket, its number in `/proc/PID/fd`.
    pub inode: Option<u64>,
    /// Device of the file's file system, in the kernel's encoding (major << 20 | minor).
    pub device: Option<u32>,
    /// Socket family and type (`AF_*`, `SOCK_*`). `None` for anything else.
    pub socket: Option<(u16, u16)>,
    /// Pipe buffers in use, and in all. `None` for anything else.
    pub slots: Option<(u32, u32)>,
    /// Bytes in the pipe, or queued in the socket.
    pub used_bytes: Option<u64>,
    /// Capacity in bytes.
    pub capacity_bytes: Option<u64>,
    /// Read ends and write ends of a pipe, as the kernel counts open file descriptions.
    pub ends: Option<(u32, u32)>,
    /// Whether the end was seen when it happened. `Some(false)`: the stall was found to be over at the
    /// event's time, and ended at an unknown time before that. `None` while it lasts.
    pub end_seen: Option<bool>,
}
