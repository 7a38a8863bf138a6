//! Letting a stalled pipe go on: it is enlarged in place, which loses no byte and wakes the writer.
//!
//! To reach the pipe its holder's descriptor is duplicated. While our copy is open we are a holder of the pipe,
//! which could hide the end of the file from its reader: it is checked, enlarged and closed at once. It is
//! checked because descriptors are reused: the number has to be that very pipe, not whatever is there now.

use std::io;

use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::pidfd::PidFd;

/// A pipe's capacity, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relieved {
    /// Bytes it took before.
    pub before: u64,
    /// Bytes it takes now.
    pub after: u64,
}

/// Why a pipe was not enlarged.
#[derive(Debug, thiserror::Error)]
pub enum NotRelieved {
    /// The descriptor is another file by now, or closed.
    #[error("the descriptor is not that pipe any more")]
    Changed,
    /// The process has ended.
    #[error("the process has ended")]
    Gone,
    /// It has the largest size the system allows already.
    #[error("the pipe has {0} bytes already, the most the system allows")]
    AtLimit(u64),
    /// The system refused.
    #[error("{what}: {error}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

/// Enlarges the pipe with inode `pipe_ino` behind descriptor `fd` of `process`, as far as it goes up to `limit` bytes
/// (`/proc/sys/fs/pipe-max-size`).
pub fn relieve(process: &PidFd, fd: u32, pipe_ino: u64, limit: u64) -> Result<Relieved, NotRelieved> {
    let refused = |what| move |error: Errno| NotRelieved::Refused { what, error: error.into() };
    let number = i32::try_from(fd).map_err(|_| NotRelieved::Changed)?;
    let pipe = pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map_err(|error| match error {
        Errno::BADF => NotRelieved::Changed,
        Errno::SRCH => NotRelieved::Gone,
        other => refused("cannot reach the pipe")(other),
    })?;
    let stat = rustix::fs::fstat(&pipe).map_err(refused("cannot look at the pipe"))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Fifo
        || stat.st_ino != pipe_ino
    {
        return Err(NotRelieved::Changed);
    }
    let before = fcntl_getpipe_size(&pipe).map_err(refused("cannot read the pipe's size"))?;
    let mut size = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut last = Errno::PERM;
    // A user's share of pipe memory may allow less than the limit of one pipe.
    while size > before {
        match fcntl_setpipe_size(&pipe, size) {
            Ok(_) => {
                let after = fcntl_getpipe_size(&pipe).map_err(refused("cannot read the pipe's size"))?;
                return Ok(Relieved { before: before as u64, after: after as u64 });
            }
            Err(error @ (Errno::PERM | Errno::NOMEM | Errno::BUSY)) => last = error,
            Err(error) => return Err(refused("cannot enlarge the pipe")(error)),
        }
        size /= 2;
    }
    if before as u64 >= limit {
        return Err(NotRelieved::AtLimit(before as u64));
    }
    Err(refused("cannot enlarge the pipe")(last))
}
