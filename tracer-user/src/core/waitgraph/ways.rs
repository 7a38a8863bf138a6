//! From what a thread is blocked in to the ways out of it.

use std::fmt;

use super::hope::Hope;
use super::index::{Index, ThreadKey};
use super::{ways_fd, ways_lock, ways_socket};
use crate::core::evidence::{ChildTarget, ObjectId, Scope, Thread, ThreadState, Timeout, Wait};

/// A sleep or time-out that ends within this is "soon": nobody who waits for such a party is hung. Nanoseconds.
pub const SOON_NS: u64 = 10_000_000_000;

const SIGCHLD: u32 = 17;

/// What kind of act a way asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Somebody reads, so that a write goes on.
    Write,
    /// Somebody writes or closes, so that a read goes on.
    Read,
    /// The same on a terminal's program side.
    ReadTerminal,
    /// Somebody unlocks a file.
    Lock,
    /// A process ends (or stops, or execs after vfork).
    Exit,
    /// A thread wakes a futex.
    Futex,
    /// A SysV semaphore or message queue is operated on.
    Semaphore,
    /// Somebody opens the other end of a FIFO.
    OpenFifo,
    /// Somebody accepts a connection.
    Connect,
    /// Somebody connects.
    Accept,
    /// A tracer lets its tracee go on.
    Trace,
    /// Somebody answers for the kernel: a disk, a server, a supervisor.
    Kernel,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Write,
        Self::Read,
        Self::ReadTerminal,
        Self::Lock,
        Self::Exit,
        Self::Futex,
        Self::Semaphore,
        Self::OpenFifo,
        Self::Connect,
        Self::Accept,
        Self::Trace,
        Self::Kernel,
    ];

    /// A word for the edge.
    pub fn word(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read | Self::ReadTerminal => "read",
            Self::Lock => "lock",
            Self::Exit => "exit",
            Self::Futex => "futex",
            Self::Semaphore => "ipc",
            Self::OpenFifo => "open",
            Self::Connect => "connect",
            Self::Accept => "accept",
            Self::Trace => "ptrace",
            Self::Kernel => "kernel",
        }
    }
}

/// One way out of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// What has to happen.
    pub op: Op,
    /// On what, when it is an object.
    pub object: Option<ObjectId>,
    /// Through which fd of the waiter.
    pub fd: Option<u32>,
    /// All of these have to be met.
    pub all: Vec<Requirement>,
}

/// Something that any one of several actors can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Who could. Empty: nobody.
    pub any: Vec<Actor>,
}

/// Who could act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Any thread of this process.
    Process {
        /// Position in the evidence.
        process: usize,
        /// It can, but nothing tells it to: it inherited the end by accident.
        no_reason: bool,
    },
    /// This thread.
    Thread(ThreadKey),
    /// Somebody beyond this machine's processes.
    Outside(Outside),
    /// Any process might (connect to a listener, send a signal): the wait of something at rest.
    Anyone(&'static str),
    /// Somebody who could not be seen, and why not.
    Unseen(String),
}

/// Beyond this machine's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// A remote host, as `address:port` where known.
    Remote(String),
    /// A human at a terminal.
    Human,
    /// A device or file system.
    Device(String),
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) => write!(f, "the remote peer {address}"),
            Self::Human => f.write_str("somebody at the terminal"),
            Self::Device(what) => f.write_str(what),
        }
    }
}

/// Why a thread can count on going on without another thread of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It moved during the quiet window, or runs.
    Moved,
    /// Nobody measured whether it moved.
    NotMeasured,
    /// Its call ends by itself, after at most so many nanoseconds.
    TimeOut(Option<u64>),
    /// Its call is about to return: what it waits for is there.
    Ready,
    /// Any signal it handles may wake it.
    Signal,
    /// It is stopped: somebody has to continue it.
    Stopped,
    /// Its cgroup is frozen.
    Frozen,
    /// In an uninterruptible sleep.
    Uninterruptible,
    /// What it does could not be read.
    Unread(String),
}

/// What a thread can count on without another thread of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// How much.
    pub hope: Hope,
    /// Why.
    pub why: Why,
}

/// A thread's place in the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Hope of its own.
    pub seed: Option<Seed>,
    /// Ways out by others' acts.
    pub ways: Vec<Way>,
    /// It has ended and acts no more.
    pub dead: bool,
}

impl Standing {
    pub(super) fn seeded(hope: Hope, why: Why) -> Self {
        Self { seed: Some(Seed { hope, why }), ..Self::default() }
    }

    pub(super) fn ready() -> Self {
        Self::seeded(Hope::Soon, Why::Ready)
    }

