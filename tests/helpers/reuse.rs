//! A process under a pid that another process had before it.

use crate::end;
use crate::parent::{receive, send};

/// Words: a pid. Makes a child that has it, and reports `made`, or `failed` and why. Each line it receives is
/// answered with whether the child is `alive`. The child ends with this process.
pub fn takes_pid(words: &[String]) {
    let number: libc::pid_t = words[0].parse().expect("a pid");
    // SAFETY: an all-zero `clone_args` asks for a plain fork.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.set_tid = &raw const number as u64;
    arguments.set_tid_size = 1;
    let parent = std::process::id();
    // SAFETY: the structure and the number in it outlive the call, and this process has one thread.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    if made == 0 {
        // SAFETY: plain values.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // Its parent may have ended before that.
        if std::os::unix::process::parent_id() != parent {
            end(0);
        }
        loop {
            std::thread::park();
        }
    }
    if made != i64::from(number) {
        send(&format!("failed {}", std::io::Error::last_os_error()));
        return;
    }
    send("made");
    loop {
        receive();
        // SAFETY: asks about our own child, which is not reaped; nothing is written.
        let ended = unsafe { libc::waitpid(number, std::ptr::null_mut(), libc::WNOHANG) } != 0;
        send(if ended { "ended" } else { "alive" });
    }
}
