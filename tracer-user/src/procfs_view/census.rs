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
        if let Some(namespace) = own.namespace("net") {
            namespaces.entry(namespace).or_insert(id.tgid);
        }
        for inode in open_sockets(&own) {
            holders.entry(inode).or_default().push(id);
        }
    }
    add_listeners(&mut census, sockets::here(&opened), None, &holders);
    if let Some(own) = opened.dir.sub("self").ok().and_then(|own| own.namespace("net")) {
        namespaces.remove(&own);
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
        uid: own.stat(".").ok().map(|stat| stat.stx_uid),
        cmdline: own.read("cmdline", buffer).map(text::arguments).unwrap_or_default(),
        cwd: link("cwd"),
        exe: link("exe"),
        zombie: row.zombie,
        reaper: row.process.tgid == 1 || is_user_manager(&comm, row.ppid),
        service: own.read("cgroup", buffer).ok().and_then(service),
        session: row.session,
        terminal: row.terminal,
        environment: Vec::new(),
        comm,
    }
}

/// The control group of the innermost service in the text of `/proc/PID/cgroup`. A user's service manager is
/// none: everything of that user is below it.
fn service(text: &[u8]) -> Option<ByteString> {
    let of_systemd = |line: &&[u8]| line.starts_with(b"0::/") || line.starts_with(b"1:name=systemd:/");
    text.split(|byte| *byte == b'\n').filter(of_systemd).find_map(|line| {
        let path = &line[line.iter().position(|byte| *byte == b'/')?..];
        let mut end = None;
        let mut start = 0;
        for name in path.split(|byte| *byte == b'/') {
            let next = start + name.len();
            if name.ends_with(b".service") && !name.starts_with(b"user@") {
                end = Some(next);
            }
            start = next + 1;
        }
        end.map(|end| ByteString::from(&path[..end]))
    })
}

