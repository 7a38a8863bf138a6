//! Processes by file descriptor: how a job is started, watched, signalled and ended.
//!
//! Nothing here acts on a bare pid. A process is a pidfd, opened once and checked against a
//! [`ProcessId`](crate::core::identity::ProcessId) after it was opened, so that a recycled number is never
//! mistaken for the process meant. `/proc` is read elsewhere: what this layer needs from it is handed in.

pub mod escalation;
pub mod inherited;
pub mod pidfd;
pub mod receive;
pub mod relieve;
pub mod spawn;
pub mod terminal;
pub mod watched;
