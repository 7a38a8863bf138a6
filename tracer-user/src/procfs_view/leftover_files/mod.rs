//! Files that programs leave behind: UNIX sockets without a listener, pid files of the dead, shared memory.
//!
//! Whether a UNIX socket's file is dead is asked of the kernel without disturbing a listener: the connect of
//! a datagram socket is refused with ECONNREFUSED when no socket is bound to that file, and with EPROTOTYPE
//! when a stream socket is (`unix_find_bsd`, net/unix/af_unix.c). The listener does not notice.
//!
//! Whether a regular file is in use is asked of the kernel too: it grants a write lease only while no other
//! process has the file open or mapped, whether that process can be seen or not, or the file is on its way in
//! a message.
//!
//! Directories of other users are searched, too. So everything is opened below a [`SearchRoot`], no open
//! blocks, and a file is read only after its type and owner are known.

mod remove;
mod search;
mod search_root;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::{FileId, sys};

pub use remove::{Removal, exposure, remove};
pub use search::{Search, at};
pub use search_root::{Exposure, SearchRoot};

/// A file that may be left over.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: CandidateKind,
    /// The file under that path when it was found.
    pub id: FileId,
    /// Its owner.
    pub uid: u32,
    /// Last change of its content, seconds since 1970.
    pub modified: i64,
    /// The directory below which it was found.
    root: Arc<SearchRoot>,
    /// The directory that it is in, relative to the root.
    parent: PathBuf,
}

impl Candidate {
    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Opens the directory that it is in.
    fn directory(&self) -> rustix::io::Result<OwnedFd> {
        self.root.directory(&self.parent)
    }
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

/// Whether a socket is bound to a candidate.
pub fn is_bound(candidate: &Candidate) -> InUse {
    match candidate.directory() {
        Ok(directory) => is_path_bound(&search_root::entry_path(&directory, candidate.name())),
        Err(error) => InUse::Unknown(error.into()),
    }
}

fn is_path_bound(path: &Path) -> InUse {
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

/// Whether a process has a candidate, a regular file, open or mapped.
pub fn is_open(candidate: &Candidate) -> InUse {
    let leased = || {
        let path = candidate.parent.join(candidate.name());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = candidate.root.open_below(&path, flags)?;
        if FileId::of_fd(&file) != Some(candidate.id) {
            return Err(io::Error::from(Errno::STALE));
        }
        sys::try_write_lease(file.as_fd())
    };
    match leased() {
        Ok(()) => InUse::No,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => InUse::Yes,
        Err(error) => InUse::Unknown(error),
    }
}

/// The files of candidates.
pub fn ids(candidates: &[Candidate]) -> HashSet<FileId> {
    candidates.iter().map(|candidate| candidate.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn a_socket_is_bound_until_its_owner_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (stream, datagram) = (directory.path().join("stream"), directory.path().join("datagram"));
        let listener = UnixListener::bind(&stream).unwrap();
        listener.set_nonblocking(true).unwrap();
        let receiver = UnixDatagram::bind(&datagram).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let is_bound = |path: &Path| is_bound(&at(path, uid).unwrap());
        assert!(matches!(is_bound(&stream), InUse::Yes) && matches!(is_bound(&datagram), InUse::Yes));
        // The listener never noticed.
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop((listener, receiver));
        assert!(matches!(is_bound(&stream), InUse::No) && matches!(is_bound(&datagram), InUse::No));
    }

    #[test]
    fn a_file_is_in_use_while_a_process_has_it_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.pid");
        fs::write(&path, "7").unwrap();
        let candidate = at(&path, rustix::process::geteuid().as_raw()).unwrap();
        assert!(matches!(is_open(&candidate), InUse::No));
        let file = fs::File::open(&path).unwrap();
        assert!(matches!(is_open(&candidate), InUse::Yes));
        drop(file);
        assert!(matches!(is_open(&candidate), InUse::No));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "8").unwrap();
        fs::rename(&path, directory.path().join("other")).unwrap();
        assert!(matches!(is_open(&candidate), InUse::Unknown(_)));
    }
}
