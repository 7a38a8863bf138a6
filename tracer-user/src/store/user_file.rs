//! Files whose paths the user chose: reports and baselines.
//!
//! A path of a checkout or of `/tmp` may lead to something that another user planted: a link to a device, a
//! FIFO without a reader, a file that never ends. So only regular files are written and read. A file is
//! written by renaming a new one over it, so nothing is ever written *into* what was there.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};

use super::fsops::{FILE_MODE, OwnedDir, random_name, read_bounded, write_all};

/// Why a path is not written or read. The message completes "PATH ...".
#[derive(Debug, thiserror::Error)]
pub enum UserFileError {
    /// Something that is no regular file.
    #[error("is {0}, not a regular file")]
    NotRegular(&'static str),
    /// It belongs to neither this user nor the owner of its directory.
    #[error("belongs to user {0}")]
    Foreign(u32),
    /// It is larger than what may be read.
    #[error("has more than {0} bytes")]
    TooLarge(usize),
    /// The file system refused.
    #[error("cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// Checks that a file can be written at this path, without leaving anything there. Directories that do not
/// exist yet are no error: [`replace`] makes them.
///
/// # Errors
/// Why it could not be written.
pub fn check(path: &Path) -> Result<(), UserFileError> {
    let name = name_of(path)?;
    let directory = match open_directory(path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_ancestor(path),
        Err(error) => return Err(error.into()),
    };
    replaceable(&directory, name)?;
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::accessat(directory.fd(), ".", access, AtFlags::EACCESS).map_err(io::Error::from)?)
}

/// Writes a file, whole or not at all. It is on disk when this returns. A new file is for its owner alone,
/// who is the user that called sudo, if one did; a file that exists keeps mode and owner.
///
/// # Errors
/// When it cannot be written. What was there is unchanged then.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), UserFileError> {
    let name = name_of(path)?;
    let directory = match open_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(parent_of(path))?;
            open_directory(path)?
        }
        other => other?,
    };
    let before = replaceable(&directory, name)?;
    let new = random_name(".tracer-user-")?;
    let new = OsStr::new(&new);
    let file = directory.create_file(new)?;
    let written = fill(&file, content, before.as_ref()).and_then(|()| directory.rename(new, name, true));
    if written.is_err() {
        // The error of writing is the one to report.
        let _ = directory.unlink(new);
    }
    Ok(written?)
}

/// Appends to a file, which is created where it does not exist.
///
/// # Errors
/// When it is no regular file, or cannot be written.
pub fn append(path: &Path, content: &[u8]) -> Result<(), UserFileError> {
    let directory = open_directory(path)?;
    replaceable(&directory, name_of(path)?)?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | GUARDED | OFlags::NOFOLLOW;
    let file =
        rustix::fs::openat(directory.fd(), name_of(path)?, flags, FILE_MODE).map_err(io::Error::from)?;
    regular(&rustix::fs::fstat(&file).map_err(io::Error::from)?)?;
    Ok(write_all(file.as_fd(), content)?)
}

/// Writes a section of a file over its former state, which `find` finds by position and length, or appends
/// it. Nothing else in the file moves: other programs append to it at the same time. Only the first `limit`
/// bytes are searched.
///
/// # Errors
/// When it is no regular file, or cannot be read or written.
pub fn put_section(
    path: &Path,
    limit: usize,
    find: impl Fn(&[u8]) -> Option<(usize, usize)>,
    section: &[u8],
) -> Result<(), UserFileError> {
    let flags = OFlags::RDWR | GUARDED | OFlags::NOFOLLOW;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return append(path, section),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    regular(&rustix::fs::fstat(&file).map_err(io::Error::from)?)?;
    let mut file = std::fs::File::from(file);
    let mut before = Vec::new();
    (&mut file).take(limit as u64).read_to_end(&mut before)?;
    if let Some((from, length)) = find(&before) {
        if section.len() == length {
            return Ok(file.write_all_at(section, from as u64)?);
        }
        file.write_all_at(&vec![b'\n'; length], from as u64)?;
    }
    append(path, section)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// When it is no regular file, too large, or cannot be read.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, UserFileError> {
    let file = rustix::fs::open(path, OFlags::RDONLY | GUARDED, Mode::empty()).map_err(io::Error::from)?;
    regular(&rustix::fs::fstat(&file).map_err(io::Error::from)?)?;
    read_bounded(file, limit)?.ok_or(UserFileError::TooLarge(limit))
}

