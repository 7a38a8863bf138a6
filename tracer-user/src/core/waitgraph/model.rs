//! The nodes of the wait-for graph: what each thread can count on by itself, and its alternatives.

use std::fmt;

use super::activity::Tick;
use super::index::ThreadKey;
use crate::core::evidence::{ObjectId, Timeout};
use crate::core::signal::SignalSet;

/// A time-out that ends within this is near: a thread that waits for such a thread is not hung yet.
/// Nanoseconds.
pub const SOON_NS: u64 = 10_000_000_000;

/// A plain sleep that ends within this is near, too: a program that sleeps for a minute while it holds a lock
/// or a pipe is slow. A longer sleep is reported with the date at which it ends. Nanoseconds.
pub const SLEEPS_FOR_NS: u64 = 300_000_000_000;

/// A time-out of an event loop of at least this means "no deadline": trio asks for 86 400 s, others for more.
/// Nanoseconds.
pub const NO_DEADLINE_NS: u64 = 12 * 3600 * 1_000_000_000;

/// What has to happen for a wait to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Another end reads, so that a write proceeds.
    Write,
    /// Another end writes or closes, so that a read returns.
    Read,
    /// The same on a terminal's program side.
    ReadTerminal,
    /// A file lock is released.
    Lock,
    /// A process ends (or stops, or executes a program after vfork).
    Exit,
    /// A thread wakes a futex.
    Futex,
    /// A SysV semaphore or message queue is operated on.
    Semaphore,
    /// The other end of a FIFO is opened.
    OpenFifo,
    /// A connection is accepted.
    Connect,
    /// A connection is made.
    Accept,
    /// A tracer lets its tracee continue.
    Trace,
    /// A disk, a server or a supervisor answers the kernel.
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

    /// Its name as an edge of the graph.
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

    /// The releaser owes this act: the waiter has done its part (bytes are in the pipe, the lock is
    /// requested), so a releaser at rest fails to act. For the other acts, a releaser at rest may have no
    /// reason to act.
    pub fn is_owed(self) -> bool {
        matches!(
            self,
            Self::Write
                | Self::Lock
                | Self::OpenFifo
                | Self::Connect
                | Self::Semaphore
                | Self::Trace
                | Self::Kernel
        )
    }
}

/// How strong the reasons are to expect that a thread continues, from none to the strongest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// No reason: every releaser is itself stuck, or there is none.
    #[default]
    Stuck,
    /// A releaser exists and has no reason to act: it is stopped, or at rest although it owes the act, or it
    /// inherited its end by accident.
    Orphaned,
    /// Ordinary rest: a long sleep, a server without a request, a wait for a party that is idle itself.
    Idle,
    /// It wakes by its own time-out and goes back to sleep. It might act at the next wake-up.
    Ticking,
    /// The next step is up to a party that is not visible from here.
    External,
    /// It continues by itself within seconds.
    Soon,
    /// It made progress during the quiet window, or runs.
    Active,
}

/// The liveness of a thread that waits for this act of a party with this liveness.
///
/// Monotone in `liveness` for each `op`: the fixpoint needs that.
pub fn propagate(op: Op, claim: Claim, liveness: Liveness) -> Liveness {
    match liveness {
        Liveness::Stuck => Liveness::Stuck,
        _ if claim == Claim::Daemon => Liveness::Orphaned,
        Liveness::Idle | Liveness::Ticking if claim == Claim::Accident || op.is_owed() => Liveness::Orphaned,
        // A person is at the terminal. Programs at rest between the person and the reader pass the keys on.
        Liveness::Idle | Liveness::Ticking if op == Op::ReadTerminal => Liveness::External,
        _ => liveness,
    }
}

/// The relation of a releaser to the end that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// It has it on purpose, as far as is known.
    #[default]
    Purpose,
    /// It can act but has no reason to: it inherited the end by accident.
    Accident,
    /// It inherited the end by accident and is a daemon: it is meant to keep running, and will not close the
    /// end, whatever else it does.
    Daemon,
}

/// One of the events that end a wait (OR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// What has to happen.
    pub op: Op,
    /// On what, when it is an object.
    pub object: Option<ObjectId>,
    /// Through which fd of the waiter.
    pub fd: Option<u32>,
    /// All of these must be met (AND).
    pub conditions: Vec<Condition>,
}

/// Something that any one of several releasers can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The parties that could (OR). Empty: none is left.
    pub releasers: Vec<Releaser>,
}

/// A party that could act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Releaser {
    /// Any thread of this process.
    Process {
        /// Position in the evidence.
        process: usize,
        /// Its relation to the end that it holds.
        claim: Claim,
    },
    /// Any thread of this process, except one that only wakes and sleeps again. They share its memory.
    Peers(usize),
    /// This thread.
    Thread(ThreadKey),
    /// A party beyond this machine's processes.
    Outside(Outside),
    /// Any process could (connect to a listener, send a signal): the wait of a program at rest. The text is
    /// the rest of a sentence about it.
    Anyone(&'static str),
    /// A party that is not visible, and why not.
    Unseen(String),
}

/// Beyond this machine's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// A remote host, as `address:port` where known.
    Remote(String),
    /// A person at a terminal.
    Human,
    /// A device or file system.
    Device(String),
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) => write!(f, "the remote peer {address}"),
            Self::Human => f.write_str("a person at the terminal"),
            Self::Device(what) => f.write_str(what),
        }
    }
}

