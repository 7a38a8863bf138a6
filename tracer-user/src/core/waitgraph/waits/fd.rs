//! Alternatives of waits on file descriptors: which process can write, read, unlock or accept.

use super::child::{exit_of, only_children, signal_wait};
use super::holders::{in_flight, parties};
use super::kernel::is_fuse_device;
use super::socket;
use crate::core::evidence::{Access, AnonKind, ObjectFacts, ObjectId, PipeFacts, PtySide, Timeout, events};
use crate::core::waitgraph::activity::is_own_wake_up;
use crate::core::waitgraph::index::{Holder, Index};
use crate::core::waitgraph::model::{
    Call, Liveness, Op, Outside, Releaser, SeedReason, WaitNode, Want, alternative, by_process,
};

/// How deep epoll sets may be nested (the kernel allows 5).
const NESTING: u32 = 5;

/// The alternatives of a call that blocks on one fd.
pub(super) fn on_fd(index: &Index<'_>, at: usize, number: u32, want: Want) -> WaitNode {
    match index.process(at).fd(number) {
        Some(fd) => on_object(index, at, fd.object, Some(number), want, Call::Direct),
        None => WaitNode::unread(format!("what its fd {number} is could not be read")),
    }
}

/// The alternatives that one entry of a poll, select or epoll set offers.
pub(super) fn polled(
    index: &Index<'_>,
    at: usize,
    number: u32,
    object: Option<ObjectId>,
    events: u32,
) -> WaitNode {
    polled_nested(index, at, number, object, events, NESTING)
}

fn polled_nested(
    index: &Index<'_>,
    at: usize,
    number: u32,
    object: Option<ObjectId>,
    wanted: u32,
    depth: u32,
) -> WaitNode {
    let Some(object) = object.or_else(|| index.process(at).fd(number).map(|fd| fd.object)) else {
        return WaitNode::unread(format!("what its fd {number} is could not be read"));
    };
    // A pipe's end that cannot be written never has room, one that cannot be read never has data
    // (`pipe_poll`, fs/pipe.c); Go asks for both on every fd.
    let one_way = matches!(object, ObjectId::Pipe { .. } | ObjectId::Fifo { .. });
    let access = index.process(at).fd(number).filter(|fd| one_way && fd.object == object).map(|fd| fd.access);
    let room = wanted & events::OUT != 0 && access.is_none_or(Access::writes);
    // Hang-ups are always reported: a process that could write could also close.
    let data = wanted & (events::IN | events::PRI | events::RDHUP) != 0 && access.is_none_or(Access::reads);
    let edge = wanted & events::EDGE != 0;
    let mut all = WaitNode::default();
    for want in
        [(room, Want::Room), (data || !room, Want::Data)].into_iter().filter_map(|(on, w)| on.then_some(w))
    {
        let node = on_object(index, at, object, Some(number), want, Call::Polled(depth));
        if edge && node.seed.as_ref().is_some_and(|seed| seed.reason == SeedReason::Ready) {
            // Ready, and yet asleep: an edge-triggered set reports only changes, and it has reported this
            // one. Available room needs nothing more. Further data may still come from the other end.
            if want == Want::Data {
                all.or(on_object(index, at, object, Some(number), want, Call::Edge));
            }
        } else {
            all.or(node);
        }
    }
    all
}

/// The alternatives of epoll_wait.
pub(super) fn epoll(index: &Index<'_>, at: usize, epfd: u32) -> WaitNode {
    match index.process(at).fd(epfd) {
        Some(fd) => epoll_set(index, at, fd.object, NESTING),
        None => WaitNode::unread("its epoll set could not be read"),
    }
}

