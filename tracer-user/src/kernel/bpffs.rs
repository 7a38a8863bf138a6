//! The directory in the BPF file system in which sessions outlive their tracers.
//!
//! The file system's root is world-writable, so the directory is used only when it belongs to this user
//! (root) and is closed to others, which is checked through the opened descriptor. After that, no other user
//! can put anything in it.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, open, openat, statat, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::error::KernelError;

/// Mount point of the BPF file system.
const MOUNT_POINT: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` (`include/uapi/linux/magic.h`).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// How long another process that holds the directory is waited for. A job does not begin before its session
/// has the lock or has gone on without it. With the other waits of a start (`session/live/start.rs`,
/// `store/trace_dir.rs`) that is 200 ms.
pub const START_WAIT: Duration = Duration::from_millis(60);
/// How long that is waited for where no job waits: loading the hook takes longer on a busy machine.
pub const OTHER_WAIT: Duration = Duration::from_secs(1);

/// The directory of this user.
pub struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

/// The directory, locked: no other session changes what is shared. Released when dropped.
pub struct Locked<'a> {
    directory: &'a Directory,
}

impl Directory {
    /// Opens the directory. Makes it and mounts the file system where necessary.
    pub fn open_or_create() -> Result<Self, KernelError> {
        if !is_bpffs(Path::new(MOUNT_POINT)) {
            mount(
                "bpf",
                MOUNT_POINT,
                "bpf",
                MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
                c"mode=700",
            )
            .map_err(|error| {
                fault(
                    Path::new(MOUNT_POINT),
                    format!(
                        "the BPF file system is not mounted there and cannot be mounted ({error}); \
                         mount it (mount -t bpf bpf {MOUNT_POINT}), or use --no-kernel"
                    ),
                )
            })?;
        }
        let path = Self::path_of_user();
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(KernelError::Permission { what: format!("making {}", path.display()) });
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(fault(&path, format!("cannot be made: {error}")));
            }
            _ => {}
        }
        Self::open(path)
    }

    /// Opens the directory. `None`: it does not exist.
    pub fn open_existing() -> Result<Option<Self>, KernelError> {
        let path = Self::path_of_user();
        if !path.exists() || !is_bpffs(Path::new(MOUNT_POINT)) {
            return Ok(None);
        }
        Self::open(path).map(Some)
    }

    fn path_of_user() -> PathBuf {
        match rustix::process::geteuid().as_raw() {
            0 => Path::new(MOUNT_POINT).join("tracer-user"),
            uid => Path::new(MOUNT_POINT).join(format!("tracer-user-{uid}")),
        }
    }

    fn open(path: PathBuf) -> Result<Self, KernelError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open(&path, flags, Mode::empty())
            .map_err(|error| fault(&path, format!("cannot be opened as a directory: {error}; remove it")))?;
        let stat = fstat(&fd).map_err(|error| fault(&path, error.to_string()))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            return Err(fault(
                &path,
                format!(
                    "belongs to uid {} with mode {:04o}, not to this user with mode 0700; remove it",
                    stat.st_uid,
                    stat.st_mode & 0o7777
                ),
            ));
        }
        Ok(Self { path, fd })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of a session.
    pub fn session(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Waits until no other session changes what is shared, at most this long. `None`: another process held
    /// the lock for all of that time.
    pub fn try_lock(&self, at_most: Duration) -> Result<Option<Locked<'_>>, KernelError> {
        let deadline = Instant::now() + at_most;
        loop {
            match flock(self.fd.as_fd(), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Locked { directory: self })),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
                Err(error) => return Err(fault(&self.path, format!("cannot be locked: {error}"))),
            }
        }
    }

    /// As [`Self::try_lock`], where nothing can be done without the lock.
    pub fn lock(&self) -> Result<Locked<'_>, KernelError> {
        let why = || format!("another process has held its lock for {} ms", OTHER_WAIT.as_millis());
        self.try_lock(OTHER_WAIT)?.ok_or_else(|| fault(&self.path, why()))
    }

    /// Whether the directory of a session is still the one that was opened by [`Self::own`].
    pub fn is_there(&self, name: &str, session: &OwnedFd) -> bool {
        let (open, named) = (fstat(session), statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW));
        matches!((open, named), (Ok(open), Ok(named)) if (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino))
    }

    /// Takes a session's lock without waiting. Its owner holds it from the moment the directory exists, for
    /// as long as it is alive. `None`: an owner is alive, or there is no such session.
    pub fn own(&self, name: &str) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let session = openat(&self.fd, name, flags, Mode::empty()).ok()?;
        flock(session.as_fd(), FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(session)
    }

    /// The names in the directory.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

impl Locked<'_> {
    /// The locked directory.
    pub fn directory(&self) -> &Directory {
        self.directory
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = flock(self.directory.fd.as_fd(), FlockOperation::Unlock);
    }
}

/// Makes a directory for pins. Fails when it exists.
pub fn create_directory(path: &Path) -> Result<(), KernelError> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|error| fault(path, format!("cannot be made: {error}")))
}

/// Removes the pins in a directory as far as possible. Leaves the directory and its subdirectories.
pub fn remove_files(path: &Path) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes a directory of pins. What they hold ends with the last descriptor. A directory that is gone is not
/// an error.
pub fn remove(path: &Path) -> Result<(), KernelError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(fault(path, format!("cannot be removed: {error}")))
        }
        _ => Ok(()),
    }
}

/// Whether the path is on a BPF file system.
pub fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.f_type as u64 == BPF_FS_MAGIC)
}

/// When the directory was made, seconds since the epoch.
pub fn made_at(path: &Path) -> Option<i64> {
    fs::symlink_metadata(path).ok().map(|found| found.mtime())
}

fn fault(path: &Path, why: String) -> KernelError {
    KernelError::BpfFs { path: path.to_owned(), why }
}
