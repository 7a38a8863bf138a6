//! The holders of the other end of an object, and whether a holder has a reason to use it.

use crate::core::evidence::{
    Access, AnonKind, ObjectFacts, ObjectId, Process, TcpState, Thread, Timeout, UnixFacts, UnixState, Wait,
};
use crate::core::waitgraph::activity::is_own_wake_up;
use crate::core::waitgraph::index::{Index, ThreadKey};
use crate::core::waitgraph::model::{Claim, Op, Releaser, SOON_NS};

/// The processes that hold `id` in a wanted mode, and releasers of their own for a process that could not be
/// read and for an end without a holder.
pub(super) fn parties(
    index: &Index<'_>,
    at: usize,
    id: &ObjectId,
    wanted: impl Fn(Access) -> bool,
    op: Op,
) -> Vec<Releaser> {
    if op == Op::Read && is_own_wake_up(index, at, id) {
        return vec![Releaser::Peers(at)];
    }
    if op == Op::Read && is_connection(index, id) {
        let serving = serving_threads(index, at, id);
        if !serving.is_empty() {
            return serving;
        }
    }
    let mut any: Vec<Releaser> = index
        .holding(id, &wanted)
        .into_iter()
        .map(|process| Releaser::Process {
            process,
            claim: if op == Op::Read && process != at {
                claim(index, at, process, id, &wanted)
            } else {
                Claim::Purpose
            },
        })
        .collect();
    if let Some(other) = index.relevant_unread(at) {
        any.push(Releaser::Unseen(format!(
            "the fds of process {} could not be read",
            index.process(other).id.tgid
        )));
    } else if any.is_empty() {
        // In no process's table: in an unread message in a socket of the same job, whose owner could receive
        // it, or out of sight.
        any.extend(in_flight(index, at));
        if any.is_empty() {
            any.push(Releaser::Unseen("no process was found that holds the other end".into()));
        }
    }
    any
}

/// The processes that could receive an end from an unread message in a socket of the waiter's job.
pub(super) fn in_flight(index: &Index<'_>, at: usize) -> Vec<Releaser> {
    receivers(index, at)
        .into_iter()
        .map(|process| Releaser::Process { process, claim: Claim::Accident })
        .collect()
}

