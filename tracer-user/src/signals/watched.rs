//! Descriptors in tokio's event loop.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Registers an owned descriptor with the event loop of the current runtime.
pub fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one and the same open descriptor for as long as it exists, and the `AsyncFd`
    // owns it: it is taken out of the event loop before it is closed.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
