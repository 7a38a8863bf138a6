//! Requests to the inspection program and its answers, and the settings of the hook.

use super::StallRecord;
use super::record::record;

/// First argument of the inspection program: what the second one is.
pub mod ask {
    /// Index of a writer slot.
    pub const SLOT: u64 = 1;
    /// Thread id in the collision map.
    pub const COLLISION: u64 = 2;
    /// File descriptor of the calling thread's own process.
    pub const OWN_FD: u64 = 3;
}

record! {
    /// The answer, in the only entry of the inspection map.
    #[derive(Default)]
    pub struct Inspection: 144 {
        /// 1: `record` describes what was asked for. 0: it was gone before it could be read, or the thread
        /// is no longer asleep.
        0 => valid: u32,
        /// `f_mode` of the file. 0: unknown.
        4 => f_mode: u32,
        /// Address of the open file description, which two descriptors may share.
        8 => file: u64,
        /// For a UNIX socket that was asked for by its descriptor: inode of the socket at its other end.
        /// 0: unknown. [`NO_PEER`]: there is none.
        16 => unix_peer: u64,
        /// The file, and for a slot the blocked write.
        24 => record: StallRecord,
    }
}

/// No inode has this number.
pub const NO_PEER: u64 = u64::MAX;

record! {
    /// Settings of the machine-wide hook, in the only entry of its map.
    #[derive(Default)]
    pub struct HookSettings: 8 {
        /// Shorter stalls leave no record, nanoseconds. The least that any session asks for.
        0 => threshold_ns: u64,
    }
}
