//! The verbs, one module each, and the only place where the layers meet.

pub mod attach;
pub mod autoskillit_log;
pub mod clock;
pub mod diagnose;
pub mod doctor;
pub mod live;
pub mod look;
pub mod options;
pub mod preflight;
pub mod problems;
pub mod recover;
pub mod root_fate;
pub mod run;
pub mod sessions;
