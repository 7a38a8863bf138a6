//! From the call that a thread is blocked in to its alternatives: one file for each kind of wait.

mod child;
mod fd;
mod holders;
mod kernel;
mod lock;
mod polled_calls;
mod said;
mod socket;

pub use kernel::{Service, servers};
pub use said::{BackendState, backend_state};

use child::{exit_of, signal_wait};

use super::activity::{Activity, Tick, activity, is_timed};
use super::index::{Index, ThreadKey};
use super::model::{Liveness, Op, Outside, Releaser, SeedReason, WaitNode, Want, alternative, by_process};
use crate::core::evidence::{ChildTarget, ObjectId, Scope, Thread, ThreadState, Timeout, Wait};
use crate::core::signal::Signal;

/// A thread's node in the graph.
pub(super) fn node(index: &Index<'_>, key: ThreadKey) -> WaitNode {
    let process = index.process(key.process);
    let thread = index.thread(key);
    if process.zombie || matches!(thread.state, ThreadState::Zombie | ThreadState::Dead) {
        return WaitNode { dead: true, ..WaitNode::default() };
    }
    if process.kernel_thread || thread.state == ThreadState::Idle {
        return WaitNode::seeded(Liveness::Soon, SeedReason::Ready);
    }
    if process.is_observer {
        return WaitNode::seeded(Liveness::Active, SeedReason::Progress);
    }
    if index.watches_observer(key) {
        // The thread asks what hangs, on behalf of other threads: it is no party.
        return WaitNode::default();
    }
    let tick = match activity(index, key) {
        Activity::Unmeasured => return WaitNode::seeded(Liveness::Active, SeedReason::NotMeasured),
        Activity::Progress => return WaitNode::seeded(Liveness::Active, SeedReason::Progress),
        Activity::Tick(tick) => Some(tick),
        Activity::Rest => None,
    };
    if process.frozen == Some(true) {
        return WaitNode::seeded(Liveness::Orphaned, SeedReason::Frozen);
    }
    match thread.state {
        ThreadState::Running => return WaitNode::seeded(Liveness::Active, SeedReason::Progress),
        ThreadState::Stopped => return WaitNode::seeded(Liveness::Orphaned, SeedReason::Stopped),
        ThreadState::Traced => {
            let tracer = match process.traced_by.and_then(|t| index.by_tgid(t.tgid)) {
                Some(tracer) => by_process(tracer),
                None => Releaser::Unseen("its tracer could not be seen".into()),
            };
            return WaitNode::one(alternative(Op::Trace, None, None, vec![tracer]));
        }
        _ => {}
    }
    if let Some(node) = kernel::request(index, key) {
        return node;
    }
    if thread.state == ThreadState::Uninterruptible && !matches!(thread.wait, Wait::Vfork { .. }) {
        return kernel::uninterruptible(thread);
    }
    match tick {
        Some(tick) => ticking(index, key, thread, tick),
        None => resting(index, key, thread),
    }
}

/// A thread that did not wake: its wait, with what the process reports about itself and the children whose
/// end wakes it.
fn resting(index: &Index<'_>, key: ThreadKey, thread: &Thread) -> WaitNode {
    if let Some(node) = said::waits(index, key, || waiting(index, key, &thread.wait)) {
        return node;
    }
    let mut node = waiting(index, key, &thread.wait);
    if said::is_shutting_down(index.process(key.process))
        && node.alternatives.iter().any(|alternative| alternative.op.is_owed())
    {
        // It accepts nothing new: only work that it still has to deliver keeps it running.
        node.alternatives.retain(|alternative| alternative.op.is_owed());
        node.seed = None;
    }
    if reacts_to_children(index, key, thread) {
        let handles = index.process(key.process).caught.is_some_and(|set| set.contains(Signal::CHLD));
        let signal = node.seed.as_ref().is_some_and(|seed| matches!(seed.reason, SeedReason::Signal(_)));
        if handles && signal {
            // It waits for its children. That it could be sent another signal holds for every program.
            node.seed = None;
        }
        node.or(exit_of(index, index.children(key.process)));
    }
    node
}

/// A thread that woke by its time-out and is back in the same wait: the wait counts, its time-out does not.
fn ticking(index: &Index<'_>, key: ThreadKey, thread: &Thread, tick: Tick) -> WaitNode {
    let wait = if is_timed(&thread.wait) { thread.wait.untimed() } else { thread.wait.clone() };
    let mut node = if matches!(wait, Wait::Sleep { .. }) {
        WaitNode::default()
    } else {
        resting(index, key, &Thread { wait, ..thread.clone() })
    };
    node.alternatives.extend(polled_calls::alternatives(index, key));
    if tick.looks_outside || node.alternatives.is_empty() && node.seed.is_none() {
        node.raise(Liveness::Ticking, SeedReason::Naps(tick));
    }
    node.tick = Some(tick);
    node
}

