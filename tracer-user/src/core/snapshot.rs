//! One process at one moment.
//!
//! A value that could not be read is `None`, which is written as null. It is never 0 and never "".

use super::identity::ProcessId;
use super::syscalls::{self, Architecture};
use super::text::ByteString;
use crate::core::signal::SignalSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A process state, by the names AutoSkillit and psutil use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProcState {
    /// `R`
    Running,
    /// `S`
    Sleeping,
    /// `D`
    DiskSleep,
    /// `T`
    Stopped,
    /// `t`
    TracingStop,
    /// `Z`
    Zombie,
    /// `X`
    Dead,
    /// `I`
    Idle,
    /// `P`
    Parked,
    /// `K`
    WakeKill,
    /// `W`
    Waking,
}

impl ProcState {
    /// The state of a letter in `/proc/PID/stat`; `None` for an unknown letter.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::DiskSleep,
            b'T' => Self::Stopped,
            b't' => Self::TracingStop,
            b'Z' => Self::Zombie,
            b'X' | b'x' => Self::Dead,
            b'I' => Self::Idle,
            b'P' => Self::Parked,
            b'K' => Self::WakeKill,
            b'W' => Self::Waking,
            _ => return None,
        })
    }

    /// The process has ended.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Zombie | Self::Dead)
    }
}

/// One process at one moment. What carries the snapshot says which moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcSnapshot {
    /// Process id.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
    /// Pid of the parent.
    pub ppid: Option<u32>,
    /// Name of the main thread.
    pub comm: Option<ByteString>,
    /// State of the main thread.
    pub state: Option<ProcState>,
    /// Number of threads.
    pub threads: Option<u32>,
    /// Resident memory, KiB.
    pub vm_rss_kb: Option<u64>,
    /// Number of open file descriptors.
    pub fd_count: Option<u64>,
    /// Soft limit of open files; null also when there is no limit.
    pub fd_soft_limit: Option<u64>,
    /// Voluntary context switches of all threads.
    pub ctx_switches_voluntary: Option<u64>,
    /// Involuntary context switches of all threads.
    pub ctx_switches_involuntary: Option<u64>,
    /// Signals pending for the main thread.
    pub sig_pnd: Option<SignalSet>,
    /// Signals pending for the process.
    pub shd_pnd: Option<SignalSet>,
    /// Signals that the main thread blocks.
    pub sig_blk: Option<SignalSet>,
    /// Signals that are ignored.
    pub sig_ign: Option<SignalSet>,
    /// Signals with a handler.
    pub sig_cgt: Option<SignalSet>,
    /// Badness for the out-of-memory killer.
    pub oom_score: Option<i32>,
    /// The kernel function in which the main thread sleeps; "0" when it does not sleep.
    pub wchan: Option<ByteString>,
    /// `/proc/PID/syscall` of the main thread: number and arguments, or `running`.
    pub syscall: Option<ByteString>,
    /// CPU use since the last sample, percent of one CPU; null in the first sample.
    pub cpu_percent: Option<f64>,
    /// CPU time of all threads, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Bytes read from storage.
    pub io_read_bytes: Option<u64>,
    /// Bytes written to storage.
    pub io_write_bytes: Option<u64>,
    /// Bytes that read calls returned, from anything.
    pub io_rchar: Option<u64>,
    /// Bytes that write calls accepted, to anything.
    pub io_wchar: Option<u64>,
    /// The process's own TCP sockets, counted by state name.
    pub connections: Option<BTreeMap<String, u32>>,
}

impl ProcSnapshot {
    /// A snapshot of which only the process is known.
    pub fn unread(process: ProcessId) -> Self {
        Self {
            pid: process.tgid,
            start_ticks: process.start_ticks,
            ppid: None,
            comm: None,
            state: None,
            threads: None,
            vm_rss_kb: None,
            fd_count: None,
            fd_soft_limit: None,
            ctx_switches_voluntary: None,
            ctx_switches_involuntary: None,
            sig_pnd: None,
            shd_pnd: None,
            sig_blk: None,
            sig_ign: None,
            sig_cgt: None,
            oom_score: None,
            wchan: None,
            syscall: None,
            cpu_percent: None,
            cpu_ns: None,
            io_read_bytes: None,
            io_write_bytes: None,
            io_rchar: None,
            io_wchar: None,
            connections: None,
        }
    }

