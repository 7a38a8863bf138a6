//! The process table: which processes exist, which is whose parent, and the little that following a session
//! takes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::proc_dir::{Decimal, ProcDir};
use super::stat::{self, Stat};
use super::{FileId, ProcRoot, reader, text};
use crate::core::event::IdentityExtras;
use crate::core::identity::{OwnNamespaces, ProcessId, WaitStatus};
use crate::core::text::ByteString;

/// A process and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRow {
    /// The process.
    pub process: ProcessId,
    /// Its parent's number; 0 is the kernel.
    pub ppid: u32,
    /// It has ended and was not reaped.
    pub zombie: bool,
    /// Pid of the leader of its login session.
    pub session: u32,
    /// It has a controlling terminal.
    pub terminal: bool,
}

/// Start and end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Its start, clock ticks since boot.
    pub start_ticks: u64,
    /// How it ended, of a zombie that this process may look into.
    pub status_of_zombie: Option<WaitStatus>,
}

fn directory(root: &ProcRoot, tgid: u32) -> PathBuf {
    root.path().join(tgid.to_string())
}

/// `stat` of a process; `None` when no process has this number.
fn read_stat(root: &ProcRoot, tgid: u32) -> io::Result<Option<Stat>> {
    let text = match fs::read(directory(root, tgid).join("stat")) {
        Ok(text) => text,
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stat::stat(&text).map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The row of a process; `None` when no process has this number.
///
/// # Errors
/// When the process exists and cannot be read.
pub fn row(root: &ProcRoot, tgid: u32) -> io::Result<Option<ProcessRow>> {
    let row = |stat: Stat| ProcessRow {
        process: ProcessId { tgid, start_ticks: stat.start_ticks },
        ppid: stat.ppid,
        zombie: stat.is_dead(),
        session: stat.session,
        terminal: stat.tty != 0,
    };
    Ok(read_stat(root, tgid)?.map(row))
}

/// When the process with this number started, clock ticks since boot; `None` when no process has it.
///
/// # Errors
/// As [`row`].
pub fn start_ticks(root: &ProcRoot, tgid: u32) -> io::Result<Option<u64>> {
    Ok(read_stat(root, tgid)?.map(|stat| stat.start_ticks))
}

/// Start and end of the process with this number.
///
/// # Errors
/// `NotFound` when no process has it, and the system's answer when it cannot be read.
pub fn lifetime(root: &ProcRoot, tgid: u32) -> io::Result<Lifetime> {
    let stat = read_stat(root, tgid)?.ok_or(io::ErrorKind::NotFound)?;
    // The kernel shows 0 to a reader without the rights; reading `io` takes the same rights.
    let permitted = stat.state == b'Z' && fs::read(directory(root, tgid).join("io")).is_ok();
    let status_of_zombie = stat.exit_code.filter(|_| permitted).map(WaitStatus);
    Ok(Lifetime { start_ticks: stat.start_ticks, status_of_zombie })
}

/// All processes that can be seen.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn all(root: &ProcRoot) -> io::Result<Vec<ProcessRow>> {
    let entries = fs::read_dir(root.path())?.flatten();
    let is_ours = |tgid| root.is_system() && reader::is_helper(tgid);
    let tgids = entries.filter_map(|entry| number(&entry.file_name())).filter(|tgid| !is_ours(*tgid));
    // A process that ended meanwhile, or cannot be read, is left out.
    Ok(tgids.filter_map(|tgid| row(root, tgid).ok().flatten()).collect())
}

/// Threads of a process; empty when it is gone.
pub fn threads(root: &ProcRoot, tgid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory(root, tgid).join("task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| number(&entry.file_name())).collect()
}

/// What identifies a process beside its number and start: its pid namespace, and its number there.
pub fn extras(root: &ProcRoot, tgid: u32) -> IdentityExtras {
    let status = fs::read(directory(root, tgid).join("status")).unwrap_or_default();
    IdentityExtras {
        start_boottime_ns: None,
        pidns_ino: namespace_of(root, &tgid.to_string(), "pid"),
        ns_pid: stat::status(&status).inner_pid,
        pidfd_ino: None,
    }
}

/// The namespaces of this process.
pub fn own_namespaces(root: &ProcRoot) -> OwnNamespaces {
    OwnNamespaces { pid: namespace_of(root, "self", "pid"), mount: namespace_of(root, "self", "mnt") }
}

/// The open descriptors of this process, by number. The one that lists them may be among them, closed by now.
///
/// # Errors
/// When they cannot be listed.
pub fn own_descriptors(root: &ProcRoot) -> io::Result<Vec<RawFd>> {
    let entries = fs::read_dir(root.path().join("self/fd"))?.flatten();
    Ok(entries.filter_map(|entry| RawFd::try_from(number(&entry.file_name())?).ok()).collect())
}

/// Inodes of the mount namespaces that processes are in; `None` when a process cannot be examined.
pub fn mount_namespaces(root: &ProcRoot) -> Option<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for row in all(root).ok()?.into_iter().filter(|row| !row.zombie) {
        let tgid = row.process.tgid;
        match namespace_of(root, &tgid.to_string(), "mnt") {
            Some(inode) => {
                found.insert(inode);
            }
            // It ended meanwhile, or may not be looked into.
            None if self::row(root, tgid).is_ok_and(|now| now.is_none_or(|now| now.zombie)) => {}
            None => return None,
        }
    }
    Some(found)
}

fn namespace_of(root: &ProcRoot, process: &str, kind: &str) -> Option<u64> {
    let link = fs::read_link(root.path().join(process).join("ns").join(kind)).ok()?;
    text::inode_in_link(link.as_os_str().as_bytes(), kind)
}

/// Arguments of a process; empty when it has none or they cannot be read.
pub fn arguments(root: &ProcRoot, tgid: u32) -> Vec<ByteString> {
    let mut text = Vec::new();
    let read = ProcDir::open(&directory(root, tgid)).and_then(|own| own.read("cmdline", &mut text).map(drop));
    if read.is_ok() { text::arguments(&text) } else { Vec::new() }
}

/// Whether a process was executed with `NAME=VALUE` in its environment; `false` when that cannot be read.
pub fn has_variable(root: &ProcRoot, tgid: u32, entry: &[u8]) -> bool {
    let environment = fs::read(directory(root, tgid).join("environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|there| there == entry)
}

/// The control groups of a process, as the kernel writes them; `None` when they cannot be read.
pub fn control_group(root: &ProcRoot, tgid: u32) -> Option<Vec<u8>> {
    fs::read(directory(root, tgid).join("cgroup")).ok()
}

/// Name of a process; `None` when it cannot be read.
pub fn comm(root: &ProcRoot, tgid: u32) -> Option<ByteString> {
    let mut name = fs::read(directory(root, tgid).join("comm")).ok()?;
    name.pop_if(|last| *last == b'\n');
    Some(ByteString(name))
}

/// Working directory of a process; `None` when it cannot be read.
pub fn working_directory(root: &ProcRoot, tgid: u32) -> Option<ByteString> {
    let path = fs::read_link(directory(root, tgid).join("cwd")).ok()?;
    Some(ByteString(path.into_os_string().into_vec()))
}

/// Id of the running boot; `None` when it cannot be read.
pub fn boot_id(root: &ProcRoot) -> Option<String> {
    let id = fs::read_to_string(root.path().join("sys/kernel/random/boot_id")).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Which descriptors a process has open on one of the files; empty when it cannot be looked into.
pub fn holds(root: &ProcRoot, tgid: u32, files: &[FileId]) -> Vec<u32> {
    let Ok(fds) = ProcDir::open(&directory(root, tgid)).and_then(|own| own.sub("fd")) else {
        return Vec::new();
    };
    let holds = |fd: &u32| {
        let found = fds.stat(Decimal::new(*fd).as_str());
        found.is_ok_and(|found| files.contains(&FileId::from(&found)))
    };
    fds.numbers().unwrap_or_default().into_iter().filter(holds).collect()
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs_view::fake_proc::{FakeProc, FakeProcess};

    #[test]
    fn this_process_is_found_with_its_parent_and_holds_its_output() {
        let root = ProcRoot::system();
        let me = std::process::id();
        let row = row(&root, me).unwrap().unwrap();
        assert_eq!(row.ppid, std::os::unix::process::parent_id());
        assert!(all(&root).unwrap().contains(&row));
        let file = FileId::of_fd(std::io::stderr()).unwrap();
        assert!(holds(&root, me, &[file]).contains(&2));
        assert_eq!(start_ticks(&root, 0).unwrap(), None);
    }

    #[test]
    fn a_process_is_unknown_only_when_it_exists_and_cannot_be_read() {
        let proc = FakeProc::new();
        let root = ProcRoot::at(proc.path());
        FakeProcess::new(7).comm(b"a (b) c\n\xff").parent(3).start(4242).write(&proc);
        let process = ProcessId { tgid: 7, start_ticks: 4242 };
        assert_eq!(
            row(&root, 7).unwrap(),
            Some(ProcessRow { process, ppid: 3, zombie: false, session: 7, terminal: false })
        );
        assert_eq!(comm(&root, 7), Some(ByteString(b"a (b) c\n\xff".to_vec())));
        assert_eq!(row(&root, 8).unwrap(), None);
        FakeProcess::new(8).write(&proc);
        proc.file("8/stat", "8 (cut");
        FakeProcess::new(9).write(&proc);
        proc.unreadable("9/stat");
        assert!(row(&root, 8).is_err() && row(&root, 9).is_err());
        assert_eq!(all(&root).unwrap().into_iter().map(|row| row.process).collect::<Vec<_>>(), [process]);
    }

    #[test]
    fn the_status_of_a_zombie_is_known_to_those_who_may_read_its_counters() {
        let proc = FakeProc::new();
        let root = ProcRoot::at(proc.path());
        FakeProcess::new(7).zombie(9).start(5).file("io", "rchar: 0\n").write(&proc);
        let known = Lifetime { start_ticks: 5, status_of_zombie: Some(WaitStatus(9)) };
        assert_eq!(lifetime(&root, 7).unwrap(), known);
        proc.unreadable("7/io");
        assert_eq!(lifetime(&root, 7).unwrap(), Lifetime { status_of_zombie: None, ..known });
        FakeProcess::new(7).start(5).file("io", "rchar: 0\n").write(&proc);
        assert_eq!(lifetime(&root, 7).unwrap().status_of_zombie, None, "it lives");
        proc.remove("7");
        assert_eq!(lifetime(&root, 7).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
