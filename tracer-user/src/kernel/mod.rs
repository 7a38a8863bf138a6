//! The kernel side: the only user of aya. Hands out events and plain values, never aya types.
//!
//! What is where under the BPF file system:
//!
//! ```text
//! /sys/fs/bpf/tracer-user/          root's own, 0700, checked before use; its flock serialises what follows
//!   hook-<object digest>/           the hook on context switches: loaded by the first session, gone with the last
//!   <session>/                      a session's own programs and maps, and `uses-<object digest>`; its owner holds its
//!                                   flock for as long as it lives, and `traces` names where the sidecar is
//! ```

mod abi;
mod bpffs;
mod btf;
mod error;
mod hook;
mod inspect;
mod layout;
mod load;
mod log;
mod map_value;
mod object;
mod pins;
mod stall_reports;
mod stalls;
mod tracer;

pub use error::KernelError;
pub use inspect::Inspector;
pub use layout::layout_of;
pub use pins::{PinnedSession, Unowned, pinned_sessions, remove_session, unowned_sessions};
pub use tracer::{KernelTracer, Lost, Settings};
