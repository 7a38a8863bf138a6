//! The controlling terminal, as far as job control needs it.

use std::os::fd::AsFd;

use rustix::process::{Pid, getppid};

/// The number that the kernel returns for a session or a process group whose leader is in a pid namespace
/// above this one, as in a container whose first process did not call `setsid`. rustix's `getsid` and
/// `getpgid` exclude it and panic. Between relatives it still compares: processes that inherited it have kept
/// it, since `setsid` and `setpgid` set only numbers of this namespace.
const LED_FROM_OUTSIDE: libc::pid_t = 0;

/// A process that stops here can be continued: its parent is in another process group of the same session, as
/// a shell with job control is. Otherwise the process group is orphaned, the kernel discards a terminal's
/// stop signals, and a process that stops itself stays stopped.
pub fn has_job_control() -> bool {
    let Some(parent) = getppid() else { return false };
    match (session_of(Some(parent)), session_of(None), group_of(Some(parent)), group_of(None)) {
        (Some(theirs), Some(ours), Some(group), Some(our_group)) => theirs == ours && group != our_group,
        _ => false,
    }
}

/// A terminal's Ctrl-C reaches the descendant `pid` together with this process: they are in one process
/// group. `None` when the process is gone.
pub fn shares_our_group(pid: Pid) -> Option<bool> {
    Some(group_of(Some(pid))? == group_of(None)?)
}

/// The session of a process (without one: of this process), or [`LED_FROM_OUTSIDE`]. `None` when the process
/// is gone.
fn session_of(pid: Option<Pid>) -> Option<libc::pid_t> {
    // SAFETY: takes and returns a number.
    let session = unsafe { libc::getsid(Pid::as_raw(pid)) };
    (session >= LED_FROM_OUTSIDE).then_some(session)
}

/// The process group of a process, as [`session_of`].
fn group_of(pid: Option<Pid>) -> Option<libc::pid_t> {
    // SAFETY: takes and returns a number.
    let group = unsafe { libc::getpgid(Pid::as_raw(pid)) };
    (group >= LED_FROM_OUTSIDE).then_some(group)
}

/// This is a terminal, and this process is in its foreground, so that drawing on it is acceptable.
pub fn in_foreground(terminal: impl AsFd) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group_of(None) == Some(group.as_raw_pid()))
}

/// This process is in the foreground of its controlling terminal. False without one.
pub fn ours_is_in_foreground() -> bool {
    std::fs::File::open("/dev/tty").is_ok_and(in_foreground)
}
