//! The records: plain structs of fixed-width integers without padding, little endian.
//!
//! Every record begins with a [`Header`]. Times are nanoseconds of CLOCK_BOOTTIME. Thread and process ids are
//! those of the initial pid namespace. Where a field can be unknown, one value of it, mostly zero, means
//! unknown, and the field's text names that value. The user side turns it into `None`.

pub mod globals;
pub mod inspect;
pub mod lifecycle;
mod record;
pub mod stall;
pub mod window;

pub use globals::*;
pub use inspect::*;
pub use lifecycle::*;
pub use record::{MemberLayout, StructLayout};
pub use stall::*;
pub use window::*;

use record::record;

/// Version of everything in this module and of the maps. Loader and object must agree on it.
pub const WIRE_VERSION: u16 = 1;

// Integers are taken from the wire as they are in memory. The kernel side is built for `bpfel`.
const _: () = assert!(cfg!(target_endian = "little"));

/// What a record is.
pub mod kind {
    /// [`super::ForkRecord`].
    pub const FORK: u16 = 1;
    /// [`super::ExecRecord`].
    pub const EXEC: u16 = 2;
    /// [`super::ExitRecord`].
    pub const EXIT: u16 = 3;
    /// [`super::SignalRecord`].
    pub const SIGNAL: u16 = 4;
    /// [`super::StallRecord`] of a stall that lasts.
    pub const STALL_OPEN: u16 = 5;
    /// [`super::StallRecord`] of a stall that has ended.
    pub const STALL_CLOSED: u16 = 6;
}

record! {
    /// The beginning of each record.
    pub struct Header: 16 {
        /// One of [`kind`].
        0 => kind: u16,
        /// [`WIRE_VERSION`].
        2 => version: u16,
        /// Bytes of the whole record, with this header.
        4 => size_bytes: u32,
        /// When the event happened.
        8 => boot_ns: u64,
    }
}

impl Default for Header {
    fn default() -> Self {
        Self { kind: 0, version: WIRE_VERSION, size_bytes: 0, boot_ns: 0 }
    }
}

record! {
    /// A process as the kernel knows it. Together with the boot id this identifies one process for ever.
    #[derive(Default)]
    pub struct ProcessKey: 16 {
        /// Thread group id.
        0 => tgid: u32,
        /// Always 0. Takes the place of padding, which a map key must not have.
        4 => zero: u32,
        /// `group_leader->start_boottime` in ticks of 10 ms, as in field 22 of `/proc/PID/stat`: the unit in
        /// which the user side can read it for any process.
        8 => start_ticks: u64,
    }
}

macro_rules! structs {
    ($($name:ident,)*) => {
        /// The layout of every struct of the wire.
        pub const LAYOUTS: &[StructLayout] = &[$($name::LAYOUT,)*];

        /// One of each struct of the wire. The kernel side has a static of this type, so that the built
        /// object's type information describes them all.
        #[repr(C)]
        #[derive(zerocopy::FromBytes)]
        pub struct AllStructs($(pub $name,)*);
    };
}

structs! {
    Header, ProcessKey, ForkRecord, ExecRecord, Fate, ExitRecord, SignalRecord, WriterSlot, StallRecord,
    Inspection, HookSettings, SyscallAbi, LogLayout, CallKey, ErrorCount, CallTotals,
}
