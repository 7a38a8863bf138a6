//! Start and end of a process as its `stat` has them.

use std::io;

use procfs::FromRead as _;
use rustix::io::Errno;

use super::ProcRoot;
use crate::core::identity::WaitStatus;

/// What `stat` says of a process that may have ended.
pub struct Stat {
    /// Its start, clock ticks since boot.
    pub start_ticks: u64,
    /// How it ended, of a zombie that this process may look into.
    pub status_of_zombie: Option<WaitStatus>,
}

impl Stat {
    /// Reads it.
    ///
    /// # Errors
    /// `NotFound` when the process is gone; whatever the system says otherwise.
    pub fn read(root: &ProcRoot, pid: u32) -> io::Result<Self> {
        let dir = root.path().join(pid.to_string());
        let stat = std::fs::read(dir.join("stat")).map_err(|error| match error.raw_os_error() {
            Some(errno) if errno == Errno::SRCH.raw_os_error() => io::ErrorKind::NotFound.into(),
            _ => error,
        })?;
        let fields = procfs::process::Stat::from_read(stat.as_slice()).map_err(io::Error::other)?;
        // The kernel shows 0 to those who may not know; reading `io` takes the same permission.
        let permitted = fields.state == 'Z' && std::fs::read(dir.join("io")).is_ok();
        let status = fields.exit_code.filter(|_| permitted).and_then(|code| u32::try_from(code).ok());
        Ok(Self { start_ticks: fields.starttime, status_of_zombie: status.map(WaitStatus) })
    }
}
