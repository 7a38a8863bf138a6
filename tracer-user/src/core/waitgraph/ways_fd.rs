//! Ways out of waits on file descriptors: who can write to, read from, unlock or accept what.

use super::hope::Hope;
use super::index::{Holder, Index, ThreadKey};
use super::ways::{
    Actor, Op, Outside, Requirement, Standing, Way, Why, by_process, exit_of, only_children, signal_wait, way,
};
use crate::core::evidence::{
    Access, AnonKind, Fd, InetFacts, LockKind, LockMode, Name, ObjectFacts, ObjectId, PtySide, TcpState,
    Thread, Timeout, UnixFacts, UnixKind, UnixState, Wait, events,
};

/// How deep epoll sets may lie in each other (the kernel allows 5).
const NESTING: u32 = 5;

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
        Some(fd) => on_object(index, at, fd.object, Some(number), want, NESTING),
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
        all.or(on_object(index, at, object, Some(number), Want::Room, depth));
    }
    // Hang-ups are always told: whoever could write could also close.
    if wanted & (events::IN | events::PRI | events::RDHUP) != 0 || wanted & events::OUT == 0 {
        all.or(on_object(index, at, object, Some(number), Want::Data, depth));
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

fn on_object(
    index: &Index<'_>,
    at: usize,
    id: ObjectId,
    fd: Option<u32>,
    want: Want,
    depth: u32,
) -> Standing {
    match id {
        ObjectId::Pipe { .. } | ObjectId::Fifo { .. } => pipe(index, at, id, fd, want),
        ObjectId::Unix { .. } => match index.facts(&id) {
            ObjectFacts::Unix(facts) => unix(index, at, id, facts, fd, want),
            _ => Standing::unread("the peer of its UNIX socket could not be read"),
        },
        ObjectId::Inet { .. } => match index.facts(&id) {
            ObjectFacts::Inet(facts) => inet(index, at, id, facts, fd, want),
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
        ObjectId::Anon { kind, .. } => anonymous(index, at, id, kind, fd, want, depth),
        ObjectId::MessageQueue { .. } => {
            let op = if want == Want::Data { Op::Read } else { Op::Write };
            let wanted = if want == Want::Data { Access::writes } else { Access::reads };
            Standing::one(way(op, Some(id), fd, parties(index, at, &id, wanted, op)))
        }
        ObjectId::Socket { .. } => Standing::seeded(Hope::Waiting, Why::Signal),
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
    depth: u32,
) -> Standing {
    match (kind, index.facts(&id)) {
        (AnonKind::Epoll, _) => epoll_set(index, at, id, depth.saturating_sub(1)),
        (AnonKind::EventFd, ObjectFacts::EventFd { count: Some(count) }) => {
            if want == Want::Room || *count > 0 {
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

fn pipe(index: &Index<'_>, at: usize, id: ObjectId, fd: Option<u32>, want: Want) -> Standing {
    let Some(facts) = index.pipe(&id) else {
        return Standing::unread("what is in its pipe could not be read");
    };
    let (blocked, op, wanted, count): (_, _, fn(Access) -> bool, _) = match want {
        Want::Room => (facts.is_full(), Op::Write, Access::reads, facts.readers),
        Want::Data => (facts.is_empty(), Op::Read, Access::writes, facts.writers),
    };
    match blocked {
        None => return Standing::unread("what is in its pipe could not be read"),
        Some(false) => return Standing::ready(),
        Some(true) if count == Some(0) => return Standing::ready(),
        Some(true) => {}
    }
    let mut any = parties(index, at, &id, wanted, op);
    let found = index.holders(&id).iter().filter(|h| wanted(h.fd.access));
    if let Some(count) = count
        && let Some(missing) = missing_ends(found, count)
    {
        any.push(Actor::Unseen(format!(
            "the kernel counts {count} such ends of the pipe, of which {missing} are in no process's fd table"
        )));
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
fn parties(
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
        any.push(Actor::Unseen("no process was found that holds the other end".into()));
    }
    any
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
    let stray = index
        .holders(id)
        .iter()
        .filter(|h| h.process == holder && wanted(h.fd.access))
        .all(|h| h.fd.number > 2);
    let silent = process.io.is_some_and(|io| io.written_bytes == 0);
    let forked_only = process.cmdline == index.process(reader).cmdline;
    let asleep = process.threads.iter().all(rests);
    stray && silent && asleep && !forked_only
}

fn rests(thread: &Thread) -> bool {
    match &thread.wait {
        Wait::Sleep { timeout: Timeout::After(Some(ns)) } => *ns > super::ways::SOON_NS,
        Wait::Sleep { timeout: Timeout::Never } | Wait::Pause => true,
        _ => false,
    }
}

fn unix(
    index: &Index<'_>,
    at: usize,
    id: ObjectId,
    facts: &UnixFacts,
    fd: Option<u32>,
    want: Want,
) -> Standing {
    if facts.state == Some(UnixState::Listening) {
        return listening(id, facts.receive_queue, fd);
    }
    let ready = match want {
        Want::Room => facts.writable,
        Want::Data => facts.readable.or_else(|| facts.receive_queue.map(|n| n > 0)),
    };
    if ready == Some(true) {
        return Standing::ready();
    }
    let (op, wanted): (_, fn(Access) -> bool) = match want {
        Want::Room => (Op::Write, Access::reads),
        Want::Data => (Op::Read, Access::writes),
    };
    let datagram = facts.kind == Some(UnixKind::Datagram);
    match facts.peer {
        Some(0) if datagram && want == Want::Data => Standing::one(way(
            Op::Accept,
            Some(id),
            fd,
            vec![Actor::Anyone("any process may send to its socket")],
        )),
        Some(0) => {
            let pending = pending_listeners(index);
            match pending.as_slice() {
                [listener] => Standing::one(way(
                    Op::Connect,
                    Some(*listener),
                    fd,
                    parties(index, at, listener, |_| true, Op::Connect),
                )),
                _ => Standing::unread("its UNIX socket's peer has no owner"),
            }
        }
        Some(ino) => {
            let peer = ObjectId::Unix { ino };
            Standing::one(way(op, Some(id), fd, parties(index, at, &peer, wanted, op)))
        }
        None => Standing::unread("the peer of its UNIX socket could not be read"),
    }
}

/// UNIX listeners with connections that nobody has accepted yet.
fn pending_listeners(index: &Index<'_>) -> Vec<ObjectId> {
    index
        .evidence()
        .objects
        .iter()
        .filter(|o| match &o.facts {
            ObjectFacts::Unix(f) => {
                f.state == Some(UnixState::Listening) && f.receive_queue.is_some_and(|n| n > 0)
            }
            _ => false,
        })
        .map(|o| o.id)
        .collect()
}

fn listening(id: ObjectId, queue: Option<u64>, fd: Option<u32>) -> Standing {
    if queue.is_some_and(|n| n > 0) {
        return Standing::ready();
    }
    Standing::one(way(Op::Accept, Some(id), fd, vec![Actor::Anyone("anybody may connect")]))
}

fn inet(
    index: &Index<'_>,
    at: usize,
    id: ObjectId,
    facts: &InetFacts,
    fd: Option<u32>,
    want: Want,
) -> Standing {
    if facts.state == Some(TcpState::Listen) {
        return listening(id, facts.receive_queue, fd);
    }
    let ready = match want {
        Want::Room => facts.writable,
        Want::Data => facts.readable.or_else(|| facts.receive_queue.map(|n| n > 0)),
    };
    let hung_up = facts.stream
        && matches!(facts.state, Some(TcpState::CloseWait | TcpState::Close))
        && want == Want::Data;
    if ready == Some(true) || hung_up {
        return Standing::ready();
    }
    let remote = facts.remote.filter(|r| r.port != 0);
    let Some(remote) = remote else {
        let any = vec![Actor::Anyone("any host may send to its socket")];
        return Standing::one(way(Op::Accept, Some(id), fd, any));
    };
    let (op, wanted): (_, fn(Access) -> bool) = match want {
        Want::Room => (Op::Write, Access::reads),
        Want::Data => (Op::Read, Access::writes),
    };
    let any = match (facts.peer, facts.listener) {
        (Some(0), None) => {
            return Standing::unread("the local owner of the connection's other end has closed it");
        }
        (Some(ino), _) if ino != 0 => parties(index, at, &ObjectId::Inet { ino }, wanted, op),
        (_, Some(ino)) => {
            let listener = ObjectId::Inet { ino };
            let any = parties(index, at, &listener, |_| true, Op::Connect);
            return Standing::one(way(Op::Connect, Some(listener), fd, any));
        }
        _ if remote.ip.is_loopback() => {
            vec![Actor::Unseen(format!("the owner of the other end, {remote}, was not found"))]
        }
        _ => vec![Actor::Outside(Outside::Remote(remote.to_string()))],
    };
    Standing::one(way(op, Some(id), fd, any))
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

/// The ways out of flock and fcntl locks: every conflicting lock has to go, each by any process that shares it.
pub(super) fn lock(
    index: &Index<'_>,
    key: ThreadKey,
    number: u32,
    kind: LockKind,
    exclusive: Option<bool>,
) -> Standing {
    let Some(fd) = index.process(key.process).fd(number) else {
        return Standing::unread(format!("what its fd {number} is could not be read"));
    };
    let id = fd.object;
    let Some(locks) = &index.evidence().locks else {
        return Standing::unread("/proc/locks could not be read");
    };
    let conflicts = locks.iter().filter(|l| {
        !l.waiting
            && l.object == id
            && (l.kind == LockKind::Flock) == (kind == LockKind::Flock)
            && l.kind != LockKind::Lease
            && (exclusive != Some(false) || l.mode == LockMode::Write)
    });
    let mut all = Vec::new();
    for entry in conflicts {
        let mut any: Vec<Actor> =
            sharers(index, &id, entry.kind, entry.mode, entry.pid).into_iter().map(by_process).collect();
        if any.is_empty() || kind != LockKind::Posix && index.relevant_unread(key.process).is_some() {
            any.push(Actor::Unseen("who holds the lock could not be seen".into()));
        }
        all.push(Requirement { any });
    }
    if all.is_empty() {
        return Standing::unread("no conflicting lock was found in /proc/locks");
    }
    Standing::one(Way { op: Op::Lock, object: Some(id), fd: Some(number), all })
}

/// Who can release a lock: for fcntl's, the process that took it; for flock's and open file description locks, whoever shares the description.
fn sharers(index: &Index<'_>, id: &ObjectId, kind: LockKind, mode: LockMode, pid: Option<u32>) -> Vec<usize> {
    if kind == LockKind::Posix {
        return pid
            .and_then(|tgid| index.by_tgid(tgid))
            .into_iter()
            .filter(|at| !index.process(*at).zombie)
            .collect();
    }
    let shows = |fd: &Fd| fd.locks.iter().any(|l| l.kind == kind && l.mode == mode);
    let mut out: Vec<usize> = index.holders(id).iter().filter(|h| shows(h.fd)).map(|h| h.process).collect();
    if out.is_empty() {
        out.extend(
            pid.and_then(|tgid| index.by_tgid(tgid))
                .filter(|at| index.holders(id).iter().any(|h| h.process == *at)),
        );
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The ways out of connect.
pub(super) fn connect(index: &Index<'_>, at: usize, number: u32, peer: Option<&Name>) -> Standing {
    let Some(fd) = index.process(at).fd(number) else {
        return Standing::unread(format!("what its fd {number} is could not be read"));
    };
    match (fd.object, index.facts(&fd.object)) {
        (ObjectId::Inet { .. }, ObjectFacts::Inet(facts)) => {
            let any = match (facts.listener, facts.remote) {
                (Some(ino), _) => {
                    let listener = ObjectId::Inet { ino };
                    let any = parties(index, at, &listener, |_| true, Op::Connect);
                    return Standing::one(way(Op::Connect, Some(listener), Some(number), any));
                }
                (None, Some(remote)) if remote.ip.is_loopback() => {
                    vec![Actor::Unseen(format!("nobody was found that listens on {remote}"))]
                }
                (None, Some(remote)) => vec![Actor::Outside(Outside::Remote(remote.to_string()))],
                (None, None) => vec![Actor::Unseen("the address it connects to could not be read".into())],
            };
            Standing::one(way(Op::Connect, Some(fd.object), Some(number), any))
        }
        (ObjectId::Unix { .. }, _) => {
            let listener = index.evidence().objects.iter().find(|o| match &o.facts {
                ObjectFacts::Unix(f) => {
                    f.state == Some(UnixState::Listening) && f.path.is_some() && f.path.as_ref() == peer
                }
                _ => false,
            });
            match listener {
                Some(listener) => {
                    let any = parties(index, at, &listener.id, |_| true, Op::Connect);
                    Standing::one(way(Op::Connect, Some(listener.id), Some(number), any))
                }
                None => Standing::unread("the listener it connects to was not found"),
            }
        }
        _ => Standing::unread("the address it connects to could not be read"),
    }
}

/// The ways out of accept.
pub(super) fn accept(index: &Index<'_>, at: usize, number: u32) -> Standing {
    match index.process(at).fd(number) {
        Some(fd) => on_object(index, at, fd.object, Some(number), Want::Data, NESTING),
        None => Standing::seeded(Hope::Waiting, Why::Signal),
    }
}

/// The ways out of a wait on SysV semaphores or message queues: whoever operated on it last, as far as it lives.
pub(super) fn sysv(index: &Index<'_>, at: usize, id: ObjectId) -> Standing {
    let ObjectFacts::SysV { last_pids, .. } = index.facts(&id) else {
        return Standing::unread("the state of its SysV object could not be read");
    };
    let any: Vec<Actor> = last_pids
        .iter()
        .filter_map(|tgid| index.by_tgid(*tgid))
        .filter(|other| *other != at && !index.process(*other).zombie)
        .map(by_process)
        .collect();
    if any.is_empty() && last_pids.iter().all(|tgid| *tgid == 0 || *tgid == index.process(at).id.tgid) {
        return Standing::unread("who operated on its SysV object cannot be seen");
    }
    Standing::one(way(Op::Semaphore, Some(id), None, any))
}
