//! Which file: its device and inode, whatever names it has.

use std::fs::Metadata;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;

/// A file of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device of its file system.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

impl FileId {
    /// The file behind one of this process's descriptors; `None` when it is closed.
    pub fn of_fd(fd: impl AsFd) -> Option<Self> {
        Some((&rustix::fs::fstat(fd).ok()?).into())
    }
}

impl From<&rustix::fs::Stat> for FileId {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self { dev: stat.st_dev, ino: stat.st_ino }
    }
}

impl From<&rustix::fs::Statx> for FileId {
    fn from(stat: &rustix::fs::Statx) -> Self {
        Self { dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino }
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { dev: metadata.dev(), ino: metadata.ino() }
    }
}
