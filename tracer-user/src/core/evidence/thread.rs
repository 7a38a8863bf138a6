//! A thread: what it does at this moment, and whether it did anything during the quiet window.

use crate::core::signal::SignalSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteString, CallCount, LockKind, ObjectId, StackFrame};

/// A thread of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its comm, when it could be read.
    pub comm: Option<ByteString>,
    /// The state letter of `/proc`.
    pub state: ThreadState,
    /// What it is blocked in.
    pub wait: Wait,
    /// The raw system call; `None` when it is in none, or when it could not be read.
    pub syscall: Option<Syscall>,
    /// Wait channel: name of a kernel function. A hint only; names differ by kernel.
    pub wchan: Option<String>,
    /// Kernel stack, innermost first, names only.
    pub stack: Option<Vec<String>>,
    /// User-space stack, innermost first; `None` when it was not read, or the thread woke meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<StackFrame>>,
    /// Whether anything changed between the two samples: switches, CPU time or the blocking call. `None`
    /// without two samples.
    pub moved: Option<bool>,
    /// How much changed.
    pub progress: Option<Progress>,
    /// The system calls that returned during the quiet window; `None` when nobody counted, empty when none
    /// returned.
    pub calls: Option<Vec<CallCount>>,
    /// Context switches since its birth: voluntary, involuntary.
    pub switches: Option<(u64, u64)>,
    /// CPU time since its birth, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Signals pending for this thread alone (SigPnd).
    pub pending: Option<SignalSet>,
    /// Signals it blocks (SigBlk).
    pub blocked: Option<SignalSet>,
    /// Start of this call, CLOCK_BOOTTIME nanoseconds; `None` when the start was not observed.
    pub since_boot_ns: Option<u64>,
}

/// What changed in a thread between the two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Progress {
    /// Context switches, both kinds.
    pub switches: u64,
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// The part of it in the kernel, nanoseconds, to the tick.
    pub kernel_ns: Option<u64>,
    /// How often it went to sleep.
    pub sleeps: Option<u64>,
    /// Page faults that needed no disk.
    pub faults: Option<u64>,
    /// Both samples found it in the same system call with the same arguments (or in none).
    pub same_call: bool,
}

impl Progress {
    /// It used the CPU throughout a window, except while it was preempted: it never slept.
    pub fn is_busy(&self, window_ns: u64) -> bool {
        window_ns > 0 && self.sleeps == Some(0) && self.cpu_ns >= window_ns / 32
    }
}

/// The state letter of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    /// `R`: runs, or could.
    Running,
    /// `S`: sleeps, a signal wakes it.
    Sleeping,
    /// `D`: sleeps, only death or its event wakes it.
    Uninterruptible,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by its tracer.
    Traced,
    /// `Z`: dead, not collected.
    Zombie,
    /// `X`: being collected.
    Dead,
    /// `I`: an idle kernel thread.
    Idle,
    /// Another letter, or it could not be read.
    #[default]
    Unknown,
}

impl ThreadState {
    /// From the letter.
    pub fn from_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' => Self::Sleeping,
            'D' => Self::Uninterruptible,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'Z' => Self::Zombie,
            'X' | 'x' => Self::Dead,
            'I' | 'P' => Self::Idle,
            _ => Self::Unknown,
        }
    }
}

/// A system call as `/proc/PID/task/TID/syscall` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Syscall {
    /// Number on this machine's architecture.
    pub nr: u64,
    /// ByteString, when the number is known: `writev`.
    pub name: Option<String>,
    /// Arguments.
    pub args: [u64; 6],
}

