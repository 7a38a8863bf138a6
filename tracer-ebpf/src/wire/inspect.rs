//! What the inspection program is asked, and what it answers.

use super::StallRecord;

/// First argument of the inspection program: what the second one is.
pub mod ask {
    /// Index of a writer slot.
    pub const SLOT: u64 = 1;
    /// Thread id in the collision map.
    pub const COLLISION: u64 = 2;
    /// File descriptor of the calling thread's own process.
    pub const OWN_FD: u64 = 3;
}

/// The answer, in the only entry of the inspection map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// 1: `record` holds what was asked for; 0: it was gone before it could be read, or the
    /// thread sleeps no more.
    pub valid: u32,
    /// `f_mode` of the file; 0: unknown.
    pub f_mode: u32,
    /// Address of the open file description, to tell whether two descriptors share one.
    pub file: u64,
    /// Of a UNIX socket that was asked for by its descriptor: inode of the socket at its other end; 0: unknown;
    /// [`NO_PEER`]: it has none.
    pub unix_peer: u64,
    /// What is known of it.
    pub record: StallRecord,
}

const _: () = assert!(size_of::<Inspection>() == 4 + 4 + 8 + 8 + 120);

/// No inode's number.
pub const NO_PEER: u64 = u64::MAX;

/// Settings of the machine-wide hook, in the only entry of its map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookSettings {
    /// Shorter stalls leave no record, nanoseconds. The least of what the sessions ask for.
    pub threshold_ns: u64,
}
