//! The nodes of the AND/OR graph: what each thread can count on by itself, and its alternatives.

use std::fmt;

use super::index::ThreadKey;
use crate::core::evidence::{ObjectId, Timeout};

/// A sleep or time-out that ends within this is "soon": nobody who waits for such a party is hung. Nanoseconds.
pub const SOON_NS: u64 = 10_000_000_000;

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

/// Reasons to expect that a thread goes on, from none to the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// None: proved that nobody who could let it go on can go on without it, or that there is nobody.
    #[default]
    Stuck,
    /// Somebody could, who has no reason to: stopped, asleep, or an heir of an end that it never used.
    Orphaned,
    /// Idle, as things at rest are: a long sleep, a server without a request, a wait for somebody idle who may well have a reason.
    Idle,
    /// The next step is somebody's who cannot be seen from here.
    External,
    /// It goes on within seconds by itself.
    Soon,
    /// It moved during the quiet window, or runs.
    Active,
}

/// What a waiter may hope for that waits, in this way, for a party with this hope.
///
/// Monotone in `hope` for each `op`: the fixpoint needs that.
pub fn propagate(op: Op, accidental: bool, liveness: Liveness) -> Liveness {
    match (op, liveness) {
        (_, Liveness::Idle) if accidental => Liveness::Orphaned,
        // Whoever holds the lock, or the only end that can make room, owes something; at rest it does not pay.
        (Op::Write | Op::Lock | Op::OpenFifo | Op::Connect | Op::Semaphore | Op::Trace, Liveness::Idle) => {
            Liveness::Orphaned
        }
        // Behind a terminal sits somebody; programs at rest between them and the reader pass the keys on.
        (Op::ReadTerminal, Liveness::Idle) => Liveness::External,
        (_, liveness) => liveness,
    }
}

/// One way out of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// What has to happen.
    pub op: Op,
    /// On what, when it is an object.
    pub object: Option<ObjectId>,
    /// Through which fd of the waiter.
    pub fd: Option<u32>,
    /// All of these have to be met.
    pub conditions: Vec<Condition>,
}

/// Something that any one of several actors can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Who could. Empty: nobody.
    pub releasers: Vec<Releaser>,
}

/// Who could act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Releaser {
    /// Any thread of this process.
    Process {
        /// Position in the evidence.
        process: usize,
        /// It can, but nothing tells it to: it inherited the end by accident.
        accidental: bool,
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
pub enum SeedReason {
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
    pub liveness: Liveness,
    /// Why.
    pub reason: SeedReason,
}

/// A thread's place in the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitNode {
    /// Hope of its own.
    pub seed: Option<Seed>,
    /// Ways out by others' acts.
    pub alternatives: Vec<Alternative>,
    /// It has ended and acts no more.
    pub dead: bool,
}

impl WaitNode {
    pub(super) fn seeded(liveness: Liveness, why: SeedReason) -> Self {
        Self { seed: Some(Seed { liveness, reason: why }), ..Self::default() }
    }

    pub(super) fn ready() -> Self {
        Self::seeded(Liveness::Soon, SeedReason::Ready)
    }

    pub(super) fn unread(why: impl Into<String>) -> Self {
        Self::seeded(Liveness::External, SeedReason::Unread(why.into()))
    }

    pub(super) fn one(alternative: Alternative) -> Self {
        Self { alternatives: vec![alternative], ..Self::default() }
    }

    /// Raises the seed.
    pub(super) fn liveness(&mut self, liveness: Liveness, why: SeedReason) {
        if self.seed.as_ref().is_none_or(|s| s.liveness < liveness) {
            self.seed = Some(Seed { liveness, reason: why });
        }
    }

    /// Adds the other's ways and seed: whichever comes first ends the wait.
    pub(super) fn or(&mut self, other: Self) {
        if let Some(seed) = other.seed {
            self.liveness(seed.liveness, seed.reason);
        }
        self.alternatives.extend(other.alternatives);
    }

    /// A time-out ends it.
    pub(super) fn until(mut self, timeout: Timeout) -> Self {
        match timeout {
            Timeout::Never => {}
            Timeout::After(Some(ns)) if ns > SOON_NS => {
                self.liveness(Liveness::Idle, SeedReason::TimeOut(Some(ns)))
            }
            Timeout::After(ns) => self.liveness(Liveness::Soon, SeedReason::TimeOut(ns)),
            Timeout::Unknown => {
                self.liveness(Liveness::External, SeedReason::Unread("its time-out could not be read".into()))
            }
        }
        self
    }
}

/// A way with one requirement.
pub(super) fn alternative(
    op: Op,
    object: Option<ObjectId>,
    fd: Option<u32>,
    any: Vec<Releaser>,
) -> Alternative {
    Alternative { op, object, fd, conditions: vec![Condition { releasers: any }] }
}

pub(super) fn by_process(process: usize) -> Releaser {
    Releaser::Process { process, accidental: false }
}

/// In what kind of call the waiter sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It sleeps in a call on this one fd: that it sleeps proves that the call cannot go on, whatever poll would say.
    Direct,
    /// The fd is one of a set; so many more sets may be nested in this one.
    Polled(u32),
}

/// What the waiter wants of the fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Something to read, or its end.
    Data,
    /// Room to write.
    Room,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKS: [Liveness; 6] = [
        Liveness::Stuck,
        Liveness::Orphaned,
        Liveness::Idle,
        Liveness::External,
        Liveness::Soon,
        Liveness::Active,
    ];

    #[test]
    fn hope_passes_monotonously() {
        for op in Op::ALL {
            for accidental in [false, true] {
                for pair in RANKS.windows(2) {
                    let (less, more) =
                        (propagate(op, accidental, pair[0]), propagate(op, accidental, pair[1]));
                    assert!(less <= more, "{op:?} {accidental} {pair:?} gives {less:?} > {more:?}");
                }
            }
        }
    }

    #[test]
    fn who_can_act_releases_whatever_it_holds() {
        for op in Op::ALL {
            assert_eq!(propagate(op, true, Liveness::Active), Liveness::Active);
            assert_eq!(propagate(op, true, Liveness::Soon), Liveness::Soon);
        }
    }
}
