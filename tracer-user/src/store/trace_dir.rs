//! Where traces are kept while their sessions live.
//!
//! The first usable of: the directory asked for, `$TRACER_TRACE_DIR`, `/dev/shm`, `$XDG_RUNTIME_DIR`, `/run`, `/tmp`; in it
//! `tracer-user-<uid>/`, which must be a real directory of this user with mode 0700. It is checked through the open
//! directory and used through it from then on, so what happens to its path afterwards does not matter. A place that
//! was asked for is used or refused, never silently exchanged for another.

use super::fsops::{DIR_MODE, OwnedDir, lock_within, try_lock, try_lock_shared};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Variables that say that a test runner is at work.
const TEST_RUNNERS: [&str; 4] = ["PYTEST_CURRENT_TEST", "NEXTEST", "CARGO_TARGET_TMPDIR", "TRACER_TEST"];

/// `f_type` of tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// `f_type` of ramfs.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// Everything the choice depends on, as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveConfig {
    /// The directory asked for, by option or `$TRACER_TRACE_DIR`.
    pub requested: Option<PathBuf>,
    /// The places to try otherwise, in order.
    pub defaults: Vec<PathBuf>,
    /// This user.
    pub uid: u32,
    /// The variable that says that a test runner is at work.
    pub test_runner: Option<String>,
}

impl ResolveConfig {
    /// From the environment of this process.
    pub fn from_environment(option: Option<PathBuf>) -> Self {
        Self::from_lookup(option, rustix::process::geteuid().as_raw(), |name| std::env::var_os(name))
    }

    /// From an environment.
    pub fn from_lookup(option: Option<PathBuf>, uid: u32, lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut defaults = vec![PathBuf::from("/dev/shm")];
        defaults.extend(path("XDG_RUNTIME_DIR"));
        defaults.extend(["/run", "/tmp"].map(PathBuf::from));
        Self {
            requested: option.or_else(|| path("TRACER_TRACE_DIR")),
            defaults,
            uid,
            test_runner: TEST_RUNNERS
                .iter()
                .find(|name| lookup(name).is_some())
                .map(|name| (*name).to_owned()),
        }
    }
}

/// Why there is no trace directory.
#[derive(Debug, thiserror::Error)]
pub enum TraceDirError {
    /// Under a test runner the machine's own directory is not touched.
    #[error("{0} is set, so this runs under a test: give a trace directory with --trace-dir")]
    UnderTest(String),
    /// The place that was asked for.
    #[error("trace directory {path}: {reason}")]
    Requested {
        /// The place.
        path: PathBuf,
        /// What is wrong with it.
        reason: Unusable,
    },
    /// None of the usual places.
    #[error("no usable trace directory ({})", list(.0))]
    NoneUsable(Vec<(PathBuf, Unusable)>),
}

