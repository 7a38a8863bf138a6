//! Files that programs leave behind: UNIX sockets nobody listens on, pid files of the dead, shared memory.
//!
//! Whether a UNIX socket's file is dead is asked of the kernel without disturbing whoever might listen: a datagram
//! socket that connects to it is refused with ECONNREFUSED when no socket is bound to that file, and with
//! EPROTOTYPE when a stream socket is; no listener ever notices.
//!
//! Whether a regular file is in use is asked of the kernel too: it grants a write lease only while nobody else has
//! the file open or mapped, in whatever process, seen or unseen, or on its way in a message.

use std::collections::HashSet;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Directories that hold what tools made, by the million, and no sockets.
const SKIPPED: [&str; 7] = [".git", "target", "node_modules", ".venv", "venv", "__pycache__", ".tox"];
/// Entries looked at below one directory, at most.
const MAX_ENTRIES: usize = 50_000;
/// A pid file holds a number and little else.
const MAX_PID_FILE: u64 = 128;
/// Names of pid files.
const PID_FILES: [&str; 3] = [".pid", ".lock", ".lck"];

/// `F_SETSIG` (`include/uapi/asm-generic/fcntl.h`), which the libc crate does not have.
const F_SETSIG: i32 = 10;

/// A file that may be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub path: PathBuf,
    /// What it is.
    pub what: What,
    /// Device and inode.
    pub id: (u64, u64),
    /// Last change of its content, seconds since 1970.
    pub modified: i64,
}

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// UNIX socket.
    Socket,
    /// Regular file in a directory of shared memory.
    SharedMemory,
    /// File that holds this pid.
    PidFile(u32),
}

/// Whether anybody uses a file: is bound to a socket's, has another open or mapped.
#[derive(Debug)]
pub enum Bound {
    /// Somebody does.
    Yes,
    /// Nobody does.
    No,
    /// Cannot be told.
    Unknown(io::Error),
}

/// Sockets and pid files of `uid` below `dir`, `depth` levels down, following no link.
pub fn below(dir: &Path, uid: u32, depth: usize) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut left = MAX_ENTRIES;
    walk(dir, uid, depth, &mut left, &mut found);
    found
}

fn walk(dir: &Path, uid: u32, depth: usize, left: &mut usize, found: &mut Vec<Candidate>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if depth > 0 && !skipped {
                walk(&entry.path(), uid, depth - 1, left, found);
            }
        } else {
            found.extend(look(&entry.path(), kind, uid));
        }
    }
}

fn look(path: &Path, kind: FileType, uid: u32) -> Option<Candidate> {
    let what = if kind.is_socket() {
        What::Socket
    } else if kind.is_file() {
        let name = path.file_name()?.to_str()?;
        if !PID_FILES.iter().any(|end| name.ends_with(end)) {
            return None;
        }
        What::PidFile(pid_in(path)?)
    } else {
        return None;
    };
    candidate(path, what, uid)
}

fn candidate(path: &Path, what: What, uid: u32) -> Option<Candidate> {
    let metadata = fs::symlink_metadata(path).ok().filter(|it| it.uid() == uid)?;
    Some(Candidate { path: path.to_owned(), what, id: id(&metadata), modified: metadata.mtime() })
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The number a pid file holds on its first line, if it holds that and nothing like a lock file of a package manager.
fn pid_in(path: &Path) -> Option<u32> {
    let metadata = fs::symlink_metadata(path).ok().filter(|it| it.is_file() && it.len() <= MAX_PID_FILE)?;
    let text = if metadata.len() == 0 { return None } else { fs::read_to_string(path).ok()? };
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)
}

/// One path: a socket or pid file of `uid`.
pub fn at(path: &Path, uid: u32) -> Option<Candidate> {
    let metadata = fs::symlink_metadata(path).ok()?;
    look(path, metadata.file_type(), uid)
}

/// The files of `uid` in a directory of shared memory. Directories in it are somebody's own business.
pub fn shared_memory(dir: &Path, uid: u32) -> Vec<Candidate> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.filter_map(|entry| candidate(&entry.path(), What::SharedMemory, uid)).collect()
}

