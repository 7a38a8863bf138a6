//! Alternatives of waits on sockets: which process can receive, send, accept or connect.

use super::holders::parties;
use crate::core::evidence::{
    Access, ByteString, InetFacts, ObjectFacts, ObjectId, TcpState, UnixFacts, UnixKind, UnixState,
};
use crate::core::waitgraph::index::Index;
use crate::core::waitgraph::model::{Call, Op, Outside, Releaser, WaitNode, Want, alternative};

pub(super) fn unix(
    index: &Index<'_>,
    at: usize,
    id: ObjectId,
    facts: &UnixFacts,
    fd: Option<u32>,
    want: Want,
    call: Call,
) -> WaitNode {
    if facts.state == Some(UnixState::Listening) {
        return listening(id, facts.receive_queue, fd);
    }
    let ready = match want {
        Want::Room => facts.writable,
        Want::Data => facts.readable.or_else(|| facts.receive_queue.map(|n| n > 0)),
    };
    if ready == Some(true) && call.returns_when_ready() {
        return WaitNode::ready();
    }
    let (op, wanted): (_, fn(Access) -> bool) = match want {
        Want::Room => (Op::Write, Access::reads),
        Want::Data => (Op::Read, Access::writes),
    };
    let datagram = facts.kind == Some(UnixKind::Datagram);
    match facts.peer {
        Some(0) if datagram && want == Want::Data => WaitNode::one(alternative(
            Op::Accept,
            Some(id),
            fd,
            vec![Releaser::Anyone("any process may send to its socket")],
        )),
        Some(0) => {
            let pending = match facts.listener {
                Some(ino) => vec![ObjectId::Unix { ino }],
                None => pending_listeners(index),
            };
            match pending.as_slice() {
                [listener] => WaitNode::one(alternative(
                    Op::Connect,
                    Some(*listener),
                    fd,
                    parties(index, at, listener, |_| true, Op::Connect),
                )),
                _ => WaitNode::unread("its UNIX socket's peer has no owner"),
            }
        }
        Some(ino) => {
            let peer = ObjectId::Unix { ino };
            WaitNode::one(alternative(op, Some(id), fd, parties(index, at, &peer, wanted, op)))
        }
        None if !call.returns_when_ready() => {
            let any = vec![Releaser::Unseen("the peer of its UNIX socket could not be read".into())];
            WaitNode::one(alternative(op, Some(id), fd, any))
        }
        None => WaitNode::unread("the peer of its UNIX socket could not be read"),
    }
}

/// UNIX listeners with connections that are not accepted yet.
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

fn listening(id: ObjectId, queue: Option<u64>, fd: Option<u32>) -> WaitNode {
    if queue.is_some_and(|n| n > 0) {
        return WaitNode::ready();
    }
    WaitNode::one(alternative(Op::Accept, Some(id), fd, vec![Releaser::Anyone("anybody may connect")]))
}

pub(super) fn inet(
    index: &Index<'_>,
    at: usize,
    id: ObjectId,
    facts: &InetFacts,
    fd: Option<u32>,
    want: Want,
    call: Call,
) -> WaitNode {
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
    if ready == Some(true) && call.returns_when_ready() || hung_up {
        return WaitNode::ready();
    }
    let remote = facts.remote.filter(|r| r.port != 0);
    let Some(remote) = remote else {
        let any = vec![Releaser::Anyone("any host may send to its socket")];
        return WaitNode::one(alternative(Op::Accept, Some(id), fd, any));
    };
    let (op, wanted): (_, fn(Access) -> bool) = match want {
        Want::Room => (Op::Write, Access::reads),
        Want::Data => (Op::Read, Access::writes),
    };
    let any = match (facts.peer, facts.listener) {
        (Some(0), None) => {
            return WaitNode::unread("the local owner of the connection's other end has closed it");
        }
        (Some(ino), _) if ino != 0 => parties(index, at, &ObjectId::Inet { ino }, wanted, op),
        (_, Some(ino)) => {
            let listener = ObjectId::Inet { ino };
            let any = parties(index, at, &listener, |_| true, Op::Connect);
            return WaitNode::one(alternative(Op::Connect, Some(listener), fd, any));
        }
        _ if remote.ip.is_loopback() => {
            vec![Releaser::Unseen(format!("the owner of the other end, {remote}, was not found"))]
        }
        _ => vec![Releaser::Outside(Outside::Remote(remote.to_string()))],
    };
    WaitNode::one(alternative(op, Some(id), fd, any))
}

/// The alternatives of connect.
pub(super) fn connect(index: &Index<'_>, at: usize, number: u32, peer: Option<&ByteString>) -> WaitNode {
    let Some(fd) = index.process(at).fd(number) else {
        return WaitNode::unread(format!("what its fd {number} is could not be read"));
    };
    match (fd.object, index.facts(&fd.object)) {
        (ObjectId::Inet { .. }, ObjectFacts::Inet(facts)) => {
            let any = match (facts.listener, facts.remote) {
                (Some(ino), _) => {
                    let listener = ObjectId::Inet { ino };
                    let any = parties(index, at, &listener, |_| true, Op::Connect);
                    return WaitNode::one(alternative(Op::Connect, Some(listener), Some(number), any));
                }
                (None, Some(remote)) if remote.ip.is_loopback() => {
                    vec![Releaser::Unseen(format!("nobody was found that listens on {remote}"))]
                }
                (None, Some(remote)) => vec![Releaser::Outside(Outside::Remote(remote.to_string()))],
                (None, None) => vec![Releaser::Unseen("the address it connects to could not be read".into())],
            };
            WaitNode::one(alternative(Op::Connect, Some(fd.object), Some(number), any))
        }
        (ObjectId::Unix { .. }, ObjectFacts::Unix(UnixFacts { listener: Some(ino), .. })) => {
            let listener = ObjectId::Unix { ino: *ino };
            let any = parties(index, at, &listener, |_| true, Op::Connect);
            WaitNode::one(alternative(Op::Connect, Some(listener), Some(number), any))
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
                    WaitNode::one(alternative(Op::Connect, Some(listener.id), Some(number), any))
                }
                None => WaitNode::unread("the listener it connects to was not found"),
            }
        }
        _ => WaitNode::unread("the address it connects to could not be read"),
    }
}
