//! Threads that take no signals, so that these stay with the thread that waits for them.

use std::io;
use std::thread::{Builder, JoinHandle};

use super::receive::{all_signals, change_mask};

/// Starts a thread in which every signal is blocked, whatever the caller has blocked by now.
///
/// # Errors
/// When the system has no room for another thread.
pub fn spawn_without_signals<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    // The mask is inherited: blocked only by the new thread itself, a signal could arrive before that.
    let before = change_mask(libc::SIG_SETMASK, &all_signals())?;
    let started = Builder::new().name(name.to_owned()).spawn(work);
    change_mask(libc::SIG_SETMASK, &before)?;
    started
}
