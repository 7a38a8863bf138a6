//! A write that cannot proceed: the slot a sleeping writer takes, and the record of a stall.

use super::{Header, ProcessKey};
use crate::limits::COMM_BYTES;

/// Since when a thread has been asleep inside a write-family call. One per thread, at the index of its low bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterSlot {
    /// Thread id; 0: the slot is free.
    pub tid: u32,
    /// Threads with the same low bits that are in the collision map.
    pub collisions: u32,
    /// When it went to sleep; 0: the slot is free.
    pub since_boot_ns: u64,
    /// Address of its `task_struct`, for the walk of open stalls. Never followed without checking what is there.
    pub task: u64,
    /// Address of its saved user registers.
    pub regs: u64,
    /// How often it had left the CPU by then. While that is so it has not come back, or has but not left again.
    pub switches: u64,
}

const _: () = assert!(size_of::<WriterSlot>() == 4 + 4 + 8 + 8 + 8 + 8);

/// What a stalled write writes to.
pub mod resource_kind {
    /// Could not be told.
    pub const UNKNOWN: u32 = 0;
    /// Anonymous pipe.
    pub const PIPE: u32 = 1;
    /// Named pipe.
    pub const FIFO: u32 = 2;
    /// UNIX socket.
    pub const UNIX_SOCKET: u32 = 3;
    /// Socket of another family.
    pub const SOCKET: u32 = 4;
    /// Terminal.
    pub const TTY: u32 = 5;
    /// Anything else that a write can sleep in.
    pub const OTHER: u32 = 6;
}

/// A thread is, or was, asleep in a write for at least the threshold.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StallRecord {
    /// Kind [`super::kind::STALL_OPEN`] or [`super::kind::STALL_CLOSED`]; its time is when the record was made.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// Since when.
    pub since_boot_ns: u64,
    /// Inode of the pipe, FIFO or tty; of a socket, its number in `/proc/PID/fd`; 0: unknown.
    pub inode: u64,
    /// The thread.
    pub tid: u32,
    /// File descriptor that is written to; -1: unknown.
    pub fd: i32,
    /// System call number.
    pub syscall: u32,
    /// One of [`resource_kind`].
    pub resource_kind: u32,
    /// Device of the file's file system (kernel encoding); 0: unknown.
    pub device: u32,
    /// Socket family (`AF_*`) and type (`SOCK_*` << 16); 0 for anything else.
    pub socket: u32,
    /// Pipe buffers in use; meaningful when `slots` is not 0.
    pub slots_used: u32,
    /// Pipe buffers there are (`max_usage`); 0: not a pipe, or unknown.
    pub slots: u32,
    /// Bytes in the pipe, or queued in the socket; `u64::MAX`: unknown.
    pub used_bytes: u64,
    /// Bytes it takes (pipe: slots times page size; socket: send buffer); 0: unknown.
    pub capacity_bytes: u64,
    /// Read ends of the pipe.
    pub readers: u32,
    /// Write ends of the pipe.
    pub writers: u32,
    /// Comm of the thread, NUL-padded.
    pub comm: [u8; COMM_BYTES],
}

impl Default for Header {
    fn default() -> Self {
        Self { kind: 0, version: super::WIRE_VERSION, size_bytes: 0, boot_ns: 0 }
    }
}

const _: () =
    assert!(size_of::<StallRecord>() == 16 + 16 + 8 + 8 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 8 + 8 + 4 + 4 + 16);
