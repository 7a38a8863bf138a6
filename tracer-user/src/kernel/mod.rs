//! The kernel side: the only user of aya. Its interface has events and plain values, and no type of aya.
//!
//! The directories under the BPF file system:
//!
//! ```text
//! /sys/fs/bpf/tracer-user/    root's own, 0700, checked before use; its flock serializes what follows
//!   hook-<object digest>/     the hook on context switches: made by the first session, removed with the last
//!   <session>/                a session's programs and maps; its owner holds its flock while it is alive
//!     uses-<object digest>/   the session's mark on the hook
//!     traces, mounts          links to the sidecar's directory and to its mount namespace
//! ```

mod abi;
mod bpffs;
mod btf;
mod call_counter;
mod error;
mod handles;
mod hook;
mod inspect;
mod install;
mod layout;
mod load;
mod log;
mod object;
mod object_facts;
mod perf_event;
mod pid_namespace;
mod pins;
mod settings;
mod slots;
mod stall_reports;
mod stalls;
mod tracer;
mod window;

pub use call_counter::CallCounter;
pub use error::KernelError;
pub use inspect::Inspector;
pub use layout::layout_of;
pub use object_facts::object_facts;
pub use pins::{
    PinnedSession, Unowned, UnownedPins, pinned_sessions, remove_session, remove_unused_hooks, unowned,
};
pub use settings::Settings;
pub use tracer::{KernelTracer, Lost};
pub use window::{CallCount, WindowCounter, WindowCounts};
