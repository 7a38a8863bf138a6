//! The evidence and its graph as the classes read them, and the names of what is in it.

use super::model::{Halted, NodeState};
use crate::core::evidence::{
    ByteString, Evidence, Fd, Object, ObjectFacts, ObjectId, Process, PtySide, Syscall, Thread, Timeout, Wait,
};
use crate::core::text::duration;
use crate::core::waitgraph::{Liveness, ThreadKey, WaitGraph};

/// The input of the classes.
#[derive(Debug)]
pub struct View<'e> {
    /// The graph.
    pub graph: WaitGraph<'e>,
    evidence: &'e Evidence,
}

impl<'e> View<'e> {
    /// Builds and solves the graph.
    pub fn new(evidence: &'e Evidence) -> Self {
        let graph = WaitGraph::build(evidence);
        Self { graph, evidence }
    }

    /// The evidence.
    pub fn evidence(&self) -> &'e Evidence {
        self.evidence
    }

    /// A process by position.
    pub fn process(&self, at: usize) -> &'e Process {
        self.graph.index.process(at)
    }

    /// A thread.
    pub fn thread(&self, key: ThreadKey) -> &'e Thread {
        self.graph.index.thread(key)
    }

    /// The test that a process belongs to.
    pub fn test(&self, at: usize) -> Option<&str> {
        self.graph.index.test(at)
    }

    /// What is known of an object.
    pub fn facts(&self, id: &ObjectId) -> &'e ObjectFacts {
        self.graph.index.facts(id)
    }

    /// `pytest (pid 812)`.
    pub fn label(&self, at: usize) -> String {
        let process = self.process(at);
        format!("{} (pid {})", title(process), process.id.tgid)
    }

    /// The thread that stands for a process: the first blocked one that decides, else its leader.
    pub fn face(&self, at: usize) -> ThreadKey {
        let liveness = self.graph.process(at);
        let threads = self.process(at).threads.len();
        let keys = (0..threads).map(|thread| ThreadKey { process: at, thread });
        let mut live = keys.filter(|key| !self.graph.node(*key).dead);
        live.clone()
            .find(|key| self.graph.thread(*key) == liveness)
            .or_else(|| live.next())
            .unwrap_or(ThreadKey { process: at, thread: 0 })
    }

    /// The time at which a thread blocked, CLOCK_BOOTTIME nanoseconds: from the kernel's events, else from
    /// the evidence.
    pub fn since(&self, key: ThreadKey) -> Option<u64> {
        let (process, thread) = (self.process(key.process), self.thread(key));
        let seen = self.evidence.history.as_ref().and_then(|history| {
            history.blocked_writes.iter().find(|w| w.process == process.id && w.tid == thread.tid)
        });
        seen.map(|w| w.since_boot_ns).or(thread.since_boot_ns)
    }

    /// For how long it has been blocked, nanoseconds.
    pub fn blocked_ns(&self, key: ThreadKey) -> Option<u64> {
        self.since(key).map(|since| self.evidence.clock.boot_ns.saturating_sub(since))
    }

    /// Whether a thread that waits sleeps in a poll or epoll call rather than on one fd.
    pub fn is_loop(&self, key: ThreadKey) -> bool {
        matches!(self.thread(key).wait, Wait::Poll { .. } | Wait::Epoll { .. })
    }

    /// `pipe:[23425]`, a path, an address.
    pub fn object_name(&self, id: &ObjectId) -> String {
        let path = |path: &Option<ByteString>| path.as_ref().map(ByteString::printable);
        match (id, self.facts(id)) {
            (ObjectId::Pipe { ino }, _) => format!("pipe:[{ino}]"),
            (ObjectId::Fifo { ino, .. }, ObjectFacts::Pipe(f)) => {
                path(&f.path).unwrap_or_else(|| format!("fifo:[{ino}]"))
            }
            (ObjectId::Fifo { ino, .. }, _) => format!("fifo:[{ino}]"),
            (ObjectId::Unix { ino }, _) => format!("unix:[{ino}]"),
            (ObjectId::Inet { ino }, ObjectFacts::Inet(f)) => match (f.local, f.remote) {
                (Some(local), Some(remote)) if remote.port != 0 => format!("{local} -> {remote}"),
                (Some(local), _) => format!("{local}"),
                _ => format!("socket:[{ino}]"),
            },
            (ObjectId::Inet { ino } | ObjectId::Socket { ino }, _) => format!("socket:[{ino}]"),
            (ObjectId::Pty { index, side: PtySide::Slave }, _) => format!("/dev/pts/{index}"),
            (ObjectId::Pty { index, side: PtySide::Master }, _) => format!("master of /dev/pts/{index}"),
            (ObjectId::Tty { major, minor }, ObjectFacts::Terminal { path: p, .. }) => {
                path(p).unwrap_or_else(|| format!("tty {major}:{minor}"))
            }
            (ObjectId::Tty { major, minor }, _) => format!("tty {major}:{minor}"),
            (ObjectId::File { dev, ino }, ObjectFacts::File { path: p, deleted, .. }) => match path(p) {
                Some(p) if *deleted => format!("{p} (deleted)"),
                Some(p) => p,
                None => format!("file {dev}:{ino}"),
            },
            (ObjectId::File { dev, ino }, _) => format!("file {dev}:{ino}"),
            (ObjectId::Device { major, minor }, ObjectFacts::Device { path: p }) => {
                path(p).unwrap_or_else(|| format!("device {major}:{minor}"))
            }
            (ObjectId::Device { major, minor }, _) => format!("device {major}:{minor}"),
            (ObjectId::Anon { kind, id }, _) => format!("{}:[{id}]", format!("{kind:?}").to_lowercase()),
            (ObjectId::MessageQueue { ino, .. }, ObjectFacts::MessageQueue { path: p, .. }) => {
                path(p).unwrap_or_else(|| format!("mqueue:[{ino}]"))
            }
            (ObjectId::MessageQueue { ino, .. }, _) => format!("mqueue:[{ino}]"),
            (ObjectId::SysVSem { id }, _) => format!("semaphore set {id}"),
            (ObjectId::SysVMsg { id }, _) => format!("message queue {id}"),
            (ObjectId::Unknown, _) => "an unknown file".to_owned(),
        }
    }

    /// `write(fd 1)`, `wait4(845)`; `None` for a thread that runs, or is stopped.
    pub fn waits_in(&self, key: ThreadKey) -> Option<String> {
        let thread = self.thread(key);
        let name = |fallback: &str| match &thread.syscall {
            Some(Syscall { name: Some(name), .. }) => name.clone(),
            _ => fallback.to_owned(),
        };
        Some(match &thread.wait {
            Wait::Running | Wait::NoCall => return None,
            Wait::Unreadable => return thread.wchan.as_ref().map(|w| format!("? (wchan {w})")),
            Wait::Write { fd } => format!("{}(fd {fd})", name("write")),
            Wait::Read { fd, .. } => format!("{}(fd {fd})", name("read")),
            Wait::Poll { set, .. } => {
                let fds: Vec<String> = set.iter().flatten().take(8).map(|p| p.fd.to_string()).collect();
                format!(
                    "{}(fds {})",
                    name("poll"),
                    if fds.is_empty() { "?".to_owned() } else { fds.join(", ") }
                )
            }
            Wait::Epoll { epfd, .. } => format!("{}(fd {epfd})", name("epoll_wait")),
            Wait::Futex { addr, .. } => format!("{}({addr:#x})", name("futex")),
            Wait::WaitChild { target, .. } => {
                use crate::core::evidence::ChildTarget as T;
                let what = match target {
                    T::Any => "any child".to_owned(),
                    T::Pid(pid) => pid.to_string(),
                    T::Pgid(pgrp) => format!("process group {pgrp}"),
                    T::PidFd(fd) => format!("pidfd {fd}"),
                };
                format!("{}({what})", name("wait4"))
            }
            Wait::Vfork { .. } => name("vfork"),
            Wait::Sleep { timeout } => match timeout {
                Timeout::After(Some(ns)) => format!("{}({})", name("nanosleep"), duration(*ns)),
                _ => name("nanosleep"),
            },
            Wait::Open { path, .. } => match path {
                Some(path) => format!("{}({})", name("openat"), path.printable()),
                None => name("openat"),
            },
            Wait::Lock { fd, .. } => format!("{}(fd {fd})", name("flock")),
            Wait::Connect { fd, .. } => format!("{}(fd {fd})", name("connect")),
            Wait::Accept { fd } => format!("{}(fd {fd})", name("accept")),
            Wait::Semaphore { id, .. } => format!("{}({id})", name("semtimedop")),
            Wait::MessageSend { id } => format!("{}({id})", name("msgsnd")),
            Wait::MessageReceive { id } => format!("{}({id})", name("msgrcv")),
            Wait::MqSend { fd, .. } => format!("{}(fd {fd})", name("mq_timedsend")),
            Wait::MqReceive { fd, .. } => format!("{}(fd {fd})", name("mq_timedreceive")),
            Wait::Splice { input, output } => format!("{}(fd {input} to fd {output})", name("splice")),
            Wait::Control { fd, .. } => format!("{}(fd {fd})", name("ioctl")),
            Wait::Sync { .. } => name("fsync"),
            Wait::Pause => name("pause"),
            Wait::SignalWait { .. } => name("rt_sigtimedwait"),
            Wait::AsyncIo { .. } => name("io_uring_enter"),
            Wait::Other { nr } => name(&format!("system call {nr}")),
        })
    }

    /// The fd of a process through which an object is held.
    pub fn fd_on(&self, at: usize, id: &ObjectId, wanted: impl Fn(&Fd) -> bool) -> Option<&'e Fd> {
        self.process(at).fds.as_deref()?.iter().find(|fd| fd.object == *id && wanted(fd))
    }

    /// Why a process does not run although it waits for nothing; `None` when it may run.
    pub fn halted(&self, at: usize) -> Option<Halted> {
        use crate::core::evidence::ThreadState as S;
        let process = self.process(at);
        if process.frozen == Some(true) {
            return Some(Halted::Frozen);
        }
        let live = || process.threads.iter().filter(|t| !matches!(t.state, S::Zombie | S::Dead));
        if live().next().is_some() && live().all(|t| t.state == S::Stopped) {
            return Some(Halted::Stopped);
        }
        let traced = live().next().is_some() && live().all(|t| matches!(t.state, S::Traced | S::Stopped));
        traced.then_some(Halted::Traced)
    }

    /// What the threads of a process at rest do, in a few words: `asleep for 600 s`, `idle in accept(fd 3)`.
    pub fn rest(&self, at: usize) -> String {
        if let Some(how) = self.halted(at) {
            return match how {
                Halted::Frozen => "frozen by its cgroup".to_owned(),
                Halted::Traced => "stopped by its tracer".to_owned(),
                Halted::Stopped => "stopped by a signal".to_owned(),
            };
        }
        let face = self.face(at);
        match self.process(at).threads.get(face.thread).map(|t| &t.wait) {
            Some(Wait::Sleep { timeout: Timeout::After(Some(ns)) }) => {
                format!("asleep for {}", duration(*ns))
            }
            Some(Wait::Sleep { .. }) => "asleep".to_owned(),
            None => "nowhere to be seen".to_owned(),
            Some(_) => match self.waits_in(face) {
                Some(call) => format!("idle in {call}"),
                None => "idle".to_owned(),
            },
        }
    }

    /// The state of a thread, for the graph.
    pub fn state(&self, key: ThreadKey) -> NodeState {
        match self.graph.thread(key) {
            _ if self.graph.node(key).dead => NodeState::Dead,
            Liveness::Stuck => NodeState::Stuck,
            Liveness::Orphaned => NodeState::Orphaned,
            Liveness::Idle => NodeState::Idle,
            Liveness::Ticking => NodeState::Ticking,
            Liveness::External => NodeState::External,
            Liveness::Soon => NodeState::Soon,
            Liveness::Active => NodeState::Active,
        }
    }

    /// The objects of the evidence.
    pub fn objects(&self) -> &'e [Object] {
        &self.evidence.objects
    }
}

