//! Who there is, who made whom, and what of a job's output a process holds: the little that following a session
//! takes, read quickly.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;

use super::ProcRoot;
use crate::core::event::IdentityExtras;
use crate::core::identity::ProcessId;

/// A process and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kin {
    /// The process.
    pub process: ProcessId,
    /// Its parent's number; 0: the kernel.
    pub ppid: u32,
    /// It has ended and was not reaped.
    pub zombie: bool,
}

/// The file behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// One process; `None` when there is none of that number.
///
/// # Errors
/// When it is there and cannot be read, which says nothing about it.
pub fn kin(root: &ProcRoot, tgid: u32) -> io::Result<Option<Kin>> {
    let stat = match fs::read(root.path().join(tgid.to_string()).join("stat")) {
        Ok(stat) => stat,
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    parse(tgid, &stat).map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// When the process with this number started, clock ticks; `None` when there is none.
///
/// # Errors
/// As [`kin`].
pub fn start_ticks(root: &ProcRoot, tgid: u32) -> io::Result<Option<u64>> {
    Ok(kin(root, tgid)?.map(|kin| kin.process.start_ticks))
}

/// All processes that can be seen.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn all(root: &ProcRoot) -> io::Result<Vec<Kin>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.path())? {
        let Ok(entry) = entry else { continue };
        let Some(tgid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Ok(Some(kin)) = kin(root, tgid) {
            found.push(kin);
        }
    }
    Ok(found)
}

/// Threads of a process; empty when it is gone.
pub fn threads(root: &ProcRoot, tgid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(root.path().join(tgid.to_string()).join("task")) else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What else identifies a process: its namespace and its number there.
pub fn extras(root: &ProcRoot, tgid: u32) -> IdentityExtras {
    let directory = root.path().join(tgid.to_string());
    let status = fs::read(directory.join("status")).unwrap_or_default();
    let ns_pid = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))
        .and_then(|numbers| std::str::from_utf8(numbers).ok()?.split_whitespace().next_back()?.parse().ok());
    IdentityExtras {
        start_boottime_ns: None,
        pidns_ino: fs::metadata(directory.join("ns/pid")).ok().map(|found| found.ino()),
        ns_pid,
        pidfd_ino: None,
    }
}

/// Arguments of a process; empty when there are none or they cannot be read.
pub fn arguments(root: &ProcRoot, tgid: u32) -> Vec<Vec<u8>> {
    let bytes = fs::read(root.path().join(tgid.to_string()).join("cmdline")).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() { Vec::new() } else { bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect() }
}

/// Name of a process; `None` when it cannot be read.
pub fn comm(root: &ProcRoot, tgid: u32) -> Option<Vec<u8>> {
    let mut name = fs::read(root.path().join(tgid.to_string()).join("comm")).ok()?;
    name.pop_if(|last| *last == b'\n');
    Some(name)
}

/// Working directory of a process; `None` when it cannot be read.
pub fn working_directory(root: &ProcRoot, tgid: u32) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    let path = fs::read_link(root.path().join(tgid.to_string()).join("cwd")).ok()?;
    Some(path.into_os_string().into_vec())
}

/// Id of the running boot; `None` when it cannot be read.
pub fn boot_id(root: &ProcRoot) -> Option<String> {
    let id = fs::read_to_string(root.path().join("sys/kernel/random/boot_id")).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// The file behind one of our own descriptors; `None` when it is closed.
pub fn file_id(fd: impl AsFd) -> Option<FileId> {
    let found = rustix::fs::fstat(fd).ok()?;
    Some(FileId { device: found.st_dev, inode: found.st_ino })
}

/// Which of its descriptors a process has open on one of the files; empty when it cannot be looked into.
pub fn holds(root: &ProcRoot, tgid: u32, files: &[FileId]) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(root.path().join(tgid.to_string()).join("fd")) else { return Vec::new() };
    let mut held: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let found = fs::metadata(entry.path()).ok()?;
            files.contains(&FileId { device: found.dev(), inode: found.ino() }).then_some(number)
        })
        .collect();
    held.sort_unstable();
    held
}

fn parse(tgid: u32, stat: &[u8]) -> Option<Kin> {
    // The name is in parentheses and may hold anything, parentheses too: the last one ends it.
    let after = &stat[stat.iter().rposition(|&byte| byte == b')')? + 1..];
    let mut fields = std::str::from_utf8(after).ok()?.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let ppid = fields.next()?.parse().ok()?;
    // Field 22 of the line; the state is field 3.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Kin { process: ProcessId { tgid, start_ticks }, ppid, zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = b"7 (a) b (c) S 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 99 1";
        let kin = parse(7, stat).unwrap();
        assert_eq!((kin.ppid, kin.process.start_ticks, kin.zombie), (3, 4242, false));
        assert_eq!(parse(7, b"7 (cut"), None);
        assert_eq!(parse(7, b"7 (x) S 3"), None);
    }

    #[test]
    fn this_process_is_found_with_its_parent_and_holds_its_output() {
        let root = ProcRoot::system();
        let me = std::process::id();
        let kin = kin(&root, me).unwrap().unwrap();
        assert_eq!(kin.ppid, std::os::unix::process::parent_id());
        assert!(all(&root).unwrap().contains(&kin));
        let file = file_id(std::io::stderr()).unwrap();
        assert!(holds(&root, me, &[file]).contains(&2));
        assert_eq!(start_ticks(&root, 0).unwrap(), None);
    }
}
