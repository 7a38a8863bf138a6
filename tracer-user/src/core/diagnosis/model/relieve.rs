//! A step that would let a stalled run continue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::identity::ProcessId;
use crate::core::text::grouped;

/// A pipe to enlarge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelieveStep {
    /// The pipe's inode number.
    pub pipe_ino: u64,
    /// A process that has the pipe open.
    pub pid: u32,
    /// Its start time, clock ticks since boot.
    pub start_ticks: u64,
    /// The fd there.
    pub fd: u32,
    /// Its capacity now, bytes; null when it could not be read.
    pub from_bytes: Option<u64>,
    /// Its capacity afterwards, bytes.
    pub to_bytes: u64,
}

impl RelieveStep {
    /// The process that has the pipe open.
    pub fn process(&self) -> ProcessId {
        ProcessId { tgid: self.pid, start_ticks: self.start_ticks }
    }

    /// The step in words: `enlarge pipe:[7] (fd 1 of pid 812) from 65 536 to 1 048 576 bytes`.
    pub fn words(&self) -> String {
        let from = self.from_bytes.map_or_else(String::new, |bytes| format!(" from {}", grouped(bytes)));
        format!(
            "enlarge pipe:[{}] (fd {} of pid {}){from} to {} bytes",
            self.pipe_ino,
            self.fd,
            self.pid,
            grouped(self.to_bytes)
        )
    }
}