/// The name of a process for people: the script of an interpreter, the module of `python -m`, else the
/// program.
pub fn title(process: &Process) -> String {
    let comm = || process.comm.printable();
    let Some(argv) = process.cmdline.as_deref().filter(|argv| !argv.is_empty()) else { return comm() };
    let base = |name: &ByteString| {
        let bytes = name.as_bytes();
        let tail = bytes.rsplit(|b| *b == b'/').next().unwrap_or(bytes);
        ByteString::from(tail).printable()
    };
    let program = base(&argv[0]);
    let stem = program.trim_start_matches('-').trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let interpreter =
        matches!(stem, "python" | "pypy" | "node" | "bash" | "sh" | "dash" | "zsh" | "ruby" | "perl");
    // The name of a program that runs from a descriptor (`/proc/self/fd/3`) is a number.
    let nameless = program.chars().all(|c| c.is_ascii_digit());
    if !interpreter || nameless {
        return if nameless { comm() } else { program };
    }
    let mut rest = argv[1..].iter();
    while let Some(word) = rest.next() {
        match word.as_bytes() {
            b"-m" if stem.starts_with("py") => return rest.next().map_or(program, ByteString::printable),
            b"-c" | b"-e" => return program,
            b"-W" | b"-X" => {
                rest.next();
            }
            [b'-', ..] => {}
            _ => return base(word),
        }
    }
    program
}

/// `its stdout`, `fd 7`.
pub fn fd_name(fd: u32) -> String {
    match fd {
        0 => "its stdin".to_owned(),
        1 => "its stdout".to_owned(),
        2 => "its stderr".to_owned(),
        n => format!("its fd {n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::identity::ProcessId;

    fn called(argv: &[&str]) -> String {
        let mut process = Process::new(ProcessId { tgid: 1, start_ticks: 1 });
        process.comm = ByteString::from("comm");
        process.cmdline = Some(argv.iter().map(|a| ByteString::from(*a)).collect());
        title(&process)
    }

    #[test]
    fn a_process_is_called_by_its_script_or_module() {
        assert_eq!(called(&["/usr/bin/python3.11", "-u", "/srv/job.py", "x"]), "job.py");
        assert_eq!(called(&["python3", "-X", "dev", "-m", "pytest", "-q"]), "pytest");
        assert_eq!(called(&["python3", "-c", "import x"]), "python3");
        assert_eq!(called(&["/bin/sh", "-c", "make"]), "sh");
        assert_eq!(called(&["/usr/bin/make"]), "make");
        assert_eq!(called(&["/proc/self/fd/3", "x"]), "comm");
        assert_eq!(called(&[]), "comm");
    }
}
