//! One process, read once within the quiet window: its identity, what it holds, what its threads wait for.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::cgroups::Cgroups;
use super::clocks::Clocks;
use super::fds::{FdReader, OpenFd, split_device};
use super::fifo_open;
use super::memory::Memory;
use super::syscall::BlockedCall;
use super::thread_sample::{self, ProcessSample, ThreadSample};
use crate::core::attribution;
use crate::core::evidence::{
    ByteString, IoCounters, Process, Ptraced, Syscall, Terminal, Thread, ThreadState, Unread, Wait,
};
use crate::core::identity::{ProcessId, WaitStatus};
use crate::core::syscalls::{self, Architecture};
use crate::procfs_view::proc_dir::{OpenRoot, ProcDir};
use crate::procfs_view::stat::SyscallText;
use crate::procfs_view::{resources, text};

/// Longest command line and environment that is kept, bytes.
const MAX_WORDS: usize = 1 << 20;

/// Reads processes, and keeps the tables that serve all of them.
pub(crate) struct Collector<'r> {
    pub root: &'r OpenRoot,
    pub fds: FdReader,
    pub cgroups: Cgroups,
    /// Text of each process's `cgroup` file by tgid, for the second reading of throttling.
    pub cgroup_texts: HashMap<u32, Vec<u8>>,
    /// What each fd showed beside the evidence's own fields, by tgid.
    pub opened: HashMap<u32, Vec<OpenFd>>,
    /// When this reading began.
    pub clocks: Clocks,
    /// Whose system call numbers these are; `None` on an architecture that is not known.
    pub architecture: Option<Architecture>,
    /// Holds one text at a time.
    pub buffer: Vec<u8>,
}

impl<'r> Collector<'r> {
    pub(crate) fn new(root: &'r OpenRoot, clocks: Clocks, mut buffer: Vec<u8>) -> Self {
        let own_mounts = root.dir.read("self/mountinfo", &mut buffer).unwrap_or_default();
        Self {
            root,
            fds: FdReader::default(),
            cgroups: Cgroups::new(own_mounts),
            cgroup_texts: HashMap::new(),
            opened: HashMap::new(),
            clocks,
            architecture: Architecture::native(),
            buffer,
        }
    }

    /// Everything of a process but the facts of what its fds refer to. `None` when it is gone.
    pub(crate) fn process(&mut self, sample: &ProcessSample, in_scope: bool) -> Option<Process> {
        let mut process = sampled(sample, in_scope);
        process.is_observer = self.root.is_system() && sample.id.tgid == std::process::id();
        if process.kernel_thread {
            process.cmdline = Some(Vec::new());
            process.fds = Some(Vec::new());
            return Some(process);
        }
        let dir = self.root.process(sample.id.tgid).ok()?;
        self.cgroup(&dir, &mut process);
        if process.zombie {
            process.cmdline = Some(Vec::new());
            process.fds = Some(Vec::new());
            process.exit_status = exit_status(&dir, sample);
            process.threads = sample.threads.iter().map(dead_thread).collect();
            return Some(process);
        }
        // The directory of a leader that ended before its threads shows neither fds nor memory: a living
        // thread's does.
        let living = sample.threads.iter().find(|thread| !thread.is_dead());
        let task = living.map_or(sample.id.tgid, |thread| thread.tid);
        let dir = if task == sample.id.tgid { dir } else { dir.sub("task").ok()?.numbered(task).ok()? };
        self.details(&dir, &mut process);
        self.fds(&dir, &mut process, sample.leader().stat.tty);
        let memory = Memory::of(&dir);
        let read = |thread: &ThreadSample| {
            if thread.is_dead() { dead_thread(thread) } else { self.thread(&dir, thread, &memory) }
        };
        process.threads = sample.threads.iter().map(read).collect();
        Some(process)
    }

    fn cgroup(&mut self, dir: &ProcDir, process: &mut Process) {
        let Ok(text) = dir.read("cgroup", &mut self.buffer) else { return };
        let facts = self.cgroups.of(text);
        process.cgroup = facts.path;
        process.frozen = facts.frozen;
        if let Some(pids) = facts.pids {
            let limits = process.limits.get_or_insert_default();
            (limits.cgroup_pids_max, limits.cgroup_pids) = (Some(pids.max), Some(pids.current));
        }
        self.cgroup_texts.insert(process.id.tgid, text.to_vec());
    }