/// What a thread is blocked in: a system call with decoded arguments.
///
/// Calls that differ only in how they pass the same request are one variant; the name is in
/// [`Thread::syscall`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Runs, in user space or in the kernel.
    Running,
    /// Sleeps in no system call: a page fault, its own exit, a stop.
    NoCall,
    /// The call could not be read (no permission, gone). `wchan` may still hint.
    #[default]
    Unreadable,
    /// write, writev, pwritev2, sendto, sendmsg, sendmmsg, sendfile's target, tee's and vmsplice's target.
    Write {
        /// What it writes to.
        fd: u32,
    },
    /// read, readv, preadv2, recvfrom, recvmsg, recvmmsg.
    Read {
        /// What it reads from.
        fd: u32,
        /// recvfrom and its like with SO_RCVTIMEO, recvmmsg with a time-out.
        #[serde(default)]
        timeout: Timeout,
    },
    /// poll, ppoll, select, pselect6.
    Poll {
        /// The set; `None` when the process's memory could not be read.
        set: Option<Vec<PollFd>>,
        /// Time-out.
        timeout: Timeout,
    },
    /// epoll_wait, epoll_pwait, epoll_pwait2. The interest set is in the object behind `epfd`.
    Epoll {
        /// The epoll fd.
        epfd: u32,
        /// Time-out.
        timeout: Timeout,
    },
    /// futex, futex_waitv, futex_wait (any op that sleeps).
    Futex {
        /// Address of the word in the process.
        addr: u64,
        /// FUTEX_PRIVATE_FLAG: threads of the same process alone can wake it.
        private: bool,
        /// The value that the word had to have to sleep.
        value: u32,
        /// The word now; `None` when memory could not be read.
        word: Option<u32>,
        /// Which operation.
        op: FutexOp,
        /// Time-out.
        timeout: Timeout,
        /// Owner's thread id, for a PI or robust futex from the word, else as glibc's mutex keeps it beside
        /// the word where that is plausible (the thread exists or existed).
        owner_tid: Option<u32>,
        /// The memory that it is in and the other processes that map it, for a futex that is not private.
        shared: Option<FutexShared>,
    },
    /// wait4, waitid.
    WaitChild {
        /// The awaited child.
        target: ChildTarget,
        /// The options argument.
        options: u32,
    },
    /// vfork, clone with CLONE_VFORK: until the child execs or ends.
    Vfork {
        /// The child, when it is known.
        child: Option<u32>,
    },
    /// nanosleep, clock_nanosleep; poll and select with an empty set and a time-out.
    Sleep {
        /// How long.
        timeout: Timeout,
    },
    /// open, openat, openat2 of something that waits: a FIFO, a lease, a device.
    Open {
        /// What is opened, when it could be resolved.
        path: Option<ByteString>,
        /// Which object that is.
        object: Option<ObjectId>,
        /// The flags argument.
        flags: u32,
    },
    /// flock, fcntl(F_SETLKW), fcntl(F_OFD_SETLKW).
    Lock {
        /// The file.
        fd: u32,
        /// Which kind.
        kind: LockKind,
        /// Exclusive (true) or shared; `None` when memory could not be read.
        exclusive: Option<bool>,
    },
    /// connect.
    Connect {
        /// The socket.
        fd: u32,
        /// The requested peer, as far as memory could be read: path of a UNIX socket (a leading NUL is the
        /// abstract name space), or `addr:port`.
        peer: Option<ByteString>,
    },
    /// accept, accept4.
    Accept {
        /// The listening socket.
        fd: u32,
    },
    /// semop, semtimedop.
    Semaphore {
        /// SysV id.
        id: u32,
        /// Time-out.
        timeout: Timeout,
    },
    /// msgsnd.
    MessageSend {
        /// SysV id.
        id: u32,
    },
    /// msgrcv.
    MessageReceive {
        /// SysV id.
        id: u32,
    },
    /// mq_timedsend.
    MqSend {
        /// The queue's descriptor.
        fd: u32,
        /// Time-out.
        timeout: Timeout,
    },
    /// mq_timedreceive.
    MqReceive {
        /// The queue's descriptor.
        fd: u32,
        /// Time-out.
        timeout: Timeout,
    },
    /// splice, sendfile, copy_file_range, tee: either side can be the one that blocks.
    Splice {
        /// From.
        input: u32,
        /// To.
        output: u32,
    },
    /// ioctl and fcntl calls that sleep (TCSADRAIN, FIFREEZE, …) on one fd.
    Control {
        /// The fd.
        fd: u32,
        /// Request number.
        request: u64,
    },
    /// fsync, fdatasync, sync_file_range, syncfs; `None` for sync.
    Sync {
        /// The fd.
        fd: Option<u32>,
    },
    /// pause, rt_sigsuspend.
    Pause,
    /// rt_sigtimedwait.
    SignalWait {
        /// The awaited signals; `None` when memory could not be read.
        set: Option<SignalSet>,
        /// Time-out.
        timeout: Timeout,
    },
    /// io_uring_enter, io_getevents: completions of what was submitted earlier, whatever that was.
    AsyncIo {
        /// The ring.
        fd: Option<u32>,
        /// Time-out.
        timeout: Timeout,
    },
    /// Any other call.
    Other {
        /// Number.
        nr: u64,
    },
}

