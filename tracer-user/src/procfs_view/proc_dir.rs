//! Reading `/proc` fast: directories are opened once, and files read relative to them into one buffer.
//!
//! Everything here can vanish between any two calls; callers turn errors into "unknown" or a problem.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags, RawDir};

/// No text file of `/proc` that is read whole is let grow beyond this (`fdinfo` of an epoll with 50 000 members fits).
const FILE_CAP: usize = 8 << 20;

/// An open directory of `/proc`.
#[derive(Debug)]
pub(crate) struct ProcDir(OwnedFd);

impl ProcDir {
    /// Opens a directory by path.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Opens a directory below this one.
    pub(crate) fn sub(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// Opens a file below this one, for reading. Never waits for the other end of a FIFO.
    pub(crate) fn file(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(fs::openat(&self.0, name, flags, Mode::empty())?)
    }

    /// Reads a whole file into `into`, which is emptied first.
    pub(crate) fn read<'b>(&self, name: &str, into: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        into.clear();
        let file = self.file(name)?;
        read_all(file.as_fd(), into)?;
        Ok(into)
    }

    /// Where a symbolic link leads, as the kernel prints it.
    pub(crate) fn link(&self, name: &str, buffer: &mut [u8]) -> io::Result<Vec<u8>> {
        let length = fs::readlinkat_raw(&self.0, name, &mut *buffer)?;
        Ok(buffer[..length].to_vec())
    }

    /// `stat` of an entry, following links.
    pub(crate) fn stat(&self, name: &str) -> io::Result<fs::Stat> {
        Ok(fs::statat(&self.0, name, AtFlags::empty())?)
    }

    /// Type of the file system that an entry, or what it links to, lies on. Opens nothing that could wait.
    pub(crate) fn filesystem(&self, name: &str) -> Option<u64> {
        let place = fs::openat(&self.0, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        Some(fs::fstatfs(&place).ok()?.f_type as u64)
    }

    /// The entries whose names are numbers, ascending.
    pub(crate) fn numbers(&self) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        self.each(|name| {
            if let Some(number) = name.to_str().ok().and_then(|text| text.parse().ok()) {
                found.push(number);
            }
        })?;
        found.sort_unstable();
        Ok(found)
    }

    fn each(&self, mut visit: impl FnMut(&CStr)) -> io::Result<()> {
        // A directory that was read before starts where it was left: a fresh description starts at the top.
        let fresh =
            fs::openat(&self.0, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(fresh, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            visit(entry?.file_name());
        }
        Ok(())
    }
}

impl AsFd for ProcDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Appends what is left of a file, at most [`FILE_CAP`] bytes.
fn read_all(file: BorrowedFd<'_>, into: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if into.capacity() - into.len() < 1024 {
            into.reserve(4096);
        }
        match rustix::io::read(file, rustix::buffer::spare_capacity(into)) {
            Ok(0) => return Ok(()),
            Ok(_) if into.len() > FILE_CAP => return Ok(()),
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
        let exe = own.link("exe", &mut [0; 4096]).unwrap();
        assert_eq!(exe, std::env::current_exe().unwrap().as_os_str().as_encoded_bytes());
    }
}
