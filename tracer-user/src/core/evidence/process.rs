//! A process: identity, family, fds, threads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteString, LockKind, LockMode, ObjectId, Thread};
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::signal::SignalSet;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Which.
    pub id: ProcessId,
    /// Parent's tgid, 0 when it has none that can be seen.
    #[serde(default)]
    pub ppid: u32,
    /// Process group.
    #[serde(default)]
    pub pgrp: u32,
    /// Session id; `None` when the kernel reports 0: the session's leader is in no visible pid namespace, or
    /// the process is init's that never called setsid. Two of these need not share a session.
    #[serde(default)]
    pub sid: Option<u32>,
    /// Controlling terminal.
    #[serde(default)]
    pub tty: Option<Terminal>,
    /// comm of the leader.
    #[serde(default)]
    pub comm: ByteString,
    /// argv; `None` when it could not be read, empty for kernel threads and zombies.
    #[serde(default)]
    pub cmdline: Option<Vec<ByteString>>,
    /// Effective uid.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Target of `/proc/PID/exe`.
    #[serde(default)]
    pub exe: Option<ByteString>,
    /// Working directory.
    #[serde(default)]
    pub cwd: Option<ByteString>,
    /// The variables the report needs, by name, and no others; `None` when the environment could not be read.
    #[serde(default)]
    pub env: Option<BTreeMap<String, ByteString>>,
    /// File descriptors in order; `None` when they could not be read.
    #[serde(default)]
    pub fds: Option<Vec<Fd>>,
    /// Live threads in order, the leader too, even as a zombie.
    #[serde(default)]
    pub threads: Vec<Thread>,
    /// It is dead and not collected: every thread is gone.
    #[serde(default)]
    pub zombie: bool,
    /// Its status, for a zombie whose status could be read (`/proc/PID/stat` field 52, or kernel events).
    #[serde(default)]
    pub exit_status: Option<WaitStatus>,
    /// The question is about it.
    #[serde(default)]
    pub in_scope: bool,
    /// A kernel thread.
    #[serde(default)]
    pub kernel_thread: bool,
    /// Its cgroup is frozen (either version), itself or through an ancestor.
    #[serde(default)]
    pub frozen: Option<bool>,
    /// Path of its cgroup (version 2, else the freezer's).
    #[serde(default)]
    pub cgroup: Option<ByteString>,
    /// Signals pending for the whole process (ShdPnd).
    #[serde(default)]
    pub shared_pending: Option<SignalSet>,
    /// Signals it ignores (SigIgn).
    #[serde(default)]
    pub ignored: Option<SignalSet>,
    /// Signals it has handlers for (SigCgt).
    #[serde(default)]
    pub caught: Option<SignalSet>,
    /// The process that ptraces it.
    #[serde(default)]
    pub traced_by: Option<Ptraced>,
    /// Bytes moved since its birth.
    #[serde(default)]
    pub io: Option<IoCounters>,
    /// Limits that it may have met.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// Inode of its pid namespace.
    #[serde(default)]
    pub pidns: Option<u64>,
    /// Its number in its own pid namespace (last field of NSpid).
    #[serde(default)]
    pub ns_pid: Option<u32>,
    /// Inode of its network namespace.
    #[serde(default)]
    pub netns: Option<u64>,
    /// It is a child subreaper or the init of its pid namespace, when that is known.
    #[serde(default)]
    pub reaper: Option<bool>,
    /// It has collected a child that ended: its children's CPU time and page faults were added to its own.
    #[serde(default)]
    pub has_collected: Option<bool>,
    /// It is the tracer itself: its progress is no reason to expect an act of any process.
    #[serde(default)]
    pub is_observer: bool,
    /// Bytes moved during the quiet window, where a thread of it used the CPU throughout.
    #[serde(default)]
    pub io_in_window: Option<IoCounters>,
    /// The parts of it that could not be read, and why.
    #[serde(default)]
    pub unread: Vec<Unread>,
}

