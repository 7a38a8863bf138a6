//! Snapshots of a session's processes, for its trace.

mod connections;
mod sampler;

pub use sampler::Sampler;
