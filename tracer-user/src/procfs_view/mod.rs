//! The only reader of `/proc` and of netlink: samples, file descriptors, holders, locks.

mod borrowed_fd;
mod calls;
pub mod census;
mod cgroups;
pub mod connector;
pub mod ended;
mod facts;
mod fdinfo;
mod fds;
mod futex;
mod last_failed;
mod locks;
pub mod machine;
mod maps;
mod memory;
mod mounts;
mod objects;
mod proc_dir;
mod process;
mod sample;
pub mod snapshot;
mod socket_tables;
mod sockets;
mod stat;
mod sys;
mod sysv;
pub mod table;
mod thread_sample;
mod unix_peers;
mod waits;

use std::path::{Path, PathBuf};

pub use sample::{Ask, KernelReader, LookError, Request, look};

/// Where `/proc` is. Tests give it a directory of their own making.
#[derive(Clone, Debug)]
pub struct ProcRoot(PathBuf);

impl ProcRoot {
    /// The machine's own.
    pub fn system() -> Self {
        Self(PathBuf::from("/proc"))
    }

    /// Another directory laid out like `/proc`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Whether it is the machine's own: numbers in it are those of system calls.
    pub fn is_system(&self) -> bool {
        self.0 == Path::new("/proc")
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
