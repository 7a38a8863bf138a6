//! The pure part: no files, environment, processes, clocks, threads or printing. Time is an argument.

pub mod anomaly;
pub mod attribution;
pub mod decode;
pub mod diagnosis;
pub mod escalation;
pub mod event;
pub mod evidence;
pub mod gates;
pub mod hang_watch;
pub mod identity;
pub mod leftover;
pub mod proc_event;
pub mod record;
pub mod redact;
pub mod report;
pub mod requirements;
pub mod schema;
pub mod session_state;
pub mod signal;
pub mod snapshot;
pub mod summary;
pub mod syscalls;
pub mod text;
pub mod time;
pub mod timeline;
pub mod waitgraph;
