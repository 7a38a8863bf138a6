//! One process, read once within the quiet window: who it is, what it holds, what its threads wait for.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::calls::{Call, Now};
use super::cgroups::Cgroups;
use super::fds::{Opened, Scanner, split_device};
use super::memory::Memory;
use super::proc_dir::{Decimal, ProcDir};
use super::stat::{self, SyscallText};
use super::thread_sample::{Beat, Pulse};
use super::waits;
use crate::core::attribution;
use crate::core::evidence::{
    ByteString, IoCounters, Limits, Process, Ptraced, Syscall, Terminal, Thread, ThreadState, Unread, Wait,
};
use crate::core::identity::WaitStatus;
use crate::core::syscalls::{self, Architecture};

/// Longest command line and environment looked at, bytes.
const WORDS_CAP: usize = 1 << 20;

/// Tables that serve all processes of a look.
pub(crate) struct Gather<'r> {
    /// `/proc`.
    pub root: &'r ProcDir,
    /// fds.
    pub scanner: Scanner,
    /// cgroups.
    pub cgroups: Cgroups,
    /// Text of each process's `cgroup` file, for the second look at throttling.
    pub cgroup_texts: HashMap<u32, Vec<u8>>,
    /// What each fd told beside the evidence's own fields, by tgid.
    pub opened: HashMap<u32, Vec<Opened>>,
    /// Now.
    pub now: Now,
    /// Whose system call numbers these are.
    pub architecture: Option<Architecture>,
    /// A text at a time.
    pub buffer: Vec<u8>,
}

