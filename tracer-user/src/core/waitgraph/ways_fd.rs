//! Ways out of waits on file descriptors: who can write to, read from, unlock or accept what.

use super::hope::Hope;
use super::index::{Holder, Index};
use super::ways::{Actor, Op, Outside, Standing, Why, by_process, exit_of, only_children, signal_wait, way};
use super::ways_socket;
use crate::core::evidence::{
    Access, AnonKind, ObjectFacts, ObjectId, PipeFacts, PtySide, Thread, Timeout, UnixFacts, Wait, events,
};

/// How deep epoll sets may lie in each other (the kernel allows 5).
const NESTING: u32 = 5;

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

/// The ways out of a call that blocks on one fd.
pub(super) fn on_fd(index: &Index<'_>, at: usize, number: u32, want: Want) -> Standing {
    match index.process(at).fd(number) {
        Some(fd) => on_object(index, at, fd.object, Some(number), want, Call::Direct),
        None => Standing::unread(format!("what its fd {number} is could not be read")),
    }
}

/// The ways out that one entry of a poll, select or epoll set offers.
pub(super) fn polled(
    index: &Index<'_>,
    at: usize,
    number: u32,
    object: Option<ObjectId>,
    events: u32,
) -> Standing {
    polled_nested(index, at, number, object, events, NESTING)
}

fn polled_nested(
    index: &Index<'_>,
    at: usize,
    number: u32,
    object: Option<ObjectId>,
    wanted: u32,
    depth: u32,
) -> Standing {
    let Some(object) = object.or_else(|| index.process(at).fd(number).map(|fd| fd.object)) else {
        return Standing::unread(format!("what its fd {number} is could not be read"));
    };
    let mut all = Standing::default();
    if wanted & events::OUT != 0 {
        all.or(on_object(index, at, object, Some(number), Want::Room, Call::Polled(depth)));
    }
    // Hang-ups are always told: whoever could write could also close.
    if wanted & (events::IN | events::PRI | events::RDHUP) != 0 || wanted & events::OUT == 0 {
        all.or(on_object(index, at, object, Some(number), Want::Data, Call::Polled(depth)));
    }
    if wanted & events::EDGE != 0 && all.seed.as_ref().is_some_and(|s| s.why == Why::Ready) {
        // Ready, and yet asleep: an edge-triggered set tells changes only. Only a new event will do, from whoever makes it.
        all.seed = Some(super::ways::Seed {
            hope: Hope::External,
            why: Why::Unread("an edge that may have been missed".into()),
        });
    }
    all
}

/// The ways out of epoll_wait.
pub(super) fn epoll(index: &Index<'_>, at: usize, epfd: u32) -> Standing {
    match index.process(at).fd(epfd) {
        Some(fd) => epoll_set(index, at, fd.object, NESTING),
        None => Standing::unread("its epoll set could not be read"),
    }
}

fn epoll_set(index: &Index<'_>, at: usize, id: ObjectId, depth: u32) -> Standing {
    const MODIFIERS: u32 = events::ONESHOT | events::EDGE | 1 << 29 | 1 << 28 | events::ERR | events::HUP;
    let ObjectFacts::Epoll { interest: Some(interest) } = index.facts(&id) else {
        return Standing::unread("its epoll set could not be read");
    };
    let mut all = Standing::default();
    for item in interest {
        let disarmed = item.events & events::ONESHOT != 0 && item.events & !MODIFIERS == 0;
        if !disarmed && depth > 0 {
            all.or(polled_nested(index, at, item.fd, item.object, item.events, depth - 1));
        }
    }
    if interest.is_empty() {
        all.hope(Hope::Waiting, Why::Signal);
    }
    all
}

pub(super) fn on_object(
    index: &Index<'_>,
    at: usize,
    id: ObjectId,
    fd: Option<u32>,
    want: Want,
    call: Call,
) -> Standing {
    match id {
        ObjectId::Pipe { .. } | ObjectId::Fifo { .. } => pipe(index, at, id, fd, want, call),
        ObjectId::Unix { .. } => match index.facts(&id) {
            ObjectFacts::Unix(facts) => ways_socket::unix(index, at, id, facts, fd, want, call),
            _ => Standing::unread("the peer of its UNIX socket could not be read"),
        },
        ObjectId::Inet { .. } => match index.facts(&id) {
            ObjectFacts::Inet(facts) => ways_socket::inet(index, at, id, facts, fd, want, call),
            _ => Standing::unread("the peer of its socket could not be read"),
        },
        ObjectId::Pty { index: number, side } => pty(index, at, number, side, fd, want),
        ObjectId::Tty { .. } => {
            let op = if want == Want::Data { Op::ReadTerminal } else { Op::Write };
            Standing::one(way(op, Some(id), fd, vec![Actor::Outside(Outside::Human)]))
        }
        ObjectId::File { .. } => Standing::ready(),
        ObjectId::Device { .. } => Standing::one(way(
            Op::Kernel,
            Some(id),
            fd,
            vec![Actor::Outside(Outside::Device("the device".into()))],
        )),
        ObjectId::Anon { kind, .. } => anonymous(index, at, id, kind, fd, want, call),
        ObjectId::MessageQueue { .. } => {
            let op = if want == Want::Data { Op::Read } else { Op::Write };
            let wanted = if want == Want::Data { Access::writes } else { Access::reads };
            Standing::one(way(op, Some(id), fd, parties(index, at, &id, wanted, op)))
        }
        ObjectId::Socket { .. } => {
            let reach = &index.evidence().reach;
            if reach.unix_peers && reach.inet_sockets {
                // Of a family that is neither: the kernel tells it things, or another machine does.
                Standing::seeded(Hope::Waiting, Why::Signal)
            } else {
                Standing::unread("what kind of socket it waits on could not be read")
            }
        }
        ObjectId::SysVSem { .. } | ObjectId::SysVMsg { .. } | ObjectId::Unknown => {
            Standing::unread("what its fd refers to could not be told")
        }
    }
}