    fn details(&mut self, dir: &ProcDir, process: &mut Process) {
        let mut unread = |what: &str, error: &io::Error| {
            process.unread.push(Unread { what: what.into(), why: error.to_string() });
        };
        match dir.read("cmdline", &mut self.buffer) {
            Ok(text) => process.cmdline = Some(text::arguments(cut(text))),
            Err(error) => unread("cmdline", &error),
        }
        match dir.read("environ", &mut self.buffer) {
            Ok(text) => process.env = Some(known_variables(cut(text))),
            Err(error) => unread("environ", &error),
        }
        let mut buffer = [0; 4096];
        let mut link = |name: &str| dir.link(name, &mut buffer).ok();
        process.exe = link("exe").map(ByteString);
        process.cwd = link("cwd").map(ByteString);
        process.pidns = dir.namespace("pid");
        process.netns = dir.namespace("net");
        if !process.in_scope {
            return;
        }
        process.io = self.io(dir);
        let limits = process.limits.get_or_insert_default();
        if let Some(read) = dir.read("limits", &mut self.buffer).ok().and_then(resources::limits) {
            limits.open_files_soft = resources::bounded(read.max_open_files.soft_limit);
            limits.processes_soft = resources::bounded(read.max_processes.soft_limit);
        }
    }

    /// Bytes and calls since the process's birth. `None` when they cannot be read.
    pub(crate) fn io(&mut self, dir: &ProcDir) -> Option<IoCounters> {
        let io = resources::io(dir.read("io", &mut self.buffer).ok()?)?;
        Some(IoCounters {
            read_bytes: io.rchar,
            written_bytes: io.wchar,
            read_calls: io.syscr,
            write_calls: io.syscw,
        })
    }

    fn fds(&mut self, dir: &ProcDir, process: &mut Process, tty: u32) {
        match self.fds.table(dir, process.id.tgid, tty) {
            Ok(table) => {
                if process.in_scope {
                    process.limits.get_or_insert_default().open_files = Some(table.len() as u64);
                }
                process.fds = Some(table.iter().map(|opened| opened.fd.clone()).collect());
                self.opened.insert(process.id.tgid, table);
            }
            // Nothing is left of them: whatever waits for their other ends does not wait for this process.
            Err(_) if self.is_ending(process.id) => process.fds = Some(Vec::new()),
            Err(error) => process.unread.push(Unread { what: "fds".into(), why: error.to_string() }),
        }
    }

    fn is_ending(&mut self, process: ProcessId) -> bool {
        let now = thread_sample::process(self.root, process.tgid, &mut self.buffer);
        now.is_none_or(|now| now.id != process || now.is_ending())
    }

    /// A living thread, with its call understood.
    pub(crate) fn thread(&mut self, dir: &ProcDir, sample: &ThreadSample, memory: &Memory<'_>) -> Thread {
        let mut thread = plain_thread(sample);
        let own = dir.sub("task").and_then(|tasks| tasks.numbered(sample.tid));
        // A thread's directory has no `task`: `dir` is the thread's own when the leader is dead.
        let own = own.as_ref().unwrap_or(dir);
        if sample.stat.state != b'R' {
            let wchan = own.read("wchan", &mut self.buffer).ok();
            thread.wchan = wchan
                .map(|text| String::from_utf8_lossy(text).trim().to_owned())
                .filter(|name| !name.is_empty() && name != "0");
            let in_no_call = sample.call == Ok(SyscallText::Outside);
            if sample.stat.state == b'D' || in_no_call || thread.wchan.is_none() {
                let frames = own.read("stack", &mut self.buffer).ok().map(stack_frames);
                thread.stack = frames.filter(|frames| !frames.is_empty());
            }
        }
        thread.wait = match sample.call {
            Ok(SyscallText::Running) => Wait::Running,
            Ok(SyscallText::Outside) => Wait::NoCall,
            Err(_) => Wait::Unreadable,
            Ok(SyscallText::Inside { number, args, .. }) => {
                let name = self.architecture.and_then(|it| syscalls::name(it, number));
                thread.syscall = Some(Syscall { nr: number, name: name.map(Into::into), args });
                let wchan = thread.wchan.as_deref();
                let (pgrp, clocks) = (sample.stat.pgrp, self.clocks);
                name.map_or(Wait::Other { nr: number }, |name| {
                    BlockedCall { name, number, args, memory, wchan, pgrp, clocks }.wait()
                })
            }
        };
        fifo_open::find_fifo(dir, &mut thread);
        thread
    }
}

