//! Reading `/proc` fast: a directory is opened once, and files are read relative to it into one buffer.
//!
//! Everything can vanish between any two calls: callers turn errors into "unknown" or into a problem.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::reader::{self, ForeignFile, ForeignStat};
use super::text;
use rustix::fs::{self, AtFlags, Mode, OFlags, RawDir, ResolveFlags, SeekFrom};

/// Longest text that is read, where the caller sets no limit: the `fdinfo` of an epoll with 50 000 members
/// fits.
const MAX_TEXT: usize = 8 << 20;

/// Files that show memory of the process, or wait for its lock. Reading one may wait for whatever a page of
/// that memory waits for.
const FOREIGN: &[&str] = &["cmdline", "environ", "maps", "auxv"];

/// `/proc` itself, opened.
#[derive(Debug)]
pub(crate) struct OpenRoot {
    pub dir: ProcDir,
    is_system: bool,
}

impl OpenRoot {
    pub(super) fn open(path: &Path, is_system: bool) -> io::Result<Self> {
        Ok(Self { dir: ProcDir::open(path)?, is_system })
    }

    /// Whether it is this machine's: only then do its pids name processes in system calls.
    pub(crate) fn is_system(&self) -> bool {
        self.is_system
    }

    /// The directory of a process.
    pub(crate) fn process(&self, tgid: u32) -> io::Result<ProcDir> {
        self.dir.numbered(tgid)
    }
}

/// Where a path of a process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathBase {
    /// Its root directory.
    Root,
    /// Its working directory.
    WorkingDirectory,
    /// A directory it has open.
    Fd(u32),
}

/// An open directory of `/proc`, and the process that it belongs to; 0 for none.
#[derive(Debug)]
pub(crate) struct ProcDir(OwnedFd, u32);