/// The variables of a process's environment that say where it was started and by which interpreter; empty
/// when they cannot be read.
pub fn origin(root: &ProcRoot, process: ProcessId) -> Vec<ByteString> {
    const NAMES: [&[u8]; 3] = [b"PWD=", b"_=", b"VIRTUAL_ENV="];
    let Ok(opened) = root.open() else { return Vec::new() };
    let Ok(own) = opened.process(process.tgid) else { return Vec::new() };
    let mut buffer = Vec::new();
    let Ok(text) = own.read("environ", &mut buffer) else { return Vec::new() };
    let found = text.split(|byte| *byte == 0).filter(|word| NAMES.iter().any(|name| word.starts_with(name)));
    let found = found.map(ByteString::from).collect();
    // The directory was opened after the census: the number may be another process's by then.
    match table::row(root, process.tgid) {
        Ok(Some(row)) if row.process == process => found,
        _ => Vec::new(),
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

/// The listener that an IP socket is, if it is one. A UDP socket with a port and no peer receives from
/// anywhere.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs_view::fake_proc::{FakeProc, FakeProcess, FakeThread};

    fn root(proc: &FakeProc) -> ProcRoot {
        ProcRoot::at(proc.path())
    }

    #[test]
    fn processes_are_listed_with_what_can_be_read_of_them() {
        let proc = FakeProc::new();
        let process =
            FakeProcess::new(7).comm(b"a) b\nc ").parent(3).start(42).arguments(&[b"run", b"", b"x"]);
        process.link("cwd", "/work dir").link("exe", "/bin/run (deleted)").write(&proc);
        FakeProcess::new(8).zombie(9).write(&proc);
        FakeProcess::new(9).write(&proc);
        FakeProcess::new(10).comm(b"systemd").write(&proc);
        proc.remove("9/stat").file("not-a-number/stat", "").unreadable("8/cmdline");
        let census = census(&root(&proc)).unwrap();
        let ids: Vec<_> = census.processes.iter().map(|it| (it.id.tgid, it.zombie, it.reaper)).collect();
        assert_eq!(ids, [(7, false, false), (8, true, false), (10, false, true)]);
        let first = &census.processes[0];
        assert_eq!((first.comm.as_bytes(), first.ppid), (&b"a) b\nc "[..], 3));
        assert_eq!(first.cmdline, ["run", "", "x"].map(ByteString::from));
        assert_eq!(first.cwd, Some(ByteString::from("/work dir")));
        assert_eq!(first.uid, Some(rustix::process::geteuid().as_raw()));
        assert_eq!((&census.processes[1].cmdline, &census.processes[1].exe), (&Vec::new(), &None));
    }

    #[test]
    fn the_service_of_a_process_is_the_innermost_one() {
        let found = |text: &str| service(text.as_bytes()).map(|it| it.escaped());
        let of = |path: &str| found(&format!("9:name=x:/\n0::{path}\n"));
        assert_eq!(of("/system.slice/app.service").as_deref(), Some("/system.slice/app.service"));
        assert_eq!(of("/system.slice/app.service/worker").as_deref(), Some("/system.slice/app.service"));
        let user = "/user.slice/user-7.slice/user@7.service";
        assert_eq!(of(&format!("{user}/app.slice/tab-1.scope")), None);
        assert_eq!(of(&format!("{user}/app.slice/d.service")), Some(format!("{user}/app.slice/d.service")));
        assert_eq!(of("/"), None);
        assert_eq!(found("1:name=systemd:/a.service\n").as_deref(), Some("/a.service"));
    }

    #[test]
    fn the_origin_of_a_process_is_in_its_environment() {
        let proc = FakeProc::new();
        let text = b"HOME=/root\0PWD=/srv/repo\0_=/srv/repo/x\0PWD_OLD=1\0";
        FakeProcess::new(7).start(5).file("environ", text).write(&proc);
        let id = |start_ticks| ProcessId { tgid: 7, start_ticks };
        assert_eq!(origin(&root(&proc), id(5)), ["PWD=/srv/repo", "_=/srv/repo/x"].map(ByteString::from));
        assert_eq!(origin(&root(&proc), id(6)), []);
    }

    #[test]
    fn listeners_are_listed_with_their_holders() {
        let proc = FakeProc::new();
        let row = |local: &str, remote: &str, state: &str, inode: u32| {
            format!("   0: {local} {remote} {state} 0:0 00:0 0 0 0 {inode} 1\n")
        };
        let none = "00000000:0000";
        let tcp = row("0100007F:1F90", none, "0A", 70) + &row("0100007F:1F90", "0100007F:0016", "01", 71);
        let udp = row("0100007F:0035", none, "07", 72) + &row("0100007F:0036", "0100007F:0016", "01", 73);
        let unix =
            "x: 2 0 00010000 0001 01 74 /run/a b\nx: 3 0 0 0001 03 75 /run/a b\nx: 2 0 10000 1 01 76 @x\n";
        proc.file("thread-self/net/tcp", format!("head\n{tcp}"));
        proc.file("thread-self/net/udp", format!("head\n{udp}"));
        proc.file("thread-self/net/unix", format!("head\n{unix}"));
        let fds = FakeProcess::new(7).fd(3, "socket:[70]", 2).fd(4, "socket:[70]", 2);
        fds.fd(5, "socket:[71]", 2).write(&proc);
        FakeProcess::new(8).start(5).fd(3, "socket:[70]", 2).fd(4, "socket:[74]", 2).write(&proc);
        let census = census(&root(&proc)).unwrap();
        let found: Vec<_> = census
            .listeners
            .iter()
            .map(|it| {
                let holders: Vec<u32> = it.holders.iter().map(|id| id.tgid).collect();
                (it.protocol, it.address.as_str(), holders)
            })
            .collect();
        let expected = [
            ("tcp", "127.0.0.1:8080", vec![7, 8]),
            ("udp", "127.0.0.1:53", vec![]),
            ("unix", "/run/a b", vec![8]),
            ("unix", "@x", vec![]),
        ];
        assert_eq!(found, expected);
        assert_eq!(census.problems, Vec::<String>::new());
    }

    #[test]
    fn a_network_namespace_that_cannot_be_read_is_passed_over_and_a_table_is_a_problem() {
        let proc = FakeProc::new();
        FakeProcess::new(7).namespace("net", 99).write(&proc);
        proc.unreadable("thread-self/net/tcp").unreadable("thread-self/net/unix");
        let census = census(&root(&proc)).unwrap();
        assert_eq!((census.processes.len(), census.listeners.len()), (1, 0));
        let what: Vec<_> =
            census.problems.iter().filter_map(|it| it.split_once(':')).map(|it| it.0).collect();
        assert_eq!(what, ["UNIX sockets", "IP sockets"]);
    }

    #[test]
    fn a_proc_that_cannot_be_listed_is_an_error() {
        let proc = FakeProc::new();
        let nowhere = ProcRoot::at(proc.path().join("nowhere"));
        assert!(census(&nowhere).is_err());
        assert!(file_users(&nowhere, &HashSet::new()).is_err());
    }

    #[test]
    fn files_are_used_by_those_who_map_or_open_them_or_cannot_be_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, name).unwrap();
            let id = FileId::from(&std::fs::metadata(&path).unwrap());
            (path.into_os_string().into_encoded_bytes(), id)
        };
        let [(open_path, open), (_, mapped), (_, unused), (other_path, _)] =
            ["open", "mapped", "unused", "other"].map(file);
        let proc = FakeProc::new();
        let (major, minor) = (rustix::fs::major(mapped.dev), rustix::fs::minor(mapped.dev));
        let maps = format!("1000-2000 rw-s 00000000 {major:02x}:{minor:02x} {} /x\n", mapped.ino);
        FakeProcess::new(7).file("maps", maps).fd(3, &other_path, 2).write(&proc);
        FakeProcess::new(8).file("maps", "").fd(3, &open_path, 2).fd(4, "socket:[1]", 2).write(&proc);
        FakeProcess::new(9).threads([FakeThread::new(9)]).write(&proc);
        FakeProcess::new(10).zombie(0).write(&proc);
        FakeProcess::new(11).file("maps", "").write(&proc);
        proc.unreadable("9/maps").remove("11/fd").file("11/fd", "");
        let users = file_users(&root(&proc), &HashSet::from([open, mapped, unused])).unwrap();
        assert_eq!(users.used, HashSet::from([open, mapped]));
        assert_eq!(sorted(users.unreadable), [9, 11]);
    }

    fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
        numbers.sort_unstable();
        numbers
    }
}
