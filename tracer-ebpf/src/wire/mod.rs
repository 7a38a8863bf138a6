//! The records: plain `repr(C)` structs of fixed-width integers without padding, little endian.
//!
//! Every record begins with a [`Header`]. Times are CLOCK_BOOTTIME nanoseconds; thread and process ids are
//! those of the initial pid namespace. A zero in a field that can be unknown means unknown, and the field's
//! text says so; the user side turns it into an absent value.

pub mod inspect;
pub mod lifecycle;
pub mod stall;

pub use inspect::*;
pub use lifecycle::*;
pub use stall::*;

/// Version of everything in this module and of the maps; loader and object must agree on it.
pub const WIRE_VERSION: u16 = 1;

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

/// Begins each record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u16,
    /// [`WIRE_VERSION`].
    pub version: u16,
    /// Bytes of the whole record, this header included.
    pub size_bytes: u32,
    /// When the event happened.
    pub boot_ns: u64,
}

const _: () = assert!(size_of::<Header>() == 2 + 2 + 4 + 8);

/// A process as the kernel knows it. Together with the boot id this names one process for ever.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessKey {
    /// Thread group id.
    pub tgid: u32,
    /// Always 0; keeps the struct free of padding, since it is a map key.
    pub zero: u32,
    /// `group_leader->start_boottime` in ticks of 10 ms, as in field 22 of `/proc/PID/stat`: the form that the
    /// user side can read of any process.
    pub start_ticks: u64,
}

const _: () = assert!(size_of::<ProcessKey>() == 4 + 4 + 8);
