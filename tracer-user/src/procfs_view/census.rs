//! Who there is and who listens, for finding what earlier runs left: one quick reading of every process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use super::proc_dir::{Decimal, ProcDir};
use super::sockets::{self, Sockets};
use super::{ProcRoot, maps, table};
use crate::core::evidence::{TcpState, UnixState};
use crate::core::identity::ProcessId;
use crate::core::leftover::{Listener, Proc};
use crate::core::text::ByteString;

/// Every process that can be seen, and every listening socket of the network namespaces they are in.
#[derive(Debug, Default)]
pub struct Census {
    /// The processes.
    pub processes: Vec<Proc>,
    /// The sockets.
    pub listeners: Vec<Listener>,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

/// Takes a census.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn census(root: &ProcRoot) -> io::Result<Census> {
    let dir = ProcDir::open(root.path())?;
    let mut census = Census::default();
    let mut holders: HashMap<u64, Vec<ProcessId>> = HashMap::new();
    // Another network namespace each, and a process in it.
    let mut namespaces: BTreeMap<u64, u32> = BTreeMap::new();
    let mut buffer = Vec::new();
    for kin in table::all(root)? {
        let path = root.path().join(kin.process.tgid.to_string());
        let link = |name: &str| {
            std::fs::read_link(path.join(name)).ok().map(|to| ByteString(to.as_os_str().as_bytes().to_vec()))
        };
        let Ok(own) = dir.sub(Decimal::new(kin.process.tgid).as_str()) else { continue };
        let comm = own.read("comm", &mut buffer).map(|text| ByteString(text.trim_ascii_end().to_vec()));
        let comm = comm.unwrap_or_default();
        let cmdline = own.read("cmdline", &mut buffer).map(words).unwrap_or_default();
        census.processes.push(Proc {
            id: kin.process,
            ppid: kin.ppid,
            uid: std::fs::metadata(&path).ok().map(|it| it.uid()),
            comm: comm.clone(),
            cmdline,
            cwd: link("cwd"),
            exe: link("exe"),
            zombie: kin.zombie,
            reaper: kin.process.tgid == 1 || is_user_manager(&comm, kin.ppid),
        });
        if let Ok(namespace) = std::fs::metadata(path.join("ns/net")) {
            namespaces.entry(namespace.ino()).or_insert(kin.process.tgid);
        }
        for inode in open_sockets(&path) {
            holders.entry(inode).or_default().push(kin.process);
        }
    }
    listeners(&mut census, sockets::here(), None, &holders);
    if let Ok(ours) = std::fs::metadata(root.path().join("self/ns/net")) {
        namespaces.remove(&ours.ino());
    }
    for (inode, pid) in namespaces {
        let opened = std::fs::File::open(root.path().join(pid.to_string()).join("ns/net"));
        // Gone meanwhile, or another process by now.
        let Some(namespace) = opened.ok().filter(|it| it.metadata().is_ok_and(|it| it.ino() == inode)) else {
            continue;
        };
        listeners(&mut census, sockets::of(namespace.into()), Some(namespace_name(inode)), &holders);
    }
    census.listeners.sort_by(|a, b| (a.protocol, &a.address).cmp(&(b.protocol, &b.address)));
    Ok(census)
}

/// A service manager of a user, which is a child subreaper; the kernel shows that attribute of nobody.
fn is_user_manager(comm: &ByteString, ppid: u32) -> bool {
    ppid == 1 && comm.as_bytes() == b"systemd"
}

fn words(text: &[u8]) -> Vec<ByteString> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|byte| *byte == 0).map(ByteString::from).collect()
}

fn open_sockets(process: &std::path::Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(process.join("fd")) else { return Vec::new() };
    let number = |entry: std::fs::DirEntry| {
        let to = std::fs::read_link(entry.path()).ok()?;
        to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.flatten().filter_map(number).collect()
}

/// As `ip netns` names it, where that made it, and as the kernel does.
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

fn listeners(
    census: &mut Census,
    sockets: Sockets,
    namespace: Option<String>,
    holders: &HashMap<u64, Vec<ProcessId>>,
) {
    let place = namespace.as_ref().map_or_else(String::new, |it| format!("{it}: "));
    census.problems.extend(sockets.problems.iter().map(|(what, why)| format!("{place}{what}: {why}")));
    let held = |inode: &u64| {
        let mut held = holders.get(inode).cloned().unwrap_or_default();
        held.sort_unstable();
        held.dedup();
        held
    };
    for (inode, facts) in sockets.inet.iter().flatten() {
        // A UDP socket with a port and no peer takes what comes.
        let listens = if facts.stream {
            facts.state == Some(TcpState::Listen)
        } else {
            facts.remote.is_none_or(|remote| remote.port == 0)
        };
        let Some(local) = facts.local.filter(|local| listens && local.port != 0) else { continue };
        census.listeners.push(Listener {
            protocol: if facts.stream { "tcp" } else { "udp" },
            address: local.to_string(),
            port: Some(local.port),
            path: None,
            namespace: namespace.clone(),
            asked: false,
            holders: held(inode),
        });
    }
    for (inode, facts) in sockets.unix.iter().flatten() {
        let Some(path) = facts.path.as_ref().filter(|_| facts.state == Some(UnixState::Listening)) else {
            continue;
        };
        let path = ByteString(path.as_bytes().to_vec());
        let address = match path.as_bytes().strip_prefix(b"\0") {
            Some(name) => format!("@{}", ByteString::from(name).escaped()),
            None => path.escaped(),
        };
        census.listeners.push(Listener {
            protocol: "unix",
            address,
            port: None,
            // A file is in the way whoever's network it is; an abstract name is one of its namespace.
            namespace: namespace.clone().filter(|_| path.as_bytes().starts_with(b"\0")),
            path: Some(path),
            asked: false,
            holders: held(inode),
        });
    }
}

/// Who uses files, by device and inode.
#[derive(Debug, Default)]
pub struct Users {
    /// Those of the files asked about that a process maps or holds open.
    pub used: HashSet<(u64, u64)>,
    /// Processes that could not be looked into: each may use any of them.
    pub blind: Vec<u32>,
}

/// Looks through every process for the files asked about: open descriptors and mappings.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn users(root: &ProcRoot, files: &HashSet<(u64, u64)>) -> io::Result<Users> {
    let dir = ProcDir::open(root.path())?;
    let mut users = Users::default();
    let mut buffer = Vec::new();
    for kin in table::all(root)? {
        if kin.zombie {
            continue;
        }
        let path = root.path().join(kin.process.tgid.to_string());
        let Ok(own) = dir.sub(Decimal::new(kin.process.tgid).as_str()) else { continue };
        let seen = own.read("maps", &mut buffer).map(|text| {
            let mapped = maps::parse(text).map(|mapping| (mapping.dev, mapping.ino));
            users.used.extend(mapped.filter(|id| files.contains(id)));
        });
        let seen = seen.and_then(|()| std::fs::read_dir(path.join("fd"))).map(|entries| {
            let ids = entries.flatten().filter_map(|entry| std::fs::metadata(entry.path()).ok());
            users.used.extend(ids.map(|it| (it.dev(), it.ino())).filter(|id| files.contains(id)));
        });
        // One that went meanwhile uses nothing; one that is there and cannot be looked into may use anything.
        if seen.is_err()
            && table::kin(root, kin.process.tgid).is_ok_and(|now| now.is_some_and(|now| !now.zombie))
        {
            users.blind.push(kin.process.tgid);
        }
    }
    Ok(users)
}
