//! Usual suspicions that the evidence rules out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A suspicion that the evidence rules out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RuledOut {
    /// None of the pipes that were looked at is full.
    FullPipe {
        /// The number of pipes that were looked at.
        pipes: usize,
    },
    /// An output that looks like a capture pipe is a deleted regular file, on which no write can block
    /// (pytest's capture).
    CapturePipe {
        /// The process, with its name.
        process: String,
        /// Its fd.
        fd: u32,
    },
    /// No process waits for a file lock.
    FileLock,
    /// No process of the job is stopped, traced or frozen.
    Stopped,
    /// Nothing waits for a peer on the network.
    NetworkPeer,
}