/// The processes of the waiter's job that hold a UNIX socket with fds in unread messages.
fn receivers(index: &Index<'_>, at: usize) -> Vec<usize> {
    let waiter = index.process(at);
    let mut out: Vec<usize> = index
        .evidence()
        .objects
        .iter()
        .filter(|o| matches!(&o.facts, ObjectFacts::Unix(f) if f.fds_in_flight.is_some_and(|n| n > 0)))
        .flat_map(|o| index.holding(&o.id, |_| true))
        .filter(|p| index.process(*p).in_scope && waiter.in_scope || index.process(*p).shares_session(waiter))
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// The holder's relation to its end. It got the end by accident when it is adrift (the process that started
/// it has ended), or when it has the end on a descriptor that programs do not use by convention, has never
/// written a byte to anything, and sleeps: a reader cannot count on it.
fn claim(
    index: &Index<'_>,
    reader: usize,
    holder: usize,
    id: &ObjectId,
    wanted: impl Fn(Access) -> bool,
) -> Claim {
    let process = index.process(holder);
    if index.is_ancestor(holder, reader) {
        return Claim::Purpose;
    }
    if overlooks(index, holder, id) {
        return Claim::Accident;
    }
    if is_connection(index, id) {
        return Claim::Purpose;
    }
    if index.is_adrift(holder, reader, id) {
        return if is_daemon(index, holder, reader) { Claim::Daemon } else { Claim::Accident };
    }
    // An end of file is due only after a process has ended. A process that the reader also talks to over
    // other ends got this one on purpose.
    if !(saw_an_end(index, reader) || is_fed(index, reader, id)) || converses(index, reader, holder, id) {
        return Claim::Purpose;
    }
    let stray = index
        .holders(id)
        .iter()
        .filter(|h| h.process == holder && wanted(h.fd.access))
        .all(|h| h.fd.number > 2);
    let silent = process.io.is_some_and(|io| io.written_bytes == 0);
    let other = index.process(reader);
    let forked_only =
        process.cmdline.is_none() || other.cmdline.is_none() || process.cmdline == other.cmdline;
    let asleep = process.threads.iter().all(rests);
    if stray && silent && asleep && !forked_only { Claim::Accident } else { Claim::Purpose }
}

/// The holder belongs to a daemon: the top of its family leads a login session of its own and was handed to
/// init. The reader does not: its parent is alive and waits for what it reads.
fn is_daemon(index: &Index<'_>, holder: usize, reader: usize) -> bool {
    let orphan = |at: usize| {
        let process = index.process(at);
        process.ppid == 1
            || index.by_tgid(process.ppid).is_some_and(|parent| index.process(parent).reaper == Some(true))
    };
    let Some(top) = index.ancestors(holder).find(|at| orphan(*at)) else { return false };
    let process = index.process(top);
    process.sid == Some(process.id.tgid) && !index.process(reader).shares_session(process) && !orphan(reader)
}

/// The threads of a connection's server that may be at work on a request: it was taken (no thread waits for
/// more on this connection), so a thread that only waits for other clients will not answer it. Empty where
/// that is unknown.
fn serving_threads(index: &Index<'_>, client: usize, end: &ObjectId) -> Vec<Releaser> {
    let holders = index.holding(end, |_| true);
    let [server] = holders.as_slice() else { return Vec::new() };
    let process = index.process(*server);
    if *server == client
        || process.threads.len() < 2
        || process.threads.iter().any(|t| looks_at(index, process, t, end))
    {
        return Vec::new();
    }
    let waits_for_clients = |thread: &Thread| match &thread.wait {
        Wait::Accept { .. } => true,
        Wait::Poll { set: Some(set), .. } => set.iter().any(|item| listens(index, process, item.fd, None)),
        Wait::Epoll { epfd, .. } => match process.fd(*epfd).map(|fd| index.facts(&fd.object)) {
            Some(ObjectFacts::Epoll { interest: Some(interest) }) => {
                interest.iter().any(|item| listens(index, process, item.fd, item.object))
            }
            _ => false,
        },
        _ => false,
    };
    let (idle, busy): (Vec<usize>, Vec<usize>) =
        (0..process.threads.len()).partition(|at| waits_for_clients(&process.threads[*at]));
    if idle.is_empty() || busy.is_empty() {
        return Vec::new();
    }
    busy.into_iter().map(|thread| Releaser::Thread(ThreadKey { process: *server, thread })).collect()
}

fn listens(index: &Index<'_>, process: &Process, fd: u32, object: Option<ObjectId>) -> bool {
    let object = object.or_else(|| process.fd(fd).map(|fd| fd.object));
    object.is_some_and(|object| match index.facts(&object) {
        ObjectFacts::Unix(facts) => facts.state == Some(UnixState::Listening),
        ObjectFacts::Inet(facts) => facts.state == Some(TcpState::Listen),
        _ => false,
    })
}

/// The thread waits for something on this end, or may.
fn looks_at(index: &Index<'_>, process: &Process, thread: &Thread, end: &ObjectId) -> bool {
    match &thread.wait {
        Wait::Accept { .. } | Wait::Futex { .. } | Wait::Sleep { .. } | Wait::Pause => false,
        Wait::Read { fd, .. } | Wait::Write { fd } => process.fd(*fd).is_none_or(|fd| fd.object == *end),
        Wait::Poll { set: Some(set), .. } => {
            set.iter().any(|item| process.fd(item.fd).is_none_or(|fd| fd.object == *end))
        }
        Wait::Epoll { epfd, .. } => process.fd(*epfd).is_none_or(|fd| watches(index, &fd.object, end)),
        _ => true,
    }
}

/// The end is one of a connection that was made and accepted, not of an inherited pair: it has a server and a
/// client, and a wait for an answer is a wait for that process. Names distinguish the two: an accepted socket
/// has the name of its listener, and both ends of a socketpair have none.
fn is_connection(index: &Index<'_>, end: &ObjectId) -> bool {
    let named = |id: &ObjectId| match index.facts(id) {
        ObjectFacts::Unix(facts) => facts.path.as_ref().is_some_and(|path| !path.as_bytes().is_empty()),
        _ => false,
    };
    match (end, index.facts(end)) {
        (ObjectId::Inet { .. }, _) => true,
        (ObjectId::Unix { .. }, ObjectFacts::Unix(UnixFacts { peer, .. })) => {
            named(end) || peer.is_some_and(|ino| named(&ObjectId::Unix { ino }))
        }
        _ => false,
    }
}

/// Data for the holder of this end is unread, and the holder idles without looking at it: it waits for other
/// things, and has no reason to answer.
fn overlooks(index: &Index<'_>, holder: usize, end: &ObjectId) -> bool {
    let unread = match index.facts(end) {
        ObjectFacts::Unix(facts) => facts.receive_queue,
        ObjectFacts::Inet(facts) if facts.stream => facts.receive_queue,
        _ => None,
    };
    let process = index.process(holder);
    let mut idles = false;
    for thread in &process.threads {
        let looks = match &thread.wait {
            Wait::Accept { fd } => process.fd(*fd).is_none_or(|fd| fd.object == *end),
            Wait::Poll { set: Some(set), .. } => {
                set.iter().any(|item| process.fd(item.fd).is_none_or(|fd| fd.object == *end))
            }
            Wait::Epoll { epfd, .. } => process.fd(*epfd).is_none_or(|fd| watches(index, &fd.object, end)),
            Wait::Futex { .. } => continue,
            _ => return false,
        };
        if looks {
            return false;
        }
        idles = true;
    }
    idles && unread.is_some_and(|bytes| bytes > 0)
}

/// The end is in the epoll set, or may be.
fn watches(index: &Index<'_>, set: &ObjectId, end: &ObjectId) -> bool {
    let ObjectFacts::Epoll { interest: Some(interest) } = index.facts(set) else { return true };
    let nested = |object: &ObjectId| matches!(object, ObjectId::Anon { kind: AnonKind::Epoll, .. });
    interest.iter().any(|item| item.object.is_none_or(|object| object == *end || nested(&object)))
}

/// A child of the reader has ended, collected or not.
fn saw_an_end(index: &Index<'_>, reader: usize) -> bool {
    index.process(reader).has_collected == Some(true)
        || index.children(reader).iter().any(|child| index.process(*child).zombie)
}

/// The pipe is its standard input, and the process that started it has no end to write to: all input has been
/// written.
fn is_fed(index: &Index<'_>, reader: usize, id: &ObjectId) -> bool {
    let process = index.process(reader);
    let parent = index.by_tgid(process.ppid);
    process.fd(0).is_some_and(|fd| fd.object == *id)
        && parent.is_some_and(|parent| !index.holders(id).iter().any(|h| h.process == parent))
}

/// The two hold opposite ends of something else.
fn converses(index: &Index<'_>, one: usize, other: usize, but: &ObjectId) -> bool {
    let ends = |at: usize| index.process(at).fds.iter().flatten().filter(|fd| fd.object != *but);
    ends(one).any(|mine| match mine.object {
        ObjectId::Pipe { .. } | ObjectId::Fifo { .. } => ends(other).any(|its| {
            its.object == mine.object
                && (its.access.reads() && mine.access.writes() || its.access.writes() && mine.access.reads())
        }),
        ObjectId::Unix { .. } => match index.facts(&mine.object) {
            ObjectFacts::Unix(UnixFacts { peer: Some(ino), .. }) => {
                let peer = ObjectId::Unix { ino: *ino };
                peer != *but && ends(other).any(|its| its.object == peer)
            }
            _ => false,
        },
        _ => false,
    })
}

fn rests(thread: &Thread) -> bool {
    match &thread.wait {
        Wait::Sleep { timeout: Timeout::After(Some(ns)) } => *ns > SOON_NS,
        Wait::Sleep { timeout: Timeout::Never } | Wait::Pause => true,
        _ => false,
    }
}