fn list(tried: &[(PathBuf, Unusable)]) -> String {
    tried.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect::<Vec<_>>().join("; ")
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It, or our directory in it, is a link.
    #[error("{} is a symbolic link", .0.display())]
    Link(PathBuf),
    /// It, or our directory in it, is something else.
    #[error("{} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// Our directory in it is somebody else's.
    #[error("{} belongs to user {owner}, not to {uid}", .path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it had to be.
        uid: u32,
    },
    /// Somebody else may put another directory in the place of ours.
    #[error("{} is open to others: it belongs to user {owner} and has mode {mode:o}; take a directory of your own", .path.display())]
    Exposed {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// Our directory in it is open to others.
    #[error("{} has mode {mode:o}, not 700", .path.display())]
    Mode {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The system said no.
    #[error("{} cannot be used: {error}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A lock on the trace directory; see [`TraceDir::begin`].
#[derive(Debug)]
pub struct Beginning {
    _dir: OwnedDir,
}

/// The trace directory: open, and ours alone.
#[derive(Clone, Debug)]
pub struct TraceDir {
    dir: OwnedDir,
    path: PathBuf,
    uid: u32,
    in_memory: bool,
}

impl TraceDir {
    /// Finds and opens it, making it where it is not there.
    ///
    /// # Errors
    /// Says what is wrong with the place asked for, or with every usual one.
    pub fn resolve(config: &ResolveConfig) -> Result<Self, TraceDirError> {
        if let Some(path) = &config.requested {
            return Self::open_in(path, config.uid)
                .map_err(|reason| TraceDirError::Requested { path: path.clone(), reason });
        }
        if let Some(variable) = &config.test_runner {
            return Err(TraceDirError::UnderTest(variable.clone()));
        }
        let mut tried = Vec::new();
        for path in &config.defaults {
            match Self::open_in(path, config.uid) {
                Ok(dir) => return Ok(dir),
                Err(reason) => tried.push((path.clone(), reason)),
            }
        }
        Err(TraceDirError::NoneUsable(tried))
    }

    /// Opens `tracer-user-<uid>` in a place, making both where they are not there.
    fn open_in(place: &Path, uid: u32) -> Result<Self, Unusable> {
        let fail = |path: &Path, error: io::Error| unusable(path, error);
        let base = match OwnedDir::open(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                rustix::fs::mkdir(place, DIR_MODE).or_else(ignore_exists).map_err(|e| fail(place, e))?;
                OwnedDir::open(place)
            }
            other => other,
        }
        .map_err(|error| fail(place, error))?;
        let stat = base.stat().map_err(|error| fail(place, error))?;
        let mode = stat.st_mode & 0o7777;
        if !is_trusted(stat.st_uid, uid) || mode & 0o1002 == 0o0002 {
            return Err(Unusable::Exposed { path: place.to_owned(), owner: stat.st_uid, mode });
        }
        let name = format!("tracer-user-{uid}");
        let path = place.join(&name);
        let dir = base.make_dir(OsStr::new(&name)).map_err(|error| fail(&path, error))?;
        let stat = dir.stat().map_err(|error| fail(&path, error))?;
        if stat.st_uid != uid {
            return Err(Unusable::Foreign { path, owner: stat.st_uid, uid });
        }
        let mode = stat.st_mode & 0o7777;
        if mode & 0o077 != 0 {
            return Err(Unusable::Mode { path, mode });
        }
        let kind = rustix::fs::fstatfs(dir.fd()).map_err(|errno| fail(&path, errno.into()))?.f_type;
        // The width and sign of f_type differ by architecture; the magic numbers fit into 32 bits.
        let kind = kind as u64 & 0xffff_ffff;
        Ok(Self { dir, path, uid, in_memory: kind == TMPFS_MAGIC || kind == RAMFS_MAGIC })
    }

    /// Another program's directory, used as it is: whose its files are is checked file by file.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn foreign(path: &Path, uid: u32) -> Result<Self, TraceDirError> {
        let requested = |reason| TraceDirError::Requested { path: path.to_owned(), reason };
        let dir = OwnedDir::open(path).map_err(|error| requested(unusable(path, error)))?;
        Ok(Self { dir, path: path.to_owned(), uid, in_memory: true })
    }

    /// Begins the names of the pins of this directory's sessions: so a recovery never takes those of a session whose
    /// sidecar is in another directory for orphans.
    ///
    /// # Errors
    /// What the system says.
    pub fn pin_prefix(&self) -> io::Result<String> {
        Ok(prefix_of(&self.dir.stat()?))
    }

    /// Whether the trace directory at `path`, after which these pins were named, is certainly no more: nothing is there,
    /// or another directory.
    pub fn is_gone(path: &Path, pins: &str) -> bool {
        match rustix::fs::lstat(path) {
            Ok(stat) => !pins.starts_with(&prefix_of(&stat)),
            Err(errno) => matches!(errno, Errno::NOENT | Errno::NOTDIR),
        }
    }

    /// Held while a session begins: from before its pins are made until its sidecar is there. As long as anybody holds
    /// this, pins without a sidecar are left alone.
    ///
    /// # Errors
    /// When it is not to be had in a second.
    pub fn begin(&self) -> io::Result<Beginning> {
        let dir = self.open_again()?;
        lock_within(dir.fd(), try_lock_shared, Duration::from_secs(1))?;
        Ok(Beginning { _dir: dir })
    }

    /// Held while nobody begins; `None` when somebody does.
    ///
    /// # Errors
    /// What the system says.
    pub fn while_no_session_begins(&self) -> io::Result<Option<Beginning>> {
        let dir = self.open_again()?;
        Ok(try_lock(dir.fd())?.then_some(Beginning { _dir: dir }))
    }

    /// The same directory as an open file of its own, so that its lock is its own.
    fn open_again(&self) -> io::Result<OwnedDir> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(OwnedDir::from_fd(rustix::fs::openat(self.dir.fd(), c".", flags, Mode::empty())?))
    }

    /// A name for a new session's pins, which nothing else has.
    ///
    /// # Errors
    /// What the system says.
    pub fn new_pin_name(&self) -> io::Result<String> {
        super::fsops::random_name(&self.pin_prefix()?)
    }

    /// The open directory.
    pub fn dir(&self) -> &OwnedDir {
        &self.dir
    }

    /// Its path, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// What a user should know of the place; `None` when it is as it should be.
    pub fn warning(&self) -> Option<String> {
        (!self.in_memory)
            .then(|| format!("{} is not on a tmpfs: tracing will write to a disk", self.path.display()))
    }
}

/// Whether a place's owner is one who does us no harm: ourselves, root, or who called us through sudo.
fn is_trusted(owner: u32, uid: u32) -> bool {
    let caller = || std::env::var("SUDO_UID").ok()?.parse::<u32>().ok();
    owner == uid || owner == 0 || uid == 0 && caller() == Some(owner)
}

fn prefix_of(stat: &rustix::fs::Stat) -> String {
    format!("{:x}-{:x}-", stat.st_dev, stat.st_ino)
}

fn ignore_exists(errno: Errno) -> io::Result<()> {
    if errno == Errno::EXIST { Ok(()) } else { Err(errno.into()) }
}

fn unusable(path: &Path, error: io::Error) -> Unusable {
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_symlink());
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP | Errno::NOTDIR) if is_link => Unusable::Link(path.to_owned()),
        Some(Errno::NOTDIR) => Unusable::NotDirectory(path.to_owned()),
        _ => Unusable::Io { path: path.to_owned(), error },
    }
}
