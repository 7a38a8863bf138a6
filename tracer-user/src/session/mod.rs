//! One verb a file; the only place where the layers meet.

pub mod adopt;
pub mod attach;
pub mod clock;
pub mod diagnose;
pub mod doctor;
pub mod ending;
pub mod enrol;
pub mod follow;
pub mod history;
pub mod in_the_way;
pub mod job;
pub mod keeper;
mod kernel_reader;
pub mod lookout;
pub mod observer;
pub mod options;
pub mod preflight;
pub mod reap;
pub mod recover;
pub mod relieve;
pub mod run;
pub mod sessions;
