//! What fds refer to: the resources of the graph.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteString;
use crate::core::signal::SignalSet;

/// The identity of a kernel object. Two fds with equal ids refer to the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectId {
    /// Anonymous pipe.
    Pipe {
        /// Number in `pipe:[…]`.
        ino: u64,
    },
    /// Named pipe.
    Fifo {
        /// Device.
        dev: u64,
        /// Inode.
        ino: u64,
    },
    /// UNIX socket.
    Unix {
        /// Number in `socket:[…]`.
        ino: u64,
    },
    /// TCP, UDP or raw IP socket.
    Inet {
        /// Number in `socket:[…]`.
        ino: u64,
    },
    /// Socket of another family (netlink, vsock, packet), or of one that could not be determined.
    Socket {
        /// Number in `socket:[…]`.
        ino: u64,
    },
    /// One side of a pseudo-terminal. Both sides have the same index.
    Pty {
        /// Number in `/dev/pts/…`.
        index: u32,
        /// The side.
        side: PtySide,
    },
    /// Another terminal.
    Tty {
        /// Device number, major.
        major: u32,
        /// Minor.
        minor: u32,
    },
    /// Regular file or directory.
    File {
        /// Device.
        dev: u64,
        /// Inode.
        ino: u64,
    },
    /// Character or block device that is not a terminal.
    Device {
        /// Major.
        major: u32,
        /// Minor.
        minor: u32,
    },
    /// An anonymous inode: these all share one inode number, so the collector of the evidence makes up `id`
    /// such that equal ids are certainly the same object (`eventfd-id`; pidfs inode; else tgid and fd
    /// of the lowest holder known to share the description).
    Anon {
        /// Its kind.
        kind: AnonKind,
        /// Made-up number.
        id: u64,
    },
    /// POSIX message queue.
    MessageQueue {
        /// Device of the mqueue file system.
        dev: u64,
        /// Inode.
        ino: u64,
    },
    /// SysV semaphore set (named by waits and [`ObjectFacts::SysV`] alone; no fd refers to it).
    SysVSem {
        /// id.
        id: u32,
    },
    /// SysV message queue.
    SysVMsg {
        /// id.
        id: u32,
    },
    /// Could not be determined.
    Unknown,
}

/// Side of a pseudo-terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PtySide {
    /// The side of the emulator (`/dev/ptmx`).
    Master,
    /// The side of the programs (`/dev/pts/N`).
    Slave,
}

/// The kind of an anonymous inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnonKind {
    /// epoll.
    Epoll,
    /// eventfd.
    EventFd,
    /// timerfd.
    TimerFd,
    /// signalfd.
    SignalFd,
    /// pidfd.
    PidFd,
    /// inotify.
    Inotify,
    /// fanotify.
    Fanotify,
    /// io_uring.
    IoUring,
    /// userfaultfd.
    UserFault,
    /// Listener of seccomp notifications.
    SeccompNotify,
    /// Another.
    Other,
}