fn anonymous(
    index: &Index<'_>,
    at: usize,
    id: ObjectId,
    kind: AnonKind,
    fd: Option<u32>,
    want: Want,
    call: Call,
) -> Standing {
    match (kind, index.facts(&id)) {
        (AnonKind::Epoll, _) => match call {
            Call::Direct => Standing::unread("it sleeps in a call on an epoll set"),
            Call::Polled(depth) => epoll_set(index, at, id, depth.saturating_sub(1)),
        },
        (AnonKind::EventFd, ObjectFacts::EventFd { count: Some(count) }) => {
            if call != Call::Direct && (want == Want::Room || *count > 0) {
                return Standing::ready();
            }
            let any = index.holding(&id, |_| true).into_iter().map(by_process).collect();
            Standing::one(way(Op::Read, Some(id), fd, any))
        }
        (AnonKind::TimerFd, ObjectFacts::TimerFd { remaining_ns: Some(remaining), ticks }) => {
            match (remaining, ticks) {
                (_, Some(1..)) => Standing::ready(),
                // Not armed: whoever shares it would have to set it.
                (0, _) => {
                    let any = index.holding(&id, |_| true).into_iter().map(by_process).collect();
                    Standing::one(way(Op::Read, Some(id), fd, any))
                }
                (ns, _) => Standing::default().until(Timeout::After(Some(*ns))),
            }
        }
        (AnonKind::SignalFd, ObjectFacts::SignalFd { mask }) => match mask {
            Some(mask) if only_children(*mask) && index.children(at).is_empty() => Standing::default(),
            mask => signal_wait(index, at, *mask),
        },
        (AnonKind::PidFd, ObjectFacts::PidFd { target, exited }) => match (exited, target) {
            (Some(true), _) => Standing::ready(),
            (_, Some(tgid)) => match index.by_tgid(*tgid) {
                Some(process) => {
                    let mut standing = exit_of(index, &[process]);
                    for way in &mut standing.ways {
                        (way.object, way.fd) = (Some(id), fd);
                    }
                    standing
                }
                None => Standing::unread("the process behind its pidfd could not be seen"),
            },
            (_, None) => Standing::unread("the process behind its pidfd could not be read"),
        },
        // Requests of the kernel and changes of files come from anybody: a server at rest.
        (AnonKind::Inotify | AnonKind::Fanotify | AnonKind::UserFault | AnonKind::SeccompNotify, _) => {
            Standing::one(way(
                Op::Accept,
                Some(id),
                fd,
                vec![Actor::Anyone("the kernel's requests come from anybody")],
            ))
        }
        _ => Standing::unread("the state of an anonymous file could not be read"),
    }
}

fn pipe(index: &Index<'_>, at: usize, id: ObjectId, fd: Option<u32>, want: Want, call: Call) -> Standing {
    let unknown = PipeFacts::default();
    let facts = index.pipe(&id).unwrap_or(&unknown);
    let (blocked, op, wanted, count): (_, _, fn(Access) -> bool, _) = match want {
        Want::Room => (facts.is_full(), Op::Write, Access::reads, facts.readers),
        Want::Data => (facts.is_empty(), Op::Read, Access::writes, facts.writers),
    };
    match blocked {
        None if call != Call::Direct => return Standing::unread("what is in its pipe could not be read"),
        Some(false) => return Standing::ready(),
        _ if count == Some(0) => return Standing::ready(),
        _ => {}
    }
    let mut any = parties(index, at, &id, wanted, op);
    let found = index.holders(&id).iter().filter(|h| wanted(h.fd.access));
    if let Some(count) = count
        && let Some(missing) = missing_ends(found, count)
    {
        let flying = in_flight(index, at);
        if flying.is_empty() {
            any.push(Actor::Unseen(format!(
                "the kernel counts {count} such ends of the pipe, of which {missing} are in no process's fd table"
            )));
        }
        any.extend(flying.into_iter().filter(|actor| !any.contains(actor)).collect::<Vec<_>>());
    }
    Standing::one(way(op, Some(id), fd, any))
}

