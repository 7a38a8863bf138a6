//! Builds evidence for tests: a machine, process by process.

use crate::core::diagnosis::Verdict;
use crate::core::evidence::{
    Access, AnonKind, ByteString, ChildTarget, Clock, EpollItem, Evidence, Fd, FdLock, FutexOp, IoCounters,
    LockEntry, LockKind, LockMode, Object, ObjectFacts, ObjectId, PipeFacts, Process, Reach, Scope, Thread,
    ThreadState, Timeout, UnixFacts, UnixKind, UnixState, Wait,
};
use crate::core::identity::ProcessId;
use crate::core::signal::SignalSet;

/// A machine under construction. It has process 1 and process 100, the root of the scope.
pub(crate) struct Machine(pub(crate) Evidence);

pub(crate) const ROOT: u32 = 100;

pub(crate) const PIPE: ObjectId = ObjectId::Pipe { ino: 7001 };
pub(crate) const PIPE_2: ObjectId = ObjectId::Pipe { ino: 7002 };

impl Machine {
    pub(crate) fn new() -> Self {
        let mut machine = Self(Evidence {
            schema: crate::core::evidence::SCHEMA.to_owned(),
            clock: Clock {
                taken_at_unix_ns: 1_790_000_000_000_000_000,
                boot_ns: 1_000_000_000_000,
                quiet_window_ns: 400_000_000,
            },
            scope: Scope::Tree(ProcessId { tgid: ROOT, start_ticks: ROOT.into() }),
            reach: Reach { whole_machine: true, unix_peers: true, inet_sockets: true },
            locks: Some(Vec::new()),
            ..Evidence::default()
        });
        machine.process(1, 0, "init");
        machine.get(1).in_scope = false;
        machine.get(1).sid = Some(1);
        machine.wait(1, Wait::Epoll { epfd: 4, timeout: Timeout::Never });
        machine.process(ROOT, 1, "root");
        machine
    }

    /// Adds a quiet process of the root's session.
    pub(crate) fn process(&mut self, tgid: u32, ppid: u32, role: &str) {
        let mut process = Process::new(ProcessId { tgid, start_ticks: tgid.into() });
        process.ppid = ppid;
        process.pgrp = ROOT;
        process.sid = Some(ROOT);
        process.uid = Some(1000);
        process.comm = ByteString::from("python3");
        process.exe = Some(ByteString::from("/usr/bin/python3.11"));
        process.cmdline = Some(vec![
            ByteString::from("python3"),
            ByteString::from(format!("/t/{role}.py").as_str()),
            ByteString::from(format!("role={role}").as_str()),
        ]);
        process.fds = Some(Vec::new());
        process.in_scope = true;
        process.frozen = Some(false);
        process.caught = Some(SignalSet(1 << 1));
        process.ignored = Some(SignalSet(1 << 12));
        process.io = Some(IoCounters { written_bytes: 10, ..IoCounters::default() });
        process.threads = vec![quiet(tgid)];
        self.0.processes.push(process);
    }

    pub(crate) fn get(&mut self, tgid: u32) -> &mut Process {
        self.0.processes.iter_mut().find(|p| p.id.tgid == tgid).expect("a process of the machine")
    }

    pub(crate) fn wait(&mut self, tgid: u32, wait: Wait) {
        self.get(tgid).threads[0].wait = wait;
    }

    pub(crate) fn thread(&mut self, tgid: u32, tid: u32, wait: Wait) {
        self.get(tgid).threads.push(Thread { wait, ..quiet(tid) });
    }

    pub(crate) fn fd(&mut self, tgid: u32, number: u32, object: ObjectId, access: Access) {
        let fd = Fd {
            number,
            object,
            access,
            nonblocking: false,
            cloexec: false,
            description: None,
            locks: Vec::new(),
        };
        self.get(tgid).fds.get_or_insert_default().push(fd);
    }

    pub(crate) fn object(&mut self, id: ObjectId, facts: ObjectFacts) {
        self.0.objects.push(Object { id, facts });
    }

    pub(crate) fn full(&mut self, id: ObjectId) {
        let facts = PipeFacts {
            used_bytes: Some(65_536),
            capacity_bytes: Some(65_536),
            slots_used: Some(16),
            slots: Some(16),
            readers: Some(1),
            writers: Some(1),
            writable: Some(false),
            readable: Some(true),
            path: None,
        };
        self.object(id, ObjectFacts::Pipe(facts));
    }

