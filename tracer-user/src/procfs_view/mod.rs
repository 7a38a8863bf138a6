//! The only reader of `/proc` and of netlink: samples, file descriptors, holders, locks.

mod calls;
mod cgroups;
pub mod connector;
pub mod ended;
mod facts;
mod fdinfo;
mod fds;
mod futex;
mod join;
pub mod kin;
mod last_failed;
mod locks;
mod look;
pub mod machine;
mod maps;
mod memory;
mod mounts;
mod process;
mod pulse;
mod raw;
mod sample;
pub mod scene;
pub mod snapshot;
mod sockets;
mod sysv;
mod task;
mod waits;

use std::path::{Path, PathBuf};

use procfs::FromRead as _;

pub use sample::{Ask, LookError, PipeReader, Request, look};

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

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// When a process started, clock ticks since boot: field 22 of its `stat`. `None` when it is not shown.
    pub fn start_ticks(&self, tgid: u32) -> std::io::Result<Option<u64>> {
        use std::io::{Error, ErrorKind};
        let text = match std::fs::read(self.0.join(tgid.to_string()).join("stat")) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // The process went while its file was open.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = procfs::process::Stat::from_read(text.as_slice());
        stat.map(|stat| Some(stat.starttime)).map_err(|_| Error::from(ErrorKind::InvalidData))
    }
}
