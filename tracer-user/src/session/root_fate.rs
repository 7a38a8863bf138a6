//! The fate of a process, without the kernel's record of its session.
//!
//! A pidfd is opened first, and the start time is read afterwards: if the number is still that process's, the
//! pidfd is its own, and from then on reuse of the number does not matter. A fact that cannot be established
//! is unknown, and unknown is never death.

use crate::core::gates::RootFate;
use crate::core::identity::ProcessId;
use crate::core::record::ExitSource;
use crate::procfs_view::ProcRoot;
use crate::procfs_view::table::{self, Lifetime};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::io;

/// A process, as well as its sidecar identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRef {
    /// Its pid.
    pub pid: u32,
    /// Its start time, clock ticks since boot; `None` when it could not be read.
    pub start_ticks: Option<u64>,
    /// Inode of its pidfd; `None` where the kernel reuses inodes (before Linux 6.14).
    pub pidfd_ino: Option<u64>,
}

impl From<ProcessId> for ProcessRef {
    fn from(process: ProcessId) -> Self {
        Self { pid: process.tgid, start_ticks: Some(process.start_ticks), pidfd_ino: None }
    }
}

/// Determines the fate of a process.
pub fn probe(root: &ProcRoot, wanted: ProcessRef) -> RootFate {
    let dead = |status| RootFate::Ended { status, boot_ns: None, source: ExitSource::Proc };
    let Some(pid) = i32::try_from(wanted.pid).ok().and_then(Pid::from_raw) else {
        return RootFate::Unknown(format!("{} is no process number", wanted.pid));
    };
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        // No process has the number, or a thread of another process has it.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return dead(None),
        Err(errno) => return RootFate::Unknown(format!("no pidfd: {}", io::Error::from(errno))),
    };
    let stat = table::lifetime(root, wanted.pid);
    match identify(&pidfd, wanted, &stat) {
        Identity::Other => return dead(None),
        Identity::Unknown(why) => return RootFate::Unknown(why),
        Identity::Same => {}
    }
    match has_ended(&pidfd) {
        Ok(true) => dead(stat.ok().and_then(|stat| stat.status_of_zombie)),
        Ok(false) => RootFate::Runs { source: ExitSource::Proc },
        Err(error) => RootFate::Unknown(format!("its pidfd cannot be polled: {error}")),
    }
}

enum Identity {
    Same,
    Other,
    Unknown(String),
}

fn identify(pidfd: &OwnedFd, wanted: ProcessRef, stat: &io::Result<Lifetime>) -> Identity {
    if let (Some(enrolled), Ok(now)) = (wanted.pidfd_ino, rustix::fs::fstat(pidfd)) {
        return if enrolled == now.st_ino { Identity::Same } else { Identity::Other };
    }
    match (wanted.start_ticks, stat) {
        (Some(enrolled), Ok(now)) if enrolled == now.start_ticks => Identity::Same,
        (Some(_), Ok(_)) => Identity::Other,
        (None, _) => Identity::Unknown("its start was not readable when it was enrolled".to_owned()),
        // The process of the pidfd is reaped. Whether it was the enrolled one or a later one with its number:
        // the enrolled one is gone.
        (_, Err(error)) if has_ended(pidfd).unwrap_or(false) && error.kind() == io::ErrorKind::NotFound => {
            Identity::Other
        }
        (_, Err(error)) => Identity::Unknown(format!("its start cannot be read: {error}")),
    }
}

/// The process of a pidfd has ended, reaped or not.
fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::identity::WaitStatus;
    use std::process::{Child, Command, Stdio};

    /// A child that is killed at the end of the test.
    struct KillOnDrop(Child);

    impl Drop for KillOnDrop {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn sleeper() -> (KillOnDrop, ProcessRef) {
        let child = KillOnDrop(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap());
        let ticks = table::lifetime(&ProcRoot::system(), child.0.id()).unwrap().start_ticks;
        let wanted = ProcessRef { pid: child.0.id(), start_ticks: Some(ticks), pidfd_ino: None };
        (child, wanted)
    }

    fn look(wanted: ProcessRef) -> RootFate {
        probe(&ProcRoot::system(), wanted)
    }

    #[test]
    fn alive_zombie_and_gone_are_distinguished() {
        let (mut child, wanted) = sleeper();
        assert_eq!(look(wanted), RootFate::Runs { source: ExitSource::Proc });
        child.0.kill().unwrap();
        // It has ended, and is not reaped: waiting for that without reaping it.
        let pid = Pid::from_child(&child.0);
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        let RootFate::Ended { status, boot_ns: None, source: ExitSource::Proc } = look(wanted) else {
            panic!("a zombie is dead")
        };
        assert_eq!(status.and_then(WaitStatus::signal), Some(9));
        child.0.wait().unwrap();
        assert_eq!(look(wanted), RootFate::Ended { status: None, boot_ns: None, source: ExitSource::Proc });
    }

    #[test]
    fn a_reused_number_is_not_the_enrolled_process() {
        let (_child, wanted) = sleeper();
        let earlier = ProcessRef { start_ticks: wanted.start_ticks.map(|ticks| ticks - 1), ..wanted };
        assert_eq!(look(earlier), RootFate::Ended { status: None, boot_ns: None, source: ExitSource::Proc });
        let other_ino = ProcessRef { pidfd_ino: Some(1), ..wanted };
        assert!(matches!(look(other_ino), RootFate::Ended { .. }));
    }

    #[test]
    fn an_unreadable_fact_makes_the_fate_unknown() {
        let (_child, wanted) = sleeper();
        assert!(matches!(look(ProcessRef { start_ticks: None, ..wanted }), RootFate::Unknown(_)));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(probe(&ProcRoot::at(empty.path()), wanted), RootFate::Unknown(_)));
        assert!(matches!(look(ProcessRef { pid: 0, ..wanted }), RootFate::Unknown(_)));
        assert!(matches!(look(ProcessRef { pid: u32::MAX, ..wanted }), RootFate::Unknown(_)));
    }
}
