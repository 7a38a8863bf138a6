//! One verb a file; the only place where the layers meet.

pub mod clock;
pub mod diagnose;
pub mod doctor;
pub mod ending;
pub mod enrol;
pub mod job;
pub mod keeper;
pub mod observer;
pub mod options;
pub mod recover;
pub mod run;
pub mod sessions;
