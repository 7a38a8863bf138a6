//! The directory in which traces are kept while their sessions live.
//!
//! It is under the first usable of: the directory that was given, `$TRACER_TRACE_DIR`, `/dev/shm`,
//! `$XDG_RUNTIME_DIR`, `/run`, `/tmp`. There it is `tracer-user-<uid>/`, which must be a real directory of
//! this user with mode 0700. It is checked through the open directory, and used through it from then on, so
//! what happens to its path afterwards does not matter. A place that was given is used or refused, never
//! silently replaced by another. Under a test runner the default places are refused, given or not: the traces
//! of tests and of real sessions never meet.

use super::fsops::{DIR_MODE, OwnedDir, lock_within, try_lock, try_lock_shared};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Environment variables that are set under a test runner.
const TEST_RUNNERS: [&str; 4] = ["PYTEST_CURRENT_TEST", "NEXTEST", "CARGO_TARGET_TMPDIR", "TRACER_TEST"];

/// How long the beginning of a session waits for a recovery that collects pins. A part of the 200 ms that a
/// job waits at most.
const BEGIN_WAIT: Duration = Duration::from_millis(20);

/// `f_type` of tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// `f_type` of ramfs.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// Everything that the choice depends on, as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveConfig {
    /// The place that was given, by option or `$TRACER_TRACE_DIR`.
    pub requested: Option<PathBuf>,
    /// The default places, in the order in which they are tried.
    pub defaults: Vec<PathBuf>,
    /// This user.
    pub uid: u32,
    /// The user who called sudo; `None` without sudo. Root trusts a directory of this user.
    pub sudo_uid: Option<u32>,
    /// The variable of the test runner under which this process runs; `None`: it does not.
    pub test_runner: Option<String>,
}

impl ResolveConfig {
    /// The place that was given, else the defaults of this process's environment.
    pub fn from_environment(option: Option<PathBuf>) -> Self {
        Self::from_lookup(option, rustix::process::geteuid().as_raw(), |name| std::env::var_os(name))
    }

    /// The same, for an environment that is passed in.
    pub fn from_lookup(option: Option<PathBuf>, uid: u32, lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut defaults = vec![PathBuf::from("/dev/shm")];
        defaults.extend(path("XDG_RUNTIME_DIR"));
        defaults.extend(["/run", "/tmp"].map(PathBuf::from));
        Self {
            requested: option.or_else(|| path("TRACER_TRACE_DIR")),
            defaults,
            uid,
            sudo_uid: lookup("SUDO_UID").and_then(|uid| uid.to_str()?.parse().ok()),
            test_runner: TEST_RUNNERS
                .iter()
                .find(|name| lookup(name).is_some())
                .map(|name| (*name).to_owned()),
        }
    }
}

impl ResolveConfig {
    /// The path leads to one of the default places.
    fn is_default(&self, path: &Path) -> bool {
        let id = |path: &Path| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let place = id(path);
        place.is_some() && self.defaults.iter().any(|default| id(default) == place)
    }

    /// A directory of this owner is no threat: the owner is this user, root, or the user who called sudo.
    fn trusts(&self, owner: u32) -> bool {
        owner == self.uid || owner == 0 || self.uid == 0 && self.sudo_uid == Some(owner)
    }
}

/// Why no trace directory is available.
#[derive(Debug, thiserror::Error)]
pub enum TraceDirError {
    /// Under a test runner the default places are refused.
    #[error("{0} is set, so this runs under a test runner: name a trace directory with --trace-dir")]
    UnderTest(String),
    /// Under a test runner a default place was given.
    #[error(
        "{variable} is set, so this runs under a test runner: {} is where real sessions are, name a directory of \
         the test with --trace-dir",
        .path.display()
    )]
    DefaultUnderTest {
        /// The variable of the test runner.
        variable: String,
        /// The place.
        path: PathBuf,
    },
    /// The place that was given cannot be used.
    #[error("trace directory {path}: {reason}")]
    Requested {
        /// The path.
        path: PathBuf,
        /// Why it cannot be used.
        reason: Unusable,
    },
    /// None of the default places can be used.
    #[error("no usable trace directory ({})", list(.0))]
    NoneUsable(Vec<(PathBuf, Unusable)>),
}

