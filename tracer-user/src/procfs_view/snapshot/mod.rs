//! Snapshots of a session's processes, for its trace.

mod connections;
mod held_files;
mod sampler;

pub use held_files::HeldFiles;
pub use sampler::Sampler;