/// An object and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Object {
    /// Its identity.
    pub id: ObjectId,
    /// Facts about it.
    pub facts: ObjectFacts,
}

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectFacts {
    /// Only that it exists.
    #[default]
    Nothing,
    /// Pipe or FIFO.
    Pipe(PipeFacts),
    /// UNIX socket.
    Unix(UnixFacts),
    /// IP socket.
    Inet(InetFacts),
    /// Pseudo-terminal side or other terminal.
    Terminal {
        /// Its path: `/dev/pts/3`.
        path: Option<ByteString>,
        /// Bytes waiting to be read on this side (FIONREAD).
        readable_bytes: Option<u64>,
        /// Whether a write on this side would proceed now.
        writable: Option<bool>,
        /// Canonical mode (ICANON): input arrives by lines, as at a prompt.
        canonical: Option<bool>,
    },
    /// File or directory.
    File {
        /// Path as the fd shows it, without ` (deleted)`.
        path: Option<ByteString>,
        /// Unlinked.
        deleted: bool,
        /// File system type: `ext4`, `nfs4`, `fuse.sshfs`.
        filesystem: Option<ByteString>,
    },
    /// Device.
    Device {
        /// Path.
        path: Option<ByteString>,
    },
    /// epoll.
    Epoll {
        /// Interest set; `None` when it could not be read.
        interest: Option<Vec<EpollItem>>,
    },
    /// eventfd.
    EventFd {
        /// Counter.
        count: Option<u64>,
    },
    /// timerfd.
    TimerFd {
        /// Nanoseconds until it fires; `Some(0)` when it is not armed (as from timerfd_gettime).
        remaining_ns: Option<u64>,
        /// Expirations not read yet.
        ticks: Option<u64>,
    },
    /// signalfd.
    SignalFd {
        /// Signals it takes.
        mask: Option<SignalSet>,
    },
    /// pidfd.
    PidFd {
        /// Tgid of its process; `None` when that has been collected.
        target: Option<u32>,
        /// Whether poll on it would return: its process has ended.
        exited: Option<bool>,
    },
    /// SysV semaphore or message queue.
    SysV {
        /// Last process that operated on it (`sempid`, `msg_lspid`, `msg_lrpid`), alive or not.
        last_pids: Vec<u32>,
        /// The process that created it.
        creator: Option<u32>,
        /// Key.
        key: Option<i64>,
    },
    /// POSIX message queue.
    MessageQueue {
        /// Bytes in it.
        bytes: Option<u64>,
        /// Path in the mqueue file system.
        path: Option<ByteString>,
    },
}

/// What is known of a pipe or FIFO.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PipeFacts {
    /// Bytes in it (FIONREAD).
    pub used_bytes: Option<u64>,
    /// Its capacity in bytes when every slot is full (F_GETPIPE_SZ).
    pub capacity_bytes: Option<u64>,
    /// Buffers in use (head - tail).
    pub slots_used: Option<u32>,
    /// Buffers in total (max_usage).
    pub slots: Option<u32>,
    /// Open file descriptions that can read, as the kernel counts them (not processes, not fds).
    pub readers: Option<u32>,
    /// Open file descriptions that can write, as the kernel counts them.
    pub writers: Option<u32>,
    /// poll reports that a write of some bytes would proceed.
    pub writable: Option<bool>,
    /// poll reports that there is something to read.
    pub readable: Option<bool>,
    /// Path of a FIFO.
    pub path: Option<ByteString>,
}

impl PipeFacts {
    /// Whether a blocking write cannot proceed: every slot is taken. `None` when it could not be read.
    pub fn is_full(&self) -> Option<bool> {
        match (self.slots_used, self.slots) {
            (Some(used), Some(slots)) => Some(used >= slots),
            _ => self.writable.map(|w| !w),
        }
    }

    /// Whether there is nothing to read. `None` when it could not be read.
    pub fn is_empty(&self) -> Option<bool> {
        match (self.slots_used, self.used_bytes) {
            (Some(used), _) => Some(used == 0),
            (None, Some(bytes)) => Some(bytes == 0),
            (None, None) => self.readable.map(|r| !r),
        }
    }
}

/// Type of a UNIX socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnixKind {
    /// SOCK_STREAM.
    Stream,
    /// SOCK_DGRAM.
    Datagram,
    /// SOCK_SEQPACKET.
    SeqPacket,
}

/// State of a UNIX socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnixState {
    /// Has a peer.
    Connected,
    /// Listens.
    Listening,
    /// connect is under way: in the listener's queue, not accepted.
    Connecting,
    /// Has no peer.
    Unconnected,
}

