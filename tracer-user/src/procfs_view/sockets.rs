//! Every socket of a network namespace by inode, through sock_diag: what `ss` reads.
//!
//! The requests are two fixed structures and the answers are cut defensively here, because the published packet
//! crates neither show pending connections (`UDIAG_SHOW_ICONS`) nor survive attributes they do not know.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::socket_tables;
use crate::core::evidence::{ByteString, InetFacts, SocketAddress, TcpState, UnixFacts, UnixKind, UnixState};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// The sockets of a network namespace.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// UNIX sockets by inode; `None` when they could not be read. Without sock_diag nobody's peer is known.
    pub unix: Option<HashMap<u64, UnixFacts>>,
    /// Inode of the file that a UNIX socket is bound to, by the socket's; its lower 32 bits, which is all that is told.
    pub files: HashMap<u64, u32>,
    /// TCP and UDP sockets that an fd refers to, by inode; `None` when they could not be read.
    pub inet: Option<HashMap<u64, InetFacts>>,
    /// What failed, and why.
    pub problems: Vec<(String, String)>,
}

impl Sockets {
    /// Takes in another namespace's. Inode numbers of sockets are the machine's.
    pub(crate) fn join(&mut self, other: Self) {
        if let (Some(all), Some(more)) = (&mut self.unix, other.unix) {
            all.extend(more);
        }
        if let (Some(all), Some(more)) = (&mut self.inet, other.inet) {
            all.extend(more);
        }
        self.files.extend(other.files);
        self.problems.extend(other.problems);
    }
}

/// All sockets of the calling thread's network namespace.
pub(crate) fn here() -> Sockets {
    let mut found = Sockets::default();
    let mut unix = HashMap::new();
    let mut pending = Vec::new();
    let mut files = HashMap::new();
    let answered = dump(&unix_request(), |body| {
        unix_answer(body, &mut unix, &mut pending, &mut files);
    });
    match answered {
        Ok(()) => {
            for (listener, client) in pending {
                if let Some(facts) = unix.get_mut(&client) {
                    facts.listener = Some(listener);
                }
            }
            found.unix = Some(unix);
            found.files = files;
        }
        // `/proc` tells of all but the other ends.
        Err(error) => match socket_tables::unix() {
            Ok(sockets) => found.unix = Some(sockets),
            Err(_) => found.problems.push(("UNIX sockets".into(), error.to_string())),
        },
    }
    let mut inet = Vec::new();
    let mut complete = true;
    for (family, protocol) in
        [(AF_INET, IPPROTO_TCP), (AF_INET6, IPPROTO_TCP), (AF_INET, IPPROTO_UDP), (AF_INET6, IPPROTO_UDP)]
    {
        let stream = protocol == IPPROTO_TCP;
        let mut answered =
            dump(&inet_request(family, protocol), |body| inet.extend(inet_answer(body, stream)));
        // The modules that answer are loaded when first asked for; where they cannot be, `/proc` tells the same.
        if answered.is_err() {
            answered = socket_tables::inet(family == AF_INET6, stream).map(|sockets| inet.extend(sockets));
        }
        if let Err(error) = answered {
            found.problems.push(("IP sockets".into(), error.to_string()));
            complete = false;
        }
    }
    if complete {
        join_inet(&mut inet);
        found.inet = Some(inet.into_iter().filter(|(ino, _)| *ino != 0).collect());
    }
    found
}

/// All sockets of another process's network namespace. Needs CAP_SYS_ADMIN.
pub(crate) fn of(namespace: std::os::fd::OwnedFd) -> Sockets {
    // A namespace belongs to a thread: one that enters it and ends leaves the others where they are.
    let work = std::thread::spawn(move || {
        use std::os::fd::AsFd;
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        match rustix::thread::move_into_link_name_space(namespace.as_fd(), kind) {
            Ok(()) => here(),
            Err(error) => failed("network namespace", &error.to_string()),
        }
    });
    work.join().unwrap_or_else(|_| failed("network namespace", "its reader failed"))
}

fn failed(what: &str, why: &str) -> Sockets {
    Sockets { problems: vec![(what.into(), why.into())], ..Sockets::default() }
}

