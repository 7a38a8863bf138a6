//! Fork, exec, exit and signal records, and the values of the session maps.

use super::{Header, ProcessKey};
use crate::limits::{COMM_BYTES, FILENAME_BYTES};

/// A process of the session made another one (threads are not processes and make no record).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkRecord {
    /// Kind [`super::kind::FORK`].
    pub header: Header,
    /// Who called fork, vfork or clone.
    pub parent: ProcessKey,
    /// The new process.
    pub child: ProcessKey,
    /// Start of the child, nanoseconds of CLOCK_BOOTTIME.
    pub child_start_boottime_ns: u64,
    /// The thread that called.
    pub parent_tid: u32,
    /// The child's number in its own pid namespace; 0: unknown.
    pub child_ns_pid: u32,
    /// Inode of the child's pid namespace; 0: unknown.
    pub pidns_ino: u64,
    /// Inode of the child's pidfd, unique for ever from Linux 6.14 on; 0: unknown.
    pub pidfd_ino: u64,
    /// The child's comm, NUL-padded.
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<ForkRecord>() == 16 + 16 + 16 + 8 + 4 + 4 + 8 + 8 + 16);

/// A process of the session executed a program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecRecord {
    /// Kind [`super::kind::EXEC`].
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// The thread that called exec; it has the leader's id afterwards.
    pub old_tid: u32,
    /// Bytes of `filename` in use.
    pub filename_bytes: u32,
    /// The new comm, NUL-padded.
    pub comm: [u8; COMM_BYTES],
    /// The file name as exec was given it, cut at the field's length.
    pub filename: [u8; FILENAME_BYTES],
}

const _: () = assert!(size_of::<ExecRecord>() == 16 + 16 + 4 + 4 + 16 + 256);

/// How a process of the session ended, or that it runs. The value of the fate map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// When it ended; 0: it runs.
    pub exit_boot_ns: u64,
    /// As `waitpid` gives it. Meaningful when `exit_boot_ns` is not 0.
    pub wait_status: u32,
    /// Bits of [`fate_flags`].
    pub flags: u32,
    /// The process that made it.
    pub parent: ProcessKey,
    /// Inode of its pid namespace; 0: unknown.
    pub pidns_ino: u64,
    /// Inode of its pidfd; 0: unknown.
    pub pidfd_ino: u64,
    /// Its number in its own pid namespace; 0: unknown.
    pub ns_pid: u32,
    /// Who gets its children: a subreaper or its namespace's init; 0: unknown.
    pub reaper_tgid: u32,
    /// Who sent the signal it died of; 0: nobody did or unknown.
    pub killer_tgid: u32,
    /// The signal that was sent last by somebody else than the kernel; 0: none.
    pub killer_signal: u32,
    /// Sender's comm, NUL-padded.
    pub killer_comm: [u8; COMM_BYTES],
    /// CPU time of all its threads, nanoseconds; 0: unknown.
    pub cpu_ns: u64,
    /// Last comm, NUL-padded.
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<Fate>() == 8 + 4 + 4 + 16 + 8 + 8 + 4 + 4 + 4 + 4 + 16 + 8 + 16);

/// Bits of [`Fate::flags`].
pub mod fate_flags {
    /// Put in by the user side (the root, or found while attaching), not by a fork.
    pub const ENROLLED: u32 = 1;
    /// The kernel chose it as a victim of memory shortage.
    pub const OOM_VICTIM: u32 = 2;
    /// It has executed a program since it was born.
    pub const EXECED: u32 = 4;
    /// Its end was seen when it was freed: it was not later than the time says.
    pub const SEEN_LATE: u32 = 8;
}

/// A process of the session ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitRecord {
    /// Kind [`super::kind::EXIT`].
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// What the fate map holds of it.
    pub fate: Fate,
}

const _: () = assert!(size_of::<ExitRecord>() == 16 + 16 + 104);

/// A signal was sent to a process of the session.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalRecord {
    /// Kind [`super::kind::SIGNAL`].
    pub header: Header,
    /// Who gets it.
    pub target: ProcessKey,
    /// Who was running when it was sent; the sender where `code` says that a process sent it.
    pub sender: ProcessKey,
    /// Signal number.
    pub signal: u32,
    /// `si_code`: 0 and below a process sent it, above 0 the kernel did.
    pub code: i32,
    /// What became of it: `TRACE_SIGNAL_*` of `include/trace/events/signal.h` (0 delivered, 1 ignored, 2 already pending, …).
    pub result: u32,
    /// 1 when it was for the whole process, 0 for one thread.
    pub group: u32,
    /// Sender's comm, NUL-padded.
    pub sender_comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<SignalRecord>() == 16 + 16 + 16 + 4 + 4 + 4 + 4 + 16);

/// Indices of the map that counts what did not fit.
pub mod lost {
    /// Events for which the ring had no room.
    pub const EVENTS: u32 = 0;
    /// Processes or fates for which a map had no room.
    pub const MEMBERS: u32 = 1;
    /// How many there are.
    pub const KINDS: u32 = 2;
}