fn list(tried: &[(PathBuf, Unusable)]) -> String {
    tried.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect::<Vec<_>>().join("; ")
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It, or the directory in it, is a symbolic link.
    #[error("{} is a symbolic link", .0.display())]
    Link(PathBuf),
    /// It, or the directory in it, is not a directory.
    #[error("{} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// The directory in it belongs to another user.
    #[error("{} belongs to user {owner}, not to {uid}", .path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The required owner.
        uid: u32,
    },
    /// Another user could replace the directory in it.
    #[error("{} is open to others: it belongs to user {owner} and has mode {mode:o}; name a directory of your own", .path.display())]
    Exposed {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The directory in it is open to others.
    #[error("{} has mode {mode:o}, not 700", .path.display())]
    Mode {
        /// The path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file system refused.
    #[error("{} cannot be used: {error}", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

/// A lock on the trace directory. See [`TraceDir::begin`].
#[derive(Debug)]
pub struct Beginning {
    _dir: OwnedDir,
}

/// The trace directory: open, and this user's alone.
#[derive(Clone, Debug)]
pub struct TraceDir {
    dir: OwnedDir,
    path: PathBuf,
    uid: u32,
    in_memory: bool,
}

impl TraceDir {
    /// Finds and opens it, and creates it where it does not exist.
    ///
    /// # Errors
    /// When the given place, or every default one, cannot be used.
    pub fn resolve(config: &ResolveConfig) -> Result<Self, TraceDirError> {
        if let Some(path) = &config.requested {
            if let Some(variable) = config.test_runner.clone().filter(|_| config.is_default(path)) {
                return Err(TraceDirError::DefaultUnderTest { variable, path: path.clone() });
            }
            return Self::open_in(path, config)
                .map_err(|reason| TraceDirError::Requested { path: path.clone(), reason });
        }
        if let Some(variable) = &config.test_runner {
            return Err(TraceDirError::UnderTest(variable.clone()));
        }
        let mut tried = Vec::new();
        for path in &config.defaults {
            match Self::open_in(path, config) {
                Ok(dir) => return Ok(dir),
                Err(reason) => tried.push((path.clone(), reason)),
            }
        }
        Err(TraceDirError::NoneUsable(tried))
    }

    /// Opens `tracer-user-<uid>` in a place, and creates both where they do not exist.
    fn open_in(place: &Path, config: &ResolveConfig) -> Result<Self, Unusable> {
        let uid = config.uid;
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
        if !config.trusts(stat.st_uid) || mode & 0o1002 == 0o0002 {
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

    /// Another program's directory, as it is. The owner of its files is checked file by file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn foreign(path: &Path, uid: u32) -> Result<Self, TraceDirError> {
        let requested = |reason| TraceDirError::Requested { path: path.to_owned(), reason };
        let dir = OwnedDir::open(path).map_err(|error| requested(unusable(path, error)))?;
        Ok(Self { dir, path: path.to_owned(), uid, in_memory: true })
    }

    /// The prefix of the pin names of this directory's sessions. By it a recovery does not mistake the pins
    /// of a session whose sidecar is in another directory for orphans.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn pin_prefix(&self) -> io::Result<String> {
        Ok(prefix_of(&self.dir.stat()?))
    }

    /// The trace directory at `path`, after which these pins were named, is certainly gone: nothing is there,
    /// or another directory.
    pub fn is_gone(path: &Path, pins: &str) -> bool {
        match rustix::fs::lstat(path) {
            Ok(stat) => !pins.starts_with(&prefix_of(&stat)),
            Err(errno) => matches!(errno, Errno::NOENT | Errno::NOTDIR),
        }
    }

    /// Takes the lock that is held while a session begins: from before its pins are made until its sidecar is
    /// there. While any process holds it, pins without a sidecar are left alone.
    ///
    /// # Errors
    /// When a recovery holds the directory for longer than [`BEGIN_WAIT`]. The session begins all the same.
    pub fn begin(&self) -> io::Result<Beginning> {
        let dir = self.open_again()?;
        lock_within(dir.fd(), try_lock_shared, BEGIN_WAIT)?;
        Ok(Beginning { _dir: dir })
    }

    /// Takes the lock that prevents sessions from beginning; `None` when one begins now.
    ///
    /// # Errors
    /// When the directory cannot be locked.
    pub fn while_no_session_begins(&self) -> io::Result<Option<Beginning>> {
        let dir = self.open_again()?;
        Ok(try_lock(dir.fd())?.then_some(Beginning { _dir: dir }))
    }

    /// Opens the directory again: a lock belongs to an open file, so each lock needs one of its own.
    fn open_again(&self) -> io::Result<OwnedDir> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(OwnedDir::from_fd(rustix::fs::openat(self.dir.fd(), c".", flags, Mode::empty())?))
    }

    /// A unique name for the pins of a new session.
    ///
    /// # Errors
    /// When the directory cannot be read, or the kernel has no random numbers.
    pub fn new_pin_name(&self) -> io::Result<String> {
        super::fsops::random_name(&self.pin_prefix()?)
    }

    /// The open directory.
    pub fn dir(&self) -> &OwnedDir {
        &self.dir
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user whose files are trusted.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A warning about the place; `None` when it is on a tmpfs.
    pub fn warning(&self) -> Option<String> {
        (!self.in_memory)
            .then(|| format!("{} is not on a tmpfs: tracing will write to a disk", self.path.display()))
    }
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
