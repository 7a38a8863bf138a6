//! Fork, exec, exit and signal records, and the values of the session maps.

use super::record::record;
use super::{Header, ProcessKey};
use crate::limits::{COMM_BYTES, FILENAME_BYTES};

record! {
    /// A process of the session forked. New threads make no record.
    pub struct ForkRecord: 96 {
        /// Kind [`super::kind::FORK`].
        0 => header: Header,
        /// The process that called fork, vfork or clone.
        16 => parent: ProcessKey,
        /// The new process.
        32 => child: ProcessKey,
        /// Start of the child, nanoseconds of CLOCK_BOOTTIME.
        48 => child_start_boottime_ns: u64,
        /// The thread that called.
        56 => parent_tid: u32,
        /// The child's number in its own pid namespace. 0: unknown.
        60 => child_ns_pid: u32,
        /// Inode of the child's pid namespace. 0: unknown.
        64 => pidns_ino: u64,
        /// Inode of the child's pidfd, unique for ever from Linux 6.14 on. 0: unknown.
        72 => pidfd_ino: u64,
        /// The child's comm, padded with NUL.
        80 => comm: [u8; COMM_BYTES],
    }
}

record! {
    /// A process of the session executed a program.
    pub struct ExecRecord: 312 {
        /// Kind [`super::kind::EXEC`].
        0 => header: Header,
        /// The process.
        16 => process: ProcessKey,
        /// The thread that called exec. It has the leader's id afterwards.
        32 => old_tid: u32,
        /// Bytes of `filename` in use.
        36 => filename_bytes: u32,
        /// The new comm, padded with NUL.
        40 => comm: [u8; COMM_BYTES],
        /// The file name as it was passed to exec, cut at the field's length.
        56 => filename: [u8; FILENAME_BYTES],
    }
}

record! {
    /// State of a process of the session: running, or ended and how. The value of the fate map.
    #[derive(Default)]
    pub struct Fate: 104 {
        /// When the process ended. 0: it runs.
        0 => exit_boot_ns: u64,
        /// Wait status, as `waitpid` returns it. Meaningful when `exit_boot_ns` is not 0.
        8 => wait_status: u32,
        /// Bits of [`fate_flags`].
        12 => flags: u32,
        /// The process that forked it.
        16 => parent: ProcessKey,
        /// Inode of the pid namespace. 0: unknown.
        32 => pidns_ino: u64,
        /// Inode of the pidfd. 0: unknown.
        40 => pidfd_ino: u64,
        /// The process's number in its own pid namespace. 0: unknown.
        48 => ns_pid: u32,
        /// The process that inherits the children: a subreaper or the namespace's init. 0: unknown.
        52 => reaper_tgid: u32,
        /// Sender of the signal that ended the process. 0: none, or unknown.
        56 => killer_tgid: u32,
        /// The last signal that a process sent. 0: none.
        60 => killer_signal: u32,
        /// The sender's comm, padded with NUL.
        64 => killer_comm: [u8; COMM_BYTES],
        /// CPU time of all threads, nanoseconds. 0: unknown.
        80 => cpu_ns: u64,
        /// Last comm, padded with NUL.
        88 => comm: [u8; COMM_BYTES],
    }
}

/// Bits of [`Fate::flags`].
pub mod fate_flags {
    /// The user side enrolled the process (the root, or found while attaching). It was not found by a fork.
    pub const ENROLLED: u32 = 1;
    /// The kernel chose the process as a victim of memory shortage.
    pub const OOM_VICTIM: u32 = 2;
    /// The process has executed a program since it was forked.
    pub const EXECED: u32 = 4;
    /// The end was seen when the process was freed. The time is the latest possible.
    pub const SEEN_LATE: u32 = 8;
}

record! {
    /// A process of the session ended.
    pub struct ExitRecord: 136 {
        /// Kind [`super::kind::EXIT`].
        0 => header: Header,
        /// The process.
        16 => process: ProcessKey,
        /// The process's entry in the fate map.
        32 => fate: Fate,
    }
}

record! {
    /// A signal was sent to a process of the session.
    pub struct SignalRecord: 80 {
        /// Kind [`super::kind::SIGNAL`].
        0 => header: Header,
        /// The receiver.
        16 => target: ProcessKey,
        /// The process that was running when the signal was sent. It is the sender when `code` is that of a
        /// signal sent by a process.
        32 => sender: ProcessKey,
        /// Signal number.
        48 => signal: u32,
        /// `si_code`: sent by a process when 0 or negative, by the kernel when positive.
        52 => code: i32,
        /// `TRACE_SIGNAL_*` of `include/trace/events/signal.h`: 0 delivered, 1 ignored, 2 already pending, …
        56 => result: u32,
        /// 1: for the whole process. 0: for one thread.
        60 => group: u32,
        /// The sender's comm, padded with NUL.
        64 => sender_comm: [u8; COMM_BYTES],
    }
}

/// Indices of the map that counts what did not fit.
pub mod lost {
    /// Events for which the ring had no room.
    pub const EVENTS: u32 = 0;
    /// Processes or fates for which a map had no room.
    pub const MEMBERS: u32 = 1;
    /// Number of indices.
    pub const KINDS: u32 = 2;
}