/// Why a thread can continue without another thread of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeedReason {
    /// It made progress during the quiet window, or runs.
    Progress,
    /// Whether it moved was not measured.
    NotMeasured,
    /// Its call ends by itself, after at most this many nanoseconds.
    TimeOut(Option<u64>),
    /// It sleeps, wakes and sleeps again, in a loop that asks for nothing visible.
    Naps(Tick),
    /// Its call is about to return: what it waits for has come.
    Ready,
    /// Any of these signals, which it handles or waits for, ends its wait; `None` when they could not be
    /// read.
    Signal(Option<SignalSet>),
    /// The kernel or any process may send it something.
    Events,
    /// It is stopped: it has to be continued.
    Stopped,
    /// Its cgroup is frozen.
    Frozen,
    /// In an uninterruptible sleep.
    Uninterruptible,
    /// What it reports about itself: a database backend that executes a statement.
    Says(&'static str),
    /// What it does could not be read.
    Unread(String),
}

/// The liveness of a thread without any other thread of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Its liveness.
    pub liveness: Liveness,
    /// The reason for it.
    pub reason: SeedReason,
}

/// A thread's place in the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitNode {
    /// Liveness of its own.
    pub seed: Option<Seed>,
    /// The events that would end its wait.
    pub alternatives: Vec<Alternative>,
    /// It has ended and acts no more.
    pub dead: bool,
    /// It woke during the window by its own time-out and is back in this wait.
    pub tick: Option<Tick>,
    /// Its wait ends by itself after this time at the latest, nanoseconds from now. `None`: never, or "no
    /// deadline".
    pub ends_in_ns: Option<u64>,
}

impl WaitNode {
    pub(super) fn seeded(liveness: Liveness, reason: SeedReason) -> Self {
        Self { seed: Some(Seed { liveness, reason }), ..Self::default() }
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
    pub(super) fn raise(&mut self, liveness: Liveness, reason: SeedReason) {
        if self.seed.as_ref().is_none_or(|seed| seed.liveness < liveness) {
            self.seed = Some(Seed { liveness, reason });
        }
    }

    /// Adds the alternatives and seed of another node: the first event of any of them ends the wait.
    pub(super) fn or(&mut self, other: Self) {
        if let Some(seed) = other.seed {
            self.raise(seed.liveness, seed.reason);
        }
        self.ends_in_ns = match (self.ends_in_ns, other.ends_in_ns) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.alternatives.extend(other.alternatives);
    }

    /// A time-out ends it: a date, which is no reason to expect more than that. A time-out that has passed
    /// already (the thread ticks) is no seed; see [`Tick`].
    pub(super) fn until(mut self, timeout: Timeout) -> Self {
        match timeout {
            Timeout::Never => {}
            Timeout::After(Some(ns)) if ns >= NO_DEADLINE_NS && !self.is_plain_sleep() => {}
            Timeout::After(Some(ns)) if ns > if self.is_plain_sleep() { SLEEPS_FOR_NS } else { SOON_NS } => {
                self.ends_in_ns = Some(ns);
                self.raise(Liveness::Idle, SeedReason::TimeOut(Some(ns)));
            }
            Timeout::After(ns) => {
                self.ends_in_ns = ns;
                self.raise(Liveness::Soon, SeedReason::TimeOut(ns));
            }
            Timeout::Unknown => {
                self.raise(Liveness::External, SeedReason::Unread("its time-out could not be read".into()));
            }
        }
        self
    }

    /// It waits only for a time-out.
    fn is_plain_sleep(&self) -> bool {
        self.alternatives.is_empty() && self.seed.is_none()
    }

    /// Its seed is a date, not an event.
    pub fn is_dated(&self) -> bool {
        self.seed.as_ref().is_some_and(|seed| matches!(seed.reason, SeedReason::TimeOut(_)))
    }
}

/// An alternative with one condition.
pub(super) fn alternative(
    op: Op,
    object: Option<ObjectId>,
    fd: Option<u32>,
    releasers: Vec<Releaser>,
) -> Alternative {
    Alternative { op, object, fd, conditions: vec![Condition { releasers }] }
}

pub(super) fn by_process(process: usize) -> Releaser {
    Releaser::Process { process, claim: Claim::Purpose }
}

/// The kind of call that the waiter sleeps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It sleeps in a call on this one fd. That it sleeps proves that the call cannot proceed, whatever poll
    /// would report.
    Direct,
    /// The fd is one of a set. This many more sets may be nested in it.
    Polled(u32),
    /// The fd is one of an edge-triggered set that has reported its state already: only a change ends the
    /// wait.
    Edge,
}

impl Call {
    /// Whether the call returns as soon as the object is ready.
    pub(super) fn returns_when_ready(self) -> bool {
        matches!(self, Self::Polled(_))
    }
}

/// What the waiter wants to do with the fd.
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

    const RANKS: [Liveness; 7] = [
        Liveness::Stuck,
        Liveness::Orphaned,
        Liveness::Idle,
        Liveness::Ticking,
        Liveness::External,
        Liveness::Soon,
        Liveness::Active,
    ];

    #[test]
    fn liveness_propagates_monotonically() {
        for op in Op::ALL {
            for claim in [Claim::Purpose, Claim::Accident, Claim::Daemon] {
                for pair in RANKS.windows(2) {
                    let less = propagate(op, claim, pair[0]);
                    let more = propagate(op, claim, pair[1]);
                    assert!(less <= more, "{op:?} {claim:?} {pair:?} gives {less:?} > {more:?}");
                }
            }
        }
    }

    #[test]
    fn a_party_that_acts_releases_whatever_it_holds() {
        for op in Op::ALL {
            assert_eq!(propagate(op, Claim::Accident, Liveness::Active), Liveness::Active);
            assert_eq!(propagate(op, Claim::Accident, Liveness::Soon), Liveness::Soon);
        }
    }
}
