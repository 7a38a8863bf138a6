//! One verb a file; the only place where the layers meet.

pub mod ending;
pub mod job;
pub mod options;
pub mod recover;
