//! Sockets as `/proc/net` shows them, for machines where sock_diag does not answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sockets::{tcp_state, unix_kind};
use crate::core::evidence::{ByteString, InetFacts, SocketAddress, UnixFacts, UnixState};

/// A protocol's sockets as the calling thread's network namespace shows them in `/proc`; none where it has no such table,
/// as without IPv6.
pub(super) fn inet(version_6: bool, stream: bool) -> io::Result<Vec<(u64, InetFacts)>> {
    let name = if stream { "tcp" } else { "udp" };
    let digit = if version_6 { "6" } else { "" };
    match std::fs::File::open(format!("/proc/thread-self/net/{name}{digit}")) {
        Ok(table) => inet_table(io::BufReader::new(table), stream),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// `/proc/net/tcp` and its like: number, local, remote, state, queues, timer, retransmits, uid, timeout, inode. Addresses
/// are words of the machine's byte order.
fn inet_table(table: impl io::BufRead, stream: bool) -> io::Result<Vec<(u64, InetFacts)>> {
    let mut sockets = Vec::new();
    for line in table.lines().skip(1) {
        sockets.extend(inet_row(&line?, stream));
    }
    Ok(sockets)
}

fn inet_row(line: &str, stream: bool) -> Option<(u64, InetFacts)> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let address = |text: &str| {
        let (ip, port) = text.split_once(':')?;
        let mut bytes = Vec::with_capacity(16);
        for at in (0..ip.len()).step_by(8) {
            bytes.extend(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
        }
        let ip = match bytes.len() {
            4 => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
            _ => Ipv6Addr::from(*bytes.first_chunk::<16>()?).to_canonical(),
        };
        Some(SocketAddress { ip, port: u16::from_str_radix(port, 16).ok()? })
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let (send, receive) = words.get(4)?.split_once(':')?;
    let facts = InetFacts {
        stream,
        state: tcp_state(u8::from_str_radix(words.get(3)?, 16).ok()?),
        local: Some(address(words.get(1)?)?),
        remote: Some(address(words.get(2)?)?).filter(|remote| remote.port != 0),
        receive_queue: hex(receive),
        send_queue: hex(send),
        ..InetFacts::default()
    };
    Some((words.get(9)?.parse().ok()?, facts))
}

/// The UNIX sockets of the calling thread's network namespace by inode. Who is at their other ends is not told.
pub(super) fn unix() -> io::Result<HashMap<u64, UnixFacts>> {
    let table = std::fs::read("/proc/thread-self/net/unix")?;
    Ok(table.split(|byte| *byte == b'\n').skip(1).filter_map(unix_row).collect())
}

/// `Num RefCount Protocol Flags Type St Inode Path` (`net/unix/af_unix.c`, `unix_seq_show`). A socket that nobody has accepted
/// has no inode yet. The zero byte that an abstract name begins with is shown as `@`.
fn unix_row(line: &[u8]) -> Option<(u64, UnixFacts)> {
    const SO_ACCEPTCON: u32 = 1 << 16;
    const SS_CONNECTING: u32 = 2;
    const SS_CONNECTED: u32 = 3;
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        std::str::from_utf8(word).ok()
    };
    let [_number, _references, _protocol] = [word()?, word()?, word()?];
    let mut hex = || u32::from_str_radix(word()?, 16).ok();
    let (flags, kind, state) = (hex()?, hex()?, hex()?);
    let inode = word()?.parse().ok().filter(|inode| *inode != 0)?;
    // One space before it; the name itself may hold more, and bytes that are no text.
    let path = rest.strip_prefix(b" ").filter(|path| !path.is_empty()).map(|path| match path {
        [b'@', name @ ..] => ByteString([&[0], name].concat()),
        path => ByteString(path.to_vec()),
    });
    let state = match state {
        _ if flags & SO_ACCEPTCON != 0 => UnixState::Listening,
        SS_CONNECTING | SS_CONNECTED => UnixState::Connected,
        _ => UnixState::Unconnected,
    };
    Some((inode, UnixFacts { kind: unix_kind(kind), state: Some(state), path, ..UnixFacts::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::{TcpState, UnixKind};

    #[test]
    fn a_row_of_ipv6_is_read() {
        let line = "   0: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000001000000:0016 06 00000003:00000004 \
                    00:00000000 00000000     0        0 77 1 0000000000000000 100 0 0 10 0";
        let (inode, facts) = inet_row(line, true).unwrap();
        assert_eq!((inode, facts.state), (77, Some(TcpState::TimeWait)));
        let ends = [facts.local, facts.remote].map(|end| end.map(|end| (end.ip.to_string(), end.port)));
        assert_eq!(ends, [Some(("127.0.0.1".into(), 8080)), Some(("::1".into(), 22))]);
        assert_eq!((facts.send_queue, facts.receive_queue), (Some(3), Some(4)));
        assert!(inet_table(&b"head\n  0: 1:2 cut"[..], true).unwrap().is_empty());
    }

    #[test]
    fn rows_of_unix_sockets_are_read() {
        let row = |rest: &str| unix_row(format!("00000000ee54a79f: 00000002 00000000 {rest}").as_bytes());
        let (inode, facts) = row("00010000 0001 01   657 /run/a b").unwrap();
        assert_eq!(
            (inode, facts.kind, facts.state),
            (657, Some(UnixKind::Stream), Some(UnixState::Listening))
        );
        assert_eq!((facts.path, facts.peer), (Some(ByteString::from(&b"/run/a b"[..])), None));
        let (_, facts) = row("00000000 0005 03 123456").unwrap();
        assert_eq!((facts.kind, facts.state), (Some(UnixKind::SeqPacket), Some(UnixState::Connected)));
        assert_eq!(facts.path, None);
        assert_eq!(row("00000000 0002 01 7 @x").unwrap().1.path, Some(ByteString::from(&b"\0x"[..])));
        assert_eq!(row("00000000 0001 02     0 /run/not/accepted"), None);
        assert_eq!(row("00000000 0001"), None);
        assert_eq!(unix_row(b"Num       RefCount Protocol Flags    Type St Inode Path"), None);
    }

    #[test]
    fn the_table_has_this_process_sockets() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let inode = rustix::fs::fstat(&one).unwrap().st_ino;
        assert_eq!(unix().unwrap()[&inode].state, Some(UnixState::Connected));
    }
}