/// The events after which an fd has something to read.
pub(super) fn readable(index: &Index<'_>, process: usize, fd: u32) -> WaitNode {
    fd::on_fd(index, process, fd, Want::Data)
}

/// A handler for SIGCHLD turns the end of any child into a wake-up of a thread that waits for events or
/// signals.
fn reacts_to_children(index: &Index<'_>, key: ThreadKey, thread: &Thread) -> bool {
    let caught = index.process(key.process).caught.is_none_or(|set| set.contains(Signal::CHLD));
    let waits =
        matches!(thread.wait, Wait::Poll { .. } | Wait::Epoll { .. } | Wait::Pause | Wait::SignalWait { .. });
    caught && waits && !index.children(key.process).is_empty()
}

fn waiting(index: &Index<'_>, key: ThreadKey, wait: &Wait) -> WaitNode {
    let at = key.process;
    let wchan = index.thread(key).wchan.as_deref();
    match wait {
        Wait::Running => WaitNode::seeded(Liveness::Active, SeedReason::Progress),
        Wait::NoCall => WaitNode::unread("it sleeps in no system call"),
        // This wait channel is enough: whatever the arguments, it is a wait for a child.
        Wait::Unreadable if wchan == Some("do_wait") => wait_child(index, at, ChildTarget::Any),
        Wait::Unreadable => WaitNode::unread("its system call could not be read"),
        Wait::Write { fd } => fd::on_fd(index, at, *fd, Want::Room),
        Wait::Read { fd, timeout } => fd::on_fd(index, at, *fd, Want::Data).until(*timeout),
        Wait::Poll { set: None, timeout } => {
            WaitNode::unread("its poll set could not be read").until(*timeout)
        }
        Wait::Poll { set: Some(set), timeout } => {
            let mut all = WaitNode::default();
            for item in set {
                all.or(fd::polled(index, at, item.fd, None, item.events));
            }
            if set.is_empty() && *timeout == Timeout::Never {
                all.raise(Liveness::Idle, SeedReason::Signal(index.process(at).caught));
            }
            all.until(*timeout)
        }
        Wait::Epoll { epfd, timeout } => fd::epoll(index, at, *epfd).until(*timeout),
        Wait::Futex { .. } => futex(index, key, wait),
        Wait::WaitChild { target, .. } => wait_child(index, at, *target),
        Wait::Vfork { child } => match child.and_then(|tgid| index.by_tgid(tgid)) {
            Some(child) => exit_of(index, &[child]),
            None => exit_of(index, index.children(at)),
        },
        Wait::Sleep { timeout: Timeout::Never } => {
            WaitNode::seeded(Liveness::Idle, SeedReason::Signal(index.process(at).caught))
        }
        Wait::Sleep { timeout: Timeout::Unknown } => {
            WaitNode::seeded(Liveness::Soon, SeedReason::TimeOut(None))
        }
        Wait::Sleep { timeout } => WaitNode::default().until(*timeout),
        Wait::Open { object, .. } => open(index, at, *object),
        Wait::Lock { fd, kind, exclusive } => lock::lock(index, key, *fd, *kind, *exclusive),
        Wait::Connect { fd, peer } => socket::connect(index, at, *fd, peer.as_ref()),
        Wait::Accept { fd } => fd::accept(index, at, *fd),
        Wait::Semaphore { id, timeout } => {
            lock::sysv(index, at, ObjectId::SysVSem { id: *id }).until(*timeout)
        }
        Wait::MessageSend { id } | Wait::MessageReceive { id } => {
            lock::sysv(index, at, ObjectId::SysVMsg { id: *id })
        }
        Wait::MqSend { fd, timeout } => fd::on_fd(index, at, *fd, Want::Room).until(*timeout),
        Wait::MqReceive { fd, timeout } => fd::on_fd(index, at, *fd, Want::Data).until(*timeout),
        Wait::Splice { input, output } => splice(index, at, *input, *output),
        Wait::Control { fd, .. } => fd::on_fd(index, at, *fd, Want::Room),
        Wait::Sync { .. } => WaitNode::one(alternative(
            Op::Kernel,
            None,
            None,
            vec![Releaser::Outside(Outside::Device("the disk".into()))],
        )),
        Wait::Pause => signal_wait(index, at, index.process(at).caught),
        Wait::SignalWait { set, timeout } => signal_wait(index, at, *set).until(*timeout),
        Wait::AsyncIo { timeout, .. } => {
            WaitNode::unread("what it submitted to the kernel cannot be seen").until(*timeout)
        }
        Wait::Other { nr } => WaitNode::unread(format!("system call {nr} is not understood")),
    }
}

