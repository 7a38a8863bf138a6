//! Searches directories for files that may be left.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, OFlags, Stat, fstat, statat};
use rustix::io::Errno;

use super::search_root::SearchRoot;
use super::{Candidate, CandidateKind};

/// Directories that tools fill with millions of files, and never with sockets.
const SKIPPED: [&str; 7] = [".git", "target", "node_modules", ".venv", "venv", "__pycache__", ".tox"];
/// Entries looked at below one directory, at most.
const MAX_ENTRIES: usize = 500_000;
/// Size of a pid file, at most, bytes: it holds a number and little else.
const MAX_PID_FILE: u64 = 128;
/// Endings of the names of pid files.
const PID_FILES: [&str; 3] = [".pid", ".lock", ".lck"];

/// What was found below one directory, and what was not looked at.
#[derive(Debug, Default)]
pub struct Search {
    /// The candidates.
    pub found: Vec<Candidate>,
    /// The search ended at this number of entries.
    pub full: Option<usize>,
    /// Directories that were not searched because they are too deep.
    pub too_deep: usize,
    /// Directories that could not be read.
    pub unreadable: usize,
}

impl Search {
    /// Sockets and pid files of `uid` below `dir`, `depth` levels down. Links are not followed, and other
    /// file systems not entered. Empty when the directory cannot be opened.
    pub fn below(dir: &Path, uid: u32, depth: usize) -> Self {
        Self::at_most(MAX_ENTRIES, dir, uid, depth)
    }

    fn at_most(entries: usize, dir: &Path, uid: u32, depth: usize) -> Self {
        let mut search = Self::default();
        let Ok(root) = SearchRoot::open(dir) else { return search };
        let mut walk = Walk { root, uid, limit: entries, left: entries, search: &mut search };
        walk.directory(Path::new(""), depth);
        search
    }

    /// The files of `uid` in a directory of shared memory. Directories in it belong to their programs.
    pub fn shared_memory(dir: &Path, uid: u32) -> Self {
        let mut search = Self::default();
        let Ok(root) = SearchRoot::open(dir) else { return search };
        let Ok((open, entries)) = root.listing(Path::new("")) else { return search };
        for (looked_at, entry) in entries.flatten().enumerate() {
            if looked_at == MAX_ENTRIES {
                search.full = Some(MAX_ENTRIES);
                break;
            }
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let Ok(stat) = statat(&open, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                search.found.extend(candidate(
                    &root,
                    Path::new(""),
                    name,
                    CandidateKind::SharedMemory,
                    uid,
                    &stat,
                ));
            }
        }
        search
    }
}

struct Walk<'a> {
    root: Arc<SearchRoot>,
    uid: u32,
    limit: usize,
    /// Entries that may still be looked at.
    left: usize,
    search: &'a mut Search,
}

impl Walk<'_> {
    fn directory(&mut self, relative: &Path, depth: usize) {
        let (open, entries) = match self.root.listing(relative) {
            Ok(listing) => listing,
            // Gone meanwhile, a link by now, or a mount point.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return,
            Err(_) => {
                self.search.unreadable += 1;
                return;
            }
        };
        let mut directories: Vec<OsString> = Vec::new();
        for entry in entries {
            let Ok(entry) = entry else {
                self.search.unreadable += 1;
                return;
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if self.left == 0 {
                self.search.full = Some(self.limit);
                return;
            }
            self.left -= 1;
            let name = OsStr::from_bytes(name);
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(&open, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                },
                kind => kind,
            };
            if kind != FileType::Directory {
                let found = socket_or_pid_file(&self.root, open.as_fd(), relative, name, kind, self.uid);
                self.search.found.extend(found);
            } else if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            } else if depth == 0 {
                self.search.too_deep += 1;
            } else {
                directories.push(name.to_owned());
            }
        }
        // One directory is open at a time, however deep they are.
        drop(open);
        for name in directories {
            self.directory(&relative.join(name), depth - 1);
        }
    }
}

