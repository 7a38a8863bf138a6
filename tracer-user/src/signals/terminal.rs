//! The controlling terminal, as far as job control needs it.

use std::os::fd::AsFd;

use rustix::process::{Pid, getppid};

/// The number the kernel says for a session or a process group whose leader is in a pid namespace above ours, as in a
/// container whose first process called no `setsid`. rustix's `getsid` and `getpgid` take it for impossible and panic.
/// Between relatives it still compares: who was born with the same one has kept it, since `setsid` and `setpgid` give
/// only numbers of our own namespace.
const LED_FROM_OUTSIDE: libc::pid_t = 0;

/// Whether a process that stops here can be continued by somebody: its parent is in another process group of
/// the same session, as a shell with job control is. Where there is none the kernel calls the group orphaned
/// and discards a terminal's stop signals; whoever stops himself there stays stopped for ever.
pub fn has_job_control() -> bool {
    let Some(parent) = getppid() else { return false };
    match (session_of(Some(parent)), session_of(None), group_of(Some(parent)), group_of(None)) {
        (Some(theirs), Some(ours), Some(group), Some(our_group)) => theirs == ours && group != our_group,
        _ => false,
    }
}

/// Whether a terminal's Ctrl-C reaches `pid`, a descendant, as it reaches us: it is in our process group. `None`
/// when the process is gone.
pub fn shares_our_group(pid: Pid) -> Option<bool> {
    Some(group_of(Some(pid))? == group_of(None)?)
}

/// The session of a process, ours without one; [`LED_FROM_OUTSIDE`] when it is that. `None` when the process is gone.
fn session_of(pid: Option<Pid>) -> Option<libc::pid_t> {
    // SAFETY: takes and gives a number.
    let session = unsafe { libc::getsid(Pid::as_raw(pid)) };
    (session >= LED_FROM_OUTSIDE).then_some(session)
}

/// The process group of a process, as [`session_of`].
fn group_of(pid: Option<Pid>) -> Option<libc::pid_t> {
    // SAFETY: takes and gives a number.
    let group = unsafe { libc::getpgid(Pid::as_raw(pid)) };
    (group >= LED_FROM_OUTSIDE).then_some(group)
}

/// Whether this is a terminal in whose foreground we are, so that drawing on it disturbs nobody.
pub fn in_foreground(terminal: impl AsFd) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group_of(None) == Some(group.as_raw_pid()))
}

/// Whether we are in the foreground of our controlling terminal. False without one.
pub fn ours_is_in_foreground() -> bool {
    std::fs::File::open("/dev/tty").is_ok_and(in_foreground)
}