impl Gather<'_> {
    /// Everything of a process but its fds' objects' facts. `None` when it is gone.
    pub(crate) fn process(&mut self, pulse: &Pulse, in_scope: bool) -> Option<Process> {
        let leader = pulse.leader();
        let stat = &leader.stat;
        let mut process = Process::new(pulse.id);
        process.in_scope = in_scope;
        process.ppid = stat.ppid;
        process.pgrp = stat.pgrp;
        process.sid = Some(stat.session).filter(|sid| *sid != 0);
        process.comm = ByteString(stat.comm.clone());
        process.kernel_thread = pulse.is_kernel_thread();
        process.zombie = pulse.threads.iter().all(|t| matches!(t.stat.state, b'Z' | b'X'));
        if stat.tty != 0 {
            process.tty = Some(Terminal { device: split_device(stat.tty), foreground: stat.foreground });
        }
        let status = &leader.status;
        process.uid = status.euid;
        process.shared_pending = status.shared_pending;
        process.ignored = status.ignored;
        process.caught = status.caught;
        process.has_collected = Some(stat.has_collected);
        process.is_observer = pulse.id.tgid == std::process::id();
        process.traced_by = status.tracer.map(|tgid| Ptraced { tgid });
        process.ns_pid = status.inner_pid.map(|(pid, _)| pid);
        if process.kernel_thread {
            process.cmdline = Some(Vec::new());
            process.fds = Some(Vec::new());
            return Some(process);
        }
        let dir = self.root.sub(Decimal::new(pulse.id.tgid).as_str()).ok()?;
        self.cgroup(&dir, &mut process);
        if process.zombie {
            process.cmdline = Some(Vec::new());
            process.fds = Some(Vec::new());
            process.exit_status = self.exit_status(&dir);
            process.threads = pulse.threads.iter().map(|beat| self.dead_thread(beat)).collect();
            return Some(process);
        }
        // The leader may be a zombie while its threads live: then its own directory shows neither fds nor memory.
        let task = pulse
            .threads
            .iter()
            .find(|t| !matches!(t.stat.state, b'Z' | b'X'))
            .map_or(pulse.id.tgid, |t| t.tid);
        let dir = if task == pulse.id.tgid {
            dir
        } else {
            dir.sub("task").and_then(|tasks| tasks.sub(Decimal::new(task).as_str())).ok()?
        };
        self.details(&dir, &mut process);
        self.fds(&dir, &mut process, stat.tty);
        let memory = Memory::of(&dir);
        process.threads = pulse
            .threads
            .iter()
            .map(|beat| {
                if beat.stat.state == b'Z' {
                    self.dead_thread(beat)
                } else {
                    self.thread(&dir, beat, &memory)
                }
            })
            .collect();
        Some(process)
    }

    fn cgroup(&mut self, dir: &ProcDir, process: &mut Process) {
        if let Ok(text) = dir.read("cgroup", &mut self.buffer) {
            let text = text.to_vec();
            let facts = self.cgroups.of(&text);
            process.cgroup = facts.path;
            process.frozen = facts.frozen;
            if let Some((max, current)) = facts.pids {
                let limits = process.limits.get_or_insert_default();
                (limits.cgroup_pids_max, limits.cgroup_pids) = (Some(max), Some(current));
            }
            self.cgroup_texts.insert(process.id.tgid, text);
        }
    }

    fn details(&mut self, dir: &ProcDir, process: &mut Process) {
        let mut unread = |what: &str, error: &io::Error| {
            process.unread.push(Unread { what: what.into(), why: error.to_string() });
        };
        match dir.read("cmdline", &mut self.buffer) {
            Ok(text) => process.cmdline = Some(words_of(text)),
            Err(error) => unread("cmdline", &error),
        }
        match dir.read("environ", &mut self.buffer) {
            Ok(text) => process.env = Some(named_variables(text)),
            Err(error) => unread("environ", &error),
        }
        let mut link = [0; 4096];
        process.exe = dir.link("exe", &mut link).ok().map(ByteString);
        process.cwd = dir.link("cwd", &mut link).ok().map(ByteString);
        process.pidns = dir.link("ns/pid", &mut link).ok().and_then(|text| namespace(&text));
        process.netns = dir.link("ns/net", &mut link).ok().and_then(|text| namespace(&text));
        if !process.in_scope {
            return;
        }
        process.io = self.io(dir);
        if let Ok(text) = dir.read("limits", &mut self.buffer) {
            limits(text, process.limits.get_or_insert_default());
        }
    }

    /// Bytes and calls since the process's birth.
    pub(crate) fn io(&mut self, dir: &ProcDir) -> Option<IoCounters> {
        dir.read("io", &mut self.buffer).ok().and_then(io_counters)
    }

    fn fds(&mut self, dir: &ProcDir, process: &mut Process, tty: u32) {
        match self.scanner.table(dir, process.id.tgid, tty) {
            Ok(table) => {
                if process.in_scope {
                    process.limits.get_or_insert_default().open_files = Some(table.len() as u64);
                }
                process.fds = Some(table.iter().map(|o| o.fd.clone()).collect());
                self.opened.insert(process.id.tgid, table);
            }
            Err(error) => process.unread.push(Unread { what: "fds".into(), why: error.to_string() }),
        }
    }

    /// `exit_code`, field 52: readable with ptrace rights only, and 0 without.
    fn exit_status(&mut self, dir: &ProcDir) -> Option<WaitStatus> {
        // Without those rights it reads as 0, which would be a success: the namespace link asks for the same rights, and says so.
        if dir
            .link("ns/pid", &mut [0; 64])
            .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        {
            return None;
        }
        let text = dir.read("stat", &mut self.buffer).ok()?;
        let after = text.rsplit(|b| *b == b')').next()?;
        stat::words(after).nth(52 - 3)?.parse().ok().map(WaitStatus)
    }

    fn dead_thread(&self, beat: &Beat) -> Thread {
        Thread { wait: Wait::NoCall, ..plain(beat) }
    }

    /// A living thread, with its call understood.
    pub(crate) fn thread(&mut self, dir: &ProcDir, beat: &Beat, memory: &Memory<'_>) -> Thread {
        let mut thread = plain(beat);
        let own = dir.sub("task").and_then(|tasks| tasks.sub(Decimal::new(beat.tid).as_str()));
        // `dir` is the task's own directory when the leader is dead.
        let own = own.as_ref().unwrap_or(dir);
        if beat.stat.state != b'R' {
            let wchan = own.read("wchan", &mut self.buffer).ok();
            thread.wchan = wchan
                .map(|text| String::from_utf8_lossy(text).trim().to_owned())
                .filter(|name| !name.is_empty() && name != "0");
            if beat.stat.state == b'D' || beat.call == Ok(SyscallText::Outside) || thread.wchan.is_none() {
                thread.stack =
                    own.read("stack", &mut self.buffer).ok().map(stack).filter(|frames| !frames.is_empty());
            }
        }
        thread.wait = match beat.call {
            Ok(SyscallText::Running) => Wait::Running,
            Ok(SyscallText::Outside) => Wait::NoCall,
            Err(_) => Wait::Unreadable,
            Ok(SyscallText::Inside { number, args, .. }) => {
                let name = self.architecture.and_then(|it| syscalls::name(it, number));
                thread.syscall = Some(Syscall { nr: number, name: name.map(Into::into), args });
                match name {
                    Some(name) => {
                        let wchan = thread.wchan.as_deref();
                        Call { name, number, args, memory, wchan, pgrp: beat.stat.pgrp, now: self.now }.wait()
                    }
                    None => Wait::Other { nr: number },
                }
            }
        };
        waits::opened_fifo(dir, &mut thread);
        thread
    }
}

