//! Files by name in an open directory, safe in the presence of hostile users.
//!
//! Every name is one component. No link is followed, no open blocks, and what was opened is checked before it
//! is read: a regular file, with one name, of the expected owner.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Mode of every file: for its owner alone.
pub const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
/// Mode of every directory: for its owner alone.
pub const DIR_MODE: Mode = Mode::from_raw_mode(0o700);

/// An open directory.
#[derive(Clone, Debug)]
pub struct OwnedDir {
    fd: Arc<OwnedFd>,
}

/// Why a file is not used. The message completes "it is ...".
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing has the name.
    #[error("missing")]
    Missing,
    /// A symbolic link.
    #[error("a symbolic link")]
    Link,
    /// A FIFO, a device, a directory or a socket.
    #[error("not a regular file but a {0}")]
    NotRegular(&'static str),
    /// It has other names, so another user may hold or change it.
    #[error("a file with other names")]
    Linked,
    /// It belongs to another user.
    #[error("a file of user {0}")]
    Foreign(u32),
    /// The file system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing,
            Errno::LOOP => Self::Link,
            Errno::ISDIR => Self::NotRegular("directory"),
            // The results of opening a socket, or a device without a driver.
            Errno::NXIO | Errno::NODEV => Self::NotRegular("socket or device"),
            other => Self::Io(other.into()),
        }
    }
}