/// `struct nlmsghdr` + `struct unix_diag_req`.
fn unix_request() -> Vec<u8> {
    const SHOW_NAME_VFS_PEER_ICONS_RQLEN_MEMINFO: u32 = 1 | 2 | 4 | 8 | 16 | 32;
    let mut body = vec![AF_UNIX, 0, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(0u32.to_ne_bytes());
    body.extend(SHOW_NAME_VFS_PEER_ICONS_RQLEN_MEMINFO.to_ne_bytes());
    body.extend([0xff; 8]);
    message(&body)
}

/// `struct nlmsghdr` + `struct inet_diag_req_v2`.
fn inet_request(family: u8, protocol: u8) -> Vec<u8> {
    let mut body = vec![family, protocol, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend([0; 48]);
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Sends a request and hands on each answer's body.
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
        while let Some((kind, body, after)) = next_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(-code));
                }
                SOCK_DIAG_BY_FAMILY => answer(body),
                _ => {}
            }
            rest = after;
        }
    }
}

/// Kind and body of the first message, and what follows it.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}

/// The attributes of an answer.
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
fn unix_answer(
    body: &[u8],
    into: &mut HashMap<u64, UnixFacts>,
    pending: &mut Vec<(u64, u64)>,
    files: &mut HashMap<u64, u32>,
) -> Option<()> {
    const NAME: u16 = 0;
    const VFS: u16 = 1;
    const PEER: u16 = 2;
    const ICONS: u16 = 3;
    const RQLEN: u16 = 4;
    const MEMINFO: u16 = 5;
    const SHUTDOWN: u16 = 6;
    let ino = u64::from(word(body, 4)?);
    let mut facts = UnixFacts {
        kind: unix_kind(u32::from(*body.get(1)?)),
        // The peer's attribute is absent when there is none.
        peer: Some(0),
        ..UnixFacts::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            // A path comes with the zero byte that ends it; an abstract name begins with one.
            NAME if value.first() != Some(&0) => {
                facts.path = value.split(|b| *b == 0).next().map(ByteString::from);
            }
            NAME => facts.path = Some(ByteString(value.to_vec())),
            VFS => {
                files.extend(word(value, 0).map(|file| (ino, file)));
            }
            PEER => facts.peer = word(value, 0).map(u64::from),
            ICONS => {
                pending
                    .extend(value.chunks_exact(4).filter_map(|icon| Some((ino, u64::from(word(icon, 0)?)))));
            }
            RQLEN => {
                facts.receive_queue = word(value, 0).map(u64::from);
                facts.send_queue = word(value, 4).map(u64::from);
            }
            // rmem_alloc, rcvbuf, wmem_alloc, sndbuf, …
            MEMINFO => facts.send_buffer = word(value, 12).map(u64::from),
            SHUTDOWN => {
                facts.shutdown = value.first().map(|bits| (bits & 1 != 0, bits & 2 != 0));
            }
            _ => {}
        }
    }
    facts.state = Some(match body.get(2)? {
        10 => UnixState::Listening,
        1 => UnixState::Connected,
        _ if facts.peer != Some(0) => UnixState::Connected,
        _ => UnixState::Unconnected,
    });
    into.insert(ino, facts);
    Some(())
}

/// The kernel's number of a type (`SOCK_*`).
pub(super) fn unix_kind(number: u32) -> Option<UnixKind> {
    match number {
        1 => Some(UnixKind::Stream),
        2 => Some(UnixKind::Datagram),
        5 => Some(UnixKind::SeqPacket),
        _ => None,
    }
}

/// `struct inet_diag_msg`: family, state, timer, retrans, id{sport, dport, src[4], dst[4], if, cookie[2]}, expires, rqueue,
/// wqueue, uid, inode.
fn inet_answer(body: &[u8], stream: bool) -> Option<(u64, InetFacts)> {
    let family = *body.first()?;
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let ip = |at: usize| {
        Some(match family {
            AF_INET => IpAddr::V4(Ipv4Addr::from(*body.get(at..)?.first_chunk::<4>()?)),
            _ => Ipv6Addr::from(*body.get(at..)?.first_chunk::<16>()?).to_canonical(),
        })
    };
    let facts = InetFacts {
        stream,
        state: tcp_state(*body.get(1)?),
        local: Some(SocketAddress { ip: ip(8)?, port: port(4)? }),
        remote: Some(SocketAddress { ip: ip(24)?, port: port(6)? }).filter(|remote| remote.port != 0),
        receive_queue: word(body, 56).map(u64::from),
        send_queue: word(body, 60).map(u64::from),
        ..InetFacts::default()
    };
    Some((u64::from(word(body, 68)?), facts))
}

/// The kernel's number of a state (`TCP_*`).
pub(super) fn tcp_state(number: u8) -> Option<TcpState> {
    match number {
        1 => Some(TcpState::Established),
        2 => Some(TcpState::SynSent),
        3 | 12 => Some(TcpState::SynReceived),
        4 => Some(TcpState::FinWait1),
        5 => Some(TcpState::FinWait2),
        6 => Some(TcpState::TimeWait),
        7 => Some(TcpState::Close),
        8 => Some(TcpState::CloseWait),
        9 => Some(TcpState::LastAck),
        10 => Some(TcpState::Listen),
        11 => Some(TcpState::Closing),
        _ => None,
    }
}

