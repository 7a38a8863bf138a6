//! The registry of sessions with pins: listing them, finding those without an owner, and removing them.
//!
//! A session's directory also names where its sidecar is (links `traces` and `mounts`). When the owner is
//! dead and that trace directory is gone, no process will ever ask for the pins, and any may remove them.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::bpffs::{self, Directory};
use super::error::KernelError;
use super::hook;

/// A session whose pins are in the BPF file system, whether or not its tracer lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedSession {
    /// The session's name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// When the directory was made, seconds since the epoch.
    pub made_at: Option<i64>,
}

/// All sessions with pins of this user. Empty when there is no directory for them.
///
/// # Errors
/// When the directory cannot be used.
pub fn pinned_sessions() -> Result<Vec<PinnedSession>, KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(Vec::new()) };
    let sessions = session_names(&directory).map(|name| {
        let path = directory.session(&name);
        PinnedSession { made_at: bpffs::made_at(&path), name, path }
    });
    Ok(sessions.collect())
}

fn session_names(directory: &Directory) -> impl Iterator<Item = String> {
    directory.names().into_iter().filter(|name| !hook::is_hook(name))
}

/// Link to the directory in which the session's sidecar is.
const TRACES: &str = "traces";
/// Link to the mount namespace in which that path is valid.
const NAMESPACE: &str = "mounts";

/// The pins of a session whose owner is dead. Holds the session's lock: no other process takes them
/// meanwhile.
pub struct Unowned {
    /// The session's name.
    pub name: String,
    /// When its directory was made, seconds since the epoch.
    pub made_at: Option<i64>,
    /// The directory in which its sidecar would be. `None` when its owner died before it recorded that, or
    /// while it removed the pins.
    pub traces: Option<PathBuf>,
    /// Whether that path is of this process's mount namespace.
    pub here: bool,
    _lock: OwnedFd,
}

/// The sessions with pins whose owner is dead.
///
/// # Errors
/// When the directory cannot be used or stays locked.
pub fn unowned_sessions() -> Result<Vec<Unowned>, KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(Vec::new()) };
    // A process that makes a session's directory takes its lock before it releases this one.
    let _no_session_begins = directory.lock()?;
    let unowned = session_names(&directory).filter_map(|name| {
        let lock = directory.own(&name)?;
        let path = directory.session(&name);
        let namespace = std::fs::read_link(path.join(NAMESPACE)).ok();
        Some(Unowned {
            made_at: bpffs::made_at(&path),
            traces: std::fs::read_link(path.join(TRACES)).ok(),
            here: namespace.is_some() && namespace == mount_namespace(),
            name,
            _lock: lock,
        })
    });
    Ok(unowned.collect())
}

fn mount_namespace() -> Option<PathBuf> {
    std::fs::read_link("/proc/self/ns/mnt").ok()
}

/// Records where the session's sidecar is, for a process that finds the pins without one.
pub fn name_traces(session: &Path, traces: &Path) {
    // Pins without the links are removed later: that is the only effect of a failure here.
    let named = mount_namespace().map(|namespace| symlink(namespace, session.join(NAMESPACE)));
    if named.is_some_and(|named| named.is_ok()) {
        let _ = symlink(traces, session.join(TRACES));
    }
}

/// Removes the pins of a session by its name, complete or not. A session that is gone is not an error.
///
/// # Errors
/// When pins cannot be removed.
pub fn remove_session(name: &str) -> Result<(), KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(()) };
    if !directory.names().iter().any(|found| found == name) {
        return Ok(());
    }
    let path = directory.session(name);
    remove(&directory, &path)
}

/// Unpins a session, and the hook when it was the last. A session that is gone is not an error.
pub fn remove(directory: &Directory, session: &Path) -> Result<(), KernelError> {
    // Detaching takes long and needs no lock. The session's directory, with its mark on the hook, goes last.
    bpffs::remove_files(session);
    let locked = directory.lock()?;
    bpffs::remove(session)?;
    hook::remove_unused(&locked)
}