fn epoll_set(index: &Index<'_>, at: usize, id: ObjectId, depth: u32) -> WaitNode {
    const MODIFIERS: u32 = events::ONESHOT | events::EDGE | 1 << 29 | 1 << 28 | events::ERR | events::HUP;
    let ObjectFacts::Epoll { interest: Some(interest) } = index.facts(&id) else {
        return WaitNode::unread("its epoll set could not be read");
    };
    let mut all = WaitNode::default();
    for item in interest {
        let disarmed = item.events & events::ONESHOT != 0 && item.events & !MODIFIERS == 0;
        if !disarmed && depth > 0 {
            all.or(polled_nested(index, at, item.fd, item.object, item.events, depth - 1));
        }
    }
    if interest.is_empty() {
        all.raise(Liveness::Idle, SeedReason::Signal(index.process(at).caught));
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
) -> WaitNode {
    match id {
        ObjectId::Pipe { .. } | ObjectId::Fifo { .. } => pipe(index, at, id, fd, want, call),
        ObjectId::Unix { .. } => match index.facts(&id) {
            ObjectFacts::Unix(facts) => socket::unix(index, at, id, facts, fd, want, call),
            _ => WaitNode::unread("the peer of its UNIX socket could not be read"),
        },
        ObjectId::Inet { .. } => match index.facts(&id) {
            ObjectFacts::Inet(facts) => socket::inet(index, at, id, facts, fd, want, call),
            _ => WaitNode::unread("the peer of its socket could not be read"),
        },
        ObjectId::Pty { index: number, side } => pty(index, at, number, side, fd, want),
        ObjectId::Tty { .. } => {
            let op = if want == Want::Data { Op::ReadTerminal } else { Op::Write };
            WaitNode::one(alternative(op, Some(id), fd, vec![Releaser::Outside(Outside::Human)]))
        }
        ObjectId::File { .. } => WaitNode::ready(),
        // A file server at rest: requests come from any process that uses its mount.
        ObjectId::Device { .. } if want == Want::Data && is_fuse_device(index, &id) => {
            let any = vec![Releaser::Anyone("any process that uses its mount may ask it")];
            WaitNode::one(alternative(Op::Accept, Some(id), fd, any))
        }
        ObjectId::Device { .. } => WaitNode::one(alternative(
            Op::Kernel,
            Some(id),
            fd,
            vec![Releaser::Outside(Outside::Device("the device".into()))],
        )),
        ObjectId::Anon { kind, .. } => anonymous(index, at, id, kind, fd, want, call),
        ObjectId::MessageQueue { .. } => {
            let op = if want == Want::Data { Op::Read } else { Op::Write };
            let wanted = if want == Want::Data { Access::writes } else { Access::reads };
            WaitNode::one(alternative(op, Some(id), fd, parties(index, at, &id, wanted, op)))
        }
        ObjectId::Socket { .. } => {
            let reach = &index.evidence().reach;
            if reach.unix_peers && reach.inet_sockets {
                // Of another family: the kernel sends it messages, or another machine does.
                WaitNode::seeded(Liveness::Idle, SeedReason::Events)
            } else {
                WaitNode::unread("what kind of socket it waits on could not be read")
            }
        }
        ObjectId::SysVSem { .. } | ObjectId::SysVMsg { .. } | ObjectId::Unknown => {
            WaitNode::unread("what its fd refers to could not be determined")
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
) -> WaitNode {
    match (kind, index.facts(&id)) {
        (AnonKind::Epoll, _) => match call {
            Call::Direct | Call::Edge => WaitNode::unread("it sleeps in a call on an epoll set"),
            Call::Polled(depth) => epoll_set(index, at, id, depth.saturating_sub(1)),
        },
        (AnonKind::EventFd, ObjectFacts::EventFd { count: Some(count) }) => {
            if call.returns_when_ready() && (want == Want::Room || *count > 0) {
                return WaitNode::ready();
            }
            WaitNode::one(alternative(Op::Read, Some(id), fd, sharers(index, at, &id)))
        }
        (AnonKind::TimerFd, ObjectFacts::TimerFd { remaining_ns: Some(remaining), ticks }) => {
            match (remaining, ticks) {
                (_, Some(1..)) => WaitNode::ready(),
                // Not armed: a process that shares it would have to set it.
                (0, _) => WaitNode::one(alternative(Op::Read, Some(id), fd, sharers(index, at, &id))),
                (ns, _) => WaitNode::default().until(Timeout::After(Some(*ns))),
            }
        }
        (AnonKind::SignalFd, ObjectFacts::SignalFd { mask }) => match mask {
            Some(mask) if only_children(*mask) && index.children(at).is_empty() => WaitNode::default(),
            mask => signal_wait(index, at, *mask),
        },
        (AnonKind::PidFd, ObjectFacts::PidFd { target, exited }) => match (exited, target) {
            (Some(true), _) => WaitNode::ready(),
            (_, Some(tgid)) => match index.by_tgid(*tgid) {
                Some(process) => {
                    let mut node = exit_of(index, &[process]);
                    for alternative in &mut node.alternatives {
                        (alternative.object, alternative.fd) = (Some(id), fd);
                    }
                    node
                }
                None => WaitNode::unread("the process behind its pidfd could not be seen"),
            },
            (_, None) => WaitNode::unread("the process behind its pidfd could not be read"),
        },
        // Requests of the kernel and changes of files may come from any process: a server at rest.
        (AnonKind::Inotify | AnonKind::Fanotify | AnonKind::UserFault | AnonKind::SeccompNotify, _) => {
            WaitNode::one(alternative(
                Op::Accept,
                Some(id),
                fd,
                vec![Releaser::Anyone("the kernel's requests come from anybody")],
            ))
        }
        _ => WaitNode::unread("the state of an anonymous file could not be read"),
    }
}

/// The processes that can write to an eventfd or set a timer.
fn sharers(index: &Index<'_>, at: usize, id: &ObjectId) -> Vec<Releaser> {
    if is_own_wake_up(index, at, id) {
        return vec![Releaser::Peers(at)];
    }
    index.holding(id, |_| true).into_iter().map(by_process).collect()
}

fn pipe(index: &Index<'_>, at: usize, id: ObjectId, fd: Option<u32>, want: Want, call: Call) -> WaitNode {
    let unknown = PipeFacts::default();
    let facts = index.pipe(&id).unwrap_or(&unknown);
    let (blocked, op, wanted, count): (_, _, fn(Access) -> bool, _) = match want {
        Want::Room => (facts.is_full(), Op::Write, Access::reads, facts.readers),
        Want::Data => (facts.is_empty(), Op::Read, Access::writes, facts.writers),
    };
    match blocked {
        None if call.returns_when_ready() => {
            return WaitNode::unread("what is in its pipe could not be read");
        }
        Some(false) if call != Call::Edge => return WaitNode::ready(),
        _ if count == Some(0) => return WaitNode::ready(),
        _ => {}
    }
    let mut any = parties(index, at, &id, wanted, op);
    let found = index.holders(&id).iter().filter(|h| wanted(h.fd.access));
    if let Some(count) = count
        && let Some(missing) = missing_ends(found, count)
    {
        let flying = in_flight(index, at);
        if flying.is_empty() {
            any.push(Releaser::Unseen(format!(
                "the kernel counts {count} such ends of the pipe, of which {missing} are in no process's fd table"
            )));
        }
        any.extend(flying.into_iter().filter(|releaser| !any.contains(releaser)).collect::<Vec<_>>());
    }
    WaitNode::one(alternative(op, Some(id), fd, any))
}

/// How many of `count` open file descriptions are certainly behind none of the fds found.
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

fn pty(index: &Index<'_>, at: usize, number: u32, side: PtySide, fd: Option<u32>, want: Want) -> WaitNode {
    let id = ObjectId::Pty { index: number, side };
    if let ObjectFacts::Terminal { readable_bytes, writable, .. } = index.facts(&id) {
        let ready = match want {
            Want::Data => readable_bytes.map(|n| n > 0),
            Want::Room => *writable,
        };
        if ready == Some(true) {
            return WaitNode::ready();
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
    WaitNode::one(alternative(op, Some(id), fd, parties(index, at, &peer, wanted, op)))
}

/// The alternatives of accept.
pub(super) fn accept(index: &Index<'_>, at: usize, number: u32) -> WaitNode {
    match index.process(at).fd(number) {
        Some(fd) => on_object(index, at, fd.object, Some(number), Want::Data, Call::Direct),
        None => WaitNode::seeded(Liveness::Idle, SeedReason::Events),
    }
}