fn wait_child(index: &Index<'_>, at: usize, target: ChildTarget) -> WaitNode {
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
            // The number of a group within another namespace cannot be read anywhere.
            .filter(|child| index.process(*child).pgrp == pgrp || index.is_inside(at))
            .collect(),
        ChildTarget::PidFd(fd) => return fd::on_fd(index, at, fd, Want::Data),
    };
    // The kernel accepts only children and tracees, and refuses the call for any other process.
    let own = index.process(at).id.tgid;
    targets.retain(|target| {
        let process = index.process(*target);
        process.ppid == own || process.traced_by.is_some_and(|t| t.tgid == own)
    });
    targets.sort_unstable();
    targets.dedup();
    exit_of(index, &targets)
}

/// A splice blocks on the side that cannot proceed. Where both could, it may be either.
fn splice(index: &Index<'_>, at: usize, input: u32, output: u32) -> WaitNode {
    let read = fd::on_fd(index, at, input, Want::Data);
    let write = fd::on_fd(index, at, output, Want::Room);
    let is_ready = |s: &WaitNode| s.seed.as_ref().is_some_and(|seed| seed.reason == SeedReason::Ready);
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

/// Waits in open: for a FIFO's other end, or for something unknown.
fn open(index: &Index<'_>, at: usize, object: Option<ObjectId>) -> WaitNode {
    let Some(id @ ObjectId::Fifo { .. }) = object else {
        return WaitNode::one(alternative(
            Op::Kernel,
            object,
            None,
            vec![Releaser::Outside(Outside::Device("what it opens".into()))],
        ));
    };
    // A process of the same job might still open the other end. Others have no reason to.
    let family = index.process(at);
    let relatives = (0..index.evidence().processes.len()).filter(|other| {
        let p = index.process(*other);
        *other != at
            && !p.zombie
            && !p.kernel_thread
            && !index.leads_to_observer(*other)
            && (p.shares_session(family)
                || family.sid.is_none() && p.in_scope
                || index.is_ancestor(at, *other))
    });
    // A traced session is the whole job. Its parent, a shell or a CI runner, may be busy with anything.
    let whole = family.in_scope && matches!(index.evidence().scope, Scope::Session(_));
    let (inside, outside): (Vec<usize>, Vec<usize>) =
        relatives.partition(|other| !whole || index.process(*other).in_scope);
    let mut any: Vec<Releaser> = inside.into_iter().map(by_process).collect();
    if !outside.is_empty() {
        any.push(Releaser::Anyone("a process outside of the job may open it"));
    }
    WaitNode::one(alternative(Op::OpenFifo, Some(id), None, any))
}

fn futex(index: &Index<'_>, key: ThreadKey, wait: &Wait) -> WaitNode {
    let Wait::Futex { private, timeout, owner_tid, shared, value, word, .. } = wait else {
        return WaitNode::default();
    };
    let inside = index.is_inside(key.process);
    // pthread_join sleeps until the kernel clears the thread's id at its end (glibc,
    // nptl/pthread_join_common.c).
    let joined = index.by_tid(*value).filter(|to| !inside && to.process == key.process && *to != key);
    if let Some(thread) = joined.filter(|_| *word == Some(*value)) {
        return WaitNode::one(alternative(Op::Futex, None, None, vec![Releaser::Thread(thread)]))
            .until(*timeout);
    }
    // Within another pid namespace the numbers in memory are that namespace's.
    let owner_tid = owner_tid.filter(|_| !inside);
    let releasers = match owner_tid {
        Some(tid) => index.by_tid(tid).map(Releaser::Thread).into_iter().collect(),
        None if *private => vec![Releaser::Peers(key.process)],
        None => match shared.as_ref().and_then(|s| s.mapped_by.as_ref()) {
            Some(tgids) => tgids.iter().filter_map(|tgid| index.by_tgid(*tgid)).map(by_process).collect(),
            None => vec![Releaser::Unseen("who else maps the shared memory could not be read".into())],
        },
    };
    let op = if owner_tid.is_some() { Op::Lock } else { Op::Futex };
    WaitNode::one(alternative(op, None, None, releasers)).until(*timeout)
}
