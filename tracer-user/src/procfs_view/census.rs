//! Every process and every listener of the machine, read once and quickly, to find what earlier runs left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use super::net::sockets::{self, Sockets};
use super::proc_dir::{Decimal, OpenRoot, ProcDir};
use super::table::ProcessRow;
use super::{FileId, ProcRoot, maps, table, text};
use crate::core::evidence::{InetFacts, TcpState, UnixFacts, UnixState};
use crate::core::identity::ProcessId;
use crate::core::leftover::{Listener, Proc};
use crate::core::text::ByteString;

/// Every process that can be seen, and every listening socket of the network namespaces they are in.
#[derive(Debug, Default)]
pub struct Census {
    /// The processes, by number.
    pub processes: Vec<Proc>,
    /// The sockets, by protocol and address.
    pub listeners: Vec<Listener>,
    /// What could not be read; one line each.
    pub problems: Vec<String>,
}

/// The processes that have each socket open, by its inode.
type SocketHolders = HashMap<u64, Vec<ProcessId>>;

/// Takes a census.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn census(root: &ProcRoot) -> io::Result<Census> {
    let opened = root.open()?;
    let mut census = Census::default();
    let mut holders = SocketHolders::new();
    // The other network namespaces by inode, and a process in each.
    let mut namespaces: BTreeMap<u64, u32> = BTreeMap::new();
    let mut buffer = Vec::new();
    for row in table::all(root)? {
        let id = row.process;
        let Ok(own) = opened.process(id.tgid) else { continue };
        census.processes.push(process(&own, row, &mut buffer));
        if let Ok(namespace) = own.stat("ns/net") {
            namespaces.entry(namespace.st_ino).or_insert(id.tgid);
        }
        for inode in open_sockets(&own) {
            holders.entry(inode).or_default().push(id);
        }
    }
    add_listeners(&mut census, sockets::here(&opened), None, &holders);
    if let Ok(ours) = opened.dir.stat("self/ns/net") {
        namespaces.remove(&ours.st_ino);
    }
    for (inode, tgid) in namespaces {
        // The process may be gone meanwhile, or its number another one's.
        let Some(namespace) = namespace_file(&opened, tgid, inode) else { continue };
        let name = namespace_name(inode);
        add_listeners(&mut census, sockets::of(&opened, namespace), Some(name), &holders);
    }
    census.processes.sort_by_key(|process| process.id);
    census.listeners.sort_by(|a, b| (a.protocol, &a.address).cmp(&(b.protocol, &b.address)));
    Ok(census)
}

fn process(own: &ProcDir, row: ProcessRow, buffer: &mut Vec<u8>) -> Proc {
    let comm =
        own.read("comm", buffer).map(|name| ByteString::from(name.strip_suffix(b"\n").unwrap_or(name)));
    let comm = comm.unwrap_or_default();
    let mut target = [0; 4096];
    let mut link = |name: &str| own.link(name, &mut target).ok().map(ByteString);
    Proc {
        id: row.process,
        ppid: row.ppid,
        uid: own.stat(".").ok().map(|stat| stat.st_uid),
        cmdline: own.read("cmdline", buffer).map(text::arguments).unwrap_or_default(),
        cwd: link("cwd"),
        exe: link("exe"),
        zombie: row.zombie,
        reaper: row.process.tgid == 1 || is_user_manager(&comm, row.ppid),
        comm,
    }
}

/// A service manager of a user, which is a child subreaper. The kernel shows that attribute of no process.
fn is_user_manager(comm: &ByteString, ppid: u32) -> bool {
    ppid == 1 && comm.as_bytes() == b"systemd"
}

/// Inodes of the sockets that a process has open; empty when it cannot be looked into.
fn open_sockets(process: &ProcDir) -> Vec<u64> {
    let Ok(fds) = process.sub("fd") else { return Vec::new() };
    let socket = |fd: u32| {
        let link = fds.link(Decimal::new(fd).as_str(), &mut [0; 64]).ok()?;
        text::inode_in_link(&link, "socket")
    };
    fds.numbers().unwrap_or_default().into_iter().filter_map(socket).collect()
}

fn namespace_file(root: &OpenRoot, tgid: u32, inode: u64) -> Option<std::os::fd::OwnedFd> {
    let file = root.process(tgid).ok()?.file("ns/net").ok()?;
    (rustix::fs::fstat(&file).ok()?.st_ino == inode).then_some(file)
}

