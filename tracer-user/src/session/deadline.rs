//! Work on a file system that may never answer.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::spawn_without_signals;

/// The result of some work in a thread of its own; `None` when it is not there in time, or when there is no
/// thread. The thread is then left behind.
pub fn within<T: Send + 'static>(
    at_most: Duration,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = channel();
    // Nobody receives a result that comes too late.
    let started = spawn_without_signals(name, move || drop(sender.send(work())));
    started.ok()?;
    receiver.recv_timeout(at_most).ok()
}
