//! Relieves a stalled pipe: it is enlarged in place, which loses no byte and wakes the writer.
//!
//! To reach the pipe, the descriptor of its holder is duplicated. While the copy is open, this process is a
//! holder of the pipe, which could hide the end of the file from its reader. So the copy is checked, enlarged
//! and closed at once. It is checked because descriptors are reused: the number must still be that very pipe.

use std::io;

use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::pidfd::PidFd;

/// A pipe's capacity, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeEnlargement {
    /// Capacity before, bytes.
    pub before: u64,
    /// Capacity now, bytes.
    pub after: u64,
}

/// Why a pipe was not enlarged.
#[derive(Debug, thiserror::Error)]
pub enum RelieveError {
    /// The descriptor is another file by now, or closed.
    #[error("the descriptor is not that pipe any more")]
    Changed,
    /// The process has ended.
    #[error("the process has ended")]
    Gone,
    /// It already has the largest size that the system allows.
    #[error("the pipe has {0} bytes already, the most the system allows")]
    AtLimit(u64),
    /// The system refused.
    #[error("{what}: {error}")]
    Refused {
        /// The operation.
        what: &'static str,
        /// The cause.
        error: io::Error,
    },
}

/// Enlarges the pipe with inode `pipe_ino` behind descriptor `fd` of `process`, as far as possible, to at
/// most `limit` bytes (`/proc/sys/fs/pipe-max-size`).
pub fn relieve(process: &PidFd, fd: u32, pipe_ino: u64, limit: u64) -> Result<PipeEnlargement, RelieveError> {
    let refused = |what| move |error: Errno| RelieveError::Refused { what, error: error.into() };
    let number = i32::try_from(fd).map_err(|_| RelieveError::Changed)?;
    let pipe = pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map_err(|error| match error {
        Errno::BADF => RelieveError::Changed,
        Errno::SRCH => RelieveError::Gone,
        other => refused("cannot reach the pipe")(other),
    })?;
    let stat = rustix::fs::fstat(&pipe).map_err(refused("cannot read the pipe's inode"))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Fifo
        || stat.st_ino != pipe_ino
    {
        return Err(RelieveError::Changed);
    }
    let before = fcntl_getpipe_size(&pipe).map_err(refused("cannot read the pipe's size"))?;
    let mut size = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut last = Errno::PERM;
    // The user's share of pipe memory may allow less than the limit of one pipe.
    while size > before {
        match fcntl_setpipe_size(&pipe, size) {
            Ok(_) => {
                let after = fcntl_getpipe_size(&pipe).map_err(refused("cannot read the pipe's size"))?;
                return Ok(PipeEnlargement { before: before as u64, after: after as u64 });
            }
            Err(error @ (Errno::PERM | Errno::NOMEM | Errno::BUSY)) => last = error,
            Err(error) => return Err(refused("cannot enlarge the pipe")(error)),
        }
        size /= 2;
    }
    if before as u64 >= limit {
        return Err(RelieveError::AtLimit(before as u64));
    }
    Err(refused("cannot enlarge the pipe")(last))
}