/// How many of `count` open file descriptions are surely in none of the fds found.
///
/// Several fds may share a description, so fewer fds than descriptions is proof, and equal numbers are not.
fn missing_ends<'a>(found: impl Iterator<Item = &'a Holder<'a>>, count: u32) -> Option<u32> {
    let mut known = std::collections::HashSet::new();
    let mut unknown = 0_u32;
    for holder in found {
        match holder.fd.description {
            Some(description) => {
                known.insert(description);
            }
            None => unknown += 1,
        }
    }
    let described = u32::try_from(known.len()).unwrap_or(u32::MAX).saturating_add(unknown);
    count.checked_sub(described).filter(|missing| *missing > 0)
}

/// The processes that hold `id` in a wanted mode; says so where one could not be looked into, or nobody was found.
pub(super) fn parties(
    index: &Index<'_>,
    at: usize,
    id: &ObjectId,
    wanted: impl Fn(Access) -> bool,
    op: Op,
) -> Vec<Actor> {
    let mut any: Vec<Actor> = index
        .holding(id, &wanted)
        .into_iter()
        .map(|process| Actor::Process {
            process,
            no_reason: op == Op::Read && process != at && has_no_reason(index, at, process, id, &wanted),
        })
        .collect();
    if let Some(other) = index.relevant_unread(at) {
        any.push(Actor::Unseen(format!(
            "the fds of process {} could not be read",
            index.process(other).id.tgid
        )));
    } else if any.is_empty() {
        // In nobody's table: in a message that lies unread in a socket of the same job, whose owner could take it out, or out of sight.
        any.extend(in_flight(index, at));
        if any.is_empty() {
            any.push(Actor::Unseen("no process was found that holds the other end".into()));
        }
    }
    any
}

/// Those who could take an end out of a message that lies unread in a socket of the waiter's job.
fn in_flight(index: &Index<'_>, at: usize) -> Vec<Actor> {
    receivers(index, at).into_iter().map(|process| Actor::Process { process, no_reason: true }).collect()
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

/// The holder could write, but got its end by accident: nobody who reads should count on it.
///
/// It is adrift (what it was started by has ended), or it keeps the end on a descriptor that no program uses by custom, has never
/// written a byte to anything, and sleeps.
fn has_no_reason(
    index: &Index<'_>,
    reader: usize,
    holder: usize,
    id: &ObjectId,
    wanted: impl Fn(Access) -> bool,
) -> bool {
    let process = index.process(holder);
    if index.is_ancestor(holder, reader) {
        return false;
    }
    if index.is_adrift(holder, reader, id) {
        return true;
    }
    if overlooks(index, holder, id) {
        return true;
    }
    // Somebody has to have ended for an end of file to be due, and whoever the reader talks to by other ends as well got this one on purpose.
    if !(saw_an_end(index, reader) || is_fed(index, reader, id)) || converses(index, reader, holder, id) {
        return false;
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
    stray && silent && asleep && !forked_only
}

/// What was sent to the holder of this end lies unread, and the holder idles without looking at it: it waits for other things, and nothing makes it answer.
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

/// The pipe is its standard input, and whoever started it keeps no end to write to: all that was to come has been written.
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
        Wait::Sleep { timeout: Timeout::After(Some(ns)) } => *ns > super::ways::SOON_NS,
        Wait::Sleep { timeout: Timeout::Never } | Wait::Pause => true,
        _ => false,
    }
}

fn pty(index: &Index<'_>, at: usize, number: u32, side: PtySide, fd: Option<u32>, want: Want) -> Standing {
    let id = ObjectId::Pty { index: number, side };
    if let ObjectFacts::Terminal { readable_bytes, writable, .. } = index.facts(&id) {
        let ready = match want {
            Want::Data => readable_bytes.map(|n| n > 0),
            Want::Room => *writable,
        };
        if ready == Some(true) {
            return Standing::ready();
        }
    }
    let (other, op) = match (side, want) {
        (PtySide::Slave, Want::Data) => (PtySide::Master, Op::ReadTerminal),
        (PtySide::Slave, Want::Room) => (PtySide::Master, Op::Write),
        (PtySide::Master, Want::Data) => (PtySide::Slave, Op::Read),
        (PtySide::Master, Want::Room) => (PtySide::Slave, Op::Write),
    };
    let peer = ObjectId::Pty { index: number, side: other };
    let wanted: fn(Access) -> bool = if want == Want::Data { Access::writes } else { Access::reads };
    Standing::one(way(op, Some(id), fd, parties(index, at, &peer, wanted, op)))
}