/// Asks whether anybody is bound to a socket's file; see the module's text.
pub fn bound(path: &Path) -> Bound {
    let probe = || -> rustix::io::Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    match probe() {
        Ok(()) | Err(Errno::PROTOTYPE) => Bound::Yes,
        Err(Errno::CONNREFUSED) => Bound::No,
        Err(error) => Bound::Unknown(error.into()),
    }
}

/// Whether anybody has a regular file open or mapped; see the module's text. The lease is given back at once.
pub fn in_use(path: &Path) -> Bound {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(error) => return Bound::Unknown(error.into()),
    };
    // Whoever opens the file while we hold the lease makes the kernel signal us: by one that does nothing.
    // SAFETY: sets a number in the open file; no pointer is passed.
    unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) };
    // SAFETY: asks for a lease on a descriptor we own; no pointer is passed.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } == 0 {
        // SAFETY: gives it back; no pointer is passed.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return Bound::No;
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Bound::Yes } else { Bound::Unknown(error) }
}

/// Removes a candidate if it still is the very file that was judged. False when it is another by now, or gone.
///
/// # Errors
/// What the system says.
pub fn remove(candidate: &Candidate) -> io::Result<bool> {
    let same = fs::symlink_metadata(&candidate.path).is_ok_and(|now| id(&now) == candidate.id);
    if !same {
        return Ok(false);
    }
    match fs::remove_file(&candidate.path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The identities of candidates.
pub fn ids(candidates: &[Candidate]) -> HashSet<(u64, u64)> {
    candidates.iter().map(|candidate| candidate.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn a_socket_is_bound_until_its_owner_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (stream, datagram) = (directory.path().join("stream"), directory.path().join("datagram"));
        let listener = UnixListener::bind(&stream).unwrap();
        listener.set_nonblocking(true).unwrap();
        let receiver = UnixDatagram::bind(&datagram).unwrap();
        assert!(matches!(bound(&stream), Bound::Yes) && matches!(bound(&datagram), Bound::Yes));
        // The listener never noticed.
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop((listener, receiver));
        assert!(matches!(bound(&stream), Bound::No) && matches!(bound(&datagram), Bound::No));
    }

    #[test]
    fn a_file_is_in_use_while_anybody_has_it_open_or_mapped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, [0; 4096]).unwrap();
        assert!(matches!(in_use(&path), Bound::No));
        let file = fs::File::open(&path).unwrap();
        assert!(matches!(in_use(&path), Bound::Yes));
        // SAFETY: a new mapping, at an address the kernel chooses, of a file that is long enough.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                4096,
                rustix::mm::ProtFlags::READ,
                rustix::mm::MapFlags::SHARED,
                &file,
                0,
            )
        };
        drop(file);
        assert!(matches!(in_use(&path), Bound::Yes));
        // SAFETY: the mapping made above, which nothing refers to.
        unsafe { rustix::mm::munmap(address.unwrap(), 4096) }.unwrap();
        assert!(matches!(in_use(&path), Bound::No));
    }

    #[test]
    fn only_files_that_hold_a_pid_are_pid_files() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("server.pid", "1234\n");
        write("app.lock", " 77 host\n");
        write("Cargo.lock", "version = 4\n");
        write("empty.lock", "");
        write("yarn.lock", &"1".repeat(500));
        write("numbers.txt", "1234\n");
        fs::create_dir(directory.path().join("node_modules")).unwrap();
        write("node_modules/x.pid", "1\n");
        let uid = rustix::process::geteuid().as_raw();
        let found: Vec<_> = below(directory.path(), uid, 3).into_iter().map(|it| it.what).collect();
        assert_eq!(found, [What::PidFile(1234)]);
        assert!(below(directory.path(), uid + 1, 3).is_empty());
    }

    #[test]
    fn another_file_of_the_same_name_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pid");
        fs::write(&path, "1234\n").unwrap();
        let found = at(&path, rustix::process::geteuid().as_raw()).unwrap();
        let other = Candidate { id: (found.id.0, found.id.1 + 1), ..found.clone() };
        assert!(!remove(&other).unwrap() && path.exists());
        assert!(remove(&found).unwrap() && !path.exists());
    }
}