/// What the sample shows of a process.
fn sampled(sample: &ProcessSample, in_scope: bool) -> Process {
    let (stat, status) = (&sample.leader().stat, &sample.leader().status);
    let mut process = Process::new(sample.id);
    process.in_scope = in_scope;
    process.ppid = stat.ppid;
    process.pgrp = stat.pgrp;
    process.sid = Some(stat.session).filter(|sid| *sid != 0);
    process.comm = ByteString(stat.comm.clone());
    process.kernel_thread = sample.is_kernel_thread();
    process.zombie = sample.is_zombie();
    if stat.tty != 0 {
        process.tty = Some(Terminal { device: split_device(stat.tty), foreground: stat.foreground });
    }
    process.uid = status.euid;
    process.shared_pending = status.shared_pending;
    process.ignored = status.ignored;
    process.caught = status.caught;
    process.has_collected = Some(stat.has_collected);
    process.traced_by = status.tracer.map(|tgid| Ptraced { tgid });
    process.ns_pid = status.inner_pid;
    process
}

/// The status of a zombie.
///
/// Without the right to ptrace the process it reads as 0, which would be a success. The namespace link takes
/// the same right, and a reader without it gets an error.
fn exit_status(dir: &ProcDir, sample: &ProcessSample) -> Option<WaitStatus> {
    let link = dir.link("ns/pid", &mut [0; 64]);
    let denied = link.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    sample.leader().stat.exit_code.filter(|_| !denied).map(WaitStatus)
}

fn dead_thread(sample: &ThreadSample) -> Thread {
    Thread { wait: Wait::NoCall, ..plain_thread(sample) }
}

/// What the sample shows of a thread.
fn plain_thread(sample: &ThreadSample) -> Thread {
    Thread {
        tid: sample.tid,
        comm: Some(ByteString(sample.stat.comm.clone())),
        state: ThreadState::from_letter(char::from(sample.stat.state)),
        switches: sample.status.voluntary.zip(sample.status.involuntary),
        cpu_ns: Some(sample.cpu_ns),
        pending: sample.status.pending,
        blocked: sample.status.blocked,
        ..Thread::default()
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(MAX_WORDS)]
}

/// The variables of an environment that attribution needs. No other is kept: they may be secrets.
fn known_variables(environment: &[u8]) -> BTreeMap<String, ByteString> {
    let mut found = BTreeMap::new();
    for variable in environment.split(|byte| *byte == 0) {
        let Some(equals) = variable.iter().position(|byte| *byte == b'=') else { continue };
        let Ok(name) = std::str::from_utf8(&variable[..equals]) else { continue };
        if attribution::GATHERED.contains(&name) {
            let value = &variable[equals + 1..];
            // make's command line variables follow ` -- `: a user's words, and maybe secrets.
            let options = value.windows(4).position(|window| window == b" -- ");
            let end = options.filter(|_| name == "MAKEFLAGS").unwrap_or(value.len());
            found.insert(name.to_owned(), ByteString::from(&value[..end]));
        }
    }
    found
}

/// `[<0>] pipe_write+0x3b/0x5a0` → `pipe_write`
fn stack_frames(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let name = |line: &str| Some(line.split_ascii_whitespace().nth(1)?.split('+').next()?.to_owned());
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_variables_are_kept() {
        let found = known_variables(b"TOKEN=secret\0PYTEST_CURRENT_TEST=t.py::a (call)\0CI=true\0broken\0");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["CI", "PYTEST_CURRENT_TEST"]);
        assert_eq!(found["PYTEST_CURRENT_TEST"].as_bytes(), b"t.py::a (call)");
    }

    #[test]
    fn variables_of_make_are_cut_off() {
        let found = known_variables(b"MAKEFLAGS= -j4 --jobserver-auth=3,4 -- TOKEN=secret\0");
        assert_eq!(found["MAKEFLAGS"].as_bytes(), b" -j4 --jobserver-auth=3,4");
    }

    #[test]
    fn frames_are_named_without_their_offsets() {
        assert_eq!(
            stack_frames(b"[<0>] pipe_write+0x3b/0x5a0\n[<0>] vfs_write+0x1/0x2\n"),
            ["pipe_write", "vfs_write"]
        );
    }
}
