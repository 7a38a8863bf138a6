//! The sockets of the calling thread's network namespace, through sock_diag: what `ss` reads.
//!
//! The requests are two fixed structures and the answers are cut defensively here, because the published
//! packet crates neither show pending connections (`UDIAG_SHOW_ICONS`) nor survive attributes they do not
//! know.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::codes::{InetTable, tcp_state, unix_kind};
use crate::core::evidence::{ByteString, InetFacts, SocketAddress, UnixFacts, UnixState};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A UNIX socket as sock_diag shows it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub ino: u64,
    pub facts: UnixFacts,
    /// Of a listener: inodes of the clients whose connections it has not accepted.
    pub pending: Vec<u64>,
    /// Lower 32 bits of the inode of the file it is bound to; the message has no more.
    pub file: Option<u32>,
}

/// Every UNIX socket.
pub(crate) fn unix() -> io::Result<Vec<UnixSocket>> {
    let mut sockets = Vec::new();
    dump(&unix_request(), |body| sockets.extend(unix_answer(body)))?;
    Ok(sockets)
}

/// Every socket of a table, by inode; 0 for a socket that no fd refers to.
pub(crate) fn inet(table: InetTable) -> io::Result<Vec<(u64, InetFacts)>> {
    let (family, protocol) = match table {
        InetTable::Tcp4 => (AF_INET, IPPROTO_TCP),
        InetTable::Tcp6 => (AF_INET6, IPPROTO_TCP),
        InetTable::Udp4 => (AF_INET, IPPROTO_UDP),
        InetTable::Udp6 => (AF_INET6, IPPROTO_UDP),
    };
    let mut sockets = Vec::new();
    dump(&inet_request(family, protocol), |body| sockets.extend(inet_answer(body, table)))?;
    Ok(sockets)
}

/// `struct nlmsghdr` + `struct unix_diag_req` (include/uapi/linux/unix_diag.h).
fn unix_request() -> Vec<u8> {
    const UDIAG_SHOW_NAME: u32 = 1;
    const UDIAG_SHOW_VFS: u32 = 2;
    const UDIAG_SHOW_PEER: u32 = 4;
    const UDIAG_SHOW_ICONS: u32 = 8;
    const UDIAG_SHOW_RQLEN: u32 = 16;
    const UDIAG_SHOW_MEMINFO: u32 = 32;
    let show = UDIAG_SHOW_NAME
        | UDIAG_SHOW_VFS
        | UDIAG_SHOW_PEER
        | UDIAG_SHOW_ICONS
        | UDIAG_SHOW_RQLEN
        | UDIAG_SHOW_MEMINFO;
    let mut body = vec![AF_UNIX, 0, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(0u32.to_ne_bytes());
    body.extend(show.to_ne_bytes());
    body.extend([0xff; 8]);
    message(&body)
}

/// `struct nlmsghdr` + `struct inet_diag_req_v2` (include/uapi/linux/inet_diag.h).
fn inet_request(family: u8, protocol: u8) -> Vec<u8> {
    let mut body = vec![family, protocol, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend([0; 48]);
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Sends a request, and calls with the body of each answer.
fn dump(request: &[u8], mut answer: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    rustix::io::write(&socket, request)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&socket, &mut buffer[..]))?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        while let Some(first) = next_message(rest) {
            match first.kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = first.body.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(-code));
                }
                SOCK_DIAG_BY_FAMILY => answer(first.body),
                _ => {}
            }
            rest = first.rest;
        }
    }
}

/// A netlink message at the beginning of a buffer.
struct Message<'b> {
    kind: u16,
    body: &'b [u8],
    /// What follows it.
    rest: &'b [u8],
}

fn next_message(bytes: &[u8]) -> Option<Message<'_>> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some(Message { kind, body, rest: bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]) })
}

/// The attributes of an answer: kind and value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// `struct unix_diag_msg`: family, type, state, pad, ino, cookie[2], then attributes.
fn unix_answer(body: &[u8]) -> Option<UnixSocket> {
    const NAME: u16 = 0;
    const VFS: u16 = 1;
    const PEER: u16 = 2;
    const ICONS: u16 = 3;
    const RQLEN: u16 = 4;
    const MEMINFO: u16 = 5;
    const SHUTDOWN: u16 = 6;
    // The peer's attribute is absent when there is no peer.
    let kind = unix_kind(u32::from(*body.get(1)?));
    let mut facts = UnixFacts { kind, peer: Some(0), ..UnixFacts::default() };
    let mut pending = Vec::new();
    let mut file = None;
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            // A path comes with the zero byte that ends it; an abstract name begins with one.
            NAME if value.first() != Some(&0) => {
                facts.path = value.split(|b| *b == 0).next().map(ByteString::from);
            }
            NAME => facts.path = Some(ByteString(value.to_vec())),
            VFS => file = word(value, 0),
            PEER => facts.peer = word(value, 0).map(u64::from),
            ICONS => pending.extend(value.chunks_exact(4).filter_map(|icon| word(icon, 0).map(u64::from))),
            RQLEN => {
                facts.receive_queue = word(value, 0).map(u64::from);
                facts.send_queue = word(value, 4).map(u64::from);
            }
            // rmem_alloc, rcvbuf, wmem_alloc, sndbuf, …
            MEMINFO => facts.send_buffer = word(value, 12).map(u64::from),
            SHUTDOWN => facts.shutdown = value.first().map(|bits| (bits & 1 != 0, bits & 2 != 0)),
            _ => {}
        }
    }
    facts.state = Some(match body.get(2)? {
        10 => UnixState::Listening,
        1 => UnixState::Connected,
        _ if facts.peer != Some(0) => UnixState::Connected,
        _ => UnixState::Unconnected,
    });
    Some(UnixSocket { ino: u64::from(word(body, 4)?), facts, pending, file })
}

/// `struct inet_diag_msg`: family, state, timer, retrans, id{sport, dport, src[4], dst[4], if, cookie[2]},
/// expires, rqueue, wqueue, uid, inode.
fn inet_answer(body: &[u8], table: InetTable) -> Option<(u64, InetFacts)> {
    let family = *body.first()?;
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let ip = |at: usize| {
        Some(match family {
            AF_INET => IpAddr::V4(Ipv4Addr::from(*body.get(at..)?.first_chunk::<4>()?)),
            _ => Ipv6Addr::from(*body.get(at..)?.first_chunk::<16>()?).to_canonical(),
        })
    };
    let facts = InetFacts {
        stream: table.is_stream(),
        state: tcp_state(*body.get(1)?),
        local: Some(SocketAddress { ip: ip(8)?, port: port(4)? }),
        remote: Some(SocketAddress { ip: ip(24)?, port: port(6)? }).filter(|remote| remote.port != 0),
        receive_queue: word(body, 56).map(u64::from),
        send_queue: word(body, 60).map(u64::from),
        ..InetFacts::default()
    };
    Some((u64::from(word(body, 68)?), facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_messages_are_passed_over() {
        let whole = message(&[0; 40]);
        for end in 0..whole.len() {
            assert!(next_message(&whole[..end]).is_none());
            assert!(unix_answer(&whole[..end]).is_none() || end >= 16);
            let _ = inet_answer(&whole[..end], InetTable::Tcp4);
            let _ = attributes(&whole[..end]).count();
        }
    }
}
