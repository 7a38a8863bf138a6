//! One verb a file; the only place where the layers meet.

pub mod adopt;
pub mod attach;
pub mod clock;
pub mod diagnose;
pub mod doctor;
pub mod driver;

pub mod job;
mod kernel_reader;
pub mod membership_poll;
pub mod observer;
pub mod options;
pub mod port_conflict;
pub mod preflight;
pub mod reap;
pub mod recorder;
pub mod recover;
pub mod relieve;
pub mod run;
pub mod sessions;
pub mod start;
pub mod terminate;