    pub(super) fn unread(why: impl Into<String>) -> Self {
        Self::seeded(Hope::External, Why::Unread(why.into()))
    }

    pub(super) fn one(way: Way) -> Self {
        Self { ways: vec![way], ..Self::default() }
    }

    /// Raises the seed.
    pub(super) fn hope(&mut self, hope: Hope, why: Why) {
        if self.seed.as_ref().is_none_or(|s| s.hope < hope) {
            self.seed = Some(Seed { hope, why });
        }
    }

    /// Adds the other's ways and seed: whichever comes first ends the wait.
    pub(super) fn or(&mut self, other: Self) {
        if let Some(seed) = other.seed {
            self.hope(seed.hope, seed.why);
        }
        self.ways.extend(other.ways);
    }

    /// A time-out ends it.
    pub(super) fn until(mut self, timeout: Timeout) -> Self {
        match timeout {
            Timeout::Never => {}
            Timeout::After(Some(ns)) if ns > SOON_NS => self.hope(Hope::Waiting, Why::TimeOut(Some(ns))),
            Timeout::After(ns) => self.hope(Hope::Soon, Why::TimeOut(ns)),
            Timeout::Unknown => {
                self.hope(Hope::External, Why::Unread("its time-out could not be read".into()))
            }
        }
        self
    }
}

/// A way with one requirement.
pub(super) fn way(op: Op, object: Option<ObjectId>, fd: Option<u32>, any: Vec<Actor>) -> Way {
    Way { op, object, fd, all: vec![Requirement { any }] }
}

pub(super) fn by_process(process: usize) -> Actor {
    Actor::Process { process, no_reason: false }
}

/// Where a thread stands.
pub(super) fn standing(index: &Index<'_>, key: ThreadKey) -> Standing {
    let process = index.process(key.process);
    let thread = index.thread(key);
    if process.zombie || matches!(thread.state, ThreadState::Zombie | ThreadState::Dead) {
        return Standing { dead: true, ..Standing::default() };
    }
    if process.kernel_thread || thread.state == ThreadState::Idle {
        return Standing::seeded(Hope::Soon, Why::Ready);
    }
    if process.is_observer {
        // Who waits for it (a runner's watchdog, a shell) waits for nothing that helps anybody.
        return Standing::default();
    }
    if let Wait::WaitChild { target: ChildTarget::Pid(number), .. } = thread.wait
        && let Some(child) = index.by_tgid(number).filter(|child| index.process(*child).is_observer)
    {
        // It started the tracer, which is all that it moved for.
        return exit_of(index, &[child]);
    }
    match thread.moved {
        None => return Standing::seeded(Hope::Active, Why::NotMeasured),
        Some(true) => return Standing::seeded(Hope::Active, Why::Moved),
        Some(false) => {}
    }
    if process.frozen == Some(true) {
        return Standing::seeded(Hope::Orphaned, Why::Frozen);
    }
    match thread.state {
        ThreadState::Running => return Standing::seeded(Hope::Active, Why::Moved),
        ThreadState::Stopped => return Standing::seeded(Hope::Orphaned, Why::Stopped),
        ThreadState::Traced => {
            let any = match process.traced_by.and_then(|t| index.by_tgid(t.tgid)) {
                Some(tracer) => vec![by_process(tracer)],
                None => vec![Actor::Unseen("its tracer could not be seen".into())],
            };
            return Standing::one(way(Op::Trace, None, None, any));
        }
        ThreadState::Uninterruptible if !matches!(thread.wait, Wait::Vfork { .. }) => {
            return uninterruptible(thread);
        }
        _ => {}
    }
    let mut standing = waiting(index, key, thread);
    if reacts_to_children(index, key, thread) {
        standing.or(exit_of(index, index.children(key.process)));
    }
    standing
}

fn uninterruptible(thread: &Thread) -> Standing {
    let what = match thread.wchan.as_deref() {
        Some(wchan) if !wchan.is_empty() && wchan != "0" => format!("the kernel ({wchan})"),
        _ => "the kernel".to_owned(),
    };
    let mut standing =
        Standing::one(way(Op::Kernel, None, None, vec![Actor::Outside(Outside::Device(what))]));
    standing.hope(Hope::External, Why::Uninterruptible);
    standing
}

/// A handler for SIGCHLD turns the end of any child into a wake-up of a thread that waits for events or signals.
fn reacts_to_children(index: &Index<'_>, key: ThreadKey, thread: &Thread) -> bool {
    let caught = index.process(key.process).caught.is_none_or(|mask| has(mask, SIGCHLD));
    let waits =
        matches!(thread.wait, Wait::Poll { .. } | Wait::Epoll { .. } | Wait::Pause | Wait::SignalWait { .. });
    caught && waits && !index.children(key.process).is_empty()
}

