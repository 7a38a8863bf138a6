//! Removes a file that was judged to be left.
//!
//! Invariant: only an entry that still is what was judged is removed (device, inode, type, owner, time of the
//! last change), and only from the directory that is held open for that look. As root, nothing is removed
//! from below a directory that another user can change: that user could choose at any moment what the entry
//! is.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, statat, unlinkat};
use rustix::io::Errno;

use super::search_root::{Exposure, open_unexposed};
use super::{Candidate, CandidateKind};
use crate::procfs_view::FileId;

/// What became of a file that was to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Removed,
    /// Something else is there by now, or nothing.
    Changed,
    /// It is not removed as root: another user can change this directory.
    Exposed(Exposure),
}

/// The directory that keeps root from removing a file; `None` when nothing does, or this is not root.
///
/// # Errors
/// When the directories on the way cannot be looked at.
pub fn exposure(candidate: &Candidate) -> io::Result<Option<Exposure>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let directory = candidate.path.parent().unwrap_or(&candidate.path);
    Ok(open_unexposed(directory, candidate.uid)?.err())
}

/// Removes a file if it still is what was judged.
///
/// # Errors
/// When the system refuses the removal.
pub fn remove(candidate: &Candidate) -> io::Result<Removal> {
    match remove_now(candidate) {
        // A link or another file system is in its way by now.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::AGAIN) => Ok(Removal::Changed),
        other => Ok(other?),
    }
}

fn remove_now(candidate: &Candidate) -> rustix::io::Result<Removal> {
    let directory = candidate.directory()?;
    if rustix::process::geteuid().is_root() {
        let parent = candidate.path.parent().unwrap_or(&candidate.path);
        match open_unexposed(parent, candidate.uid)? {
            Err(exposure) => return Ok(Removal::Exposed(exposure)),
            Ok(checked) if FileId::of_fd(&checked) != FileId::of_fd(&directory) => {
                return Ok(Removal::Changed);
            }
            Ok(_) => {}
        }
    }
    Ok(if unlink_same(&directory, candidate)? { Removal::Removed } else { Removal::Changed })
}

/// Unlinks the entry of an open directory if it is the candidate's. Between the look and the removal another
/// process can only put something there that it could have removed from there itself.
fn unlink_same(directory: &OwnedFd, candidate: &Candidate) -> rustix::io::Result<bool> {
    let stat = statat(directory, candidate.name(), AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = match candidate.kind {
        CandidateKind::Socket => FileType::Socket,
        CandidateKind::SharedMemory | CandidateKind::PidFile(_) => FileType::RegularFile,
    };
    let same = FileId::from(&stat) == candidate.id
        && FileType::from_raw_mode(stat.st_mode) == kind
        && stat.st_uid == candidate.uid
        && stat.st_mtime == candidate.modified;
    if !same {
        return Ok(false);
    }
    unlinkat(directory, candidate.name(), AtFlags::empty())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::{Search, at};
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn another_file_of_the_same_name_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pid");
        std::fs::write(&path, "1234\n").unwrap();
        let found = at(&path, own_uid()).unwrap();
        let others = [
            Candidate { id: FileId { ino: found.id.ino + 1, ..found.id }, ..found.clone() },
            Candidate { kind: CandidateKind::Socket, ..found.clone() },
            Candidate { modified: found.modified - 1, ..found.clone() },
        ];
        for other in others {
            assert_eq!(remove(&other).unwrap(), Removal::Changed);
            assert!(path.exists());
        }
        assert_eq!(remove(&found).unwrap(), Removal::Removed);
        assert!(!path.exists());
        assert_eq!(remove(&found).unwrap(), Removal::Changed);
    }

    /// A directory on the way is exchanged with a link to another directory, over and over, while files are
    /// removed through it: that directory keeps its files.
    #[test]
    fn nothing_behind_a_link_is_removed_while_directories_are_exchanged() {
        const FILES: usize = 200;
        let directory = tempfile::tempdir().unwrap();
        let (repo, victims) = (directory.path().join("repo"), directory.path().join("victims"));
        let (real, link) = (repo.join("sub"), repo.join("link"));
        std::fs::create_dir_all(&real).unwrap();
        std::fs::create_dir(&victims).unwrap();
        std::os::unix::fs::symlink(&victims, &link).unwrap();
        for index in 0..FILES {
            drop(UnixListener::bind(real.join(format!("{index}.sock"))).unwrap());
            std::fs::write(victims.join(format!("{index}.sock")), "precious").unwrap();
        }
        let found = Search::below(&repo, own_uid(), 3).found;
        assert_eq!(found.len(), FILES);
        let stop = AtomicBool::new(false);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let outcomes = found.iter().map(remove).collect();
            stop.store(true, Ordering::Relaxed);
            outcomes
        });
        let removed = outcomes.into_iter().filter(|it| *it.as_ref().unwrap() == Removal::Removed).count();
        assert_eq!(std::fs::read_dir(&victims).unwrap().count(), FILES);
        assert!(removed > 0, "the directory was never seen in its place");
    }
}
