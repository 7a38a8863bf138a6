//! Sockets as `/proc/PID/net` shows them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::codes::{InetTable, tcp_state, unix_kind};
use crate::core::evidence::{ByteString, InetFacts, SocketAddress, UnixFacts, UnixState};
use crate::procfs_view::proc_dir::{OpenRoot, ProcDir};
use crate::procfs_view::text;

/// Longest table that is read for evidence, bytes: some 400 000 sockets.
const MAX_EVIDENCE_TABLE: usize = 64 << 20;

/// A table's sockets in the calling thread's network namespace, by inode; empty where the namespace has no
/// such table, as without IPv6.
pub(crate) fn inet(root: &OpenRoot, table: InetTable) -> io::Result<Vec<(u64, InetFacts)>> {
    let mut text = Vec::new();
    match root.dir.read_bounded(&of_this_thread(table.file_name()), MAX_EVIDENCE_TABLE, &mut text) {
        Ok(text) => Ok(rows(text).filter_map(|row| Some((row.inode()?, row.facts(table)?))).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// State by inode of every TCP socket in the network namespace of the process whose directory this is. `None`
/// when the table cannot be read, or is longer than `limit` bytes.
pub(crate) fn tcp_states(process: &ProcDir, limit: usize) -> Option<HashMap<u64, u8>> {
    let mut buffer = Vec::new();
    let mut states = HashMap::new();
    let mut add = |text: &[u8]| {
        states.extend(rows(text).filter_map(|row| Some((row.inode()?, row.state()?))));
    };
    add(process.read_bounded("net/tcp", limit, &mut buffer).ok()?);
    // A machine without IPv6 has no such file.
    if let Ok(text) = process.read_bounded("net/tcp6", limit, &mut buffer) {
        add(text);
    }
    Some(states)
}

/// The UNIX sockets of the calling thread's network namespace by inode. The table does not show their peers.
pub(crate) fn unix(root: &OpenRoot) -> io::Result<HashMap<u64, UnixFacts>> {
    let mut text = Vec::new();
    let text = root.dir.read_bounded(&of_this_thread("unix"), MAX_EVIDENCE_TABLE, &mut text)?;
    Ok(text.split(|byte| *byte == b'\n').skip(1).filter_map(unix_row).collect())
}

/// A namespace belongs to a thread, not to a process.
fn of_this_thread(table: &str) -> String {
    format!("thread-self/net/{table}")
}

/// A row of `/proc/net/tcp` and its like: number, local, remote, state, queues, timer, retransmits, uid,
/// timeout, inode.
struct InetRow<'t>([&'t str; 10]);

/// The rows below a table's heading.
fn rows(text: &[u8]) -> impl Iterator<Item = InetRow<'_>> {
    text.split(|byte| *byte == b'\n').skip(1).filter_map(InetRow::parse)
}

impl<'t> InetRow<'t> {
    fn parse(line: &'t [u8]) -> Option<Self> {
        let mut words = text::words(line);
        let mut row = [""; 10];
        for word in &mut row {
            *word = words.next()?;
        }
        Some(Self(row))
    }

    fn state(&self) -> Option<u8> {
        u8::from_str_radix(self.0[3], 16).ok()
    }

    fn inode(&self) -> Option<u64> {
        self.0[9].parse().ok()
    }

    fn facts(&self, table: InetTable) -> Option<InetFacts> {
        let (send, receive) = self.0[4].split_once(':')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        Some(InetFacts {
            stream: table.is_stream(),
            state: tcp_state(self.state()?),
            local: Some(address(self.0[1])?),
            remote: Some(address(self.0[2])?).filter(|remote| remote.port != 0),
            receive_queue: hex(receive),
            send_queue: hex(send),
            ..InetFacts::default()
        })
    }
}

/// An address and a port: 32-bit words of the machine's byte order, in hexadecimal.
fn address(text: &str) -> Option<SocketAddress> {
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
}

/// `Num RefCount Protocol Flags Type St Inode Path` (`unix_seq_show`, net/unix/af_unix.c). A connection that
/// was not accepted has no inode yet. The zero byte that an abstract name begins with is shown as `@`.
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
    // One space precedes the name, which may itself hold spaces, and bytes that are no text.
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
        let row = InetRow::parse(line.as_bytes()).unwrap();
        let facts = row.facts(InetTable::Tcp6).unwrap();
        assert_eq!((row.inode(), row.state(), facts.state), (Some(77), Some(6), Some(TcpState::TimeWait)));
        let ends = [facts.local, facts.remote].map(|end| end.map(|end| (end.ip.to_string(), end.port)));
        assert_eq!(ends, [Some(("127.0.0.1".into(), 8080)), Some(("::1".into(), 22))]);
        assert_eq!((facts.send_queue, facts.receive_queue), (Some(3), Some(4)));
        assert_eq!(rows(b"head\n  0: 1:2 cut\n\n").count(), 0);
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
        let root = crate::procfs_view::ProcRoot::system().open().unwrap();
        assert_eq!(unix(&root).unwrap()[&inode].state, Some(UnixState::Connected));
    }
}
