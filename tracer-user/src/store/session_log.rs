//! The session log: finished sessions, each a whole directory, and their index.
//!
//! [`super::staging`] adds sessions, [`super::retention`] removes them. Both change the log under its lock
//! alone.

use super::fsops::{OpenError, OwnedDir, lock_within, try_lock};
use super::index;
use super::sidecar::Layout;
use crate::core::retention::RetentionPolicy;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where sessions are written before they appear, and moved before they are removed.
pub(super) const STAGING: &str = ".staging";
/// The longest wait for the log's lock.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(20);

/// Where the log is, and which sessions it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The directory.
    pub path: PathBuf,
    /// Which sessions are kept.
    pub retention: RetentionPolicy,
}

impl LogConfig {
    /// The place that was given, else the one that the environment of this process names.
    pub fn from_environment(option: Option<PathBuf>, retention: RetentionPolicy) -> Self {
        let root = rustix::process::geteuid().is_root();
        Self { path: log_path(option, root, |name| std::env::var_os(name)), retention }
    }
}

/// The place of the log: the one that was given, else by environment and user.
pub fn log_path(option: Option<PathBuf>, root: bool, lookup: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    option
        .or_else(|| path("TRACER_LOG_DIR"))
        .or_else(|| Some(path("XDG_STATE_HOME")?.join("tracer-user")))
        .or_else(|| root.then(|| PathBuf::from("/var/log/tracer-user")))
        .or_else(|| Some(path("HOME")?.join(".local/state/tracer-user")))
        .unwrap_or_else(|| PathBuf::from("/var/log/tracer-user"))
}

/// Why the log cannot be used, or a session cannot be filed.
#[derive(Debug, thiserror::Error)]
#[error("session log {path}: {what}: {error}")]
pub struct LogError {
    /// The directory of the log.
    pub path: PathBuf,
    /// What failed.
    pub what: &'static str,
    /// The cause.
    pub error: OpenError,
}

/// The session log.
#[derive(Clone, Debug)]
pub struct SessionLog {
    path: PathBuf,
    dir: OwnedDir,
    sessions: OwnedDir,
    staging: OwnedDir,
    uid: u32,
    retention: RetentionPolicy,
}

impl SessionLog {
    /// Opens the log, and creates it where it does not exist.
    ///
    /// # Errors
    /// When its directories cannot be created or opened.
    pub fn open(config: &LogConfig) -> Result<Self, LogError> {
        let fail = |what| {
            let path = config.path.clone();
            move |error: io::Error| LogError { path, what, error: error.into() }
        };
        make_path(&config.path).map_err(fail("cannot be created"))?;
        let dir = OwnedDir::open(&config.path).map_err(fail("cannot be opened"))?;
        let uid = rustix::process::geteuid().as_raw();
        if let Ok(Some(Layout::AutoSkillit)) = index::layout(&dir, uid, Layout::Own) {
            let why = "AutoSkillit's sessions are in it: name another directory with --log-dir";
            return Err(fail("cannot be used")(io::Error::other(why)));
        }
        let sessions = dir.make_dir(OsStr::new("sessions")).map_err(fail("sessions/ cannot be opened"))?;
        let staging = dir.make_dir(OsStr::new(STAGING)).map_err(fail(".staging/ cannot be opened"))?;
        Ok(Self {
            path: config.path.clone(),
            dir,
            sessions,
            staging,
            uid,
            retention: config.retention.clone(),
        })
    }

    /// The directory of the log, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory of the log.
    pub fn dir(&self) -> &OwnedDir {
        &self.dir
    }

    /// The directory of the sessions.
    pub fn sessions(&self) -> &OwnedDir {
        &self.sessions
    }

    pub(super) fn staging(&self) -> &OwnedDir {
        &self.staging
    }

    /// The user whose files are trusted.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Which sessions are kept.
    pub fn retention(&self) -> &RetentionPolicy {
        &self.retention
    }

    pub(crate) fn nothing_filed(&self) -> LogError {
        self.fail("nothing was filed")(OpenError::Missing)
    }

    pub(crate) fn unreadable(&self, error: io::Error) -> LogError {
        self.fail("the trace cannot be read")(error.into())
    }

    pub(super) fn fail(&self, what: &'static str) -> impl FnOnce(OpenError) -> LogError + use<> {
        let path = self.path.clone();
        move |error| LogError { path, what, error }
    }

    /// Takes the log's lock, and holds it for as long as the result lives.
    ///
    /// # Errors
    /// When another process holds it for longer than 20 seconds, or it cannot be opened.
    pub fn lock(&self) -> Result<OwnedFd, LogError> {
        let name = OsStr::new("sessions.lock");
        let file = match self.dir.open_file(name, true, self.uid) {
            Err(OpenError::Missing) => match self.dir.create_file(name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.dir.open_file(name, true, self.uid)
                }
                other => other.map_err(OpenError::from),
            },
            other => other,
        };
        let file = file.map_err(self.fail("its lock cannot be opened"))?;
        lock_within(file.as_fd(), try_lock, LOCK_WAIT).map_err(|e| self.fail("its lock")(e.into()))?;
        Ok(file)
    }

    /// The directory names of all rows of the index.
    pub(super) fn row_names(&self) -> Result<HashSet<String>, LogError> {
        let Some(file) = index::open(&self.dir, self.uid).map_err(self.fail("the index"))? else {
            return Ok(HashSet::new());
        };
        let rows = index::rows(file)
            .collect::<io::Result<Vec<_>>>()
            .map_err(|e| self.fail("the index")(e.into()))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| match row {
                index::Row::Good(row) => Some(row.dir_name),
                index::Row::Bad(..) => None,
            })
            .collect())
    }
}

/// Creates a directory and its ancestors, for this user alone.
pub(super) fn make_path(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
