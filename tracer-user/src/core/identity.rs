//! The identity of a process: never a bare pid.
//!
//! Invariant: two [`ProcessId`]s of one boot are equal only if they name the same process. A tgid can be
//! reused only after its process was reaped, and a later process has a later start time. The kernel's tick is
//! 10 ms, and allocating all other pids first takes longer than that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds of CLOCK_BOOTTIME in one clock tick of `/proc` (USER_HZ is 100 on every architecture served).
pub const NS_PER_TICK: u64 = tracer_ebpf::limits::NS_PER_TICK;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`, up to 7.x).
pub const INITIAL_PIDNS_INO: u64 = 0xEFFF_FFFC;

/// Inodes of this process's own namespaces. `None`: `/proc` does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnNamespaces {
    /// Its pid namespace.
    pub pid: Option<u64>,
    /// Its mount namespace.
    pub mount: Option<u64>,
}

/// A process of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ProcessId {
    /// Thread group id: in the initial pid namespace where the kernel reported it, else as `/proc` shows it.
    pub tgid: u32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat`, `start_boottime` / 10 ms in the
    /// kernel.
    pub start_ticks: u64,
}

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.tgid, self.start_ticks)
    }
}

/// A wait status as `waitpid` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct WaitStatus(pub u32);

impl WaitStatus {
    /// The exit code; `None` when a signal ended the process.
    pub fn exit_code(self) -> Option<u8> {
        (self.0 & 0x7f == 0).then_some(((self.0 >> 8) & 0xff) as u8)
    }

    /// The number of the signal that ended the process; `None` when it exited by itself.
    pub fn signal(self) -> Option<u8> {
        let number = (self.0 & 0x7f) as u8;
        (number != 0 && number != 0x7f).then_some(number)
    }

    /// The process dumped core. False when it exited by itself.
    pub fn core_dumped(self) -> bool {
        self.signal().is_some() && self.0 & 0x80 != 0
    }

    /// The exit status that a shell and `tracer-user run` make of it: the exit code, or 128 + signal number.
    pub fn shell_code(self) -> u8 {
        self.exit_code().or_else(|| self.signal().map(|n| 128 + n)).unwrap_or(255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status_reads_as_waitpid_documents() {
        let exited = WaitStatus(7 << 8);
        assert_eq!((exited.exit_code(), exited.signal(), exited.shell_code()), (Some(7), None, 7));
        let killed = WaitStatus(9);
        assert_eq!((killed.exit_code(), killed.signal(), killed.shell_code()), (None, Some(9), 137));
        let dumped = WaitStatus(11 | 0x80);
        assert_eq!((dumped.signal(), dumped.core_dumped()), (Some(11), true));
    }
}
