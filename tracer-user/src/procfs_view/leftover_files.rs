//! Files that programs leave behind: UNIX sockets without a listener, pid files of the dead, shared memory.
//!
//! Whether a UNIX socket's file is dead is asked of the kernel without disturbing a listener: the connect of
//! a datagram socket is refused with ECONNREFUSED when no socket is bound to that file, and with EPROTOTYPE
//! when a stream socket is (`unix_find_bsd`, net/unix/af_unix.c). The listener does not notice.
//!
//! Whether a regular file is in use is asked of the kernel too: it grants a write lease only while no other
//! process has the file open or mapped, whether that process can be seen or not, or the file is on its way in
//! a message.

use std::collections::HashSet;
use std::fs::{self, FileType};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::{FileId, sys};

/// Directories that tools fill with millions of files, and never with sockets.
const SKIPPED: [&str; 7] = [".git", "target", "node_modules", ".venv", "venv", "__pycache__", ".tox"];
/// Entries looked at below one directory, at most.
const MAX_ENTRIES: usize = 50_000;
/// Size of a pid file, at most, bytes: it holds a number and little else.
const MAX_PID_FILE: u64 = 128;
/// Endings of the names of pid files.
const PID_FILES: [&str; 3] = [".pid", ".lock", ".lck"];

/// A file that may be left over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: CandidateKind,
    /// The file under that path when it was found.
    pub id: FileId,
    /// Last change of its content, seconds since 1970.
    pub modified: i64,
}

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// UNIX socket.
    Socket,
    /// Regular file in a directory of shared memory.
    SharedMemory,
    /// File that holds this pid.
    PidFile(u32),
}

/// Whether a process uses a file: is bound to a socket's, or has another kind open or mapped.
#[derive(Debug)]
pub enum InUse {
    /// At least one process does.
    Yes,
    /// No process does.
    No,
    /// The kernel did not answer.
    Unknown(io::Error),
}

/// Sockets and pid files of `uid` below `dir`, `depth` levels down. Links are not followed.
pub fn below(dir: &Path, uid: u32, depth: usize) -> Vec<Candidate> {
    let mut walk = Walk { uid, left: MAX_ENTRIES, found: Vec::new() };
    walk.directory(dir, depth);
    walk.found
}

struct Walk {
    uid: u32,
    /// Entries that may still be looked at.
    left: usize,
    found: Vec<Candidate>,
}

impl Walk {
    fn directory(&mut self, dir: &Path, depth: usize) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
                if depth > 0 && !skipped {
                    self.directory(&entry.path(), depth - 1);
                }
            } else {
                self.found.extend(socket_or_pid_file(&entry.path(), kind, self.uid));
            }
        }
    }
}

fn socket_or_pid_file(path: &Path, kind: FileType, uid: u32) -> Option<Candidate> {
    if kind.is_socket() {
        return candidate(path, CandidateKind::Socket, uid);
    }
    let name = path.file_name()?.to_str()?;
    if !kind.is_file() || !PID_FILES.iter().any(|end| name.ends_with(end)) {
        return None;
    }
    candidate(path, CandidateKind::PidFile(pid_in(path)?), uid)
}

fn candidate(path: &Path, kind: CandidateKind, uid: u32) -> Option<Candidate> {
    let metadata = fs::symlink_metadata(path).ok().filter(|it| it.uid() == uid)?;
    Some(Candidate { path: path.to_owned(), kind, id: (&metadata).into(), modified: metadata.mtime() })
}

/// The number on a pid file's first line. The line holds nothing else: other programs' lock files have these
/// names too.
fn pid_in(path: &Path) -> Option<u32> {
    let metadata = fs::symlink_metadata(path).ok().filter(|it| it.is_file() && it.len() <= MAX_PID_FILE)?;
    let text = if metadata.len() == 0 { return None } else { fs::read_to_string(path).ok()? };
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)
}

/// The socket or pid file of `uid` at a path.
pub fn at(path: &Path, uid: u32) -> Option<Candidate> {
    let metadata = fs::symlink_metadata(path).ok()?;
    socket_or_pid_file(path, metadata.file_type(), uid)
}

/// The files of `uid` in a directory of shared memory. Directories in it belong to their programs.
pub fn shared_memory(dir: &Path, uid: u32) -> Vec<Candidate> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.filter_map(|entry| candidate(&entry.path(), CandidateKind::SharedMemory, uid)).collect()
}

/// Whether a socket is bound to a file.
pub fn is_bound(path: &Path) -> InUse {
    let probe = || -> rustix::io::Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    match probe() {
        Ok(()) | Err(Errno::PROTOTYPE) => InUse::Yes,
        Err(Errno::CONNREFUSED) => InUse::No,
        Err(error) => InUse::Unknown(error.into()),
    }
}

/// Whether a process has a regular file open or mapped.
pub fn is_open(path: &Path) -> InUse {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let leased = rustix::fs::open(path, flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|file| sys::try_write_lease(file.as_fd()));
    match leased {
        Ok(()) => InUse::No,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => InUse::Yes,
        Err(error) => InUse::Unknown(error),
    }
}

/// Removes a candidate if its path still leads to the file that was judged. False when that is another file
/// by now, or none.
///
/// # Errors
/// When the system refuses the removal.
pub fn remove(candidate: &Candidate) -> io::Result<bool> {
    let same = fs::symlink_metadata(&candidate.path).is_ok_and(|now| FileId::from(&now) == candidate.id);
    if !same {
        return Ok(false);
    }
    match fs::remove_file(&candidate.path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The files of candidates.
pub fn ids(candidates: &[Candidate]) -> HashSet<FileId> {
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
        assert!(matches!(is_bound(&stream), InUse::Yes) && matches!(is_bound(&datagram), InUse::Yes));
        // The listener never noticed.
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop((listener, receiver));
        assert!(matches!(is_bound(&stream), InUse::No) && matches!(is_bound(&datagram), InUse::No));
    }

    #[test]
    fn a_file_is_in_use_while_a_process_has_it_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "text").unwrap();
        assert!(matches!(is_open(&path), InUse::No));
        let file = fs::File::open(&path).unwrap();
        assert!(matches!(is_open(&path), InUse::Yes));
        drop(file);
        assert!(matches!(is_open(&path), InUse::No));
        assert!(matches!(is_open(directory.path()), InUse::Unknown(_)));
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
        let found: Vec<_> = below(directory.path(), uid, 3).into_iter().map(|it| it.kind).collect();
        assert_eq!(found, [CandidateKind::PidFile(1234)]);
        assert!(below(directory.path(), uid + 1, 3).is_empty());
    }

    #[test]
    fn another_file_of_the_same_name_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pid");
        fs::write(&path, "1234\n").unwrap();
        let found = at(&path, rustix::process::geteuid().as_raw()).unwrap();
        let other = Candidate { id: FileId { ino: found.id.ino + 1, ..found.id }, ..found.clone() };
        assert!(!remove(&other).unwrap() && path.exists());
        assert!(remove(&found).unwrap() && !path.exists());
    }
}
