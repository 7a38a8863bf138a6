//! Files: trace directory, trace, sidecar and its lock, session log, retention. Only this module writes
//! files.
//!
//! The crash contract, which everything here serves:
//! 1. The sidecar of a session appears whole, and already locked, under its final name. Only then is its
//!    trace created.
//! 2. The owner holds the lock on the sidecar's open file for as long as it lives, and the kernel releases it
//!    however the owner dies. A process that takes that lock, and then still finds the sidecar under its
//!    name, owns the session.
//! 3. A finished session is durable in the session log before its trace and its sidecar are unlinked, in that
//!    order. Only then may the kernel's pins go ([`finish`]).
//!
//! At any instruction, therefore, a session is whole in one place or recoverable from the other. A session
//! that is in both is recognized by its identity and not filed twice.

pub mod autoskillit;
pub mod autoskillit_log;
pub mod fault;
pub mod finish;
pub mod fsops;
pub mod index;
pub mod lines;
pub mod retention;
pub mod session_files;
pub mod session_log;
pub mod sidecar;
pub mod staging;
pub mod trace_dir;
pub mod user_file;
pub mod writer;

pub use session_log::{LogConfig, LogError, SessionLog};
pub use sidecar::{Claim, ClaimError, Layout, SessionFiles};
pub use staging::{Filed, Filing};
pub use trace_dir::{ResolveConfig, TraceDir, TraceDirError};
pub use writer::{Limits, Notice, TraceWriter};
