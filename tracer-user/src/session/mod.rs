//! The verbs, one module each, and the only place where the layers meet.

pub mod attach;
pub mod autoskillit_log;
pub mod candidates;
pub mod clock;
pub mod deadline;
pub mod diagnose;
pub mod doctor;
pub mod holders;
pub mod job_members;
pub mod live;
pub mod look;
pub mod options;
pub mod preflight;
pub mod problems;
pub mod recover;
pub mod root_fate;
pub mod run;
mod runtime;
pub mod schema;
pub mod session_name;
pub mod sessions;

pub use crate::signals::inherited::survive_file_size_limit;
pub use crate::signals::thread::spawn_without_signals;
pub use crate::store::user_file;