/// Finds each connected socket's other end on this machine, and for those nobody has accepted yet, the listener.
fn join_inet(sockets: &mut [(u64, InetFacts)]) {
    let by_ends: HashMap<_, u64> =
        sockets.iter().filter_map(|(ino, s)| Some(((s.stream, s.local?, s.remote?), *ino))).collect();
    let listeners: Vec<(SocketAddress, u64)> = sockets
        .iter()
        .filter(|(_, s)| s.state == Some(TcpState::Listen))
        .filter_map(|(ino, s)| Some((s.local?, *ino)))
        .collect();
    let own: std::collections::HashSet<IpAddr> =
        sockets.iter().filter_map(|(_, s)| s.local).map(|a| a.ip).filter(|ip| !ip.is_unspecified()).collect();
    let listener_of = |address: SocketAddress| {
        let matching = |exact: bool| {
            listeners.iter().find(|(at, _)| {
                at.port == address.port && if exact { at.ip == address.ip } else { at.ip.is_unspecified() }
            })
        };
        matching(true).or_else(|| matching(false)).map(|(_, ino)| *ino)
    };
    for (_, socket) in sockets {
        let (Some(local), Some(remote)) = (socket.local, socket.remote) else { continue };
        let here = remote.ip.is_loopback() || remote.ip == local.ip || own.contains(&remote.ip);
        if !here || socket.state == Some(TcpState::Listen) {
            continue;
        }
        let other = by_ends.get(&(socket.stream, remote, local)).copied();
        socket.peer = Some(other.unwrap_or(0));
        if other.unwrap_or(0) == 0 && socket.stream {
            let queued = other.is_some() || socket.state == Some(TcpState::SynSent);
            socket.listener = if queued { listener_of(remote) } else { None };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn inode(of: &impl std::os::fd::AsFd) -> u64 {
        rustix::fs::fstat(of).unwrap().st_ino
    }

    #[test]
    fn a_socket_pair_knows_its_peer() {
        let (a, b) = UnixStream::pair().unwrap();
        let unix = here().unix.unwrap();
        assert_eq!(unix[&inode(&a)].peer, Some(inode(&b)));
        assert_eq!(unix[&inode(&a)].kind, Some(UnixKind::Stream));
    }

    #[test]
    fn a_connection_nobody_accepted_names_its_listener() {
        let name = format!("tracer-user-test-{}", std::process::id());
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let client = UnixStream::connect_addr(&address).unwrap();
        let unix = here().unix.unwrap();
        assert_eq!(unix[&inode(&client)].listener, Some(inode(&listener)));
        assert_eq!(unix[&inode(&listener)].state, Some(UnixState::Listening));
    }

    #[test]
    fn loopback_tcp_finds_its_other_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let find = |of: u64| here().inet.unwrap()[&of].clone();
        let waiting = find(inode(&client));
        assert_eq!((waiting.peer, waiting.listener), (Some(0), Some(inode(&listener))));
        let (server, _) = listener.accept().unwrap();
        assert_eq!(find(inode(&client)).peer, Some(inode(&server)));
        assert_eq!(find(inode(&server)).peer, Some(inode(&client)));
    }

    #[test]
    fn the_tables_in_proc_say_what_sock_diag_says() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let told = here().inet.unwrap();
        for (family, stream, socket) in [
            (AF_INET, true, inode(&listener)),
            (AF_INET, true, inode(&client)),
            (AF_INET, false, inode(&datagrams)),
        ] {
            let tables: HashMap<_, _> =
                socket_tables::inet(family == AF_INET6, stream).unwrap().into_iter().collect();
            let (shown, known) = (&tables[&socket], &told[&socket]);
            assert_eq!((shown.stream, shown.state), (known.stream, known.state));
            assert_eq!((shown.local, shown.remote), (known.local, known.remote));
            assert_eq!(shown.receive_queue, known.receive_queue);
        }
    }

    #[test]
    fn cut_messages_are_passed_over() {
        let whole = message(&[0; 40]);
        for end in 0..whole.len() {
            assert!(next_message(&whole[..end]).is_none());
            assert!(
                unix_answer(&whole[..end], &mut HashMap::new(), &mut Vec::new(), &mut HashMap::new())
                    .is_none()
                    || end >= 16
            );
            let _ = inet_answer(&whole[..end], true);
            let _ = attributes(&whole[..end]).count();
        }
    }
}