/// An open with these waits for no other end, and takes no terminal.
const GUARDED: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

fn name_of(path: &Path) -> Result<&OsStr, UserFileError> {
    path.file_name().ok_or(UserFileError::NotRegular("a directory"))
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_directory(path: &Path) -> io::Result<OwnedDir> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(OwnedDir::from_fd(rustix::fs::open(parent_of(path), flags, Mode::empty())?))
}

/// The nearest directory that exists can be written to.
fn check_ancestor(path: &Path) -> Result<(), UserFileError> {
    let existing = path.ancestors().skip(1).find(|path| path.symlink_metadata().is_ok());
    let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::accessat(CWD, existing, access, AtFlags::EACCESS).map_err(io::Error::from)?)
}

fn regular(stat: &Stat) -> Result<(), UserFileError> {
    Err(UserFileError::NotRegular(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Symlink => "a symbolic link",
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::BlockDevice => "a block device",
        FileType::CharacterDevice => "a character device",
        FileType::Unknown => "a special file",
    }))
}

/// What has the name now; `None` when nothing has.
fn replaceable(directory: &OwnedDir, name: &OsStr) -> Result<Option<Stat>, UserFileError> {
    let Some(stat) = directory.stat_name(name)? else { return Ok(None) };
    regular(&stat)?;
    let place = directory.stat()?;
    let sticky = place.st_mode & libc::S_ISVTX != 0;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    let caller = sudo_caller().is_some_and(|(uid, _)| uid.as_raw() == stat.st_uid);
    if ours || caller || (!sticky && stat.st_uid == place.st_uid) {
        return Ok(Some(stat));
    }
    Err(UserFileError::Foreign(stat.st_uid))
}

fn fill(file: &OwnedFd, content: &[u8], before: Option<&Stat>) -> io::Result<()> {
    write_all(file.as_fd(), content)?;
    let owner = match before {
        Some(stat) => Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))),
        None => sudo_caller(),
    };
    if let Some((uid, gid)) = owner.filter(|_| rustix::process::geteuid().is_root()) {
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
    }
    if let Some(before) = before {
        rustix::fs::fchmod(file, Mode::from_raw_mode(before.st_mode & 0o777))?;
    }
    Ok(rustix::fs::fsync(file)?)
}

/// The user that called sudo.
fn sudo_caller() -> Option<(Uid, Gid)> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let root = rustix::process::geteuid().is_root();
    root.then(|| Some((Uid::from_raw(number("SUDO_UID")?), Gid::from_raw(number("SUDO_GID")?)))).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_file_is_for_its_owner_and_a_present_one_keeps_its_mode() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new/below/report.json");
        check(&path).unwrap();
        assert!(!place.path().join("new").exists(), "a check leaves nothing");
        replace(&path, b"1").unwrap();
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"2").unwrap();
        append(&path, b"3").unwrap();
        assert_eq!((mode(), read(&path, 2).unwrap()), (0o644, b"23".to_vec()));
        assert!(matches!(read(&path, 1), Err(UserFileError::TooLarge(1))));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn what_is_no_regular_file_is_neither_written_nor_read() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let real = at("real");
        std::fs::write(&real, "kept").unwrap();
        std::os::unix::fs::symlink(&real, at("link")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let others = [Path::new("/dev/zero"), Path::new("/dev/full"), Path::new("/")].map(Path::to_owned);
        for path in [at("link"), at("fifo"), at("socket"), place.path().to_owned()].iter().chain(&others) {
            assert!(matches!(check(path), Err(UserFileError::NotRegular(_))), "{path:?}");
            assert!(matches!(replace(path, b"x"), Err(UserFileError::NotRegular(_))), "{path:?}");
            assert!(append(path, b"x").is_err(), "{path:?}");
        }
        for path in [at("fifo"), "/dev/zero".into()] {
            assert!(matches!(read(&path, 9), Err(UserFileError::NotRegular(_))), "{path:?}");
        }
        assert_eq!(std::fs::read(&real).unwrap(), b"kept");
    }
}