/// What is known of a UNIX socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnixFacts {
    /// Type.
    pub kind: Option<UnixKind>,
    /// State.
    pub state: Option<UnixState>,
    /// Inode of the peer; `Some(0)` when it certainly has none (closed, or never accepted).
    pub peer: Option<u64>,
    /// For a connection that was not accepted yet, or whose connect waits for a place in the backlog: inode
    /// of the listener.
    pub listener: Option<u64>,
    /// Its name; a leading NUL is the abstract name space.
    pub path: Option<ByteString>,
    /// Bytes in its receive queue, not read yet; connections not accepted yet for a listener.
    pub receive_queue: Option<u64>,
    /// Bytes charged to its send buffer: what its peer has not read yet; the backlog's length for a listener.
    pub send_queue: Option<u64>,
    /// Size of its send buffer, bytes.
    pub send_buffer: Option<u64>,
    /// It has been shut down: for reading, for writing.
    pub shutdown: Option<(bool, bool)>,
    /// fds in messages (SCM_RIGHTS) in its receive queue: they are in no process's table.
    pub fds_in_flight: Option<u32>,
    /// poll reports that a write would proceed.
    pub writable: Option<bool>,
    /// poll reports that there is something to read.
    pub readable: Option<bool>,
}

/// State of a TCP socket (UDP shows as established or closed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TcpState {
    /// 01.
    Established,
    /// 02: connect is under way.
    SynSent,
    /// 03.
    SynReceived,
    /// 04.
    FinWait1,
    /// 05.
    FinWait2,
    /// 06.
    TimeWait,
    /// 07.
    Close,
    /// 08: the peer closed, this end did not.
    CloseWait,
    /// 09.
    LastAck,
    /// 0A.
    Listen,
    /// 0B.
    Closing,
}

/// An address of an IP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SocketAddress {
    /// Address.
    pub ip: std::net::IpAddr,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// What is known of an IP socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InetFacts {
    /// A stream (TCP), else datagrams.
    pub stream: bool,
    /// State.
    pub state: Option<TcpState>,
    /// The local end.
    pub local: Option<SocketAddress>,
    /// The other end.
    pub remote: Option<SocketAddress>,
    /// The other end is a socket of this machine (same 4-tuple the other way round): its inode. `Some(0)`:
    /// its owner has closed it.
    pub peer: Option<u64>,
    /// For a socket whose connect is under way or whose peer was not accepted yet: inode of the local
    /// listener.
    pub listener: Option<u64>,
    /// Bytes (connections, for a listener) not read (accepted) yet.
    pub receive_queue: Option<u64>,
    /// Bytes not acknowledged by the peer; the backlog's length for a listener.
    pub send_queue: Option<u64>,
    /// poll reports that a write would proceed.
    pub writable: Option<bool>,
    /// poll reports that there is something to read.
    pub readable: Option<bool>,
}

/// An item of an epoll interest set (`tfd:` line of fdinfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EpollItem {
    /// fd number when it was added. It may have been closed or reused since.
    pub fd: u32,
    /// Events asked for.
    pub events: u32,
    /// The object, when the inode and device of the line identify it: the fd may have been closed while
    /// another one keeps the object in the set.
    pub object: Option<ObjectId>,
}

/// Kind of a file lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockKind {
    /// flock: belongs to the open file description.
    Flock,
    /// fcntl(F_SETLK): belongs to the process.
    Posix,
    /// fcntl(F_OFD_SETLK): belongs to the open file description.
    Ofd,
    /// A lease or delegation.
    Lease,
}

/// Mode of a file lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
}

/// A line of `/proc/locks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockEntry {
    /// Its number in the file; a waiter's line has its blocker's.
    pub number: u32,
    /// Kind.
    pub kind: LockKind,
    /// Mode.
    pub mode: LockMode,
    /// Pid in the line: the process that took it (for flock maybe dead by now); `None` for -1 and 0.
    pub pid: Option<u32>,
    /// The file.
    pub object: ObjectId,
    /// First byte.
    pub start: u64,
    /// Last byte, `None` for EOF.
    pub end: Option<u64>,
    /// This line is a waiter (`->`), not a holder.
    pub waiting: bool,
}