    /// The process.
    pub fn process(&self) -> ProcessId {
        ProcessId { tgid: self.pid, start_ticks: self.start_ticks }
    }

    /// The ratio of open files to their limit; `None` when one of them is unknown.
    pub fn fd_ratio(&self) -> Option<f64> {
        let (count, limit) = (self.fd_count?, self.fd_soft_limit?);
        (limit > 0).then(|| count as f64 / limit as f64)
    }

    /// Nothing differs but the CPU percentage, which is about the time between samples.
    pub fn is_unchanged_since(&self, earlier: &Self) -> bool {
        Self { cpu_percent: None, ..self.clone() } == Self { cpu_percent: None, ..earlier.clone() }
    }

    /// Since an earlier snapshot, `elapsed_ns` ago, the process did more than wake up and look around: it
    /// moved bytes, or used a hundredth of a CPU's time.
    pub fn worked_since(&self, earlier: &Self, elapsed_ns: u64) -> bool {
        const PART: u64 = 100;
        let bytes = (self.io_rchar, self.io_wchar) != (earlier.io_rchar, earlier.io_wchar);
        let cpu = match (earlier.cpu_ns, self.cpu_ns) {
            (Some(before), Some(after)) => after.saturating_sub(before) > elapsed_ns / PART,
            _ => true,
        };
        bytes || cpu
    }

    /// Since an earlier snapshot, `elapsed_ns` ago, the process moved less than a kilobyte a second. An event
    /// loop that ticks moves a few bytes with which it wakes itself; a process that spins at a lock moves
    /// none.
    pub fn is_quiet_since(&self, earlier: &Self, elapsed_ns: u64) -> bool {
        const BYTES_PER_SECOND: u128 = 1024;
        let moved = |before: Option<u64>, after: Option<u64>| match (before, after) {
            (Some(before), Some(after)) => u128::from(after.saturating_sub(before)),
            _ => 0,
        };
        let bytes = moved(earlier.io_rchar, self.io_rchar) + moved(earlier.io_wchar, self.io_wchar);
        bytes * 1_000_000_000 <= BYTES_PER_SECOND * u128::from(elapsed_ns)
    }

    /// The main thread waits for the exit of a child.
    pub fn waits_for_child(&self) -> bool {
        let number = self.syscall.as_ref().and_then(|call| {
            let text = std::str::from_utf8(&call.0).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        let name = number.and_then(|number| syscalls::name(Architecture::native()?, number));
        matches!(name, Some("wait4" | "waitid"))
    }

    /// The values that grow when a process does anything: CPU time, context switches, bytes. `None` when none
    /// of them could be read.
    pub fn activity(&self) -> Option<[Option<u64>; 5]> {
        let values = [
            self.cpu_ns,
            self.ctx_switches_voluntary,
            self.ctx_switches_involuntary,
            self.io_rchar,
            self.io_wchar,
        ];
        values.iter().any(Option::is_some).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::signal::Signal;

    #[test]
    fn an_unread_value_is_written_as_null_and_read_as_none() {
        let snapshot = ProcSnapshot::unread(ProcessId { tgid: 7, start_ticks: 9 });
        let json = serde_json::to_value(&snapshot).unwrap();
        assert!(json["oom_score"].is_null() && json["comm"].is_null() && json["wchan"].is_null());
        assert_eq!(serde_json::from_value::<ProcSnapshot>(json).unwrap(), snapshot);
    }

    #[test]
    fn signal_sets_are_sixteen_hex_digits() {
        let set = SignalSet(1 << 14);
        assert_eq!(serde_json::to_string(&set).unwrap(), "\"0000000000004000\"");
        assert!(set.contains(Signal(15)) && !set.contains(Signal(14)) && !set.contains(Signal(0)));
    }
}
