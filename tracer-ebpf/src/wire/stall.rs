//! A write that cannot proceed: the slot a sleeping writer takes, and the record of a stall.

use super::record::record;
use super::{Header, ProcessKey};
use crate::limits::COMM_BYTES;

record! {
    /// A thread that is asleep inside a write-family call, in the array entry of its id's low bits.
    #[derive(Default)]
    pub struct WriterSlot: 40 {
        /// Thread id. 0: the slot is free.
        0 => tid: u32,
        /// Threads with the same low bits that are in the collision map.
        4 => collisions: u32,
        /// When the thread went to sleep. 0: the slot is free.
        8 => since_boot_ns: u64,
        /// Address of the thread's `task_struct`, for the walk of open stalls. It is followed only after a
        /// check of what is there.
        16 => task: u64,
        /// Address of the saved user registers.
        24 => regs: u64,
        /// How often the thread had left the CPU by then. While the count is unchanged, the thread has not
        /// come back, or it has and has not left again.
        32 => switches: u64,
    }
}

/// What a stalled write writes to.
pub mod resource_kind {
    /// Unknown.
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

record! {
    /// A thread that is, or was, asleep in a write for at least the threshold.
    #[derive(Default)]
    pub struct StallRecord: 120 {
        /// Kind [`super::kind::STALL_OPEN`] or [`super::kind::STALL_CLOSED`]. Its time is when the record was
        /// made.
        0 => header: Header,
        /// The process.
        16 => process: ProcessKey,
        /// When the thread went to sleep.
        32 => since_boot_ns: u64,
        /// Inode of the pipe, FIFO or tty. For a socket, its number in `/proc/PID/fd`. 0: unknown.
        40 => inode: u64,
        /// The thread.
        48 => tid: u32,
        /// File descriptor that is written to. -1: unknown.
        52 => fd: i32,
        /// System call number.
        56 => syscall: u32,
        /// One of [`resource_kind`].
        60 => resource_kind: u32,
        /// Device of the file's file system, in the kernel's encoding. 0: unknown.
        64 => device: u32,
        /// Socket family (`AF_*`) and type (`SOCK_*` << 16). 0 for anything else.
        68 => socket: u32,
        /// Pipe buffers in use. Meaningful when `slots` is not 0.
        72 => slots_used: u32,
        /// Pipe buffers in all (`max_usage`). 0: not a pipe, or unknown.
        76 => slots: u32,
        /// Bytes in the pipe, or queued in the socket. `u64::MAX`: unknown.
        80 => used_bytes: u64,
        /// Capacity in bytes (pipe: slots times page size, socket: send buffer). 0: unknown.
        88 => capacity_bytes: u64,
        /// Read ends of the pipe.
        96 => readers: u32,
        /// Write ends of the pipe.
        100 => writers: u32,
        /// Comm of the thread, padded with NUL.
        104 => comm: [u8; COMM_BYTES],
    }
}
