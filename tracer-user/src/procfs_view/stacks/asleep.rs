//! A thread that sleeps, and what shows that it has slept between two moments.

use crate::procfs_view::proc_dir::ProcDir;
use crate::procfs_view::stat::{self, SyscallText};

/// Frames of a stack that are kept.
pub(super) const MOST_FRAMES: usize = 256;

/// What shows that a thread slept between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asleep {
    pub number: u64,
    pub args: [u64; 6],
    pub stack: u64,
    pub code: u64,
    switches: (u64, u64),
}

/// A thread that sleeps in a system call. `None` for any other.
pub(super) fn asleep(dir: &ProcDir, tid: u32, buffer: &mut Vec<u8>) -> Option<Asleep> {
    let dir = dir.sub("task").ok()?.numbered(tid).ok()?;
    let call = stat::syscall(dir.read("syscall", buffer).ok()?)?;
    let SyscallText::Inside { number, args, stack, code } = call else { return None };
    let status = stat::status(dir.read("status", buffer).ok()?);
    Some(Asleep { number, args, stack, code, switches: status.voluntary.zip(status.involuntary)? })
}
