//! Every socket of a network namespace by inode: through sock_diag, and from `/proc/net` where that does not
//! answer.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::codes::InetTable;
use super::{sock_diag, tables};
use crate::core::evidence::{InetFacts, Problem, SocketAddress, TcpState, UnixFacts};
use crate::procfs_view::proc_dir::OpenRoot;

/// The sockets of a network namespace.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// UNIX sockets by inode; `None` when they could not be read. Without sock_diag the peer of each is
    /// unknown.
    pub unix: Option<HashMap<u64, UnixFacts>>,
    /// Lower 32 bits of the inode of the file that a UNIX socket is bound to, by the inode of the socket.
    pub files: HashMap<u64, u32>,
    /// TCP and UDP sockets that an fd refers to, by inode; `None` when they could not be read.
    pub inet: Option<HashMap<u64, InetFacts>>,
    /// What failed, and why.
    pub problems: Vec<Problem>,
}

impl Sockets {
    /// Adds another namespace's. Inode numbers of sockets are unique on the machine.
    pub(crate) fn extend(&mut self, other: Self) {
        if let (Some(all), Some(more)) = (&mut self.unix, other.unix) {
            all.extend(more);
        }
        if let (Some(all), Some(more)) = (&mut self.inet, other.inet) {
            all.extend(more);
        }
        self.files.extend(other.files);
        self.problems.extend(other.problems);
    }

    /// None, because a network namespace could not be entered or read.
    pub(crate) fn failed(why: &dyn Display) -> Self {
        Self { problems: vec![problem("network namespace", why)], ..Self::default() }
    }
}

fn problem(what: &str, why: &dyn Display) -> Problem {
    Problem { process: None, what: what.into(), why: why.to_string() }
}

/// All sockets of the calling thread's network namespace.
pub(crate) fn here(root: &OpenRoot) -> Sockets {
    let mut found = Sockets::default();
    match unix_by_sock_diag(root) {
        Ok((unix, files)) => {
            found.unix = Some(unix);
            found.files = files;
        }
        // `/proc` shows everything but the peers.
        Err(error) => match tables::unix(root) {
            Ok(sockets) => found.unix = Some(sockets),
            Err(_) => found.problems.push(problem("UNIX sockets", &error)),
        },
    }
    let mut inet = Vec::new();
    let mut complete = true;
    for table in InetTable::ALL {
        // The kernel loads the modules that answer on the first request; where it cannot, `/proc` shows the
        // same.
        let answered = answers(root).and_then(|()| sock_diag::inet(table));
        match answered.or_else(|_| tables::inet(root, table)) {
            Ok(sockets) => inet.extend(sockets),
            Err(error) => {
                found.problems.push(problem("IP sockets", &error));
                complete = false;
            }
        }
    }
    if complete {
        join_ends(&mut inet);
        found.inet = Some(inet.into_iter().filter(|(ino, _)| *ino != 0).collect());
    }
    found
}

/// All sockets of another process's network namespace. Needs CAP_SYS_ADMIN.
pub(crate) fn of(root: &OpenRoot, namespace: OwnedFd) -> Sockets {
    // A thread of its own enters the namespace: the others stay where they are.
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            match move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)) {
                Ok(()) => here(root),
                Err(error) => Sockets::failed(&error),
            }
        });
        reader.join().unwrap_or_else(|_| Sockets::failed(&"its reader failed"))
    })
}

/// sock_diag answers for this machine, whatever `/proc` is given.
fn answers(root: &OpenRoot) -> io::Result<()> {
    if root.is_system() { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// The sockets, and the file that each is bound to.
fn unix_by_sock_diag(root: &OpenRoot) -> io::Result<(HashMap<u64, UnixFacts>, HashMap<u64, u32>)> {
    answers(root)?;
    let mut sockets = HashMap::new();
    let mut files = HashMap::new();
    let mut pending = Vec::new();
    for socket in sock_diag::unix()? {
        files.extend(socket.file.map(|file| (socket.ino, file)));
        pending.extend(socket.pending.into_iter().map(|client| (socket.ino, client)));
        sockets.insert(socket.ino, socket.facts);
    }
    for (listener, client) in pending {
        if let Some(facts) = sockets.get_mut(&client) {
            facts.listener = Some(listener);
        }
    }
    Ok((sockets, files))
}

/// Finds the peer of each connected socket on this machine, and the listener of those that nothing has
/// accepted yet.
fn join_ends(sockets: &mut [(u64, InetFacts)]) {
    let by_ends: HashMap<_, u64> =
        sockets.iter().filter_map(|(ino, s)| Some(((s.stream, s.local?, s.remote?), *ino))).collect();
    let listeners: Vec<(SocketAddress, u64)> = sockets
        .iter()
        .filter(|(_, s)| s.state == Some(TcpState::Listen))
        .filter_map(|(ino, s)| Some((s.local?, *ino)))
        .collect();
    let own: HashSet<IpAddr> =
        sockets.iter().filter_map(|(_, s)| s.local).map(|a| a.ip).filter(|ip| !ip.is_unspecified()).collect();
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
            socket.listener = if queued { listener_at(&listeners, remote) } else { None };
        }
    }
}

/// The listener bound to an address, else the one bound to its port on every address.
fn listener_at(listeners: &[(SocketAddress, u64)], address: SocketAddress) -> Option<u64> {
    let mut at_port = listeners.iter().filter(|(at, _)| at.port == address.port);
    let exact = at_port.clone().find(|(at, _)| at.ip == address.ip);
    exact.or_else(|| at_port.find(|(at, _)| at.ip.is_unspecified())).map(|(_, ino)| *ino)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::core::evidence::{UnixKind, UnixState};
    use crate::procfs_view::ProcRoot;

    fn system() -> OpenRoot {
        ProcRoot::system().open().unwrap()
    }

    fn inode(of: &impl std::os::fd::AsFd) -> u64 {
        rustix::fs::fstat(of).unwrap().st_ino
    }

    #[test]
    fn a_socket_pair_knows_its_peer() {
        let (a, b) = UnixStream::pair().unwrap();
        let unix = here(&system()).unix.unwrap();
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
        let unix = here(&system()).unix.unwrap();
        assert_eq!(unix[&inode(&client)].listener, Some(inode(&listener)));
        assert_eq!(unix[&inode(&listener)].state, Some(UnixState::Listening));
    }

    #[test]
    fn loopback_tcp_finds_its_other_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let find = |of: u64| here(&system()).inet.unwrap()[&of].clone();
        let waiting = find(inode(&client));
        assert_eq!((waiting.peer, waiting.listener), (Some(0), Some(inode(&listener))));
        let (server, _) = listener.accept().unwrap();
        assert_eq!(find(inode(&client)).peer, Some(inode(&server)));
        assert_eq!(find(inode(&server)).peer, Some(inode(&client)));
    }

    #[test]
    fn the_tables_in_proc_show_what_sock_diag_shows() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let by_sock_diag = here(&system()).inet.unwrap();
        for (table, socket) in [
            (InetTable::Tcp4, inode(&listener)),
            (InetTable::Tcp4, inode(&client)),
            (InetTable::Udp4, inode(&datagrams)),
        ] {
            let rows: HashMap<_, _> = tables::inet(&system(), table).unwrap().into_iter().collect();
            let (shown, known) = (&rows[&socket], &by_sock_diag[&socket]);
            assert_eq!((shown.stream, shown.state), (known.stream, known.state));
            assert_eq!((shown.local, shown.remote), (known.local, known.remote));
            assert_eq!(shown.receive_queue, known.receive_queue);
        }
    }
}