/// What needs no further reading.
fn plain(beat: &Beat) -> Thread {
    Thread {
        tid: beat.tid,
        comm: Some(ByteString(beat.stat.comm.clone())),
        state: ThreadState::from_letter(char::from(beat.stat.state)),
        switches: beat.status.voluntary.zip(beat.status.involuntary),
        cpu_ns: Some(beat.cpu_ns),
        pending: beat.status.pending,
        blocked: beat.status.blocked,
        ..Thread::default()
    }
}

/// Words that end with a zero byte each.
fn words_of(text: &[u8]) -> Vec<ByteString> {
    let text = &text[..text.len().min(WORDS_CAP)];
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|b| *b == 0).map(ByteString::from).collect()
}

fn named_variables(text: &[u8]) -> BTreeMap<String, ByteString> {
    let mut found = BTreeMap::new();
    for variable in text[..text.len().min(WORDS_CAP)].split(|b| *b == 0) {
        let Some(equals) = variable.iter().position(|b| *b == b'=') else { continue };
        let Ok(name) = std::str::from_utf8(&variable[..equals]) else { continue };
        if attribution::GATHERED.contains(&name) {
            let value = &variable[equals + 1..];
            // make's command line variables follow `--`: somebody's words, and maybe secrets.
            let end = value
                .windows(4)
                .position(|w| w == b" -- ")
                .filter(|_| name == "MAKEFLAGS")
                .unwrap_or(value.len());
            found.insert(name.to_owned(), ByteString::from(&value[..end]));
        }
    }
    found
}

/// `pid:[4026531836]`
fn namespace(link: &[u8]) -> Option<u64> {
    std::str::from_utf8(link).ok()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

fn io_counters(text: &[u8]) -> Option<IoCounters> {
    let text = std::str::from_utf8(text).ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    Some(IoCounters {
        read_bytes: value("rchar:")?,
        written_bytes: value("wchar:")?,
        read_calls: value("syscr:")?,
        write_calls: value("syscw:")?,
    })
}

fn limits(text: &[u8], into: &mut Limits) {
    let text = String::from_utf8_lossy(text);
    let soft = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok())
    };
    into.open_files_soft = soft("Max open files");
    into.processes_soft = soft("Max processes");
}

/// `[<0>] pipe_write+0x3b/0x5a0` → `pipe_write`
fn stack(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let name = |line: &str| Some(line.split_ascii_whitespace().nth(1)?.split('+').next()?.to_owned());
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argv_keeps_empty_words() {
        assert_eq!(
            words_of(b"a\0\0b c\0"),
            [ByteString::from("a"), ByteString::from(""), ByteString::from("b c")]
        );
        assert_eq!(words_of(b""), []);
    }

    #[test]
    fn only_named_variables_are_taken() {
        let found = named_variables(b"TOKEN=secret\0PYTEST_CURRENT_TEST=t.py::a (call)\0CI=true\0broken\0");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["CI", "PYTEST_CURRENT_TEST"]);
        assert_eq!(found["PYTEST_CURRENT_TEST"].as_bytes(), b"t.py::a (call)");
    }

    #[test]
    fn small_texts() {
        assert_eq!(namespace(b"pid:[4026531836]"), Some(4_026_531_836));
        assert_eq!(
            stack(b"[<0>] pipe_write+0x3b/0x5a0\n[<0>] vfs_write+0x1/0x2\n"),
            ["pipe_write", "vfs_write"]
        );
        let io = io_counters(b"rchar: 5\nwchar: 6\nsyscr: 7\nsyscw: 8\nread_bytes: 0\n").unwrap();
        assert_eq!((io.read_bytes, io.written_bytes, io.read_calls, io.write_calls), (5, 6, 7, 8));
        let mut found = Limits::default();
        limits(b"Limit  Soft Limit\nMax processes             96365                96365                processes\n\
            Max open files            1024                 1048576              files\n", &mut found);
        assert_eq!((found.open_files_soft, found.processes_soft), (Some(1024), Some(96365)));
    }
}
