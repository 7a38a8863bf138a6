//! The only files: trace directory, trace, sidecar and its lock, session log, retention.
//!
//! The crash contract, which everything here serves:
//! 1. A session's sidecar appears whole, and already locked, under its final name; only then is its trace made.
//! 2. The owner holds the lock on the sidecar's open file for as long as it lives, and the kernel lets go of it however
//!    the owner dies. ProcessKey takes that lock, and then finds the sidecar still under its name, owns the session.
//! 3. A finished session is durable in the session log before its trace and its sidecar are unlinked, in that order,
//!    and only then may the kernel's pins go. So at any instruction it is whole in one place or recoverable from the
//!    other; a session that is in both is recognised by its identity and not filed twice.

pub mod autoskillit;
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
pub mod writer;

pub use retention::{RetentionPlan, RetentionPolicy};
pub use session_log::{LogConfig, LogError, SessionLog};
pub use sidecar::{Claim, ClaimError, Layout, SessionFiles};
pub use staging::{Filed, Filing};
pub use trace_dir::{ResolveConfig, TraceDir, TraceDirError};
pub use writer::{Limits, Notice, TraceWriter};
