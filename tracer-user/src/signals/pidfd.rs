//! A process as a file descriptor.
//!
//! Theory of operation: a pidfd names one process for as long as it is open. Between learning a number and
//! opening it, the number may be given to another process, so the start time is read *after* opening. The
//! intended process existed when its identity was recorded. If the number still shows its start time after
//! the opening, the process existed all the while, and the pidfd names no other. From then on a signal that
//! comes too late fails with ESRCH.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::core::identity::{ProcessId, WaitStatus};

/// One process, for as long as this is open.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
    pid: Pid,
}

/// Why a process could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PidFdError {
    /// It is gone, or its number now names another process.
    #[error("no such process any more")]
    Gone,
    /// It exists, but its start time cannot be read. Its identity is not proven, so it is not opened.
    #[error("its start time cannot be read")]
    Unproved,
    /// The system refused.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl PidFd {
    /// Opens the process `id`. `start_ticks` reads field 22 of `/proc/PID/stat`: `Ok(None)` when there is no
    /// such process, an error when it cannot be read.
    pub fn open(
        id: ProcessId,
        start_ticks: impl FnOnce(u32) -> io::Result<Option<u64>>,
    ) -> Result<Self, PidFdError> {
        let this = Self::of_number(id.tgid)?;
        match start_ticks(id.tgid) {
            Ok(Some(ticks)) if ticks == id.start_ticks => Ok(this),
            Ok(Some(_)) => Err(PidFdError::Gone),
            // It lives, and `/proc` hides it from this process (hidepid).
            Ok(None) if this.has_ended().is_ok_and(|ended| !ended) => Err(PidFdError::Unproved),
            Ok(None) => Err(PidFdError::Gone),
            Err(_) => Err(PidFdError::Unproved),
        }
    }

    /// Opens a number whose process is known otherwise: a child of this process that was not waited for.
    pub fn of_number(tgid: u32) -> Result<Self, PidFdError> {
        let pid = i32::try_from(tgid).ok().and_then(Pid::from_raw).ok_or(PidFdError::Gone)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Self { fd, pid }),
            Err(Errno::SRCH) => Err(PidFdError::Gone),
            Err(error) => Err(PidFdError::System(error.into())),
        }
    }

    /// The inode, which no other process of this boot gets; `None` where pidfds have no such inodes.
    pub fn inode(&self) -> Option<u64> {
        const PIDFS_MAGIC: u64 = 0x5049_4446;
        // The file system pidfs is older, but only from Linux 6.14 on its inodes are not reused.
        const SINCE: (u32, u32) = (6, 14);
        let kind = rustix::fs::fstatfs(&self.fd).ok()?.f_type as u64 & 0xffff_ffff;
        let uname = rustix::system::uname();
        let mut parts = uname.release().to_str().ok()?.split(|c: char| !c.is_ascii_digit());
        let release = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (kind == PIDFS_MAGIC && release >= SINCE)
            .then(|| rustix::fs::fstat(&self.fd).ok().map(|it| it.st_ino))?
    }

    /// The descriptor. It is readable once the process has ended.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Its pid, for messages, and for `/proc` while the process is known to live.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the whole process. `Ok(false)` when it has ended and was reaped.
    pub fn send(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The process has ended, reaped or not.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.wait_ended(Duration::ZERO)
    }

    /// Waits until the process has ended, at most this long. True when it has.
    pub fn wait_ended(&self, at_most: Duration) -> io::Result<bool> {
        let deadline = std::time::Instant::now() + at_most;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The wait status of this child, which stays a zombie; `None` while it lives.
    pub fn peek_child(&self) -> io::Result<Option<WaitStatus>> {
        self.wait_child(WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
    }

    /// Reaps this child and returns its wait status; `None` while it lives.
    pub fn reap_child(&self) -> io::Result<Option<WaitStatus>> {
        self.wait_child(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// The signal that stopped this child; `None` while it runs. Reading it does not consume it.
    pub fn stopped_child(&self) -> io::Result<Option<i32>> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(self.fd.as_fd()), options) {
            Ok(status) => Ok(status.and_then(|status| status.stopping_signal())),
            // A zombie cannot be stopped.
            Err(Errno::CHILD) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn wait_child(&self, options: WaitIdOptions) -> io::Result<Option<WaitStatus>> {
        let Some(status) = waitid(WaitId::PidFd(self.fd.as_fd()), options)? else { return Ok(None) };
        let bits = if let Some(code) = status.exit_status() {
            (code & 0xff) << 8
        } else {
            let core = if status.dumped() { 0x80 } else { 0 };
            status.terminating_signal().unwrap_or(0) | core
        };
        Ok(Some(WaitStatus(bits.cast_unsigned())))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