pub(super) fn has(mask: u64, signal: u32) -> bool {
    mask >> (signal - 1) & 1 == 1
}

/// Only SIGCHLD of the signals in `mask`.
pub(super) fn only_children(mask: u64) -> bool {
    mask == 1 << (SIGCHLD - 1)
}

/// The end of any of these processes, or of what has ended already.
pub(super) fn exit_of(index: &Index<'_>, targets: &[usize]) -> Standing {
    if targets.is_empty() || targets.iter().any(|at| index.process(*at).zombie) {
        // Nobody to wait for, or somebody to collect: the call returns.
        return Standing::ready();
    }
    Standing::one(way(Op::Exit, None, None, targets.iter().map(|at| by_process(*at)).collect()))
}

fn waiting(index: &Index<'_>, key: ThreadKey, thread: &Thread) -> Standing {
    let at = key.process;
    match &thread.wait {
        Wait::Running => Standing::seeded(Hope::Active, Why::Moved),
        Wait::NoCall => Standing::unread("it sleeps in no system call"),
        // The only wait channel that says all there is to say: whatever the arguments, it is a wait for a child.
        Wait::Unreadable if thread.wchan.as_deref() == Some("do_wait") => {
            wait_child(index, at, ChildTarget::Any)
        }
        Wait::Unreadable => Standing::unread("its system call could not be read"),
        Wait::Write { fd } => ways_fd::on_fd(index, at, *fd, ways_fd::Want::Room),
        Wait::Read { fd, timeout } => ways_fd::on_fd(index, at, *fd, ways_fd::Want::Data).until(*timeout),
        Wait::Poll { set: None, timeout } => {
            Standing::unread("its poll set could not be read").until(*timeout)
        }
        Wait::Poll { set: Some(set), timeout } => {
            let mut all = Standing::default();
            for item in set {
                all.or(ways_fd::polled(index, at, item.fd, None, item.events));
            }
            if set.is_empty() && *timeout == Timeout::Never {
                all.hope(Hope::Waiting, Why::Signal);
            }
            all.until(*timeout)
        }
        Wait::Epoll { epfd, timeout } => ways_fd::epoll(index, at, *epfd).until(*timeout),
        Wait::Futex { .. } => futex(index, key, &thread.wait),
        Wait::WaitChild { target, .. } => wait_child(index, at, *target),
        Wait::Vfork { child } => match child.and_then(|tgid| index.by_tgid(tgid)) {
            Some(child) => exit_of(index, &[child]),
            None => exit_of(index, index.children(at)),
        },
        Wait::Sleep { timeout: Timeout::Never } => Standing::seeded(Hope::Waiting, Why::Signal),
        Wait::Sleep { timeout: Timeout::Unknown } => Standing::seeded(Hope::Soon, Why::TimeOut(None)),
        Wait::Sleep { timeout } => Standing::default().until(*timeout),
        Wait::Open { object, .. } => open(index, at, *object),
        Wait::Lock { fd, kind, exclusive } => ways_lock::lock(index, key, *fd, *kind, *exclusive),
        Wait::Connect { fd, peer } => ways_socket::connect(index, at, *fd, peer.as_ref()),
        Wait::Accept { fd } => ways_socket::accept(index, at, *fd),
        Wait::Semaphore { id, timeout } => {
            ways_lock::sysv(index, at, ObjectId::SysVSem { id: *id }).until(*timeout)
        }
        Wait::MessageSend { id } | Wait::MessageReceive { id } => {
            ways_lock::sysv(index, at, ObjectId::SysVMsg { id: *id })
        }
        Wait::MqSend { fd, timeout } => ways_fd::on_fd(index, at, *fd, ways_fd::Want::Room).until(*timeout),
        Wait::MqReceive { fd, timeout } => {
            ways_fd::on_fd(index, at, *fd, ways_fd::Want::Data).until(*timeout)
        }
        Wait::Splice { input, output } => splice(index, at, *input, *output),
        Wait::Control { fd, .. } => ways_fd::on_fd(index, at, *fd, ways_fd::Want::Room),
        Wait::Sync { .. } => Standing::one(way(
            Op::Kernel,
            None,
            None,
            vec![Actor::Outside(Outside::Device("the disk".into()))],
        )),
        Wait::Pause => signal_wait(index, at, index.process(at).caught),
        Wait::SignalWait { set, timeout } => signal_wait(index, at, *set).until(*timeout),
        Wait::AsyncIo { timeout, .. } => {
            Standing::unread("what it submitted to the kernel cannot be seen").until(*timeout)
        }
        Wait::Other { nr } => Standing::unread(format!("system call {nr} is not understood")),
    }
}