impl ProcDir {
    /// Opens a directory by path.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tgid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        Ok(Self(fs::open(path, flags, Mode::empty())?, tgid.unwrap_or(0)))
    }

    /// Opens a directory below this one.
    pub(crate) fn sub(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::openat(&self.0, name, flags, Mode::empty())?, self.1))
    }

    /// Opens the directory below this one whose name is a number: a process in `/proc`, a thread in `task`.
    pub(crate) fn numbered(&self, number: u32) -> io::Result<Self> {
        let found = self.sub(Decimal::new(number).as_str())?;
        Ok(Self(found.0, if self.1 == 0 { number } else { self.1 }))
    }

    /// Opens a file below this one, for reading. Never waits for the other end of a FIFO.
    pub(crate) fn file(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(fs::openat(&self.0, name, flags, Mode::empty())?)
    }

    /// Reads a whole file into `into`, which is emptied first.
    pub(crate) fn read<'b>(&self, name: &str, into: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        self.read_bounded(name, MAX_TEXT, into)
    }

    /// Reads a whole file of at most `limit` bytes into `into`, which is emptied first. A longer file is an
    /// error: the beginning of a table shows less than there is.
    pub(crate) fn read_bounded<'b>(
        &self,
        name: &str,
        limit: usize,
        into: &'b mut Vec<u8>,
    ) -> io::Result<&'b [u8]> {
        into.clear();
        if FOREIGN.contains(&name) {
            reader::read(self.foreign("", name.as_bytes(), ResolveFlags::empty()), 0, limit + 1, into)?;
            return if into.len() > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(into) };
        }
        let file = self.file(name)?;
        read_all(file.as_fd(), limit, into)?;
        Ok(into)
    }

    /// The text of a symbolic link, as the kernel prints it; cut where it is longer than the buffer.
    pub(crate) fn link(&self, name: &str, buffer: &mut [u8]) -> io::Result<Vec<u8>> {
        let length = fs::readlinkat_raw(&self.0, name, &mut *buffer)?;
        Ok(buffer[..length].to_vec())
    }

    /// Inode of a namespace of the process whose directory this is. `None` when this process may not know it.
    pub(crate) fn namespace(&self, kind: &str) -> Option<u64> {
        let link = self.link(&format!("ns/{kind}"), &mut [0; 64]).ok()?;
        text::inode_in_link(&link, kind)
    }

    /// Memory of the process, or thread, whose directory this is: at most `length` bytes from an address on.
    pub(crate) fn memory(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        reader::read(self.foreign("", b"mem", ResolveFlags::empty()), address, length, &mut bytes)?;
        Ok(bytes)
    }

    /// A file below a directory of the process, reached without a link: its `stat`, and at most `limit`
    /// bytes.
    pub(crate) fn file_beneath(&self, path: &str, limit: usize) -> io::Result<(ForeignStat, Vec<u8>)> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let mut bytes = Vec::new();
        let stat = reader::read(self.foreign("", path.as_bytes(), resolve), 0, limit, &mut bytes)?;
        Ok((stat, bytes))
    }

    fn foreign<'a>(&'a self, base: &'a str, path: &'a [u8], resolve: ResolveFlags) -> ForeignFile<'a> {
        ForeignFile { tgid: self.1, dir: self.0.as_fd(), base, path, resolve }
    }

    /// The file behind an entry, following links. Asks no file system that a program serves.
    pub(crate) fn stat(&self, name: &str) -> io::Result<fs::Statx> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        Ok(fs::statx(&self.0, name, flags, fs::StatxFlags::BASIC_STATS)?)
    }

    /// `stat` of the file that a path leads to, for the process whose directory this is.
    pub(crate) fn follow(&self, base: PathBase, path: &[u8]) -> Option<ForeignStat> {
        let (base, resolve) = match base {
            PathBase::Root => ("root".to_owned(), ResolveFlags::IN_ROOT),
            PathBase::WorkingDirectory => ("cwd".to_owned(), ResolveFlags::NO_MAGICLINKS),
            PathBase::Fd(fd) => (format!("fd/{fd}"), ResolveFlags::NO_MAGICLINKS),
        };
        reader::stat(self.foreign(&base, path, resolve)).ok()
    }

    /// Type of the file system that an entry, or what it links to, is on. Opens nothing that could wait.
    pub(crate) fn filesystem(&self, name: &str) -> Option<u64> {
        let place = fs::openat(&self.0, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        Some(fs::fstatfs(&place).ok()?.f_type as u64)
    }

    /// The entries whose names are numbers, ascending.
    pub(crate) fn numbers(&self) -> io::Result<Vec<u32>> {
        // A directory that was read before would continue where it was left.
        fs::seek(&self.0, SeekFrom::Start(0))?;
        let mut found = Vec::new();
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(&self.0, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            found.extend(number(entry?.file_name()));
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn number(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

impl AsFd for ProcDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Appends the rest of a file.
fn read_all(file: BorrowedFd<'_>, limit: usize, into: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if into.capacity() - into.len() < 1024 {
            into.reserve(4096);
        }
        match rustix::io::read(file, rustix::buffer::spare_capacity(into)) {
            Ok(0) => return Ok(()),
            Ok(_) if into.len() > limit => return Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Text of a number, without allocating.
pub(crate) struct Decimal([u8; 10], usize);

impl Decimal {
    /// Formats a number.
    pub(crate) fn new(mut number: u32) -> Self {
        let mut text = [b'0'; 10];
        let mut at = text.len();
        loop {
            at -= 1;
            text[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self(text, at);
            }
        }
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0[self.1..]).unwrap_or("0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_decimals() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            assert_eq!(Decimal::new(number).as_str(), number.to_string());
        }
    }

    #[test]
    fn a_process_directory_is_read() {
        let own = ProcDir::open(Path::new("/proc/self")).unwrap();
        let mut buffer = Vec::new();
        assert!(
            own.read("stat", &mut buffer).unwrap().starts_with(std::process::id().to_string().as_bytes())
        );
        assert!(own.sub("task").unwrap().numbers().unwrap().contains(&std::process::id()));
        assert!(own.read("no-such-file", &mut buffer).is_err());
        let mut direct = Vec::new();
        read_all(own.file("cmdline").unwrap().as_fd(), MAX_TEXT, &mut direct).unwrap();
        assert_eq!(own.read("cmdline", &mut buffer).unwrap(), direct);
        let exe = own.link("exe", &mut [0; 4096]).unwrap();
        assert_eq!(exe, std::env::current_exe().unwrap().as_os_str().as_encoded_bytes());
    }
}