fn socket_or_pid_file(
    root: &Arc<SearchRoot>,
    dir: BorrowedFd<'_>,
    parent: &Path,
    name: &OsStr,
    kind: FileType,
    uid: u32,
) -> Option<Candidate> {
    if kind == FileType::Socket {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        return (FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
            .then(|| candidate(root, parent, name, CandidateKind::Socket, uid, &stat))?;
    }
    let text = name.to_str()?;
    if kind != FileType::RegularFile || !PID_FILES.iter().any(|end| text.ends_with(end)) {
        return None;
    }
    let (pid, stat) = pid_in(root, dir, &parent.join(name), uid)?;
    candidate(root, parent, name, CandidateKind::PidFile(pid), uid, &stat)
}

fn candidate(
    root: &Arc<SearchRoot>,
    parent: &Path,
    name: &OsStr,
    kind: CandidateKind,
    uid: u32,
    stat: &Stat,
) -> Option<Candidate> {
    (stat.st_uid == uid).then(|| Candidate {
        path: root.path().join(parent).join(name),
        kind,
        id: stat.into(),
        uid,
        modified: stat.st_mtime,
        root: Arc::clone(root),
        parent: parent.to_owned(),
    })
}

/// The number on a pid file's first line, and the file. The line holds nothing else: other programs' lock
/// files have these names too. The name may be a FIFO's or a link's by now.
fn pid_in(root: &SearchRoot, dir: BorrowedFd<'_>, path: &Path, uid: u32) -> Option<(u32, Stat)> {
    // Most files of these names are no pid files: their size is looked at before they are opened.
    let fits = |stat: &Stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_uid == uid
            && u64::try_from(stat.st_size).is_ok_and(|size| (1..=MAX_PID_FILE).contains(&size))
    };
    statat(dir, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok().filter(fits)?;
    let file = root.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
    let stat = fstat(&file).ok().filter(fits)?;
    let mut text = String::new();
    File::from(file).take(MAX_PID_FILE).read_to_string(&mut text).ok()?;
    let pid = text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)?;
    Some((pid, stat))
}

/// The socket or pid file of `uid` at a path.
pub fn at(path: &Path, uid: u32) -> Option<Candidate> {
    let name = path.file_name()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let root = SearchRoot::open(parent).ok()?;
    let open = root.directory(Path::new("")).ok()?;
    let stat = statat(&open, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    socket_or_pid_file(&root, open.as_fd(), &PathBuf::new(), name, kind, uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Mode;
    use std::fs;

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn only_files_that_hold_a_pid_are_pid_files() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("server.pid", "1234\n");
        write("app.lock", " 77 host\n");
        write("Cargo.lock", "version = 4\n");
        write("empty.lock", "");
        write("yarn.lock", &"1".repeat(500));
        write("numbers.txt", "1234\n");
        fs::create_dir(directory.path().join("node_modules")).unwrap();
        write("node_modules/x.pid", "1\n");
        let fifo = directory.path().join("fifo.pid");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink(directory.path().join("server.pid"), directory.path().join("link.pid"))
            .unwrap();
        let found: Vec<_> =
            Search::below(directory.path(), own_uid(), 3).found.into_iter().map(|it| it.kind).collect();
        assert_eq!(found, [CandidateKind::PidFile(1234)]);
        assert!(Search::below(directory.path(), own_uid() + 1, 3).found.is_empty());
    }

    #[test]
    fn a_limit_that_was_reached_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b/c")).unwrap();
        fs::write(directory.path().join("a/b/c/x.pid"), "7").unwrap();
        let search = |entries, depth| {
            let search = Search::at_most(entries, directory.path(), own_uid(), depth);
            (search.found.len(), search.full, search.too_deep)
        };
        assert_eq!(search(10, 5), (1, None, 0));
        assert_eq!(search(3, 5), (0, Some(3), 0));
        assert_eq!(search(10, 2), (0, None, 1));
    }
}
