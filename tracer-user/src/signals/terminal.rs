//! The controlling terminal, as far as job control needs it.

use std::os::fd::AsFd;

use rustix::process::{Pid, getpgid, getpgrp, getppid, getsid};

/// Whether a process that stops here can be continued by somebody: its parent is in another process group of
/// the same session, as a shell with job control is. Where there is none the kernel calls the group orphaned
/// and discards a terminal's stop signals; whoever stops himself there stays stopped for ever.
pub fn has_job_control() -> bool {
    let Some(parent) = getppid() else { return false };
    match (getsid(Some(parent)), getsid(None), getpgid(Some(parent))) {
        (Ok(theirs), Ok(ours), Ok(group)) => theirs == ours && group != getpgrp(),
        _ => false,
    }
}

/// Whether a terminal's Ctrl-C reaches `pid` as it reaches us: it is in our process group. `None` when the
/// process is gone.
pub fn shares_our_group(pid: Pid) -> Option<bool> {
    getpgid(Some(pid)).ok().map(|group| group == getpgrp())
}

/// Whether this is a terminal in whose foreground we are, so that drawing on it disturbs nobody.
pub fn in_foreground(terminal: impl AsFd) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp())
}

/// Whether we are in the foreground of our controlling terminal. False without one.
pub fn ours_is_in_foreground() -> bool {
    std::fs::File::open("/dev/tty").is_ok_and(in_foreground)
}