    pub(crate) fn empty(&mut self, id: ObjectId) {
        let facts = PipeFacts {
            used_bytes: Some(0),
            capacity_bytes: Some(65_536),
            slots_used: Some(0),
            slots: Some(16),
            readers: Some(1),
            writers: Some(1),
            writable: Some(true),
            readable: Some(false),
            path: None,
        };
        self.object(id, ObjectFacts::Pipe(facts));
    }

    /// Two connected UNIX stream sockets; the first has `unread` bytes in flight to the second.
    pub(crate) fn socketpair(&mut self, a: u64, b: u64, unread: u64) {
        let facts = |peer, send, receive, writable| UnixFacts {
            kind: Some(UnixKind::Stream),
            state: Some(UnixState::Connected),
            peer: Some(peer),
            send_queue: Some(send),
            receive_queue: Some(receive),
            writable: Some(writable),
            readable: Some(receive > 0),
            ..UnixFacts::default()
        };
        self.object(ObjectId::Unix { ino: a }, ObjectFacts::Unix(facts(b, unread, 0, unread == 0)));
        self.object(ObjectId::Unix { ino: b }, ObjectFacts::Unix(facts(a, 0, unread, true)));
    }

    pub(crate) fn epoll(&mut self, tgid: u32, epfd: u32, items: &[(u32, u32)]) {
        let id = ObjectId::Anon { kind: AnonKind::Epoll, id: u64::from(tgid) << 32 | u64::from(epfd) };
        self.fd(tgid, epfd, id, Access::ReadWrite);
        let interest =
            items.iter().map(|(fd, events)| EpollItem { fd: *fd, events: *events, object: None }).collect();
        self.object(id, ObjectFacts::Epoll { interest: Some(interest) });
    }

    pub(crate) fn flock(&mut self, id: ObjectId, pid: u32, held_by: &[(u32, u32)]) {
        for (tgid, number) in held_by {
            let fds = self.get(*tgid).fds.as_mut().expect("fds");
            let fd = fds.iter_mut().find(|f| f.number == *number).expect("the fd of the lock");
            fd.locks.push(FdLock { kind: LockKind::Flock, mode: LockMode::Write });
        }
        let entry = LockEntry {
            number: 1,
            kind: LockKind::Flock,
            mode: LockMode::Write,
            pid: Some(pid),
            object: id,
            start: 0,
            end: None,
            waiting: false,
        };
        self.0.locks.get_or_insert_default().push(entry);
    }

    /// Nothing hangs, and the evidence was sufficient to find that.
    pub(crate) fn is_calm(&self) {
        let said = self.say();
        assert!(
            matches!(said.verdict, Verdict::NotHung | Verdict::Idle),
            "{:?}: {:#?}",
            said.verdict,
            said.findings
        );
    }

    pub(crate) fn say(&self) -> super::Diagnosis {
        super::diagnose(&self.0)
    }
}

pub(crate) fn quiet(tid: u32) -> Thread {
    Thread {
        tid,
        comm: Some(ByteString::from("python3")),
        state: ThreadState::Sleeping,
        wait: SLEEP,
        moved: Some(false),
        switches: Some((10, 1)),
        cpu_ns: Some(1_000_000),
        pending: Some(SignalSet(0)),
        blocked: Some(SignalSet(0)),
        ..Thread::default()
    }
}

/// `time.sleep(600)`.
pub(crate) const SLEEP: Wait = Wait::Sleep { timeout: Timeout::After(Some(600_000_000_000)) };
pub(crate) const WRITE_OUT: Wait = Wait::Write { fd: 1 };
pub(crate) const READ_IN: Wait = Wait::Read { fd: 0, timeout: Timeout::Never };

pub(crate) fn read(fd: u32) -> Wait {
    Wait::Read { fd, timeout: Timeout::Never }
}

pub(crate) fn exit_of(pid: u32) -> Wait {
    Wait::WaitChild { target: ChildTarget::Pid(pid), options: 0 }
}

pub(crate) fn any_child() -> Wait {
    Wait::WaitChild { target: ChildTarget::Any, options: 0 }
}

pub(crate) fn flock(fd: u32) -> Wait {
    Wait::Lock { fd, kind: LockKind::Flock, exclusive: Some(true) }
}

pub(crate) fn private_futex(owner_tid: Option<u32>) -> Wait {
    Wait::Futex {
        addr: 0x7f00_1000,
        private: true,
        value: 2,
        word: Some(2),
        op: FutexOp::Wait,
        timeout: Timeout::Never,
        owner_tid,
        shared: None,
    }
}