impl Process {
    /// Both are known to belong to one session.
    pub fn shares_session(&self, other: &Self) -> bool {
        self.sid.is_some() && self.sid == other.sid
    }

    /// A process of which nothing but its identity is known.
    pub fn new(id: ProcessId) -> Self {
        Self {
            id,
            ppid: 0,
            pgrp: 0,
            sid: None,
            tty: None,
            comm: ByteString::default(),
            cmdline: None,
            uid: None,
            exe: None,
            cwd: None,
            env: None,
            fds: None,
            threads: Vec::new(),
            zombie: false,
            exit_status: None,
            in_scope: false,
            kernel_thread: false,
            frozen: None,
            cgroup: None,
            shared_pending: None,
            ignored: None,
            caught: None,
            traced_by: None,
            io: None,
            limits: None,
            pidns: None,
            ns_pid: None,
            netns: None,
            reaper: None,
            has_collected: None,
            is_observer: false,
            io_in_window: None,
            unread: Vec::new(),
        }
    }

    /// The fd with that number.
    pub fn fd(&self, number: u32) -> Option<&Fd> {
        self.fds.as_deref()?.iter().find(|f| f.number == number)
    }
}

/// The controlling terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Terminal {
    /// `tty_nr` of `/proc/PID/stat`, as major and minor.
    pub device: (u32, u32),
    /// The terminal's foreground process group (tpgid).
    pub foreground: Option<u32>,
}

/// A file descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fd {
    /// Its number.
    pub number: u32,
    /// What it refers to.
    pub object: ObjectId,
    /// Access mode.
    pub access: Access,
    /// O_NONBLOCK.
    #[serde(default)]
    pub nonblocking: bool,
    /// Close-on-exec.
    #[serde(default)]
    pub cloexec: bool,
    /// The open file description, where it could be determined (`kcmp`, or a BPF iterator): equal for fds
    /// that share one.
    #[serde(default)]
    pub description: Option<u64>,
    /// Locks that this open file description or process holds through this fd (`lock:` lines of fdinfo).
    #[serde(default)]
    pub locks: Vec<FdLock>,
}

/// How an fd was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// O_RDONLY.
    Read,
    /// O_WRONLY.
    Write,
    /// O_RDWR.
    ReadWrite,
    /// O_PATH, or it could not be read.
    None,
}

impl Access {
    /// Can read.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Can write.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}

/// A lock held through an fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FdLock {
    /// Which kind.
    pub kind: LockKind,
    /// Shared or exclusive.
    pub mode: LockMode,
}

/// The tracer of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ptraced {
    /// Tracer's tgid.
    pub tgid: u32,
}

/// `/proc/PID/io`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IoCounters {
    /// Bytes read by any means (rchar).
    pub read_bytes: u64,
    /// Bytes written by any means (wchar).
    pub written_bytes: u64,
    /// Read calls (syscr).
    pub read_calls: u64,
    /// Write calls (syscw).
    pub write_calls: u64,
}

impl IoCounters {
    /// What was added since an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
            read_calls: self.read_calls.saturating_sub(before.read_calls),
            write_calls: self.write_calls.saturating_sub(before.write_calls),
        }
    }
}

/// Limits a process may have met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// Soft RLIMIT_NOFILE.
    pub open_files_soft: Option<u64>,
    /// Open fds.
    pub open_files: Option<u64>,
    /// `pids.max` of the tightest cgroup above it; `None` also for "max".
    pub cgroup_pids_max: Option<u64>,
    /// `pids.current` there.
    pub cgroup_pids: Option<u64>,
    /// Soft RLIMIT_NPROC.
    pub processes_soft: Option<u64>,
    /// Time for which `cpu.max` throttled its cgroup during the window, microseconds.
    pub throttled_us: Option<u64>,
    /// The longest time within the window for which one of its threads was ready to run and had no CPU,
    /// microseconds.
    pub run_delay_us: Option<u64>,
}

/// Something of a process that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unread {
    /// The part: `fds`, `syscall`, `environ`, …
    pub what: String,
    /// Why: the system's words.
    pub why: String,
}