/// Waits for a signal: for the end of a child when nothing else is waited for.
pub(super) fn signal_wait(index: &Index<'_>, at: usize, set: Option<u64>) -> Standing {
    match set {
        Some(set) if only_children(set) && !index.children(at).is_empty() => {
            exit_of(index, index.children(at))
        }
        _ => Standing::seeded(Hope::Waiting, Why::Signal),
    }
}

fn wait_child(index: &Index<'_>, at: usize, target: ChildTarget) -> Standing {
    let mut targets: Vec<usize> = match target {
        ChildTarget::Any => index.children(at).iter().chain(index.tracees(at)).copied().collect(),
        ChildTarget::Pid(number) => index
            .children(at)
            .iter()
            .chain(index.tracees(at))
            .copied()
            .filter(|child| index.is_called(*child, at, number))
            .collect(),
        ChildTarget::Pgid(pgrp) => index
            .children(at)
            .iter()
            .copied()
            // The number of a group within another namespace is nowhere to be read.
            .filter(|child| index.process(*child).pgrp == pgrp || index.is_inside(at))
            .collect(),
        ChildTarget::PidFd(fd) => return ways_fd::on_fd(index, at, fd, ways_fd::Want::Data),
    };
    // The kernel takes children and tracees alone, and refuses the call for anybody else.
    let own = index.process(at).id.tgid;
    targets.retain(|target| {
        let process = index.process(*target);
        process.ppid == own || process.traced_by.is_some_and(|t| t.tgid == own)
    });
    targets.sort_unstable();
    targets.dedup();
    exit_of(index, &targets)
}

/// Of a splice, the side that blocks is the one that cannot go on; where both could, either may be the one.
fn splice(index: &Index<'_>, at: usize, input: u32, output: u32) -> Standing {
    let read = ways_fd::on_fd(index, at, input, ways_fd::Want::Data);
    let write = ways_fd::on_fd(index, at, output, ways_fd::Want::Room);
    let is_ready = |s: &Standing| s.seed.as_ref().is_some_and(|seed| seed.why == Why::Ready);
    match (is_ready(&read), is_ready(&write)) {
        (true, false) => write,
        (false, true) => read,
        _ => {
            let mut both = read;
            both.or(write);
            both
        }
    }
}

/// Waits in open: a FIFO's other end, or something that nobody here knows of.
fn open(index: &Index<'_>, at: usize, object: Option<ObjectId>) -> Standing {
    let Some(id @ ObjectId::Fifo { .. }) = object else {
        return Standing::one(way(
            Op::Kernel,
            object,
            None,
            vec![Actor::Outside(Outside::Device("what it opens".into()))],
        ));
    };
    // Whoever belongs to the same job might still open the other end; strangers have no reason to.
    let family = index.process(at);
    let relatives = (0..index.evidence().processes.len()).filter(|other| {
        let p = index.process(*other);
        *other != at
            && !p.zombie
            && !p.kernel_thread
            && (p.shares_session(family)
                || family.sid.is_none() && p.in_scope
                || index.is_ancestor(at, *other))
    });
    // A traced session is the whole job. Who started it, a shell or a CI runner, may be busy with anything.
    let whole = family.in_scope && matches!(index.evidence().scope, Scope::Session(_));
    let (inside, outside): (Vec<usize>, Vec<usize>) =
        relatives.partition(|other| !whole || index.process(*other).in_scope);
    let mut any: Vec<Actor> = inside.into_iter().map(by_process).collect();
    if !outside.is_empty() {
        any.push(Actor::Anyone("a process outside of the job may open it"));
    }
    Standing::one(way(Op::OpenFifo, Some(id), None, any))
}

fn futex(index: &Index<'_>, key: ThreadKey, wait: &Wait) -> Standing {
    let Wait::Futex { private, timeout, owner_tid, shared, .. } = wait else {
        return Standing::default();
    };
    // Within another pid namespace the numbers in memory are that namespace's.
    let owner_tid = owner_tid.filter(|_| !index.is_inside(key.process));
    let any = match owner_tid {
        Some(tid) => index.by_tid(tid).map(Actor::Thread).into_iter().collect(),
        None if *private => vec![by_process(key.process)],
        None => match shared.as_ref().and_then(|s| s.mapped_by.as_ref()) {
            Some(tgids) => tgids.iter().filter_map(|tgid| index.by_tgid(*tgid)).map(by_process).collect(),
            None => vec![Actor::Unseen("who else maps the shared memory could not be read".into())],
        },
    };
    let op = if owner_tid.is_some() { Op::Lock } else { Op::Futex };
    Standing::one(way(op, None, None, any)).until(*timeout)
}