impl Wait {
    /// The same wait without its time-out.
    #[must_use]
    pub fn untimed(&self) -> Self {
        let mut wait = self.clone();
        match &mut wait {
            Self::Read { timeout, .. }
            | Self::Poll { timeout, .. }
            | Self::Epoll { timeout, .. }
            | Self::Futex { timeout, .. }
            | Self::Sleep { timeout }
            | Self::Semaphore { timeout, .. }
            | Self::MqSend { timeout, .. }
            | Self::MqReceive { timeout, .. }
            | Self::SignalWait { timeout, .. }
            | Self::AsyncIo { timeout, .. } => *timeout = Timeout::Never,
            _ => {}
        }
        wait
    }
}

/// How long a call may sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Timeout {
    /// For ever.
    Never,
    /// At most this long, nanoseconds, counted from the call's start (an absolute time has been made relative
    /// to now). `None`: it has one, of unknown length.
    After(Option<u64>),
    /// It could not be determined.
    #[default]
    Unknown,
}

impl Timeout {
    /// It surely ends by itself.
    pub fn is_finite(self) -> bool {
        matches!(self, Self::After(_))
    }
}

/// An entry of a poll or select set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PollFd {
    /// The fd.
    pub fd: u32,
    /// Requested `POLL*` bits (see [`events`]); select's three sets are translated.
    pub events: u32,
}

/// The bits of poll and epoll that matter here (the same numbers in both).
pub mod events {
    /// There is something to read.
    pub const IN: u32 = 0x1;
    /// Urgent data.
    pub const PRI: u32 = 0x2;
    /// There is room to write.
    pub const OUT: u32 = 0x4;
    /// Error (never requested, always reported).
    pub const ERR: u32 = 0x8;
    /// Hang-up (never requested, always reported).
    pub const HUP: u32 = 0x10;
    /// The peer closed its writing half.
    pub const RDHUP: u32 = 0x2000;
    /// EPOLLONESHOT: after one event the item is disarmed, and shows no other bits.
    pub const ONESHOT: u32 = 1 << 30;
    /// EPOLLET: edge-triggered.
    pub const EDGE: u32 = 1 << 31;
}

/// A futex operation that sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FutexOp {
    /// FUTEX_WAIT, FUTEX_WAIT_BITSET, futex_wait.
    #[default]
    Wait,
    /// FUTEX_LOCK_PI, FUTEX_LOCK_PI2: the word holds the owner's tid.
    LockPi,
    /// FUTEX_WAIT_REQUEUE_PI.
    WaitRequeuePi,
    /// futex_waitv: any of several; `addr` is the first.
    WaitV,
}

/// The memory of a futex that is shared between processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FutexShared {
    /// Device of the mapped file (shared anonymous memory has one, too).
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Offset of the word in it, bytes.
    pub offset: u64,
    /// The mapping's name: `/dev/shm/sem.x`, `/dev/zero (deleted)`.
    pub path: Option<ByteString>,
    /// Tgids of all processes that map that file, the waiter's own included; `None` when not every process's
    /// maps could be read.
    pub mapped_by: Option<Vec<u32>>,
}

/// The process whose exit or stop a wait4 or waitid waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChildTarget {
    /// Any child.
    Any,
    /// This one.
    Pid(u32),
    /// Any child of this process group (0 has been replaced by the caller's own).
    Pgid(u32),
    /// The process behind this pidfd.
    PidFd(u32),
}
