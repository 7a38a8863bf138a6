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
use crate::core::identity::OwnNamespaces;

/// A session whose pins are in the BPF file system, whether or not its tracer is alive.
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
    /// Inode of the mount namespace that the path is of; `None` when it is not recorded.
    pub namespace: Option<u64>,
    _lock: OwnedFd,
}

/// The pins that no living process owns.
#[derive(Default)]
pub struct UnownedPins {
    /// Those of sessions.
    pub sessions: Vec<Unowned>,
    /// The names of hooks on context switches that no session uses.
    pub hooks: Vec<String>,
}

/// The pins whose owner is dead.
///
/// # Errors
/// When the directory cannot be used or stays locked.
pub fn unowned(own: OwnNamespaces) -> Result<UnownedPins, KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(UnownedPins::default()) };
    // A process that makes a session's directory takes its lock before it releases this one.
    let no_session_begins = directory.lock()?;
    let hooks = hook::unused(&no_session_begins);
    let sessions = session_names(&directory).filter_map(|name| {
        let lock = directory.own(&name)?;
        let path = directory.session(&name);
        let namespace = std::fs::read_link(path.join(NAMESPACE)).ok();
        Some(Unowned {
            made_at: bpffs::made_at(&path),
            traces: std::fs::read_link(path.join(TRACES)).ok(),
            here: namespace.is_some() && namespace == own.mount.map(mount_namespace),
            namespace: namespace.as_deref().and_then(inode_of_namespace),
            name,
            _lock: lock,
        })
    });
    Ok(UnownedPins { sessions: sessions.collect(), hooks })
}

/// Removes the hooks that no session uses.
///
/// # Errors
/// When the directory cannot be used or stays locked, or the hooks cannot be removed.
pub fn remove_unused_hooks() -> Result<(), KernelError> {
    let Some(directory) = Directory::open_existing()? else { return Ok(()) };
    hook::remove_unused(&directory.lock()?)
}

/// The inode in the text of a namespace link, `mnt:[4026531841]`.
fn inode_of_namespace(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok()
}

/// The name of a mount namespace, as the links in `/proc/PID/ns` show it.
fn mount_namespace(inode: u64) -> PathBuf {
    PathBuf::from(format!("mnt:[{inode}]"))
}

/// Records where the session's sidecar is, for a process that finds the pins without one.
pub fn name_traces(session: &Path, traces: &Path, own: OwnNamespaces) {
    // Pins without the links are removed later: that is the only effect of a failure here.
    let named = own.mount.map(|inode| symlink(mount_namespace(inode), session.join(NAMESPACE)));
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
    if !session_names(&directory).any(|found| found == name) {
        return Ok(());
    }
    let path = directory.session(name);
    remove(&directory, &path)
}

/// Unpins a session, and the hook when it was the last. A session that is gone is not an error.
pub fn remove(directory: &Directory, session: &Path) -> Result<(), KernelError> {
    // Detaching takes long, so the session's mark on the hook goes last. None of this needs the lock: it only
    // takes away a user of the hook.
    bpffs::remove_files(session);
    bpffs::remove(session)?;
    // The process that holds the lock for long, or the next session, recovery or check, removes the hook.
    match directory.try_lock(bpffs::OTHER_WAIT)? {
        Some(locked) => hook::remove_unused(&locked),
        None => Ok(()),
    }
}
