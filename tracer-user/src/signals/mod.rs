//! Processes by file descriptor: how a job is started, watched, signaled and ended.
//!
//! Nothing here acts on a bare pid. A process is a pidfd, opened once and checked against a
//! [`ProcessId`](crate::core::identity::ProcessId) after it was opened, so that a process with a reused
//! number is never signaled. `/proc` is read elsewhere: callers pass in what this layer needs from it.

pub mod escalation;
pub mod inherited;
pub mod pidfd;
pub mod plain;
pub mod receive;
pub mod relieve;
pub mod spawn;
pub mod terminal;
pub mod thread;
pub mod watched;