/// The name that `ip netns` gave a network namespace, if it did, and the kernel's.
fn namespace_name(inode: u64) -> String {
    let named = std::fs::read_dir("/run/netns").ok().and_then(|entries| {
        let mut entries = entries.flatten();
        entries.find(|entry| std::fs::metadata(entry.path()).is_ok_and(|it| it.ino() == inode))
    });
    match named {
        Some(entry) => {
            let name = ByteString(entry.file_name().as_bytes().to_vec());
            format!("network namespace {} (net:[{inode}])", name.escaped())
        }
        None => format!("network namespace net:[{inode}]"),
    }
}

/// Adds the listeners of a network namespace; `namespace` is its name, or `None` for this process's own.
fn add_listeners(census: &mut Census, sockets: Sockets, namespace: Option<String>, holders: &SocketHolders) {
    let place = namespace.as_ref().map_or_else(String::new, |name| format!("{name}: "));
    census.problems.extend(sockets.problems.iter().map(|it| format!("{place}{}: {}", it.what, it.why)));
    let held = |inode: &u64| {
        let mut held = holders.get(inode).cloned().unwrap_or_default();
        held.sort_unstable();
        held.dedup();
        held
    };
    for (inode, facts) in sockets.inet.iter().flatten() {
        if let Some(listener) = inet_listener(facts) {
            census.listeners.push(Listener {
                namespace: namespace.clone(),
                holders: held(inode),
                ..listener
            });
        }
    }
    for (inode, facts) in sockets.unix.iter().flatten() {
        if let Some(listener) = unix_listener(facts) {
            // A file can be in the way in any network namespace. An abstract name belongs to one.
            let of_namespace = listener.path.as_ref().is_some_and(|path| path.as_bytes().starts_with(b"\0"));
            let namespace = namespace.clone().filter(|_| of_namespace);
            census.listeners.push(Listener { namespace, holders: held(inode), ..listener });
        }
    }
}

/// The listener that an IP socket is, if it is one. A UDP socket with a port and no peer receives from anywhere.
fn inet_listener(facts: &InetFacts) -> Option<Listener> {
    let listens = if facts.stream {
        facts.state == Some(TcpState::Listen)
    } else {
        facts.remote.is_none_or(|remote| remote.port == 0)
    };
    let local = facts.local.filter(|local| listens && local.port != 0)?;
    Some(Listener {
        protocol: if facts.stream { "tcp" } else { "udp" },
        address: local.to_string(),
        port: Some(local.port),
        path: None,
        namespace: None,
        asked: false,
        holders: Vec::new(),
    })
}

/// The listener that a UNIX socket is, if it is one.
fn unix_listener(facts: &UnixFacts) -> Option<Listener> {
    let path = facts.path.clone().filter(|_| facts.state == Some(UnixState::Listening))?;
    let address = match path.as_bytes().strip_prefix(b"\0") {
        Some(name) => format!("@{}", ByteString::from(name).escaped()),
        None => path.escaped(),
    };
    Some(Listener {
        protocol: "unix",
        address,
        port: None,
        path: Some(path),
        namespace: None,
        asked: false,
        holders: Vec::new(),
    })
}

/// Which files are in use.
#[derive(Debug, Default)]
pub struct FileUsers {
    /// The files in question that a process maps or has open.
    pub used: HashSet<FileId>,
    /// Processes that cannot be looked into, by number: each may use any of the files.
    pub unreadable: Vec<u32>,
}

/// Looks for the files in every process: in its open descriptors and its mappings.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn file_users(root: &ProcRoot, files: &HashSet<FileId>) -> io::Result<FileUsers> {
    let opened = root.open()?;
    let mut found = FileUsers::default();
    let mut buffer = Vec::new();
    for row in table::all(root)?.into_iter().filter(|row| !row.zombie) {
        let tgid = row.process.tgid;
        let Ok(own) = opened.process(tgid) else { continue };
        match files_of(&own, &mut buffer) {
            Ok(used) => found.used.extend(used.into_iter().filter(|file| files.contains(file))),
            // A process that has ended meanwhile uses nothing.
            Err(_) if table::row(root, tgid).is_ok_and(|now| now.is_none_or(|now| now.zombie)) => {}
            Err(_) => found.unreadable.push(tgid),
        }
    }
    Ok(found)
}

/// Every file that a process maps or has open.
fn files_of(process: &ProcDir, buffer: &mut Vec<u8>) -> io::Result<Vec<FileId>> {
    let mapped = maps::parse(process.read("maps", buffer)?);
    let mut files: Vec<FileId> = mapped.map(|mapping| mapping.file).collect();
    let fds = process.sub("fd")?;
    for fd in fds.numbers()? {
        if let Ok(stat) = fds.stat(Decimal::new(fd).as_str()) {
            files.push((&stat).into());
        }
    }
    Ok(files)
}