impl OwnedDir {
    /// Takes an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd) }
    }

    /// Opens a directory by path. Its last component may not be a link.
    ///
    /// # Errors
    /// When it cannot be opened. ENOTDIR or ELOOP for a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(Self::from_fd(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// The open directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The `stat` of the directory itself.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.fd())?)
    }

    fn open_flags(&self, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if !is_name(name) {
            return Err(Errno::INVAL);
        }
        match rustix::fs::openat2(self.fd(), name, flags, mode, resolve) {
            // Before Linux 5.6, and in some containers, openat2 is not available. For one component
            // O_NOFOLLOW means the same.
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(self.fd(), name, flags, mode),
            result => result,
        }
    }

    /// Opens a regular file that has one name and belongs to `owner` or to root. Never blocks.
    ///
    /// # Errors
    /// When the file is not of this kind, or cannot be opened.
    pub fn open_file(&self, name: &OsStr, write: bool, owner: u32) -> Result<OwnedFd, OpenError> {
        let access = if write { OFlags::RDWR | OFlags::APPEND } else { OFlags::RDONLY };
        let fd = self.open_flags(name, access | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd).map_err(io::Error::from)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Fifo => return Err(OpenError::NotRegular("FIFO")),
            FileType::Directory => return Err(OpenError::NotRegular("directory")),
            FileType::CharacterDevice | FileType::BlockDevice => return Err(OpenError::NotRegular("device")),
            _ => return Err(OpenError::NotRegular("special file")),
        }
        if stat.st_nlink > 1 {
            return Err(OpenError::Linked);
        }
        if stat.st_uid != owner && stat.st_uid != 0 {
            return Err(OpenError::Foreign(stat.st_uid));
        }
        Ok(fd)
    }

    /// Creates a file for appending and reading.
    ///
    /// # Errors
    /// EEXIST when something has that name.
    pub fn create_file(&self, name: &OsStr) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND;
        Ok(self.open_flags(name, flags, FILE_MODE)?)
    }

    /// Creates a file without a name; `None` where the file system has no such files.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create_nameless(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::APPEND | OFlags::CLOEXEC;
        match rustix::fs::openat(self.fd(), c".", flags, FILE_MODE) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives a nameless file its name. False when that needs `/proc`, which is not mounted.
    ///
    /// # Errors
    /// EEXIST when something has that name.
    pub fn link_nameless(&self, file: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(rustix::fs::CWD, path, self.fd(), name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::XDEV | Errno::ACCESS) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Renames within the directory. Replaces a file only with `replace`.
    ///
    /// # Errors
    /// EEXIST when something has the new name and it may not be replaced.
    pub fn rename(&self, from: &OsStr, to: &OsStr, replace: bool) -> io::Result<()> {
        check_names([from, to])?;
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(rustix::fs::renameat_with(self.fd(), from, self.fd(), to, flags)?)
    }

    /// Renames into another directory of the same file system. Never replaces a file.
    ///
    /// # Errors
    /// EEXIST when something has that name there.
    pub fn rename_to(&self, from: &OsStr, other: &Self, to: &OsStr) -> io::Result<()> {
        check_names([from, to])?;
        Ok(rustix::fs::renameat_with(self.fd(), from, other.fd(), to, RenameFlags::NOREPLACE)?)
    }

    /// Opens a directory in it, and creates it where it does not exist. It may not be a link.
    ///
    /// # Errors
    /// When it cannot be created or opened.
    pub fn make_dir(&self, name: &OsStr) -> io::Result<Self> {
        check_names([name])?;
        match rustix::fs::mkdirat(self.fd(), name, DIR_MODE) {
            Ok(()) | Err(Errno::EXIST) => self.open_dir(name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a directory in it. It may not be a link.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self::from_fd(self.open_flags(name, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())?))
    }

    /// Unlinks a name if it still is that of an open file. False when the name is gone, or another file's.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn unlink_same(&self, name: &OsStr, file: BorrowedFd<'_>) -> io::Result<bool> {
        if !self.names(name, file)? {
            return Ok(false);
        }
        self.unlink(name)
    }

    /// Unlinks a name. False when nothing has it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn unlink(&self, name: &OsStr) -> io::Result<bool> {
        check_names([name])?;
        match rustix::fs::unlinkat(self.fd(), name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The name is that of an open file.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn names(&self, name: &OsStr, file: BorrowedFd<'_>) -> io::Result<bool> {
        let open = rustix::fs::fstat(file)?;
        match rustix::fs::statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The `stat` of a name in it, without following links; `None` when nothing has the name.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn stat_name(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// All names in it but `.` and `..`, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self) -> io::Result<Vec<std::ffi::OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(self.fd())? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a directory with the files in it: one level, as session directories have. Links are not
    /// followed.
    ///
    /// # Errors
    /// When the file system refuses. The rest is left.
    pub fn remove_flat_dir(&self, name: &OsStr) -> io::Result<()> {
        let inner = match self.open_dir(name) {
            Ok(inner) => inner,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for file in inner.list()? {
            inner.unlink(&file)?;
        }
        match rustix::fs::unlinkat(self.fd(), name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes the changes of its names durable.
    ///
    /// # Errors
    /// When that fails. A file system that cannot sync a directory is no error.
    pub fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(self.fd()) {
            Ok(()) | Err(Errno::INVAL | Errno::ROFS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes everything on its file system durable.
    ///
    /// # Errors
    /// When that fails.
    pub fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.fd())?)
    }
}

/// The name is one component of a path, and names something in the directory itself.
pub fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0)
}

fn check_names<const N: usize>(names: [&OsStr; N]) -> io::Result<()> {
    if names.into_iter().all(is_name) { Ok(()) } else { Err(Errno::INVAL.into()) }
}

/// Writes all bytes, however many the kernel accepts at a time.
///
/// # Errors
/// When a write fails. It is unknown then how much was written.
pub fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Reads a file of at most `limit` bytes; `None` when it has more.
///
/// # Errors
/// When a read fails.
pub fn read_bounded(file: OwnedFd, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Takes an exclusive lock without waiting. `flock` and not std's `File::lock`, whose mechanism may change:
/// the lock is part of the crash contract, between processes of different versions. False when another open
/// file holds one.
///
/// # Errors
/// When the file cannot be locked.
pub fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes a shared lock without waiting. False when another open file holds an exclusive one.
///
/// # Errors
/// When the file cannot be locked.
pub fn try_lock_shared(file: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes a lock by [`try_lock`] or [`try_lock_shared`], and waits at most `limit` for it.
///
/// # Errors
/// `TimedOut` when another open file held it for that long.
pub fn lock_within(
    file: BorrowedFd<'_>,
    take: fn(BorrowedFd<'_>) -> io::Result<bool>,
    limit: Duration,
) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    while !take(file)? {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds the lock"));
        }
        // flock(2) has no wait with a limit, so this polls, less often the longer it takes.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

/// A name that cannot be guessed, with a given prefix.
///
/// # Errors
/// When the kernel has no random numbers.
pub fn random_name(prefix: &str) -> io::Result<String> {
    let mut bytes = [0_u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{prefix}{:016x}", u64::from_ne_bytes(bytes)))
}
