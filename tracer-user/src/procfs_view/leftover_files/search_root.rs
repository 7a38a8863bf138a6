//! A directory that is held open while files below it are searched, judged and removed.
//!
//! Invariant: what is opened through it is below it, on its file system, and not behind a symbolic link, also
//! while another process renames directories. `openat2` guarantees that (`RESOLVE_*`, Linux 5.6). Where it is
//! not available, every component is opened by itself, without following links.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::procfs_view::FileId;

/// Flags of every directory on the way: for its entries, not for its content.
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How often a lookup is repeated that renames of other processes disturb (EAGAIN).
const ATTEMPTS: usize = 16;

/// An open directory with its path.
#[derive(Debug)]
pub struct SearchRoot {
    path: PathBuf,
    dir: OwnedFd,
}

impl SearchRoot {
    /// Opens a directory. Links in its path are resolved first: they are part of what the user named.
    ///
    /// # Errors
    /// When it cannot be opened, or its path changes meanwhile.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let path = path.canonicalize()?;
        let dir = one_by_one(rustix::fs::CWD, &path, None)?;
        Ok(Arc::new(Self { path, dir }))
    }

    /// Its path, without links at the time it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory below it at this relative path, itself for an empty one. For its entries only.
    ///
    /// # Errors
    /// EXDEV for a mount point, ELOOP or ENOTDIR for a link.
    pub fn directory(&self, relative: &Path) -> rustix::io::Result<OwnedFd> {
        self.open_below(relative, DIRECTORY)
    }

    /// The same directory, to be listed.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn listing(&self, relative: &Path) -> rustix::io::Result<(OwnedFd, Dir)> {
        let open = self.open_below(relative, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let entries = Dir::read_from(&open)?;
        Ok((open, entries))
    }

    /// Opens what is below it at this relative path, without following a link.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn open_below(&self, relative: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        for _ in 0..ATTEMPTS {
            match openat2(&self.dir, relative, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Some containers refuse the call with EPERM.
                Err(Errno::NOSYS | Errno::PERM) => return self.open_one_by_one(relative, flags),
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }

    fn open_one_by_one(&self, relative: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let device = FileId::of_fd(&self.dir).ok_or(Errno::IO)?.dev;
        let parent = relative.parent().unwrap_or(Path::new(""));
        let parent = one_by_one(self.dir.as_fd(), parent, Some(device))?;
        let name = match relative.components().next_back() {
            Some(Component::Normal(name)) => name,
            None | Some(Component::CurDir) => OsStr::new("."),
            Some(_) => return Err(Errno::XDEV),
        };
        let opened = openat(&parent, name, flags, Mode::empty())?;
        if FileId::of_fd(&opened).is_none_or(|it| it.dev != device) {
            return Err(Errno::XDEV);
        }
        Ok(opened)
    }
}

/// Opens a directory component by component, and refuses links and `..`. With a device, also what is on
/// another.
fn one_by_one(from: BorrowedFd<'_>, path: &Path, device: Option<u64>) -> rustix::io::Result<OwnedFd> {
    let start = if path.is_absolute() { "/" } else { "." };
    let mut at = openat(from, start, DIRECTORY, Mode::empty())?;
    for component in path.components() {
        let name = match component {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name,
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::XDEV),
        };
        at = openat(&at, name, DIRECTORY, Mode::empty())?;
        if device.is_some_and(|device| FileId::of_fd(&at).is_none_or(|it| it.dev != device)) {
            return Err(Errno::XDEV);
        }
    }
    Ok(at)
}

/// A directory on the way to a file that another user can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The directory.
    pub path: PathBuf,
    /// Its owner, when that is neither this user nor root; `None` when its mode lets others write to it.
    pub owner: Option<u32>,
}

/// Opens the directory at a path, if nobody but this user and root can change any entry on the way to it.
/// Such a path leads to the same directory until one of the two changes it.
///
/// In a directory with the sticky bit others cannot replace an entry that is not theirs. `entry` is the owner
/// of the file that is meant.
///
/// # Errors
/// When a component cannot be opened, or is a link.
pub fn open_unexposed(path: &Path, entry: u32) -> rustix::io::Result<Result<OwnedFd, Exposure>> {
    let own = rustix::process::geteuid().as_raw();
    let trusted = |uid: u32| uid == 0 || uid == own;
    let mut at = openat(rustix::fs::CWD, "/", DIRECTORY, Mode::empty())?;
    let mut so_far = PathBuf::from("/");
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    loop {
        let stat = rustix::fs::fstat(&at)?;
        let next = names.next();
        // Of a directory on the way, the owner is checked in the next round.
        let sticky = stat.st_mode & 0o1000 != 0 && (next.is_some() || trusted(entry));
        let exposed = match (trusted(stat.st_uid), stat.st_mode & 0o022 != 0 && !sticky) {
            (false, _) => Some(Exposure { path: so_far.clone(), owner: Some(stat.st_uid) }),
            (true, true) => Some(Exposure { path: so_far.clone(), owner: None }),
            (true, false) => None,
        };
        if let Some(exposed) = exposed {
            return Ok(Err(exposed));
        }
        let Some(name) = next else { return Ok(Ok(at)) };
        at = openat(&at, name, DIRECTORY, Mode::empty())?;
        so_far.push(name);
    }
}

/// A path to an entry of an open directory, for a call that takes no directory.
pub fn entry_path(dir: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_fd().as_raw_fd().to_string()).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_mount_points_and_parents_are_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("a/link")).unwrap();
        let root = SearchRoot::open(directory.path()).unwrap();
        for open in
            [SearchRoot::directory, |root: &SearchRoot, path: &Path| root.open_one_by_one(path, DIRECTORY)]
        {
            assert!(open(&root, Path::new("a/b")).is_ok());
            for path in ["a/link", "a/link/ssl", "..", "a/../.."] {
                assert!(open(&root, Path::new(path)).is_err(), "{path}");
            }
        }
        let root = SearchRoot::open(Path::new("/")).unwrap();
        assert_eq!(root.directory(Path::new("proc")).unwrap_err(), Errno::XDEV);
        assert_eq!(root.open_one_by_one(Path::new("proc"), DIRECTORY).unwrap_err(), Errno::XDEV);
    }

    #[test]
    fn a_path_is_exposed_where_others_can_write() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("sub");
        std::fs::create_dir(&path).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let with_mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            open_unexposed(&path, own).unwrap().err().map(|exposed| exposed.path)
        };
        assert_eq!((with_mode(0o755), with_mode(0o1777)), (None, None));
        assert_eq!((with_mode(0o775), with_mode(0o707)), (Some(path.clone()), Some(path.clone())));
        assert_eq!(with_mode(0o1777), None);
        assert!(open_unexposed(&path, own + 1).unwrap().is_err(), "a stranger's file in a sticky directory");
    }
}
