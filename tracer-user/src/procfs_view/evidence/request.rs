//! What evidence is asked for, and how the kernel's own knowledge of an object is obtained.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::core::evidence::ObjectFacts;
use crate::core::identity::ProcessId;

/// Which processes are in scope.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Every process of the machine.
    All,
    /// The process that has this pid now, and its descendants.
    Tree(u32),
    /// The processes of a traced session, and their descendants.
    Session {
        /// The session's id.
        id: String,
        /// Its processes as far as they are known.
        members: Vec<ProcessId>,
    },
}

/// A request for evidence.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which processes are in scope.
    pub ask: Ask,
    /// Time between the two readings. Reading may take longer; then so does the window.
    pub quiet_window: Duration,
}

/// Why no evidence could be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// `/proc` cannot be opened.
    #[error("cannot read {path}: {why}")]
    NoProc {
        /// The directory.
        path: String,
        /// The system's answer.
        why: io::Error,
    },
    /// No process has this pid.
    #[error("there is no process {0}")]
    NoProcess(u32),
}

/// What the kernel itself knows of a file: a pipe's buffers and the number of its ends, a UNIX socket's peer.
/// It is given an fd of this process, which is open only during the call. `None` when the kernel does not
/// answer.
pub type KernelReader<'a> = &'a mut dyn FnMut(BorrowedFd<'_>) -> Option<ObjectFacts>;
