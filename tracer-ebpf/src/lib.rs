//! What the kernel programs and the user side share: records, limits, names, and the kernel fields that are
//! needed.
//!
//! The same definitions compile for the BPF target and for the host. The kernel side writes the records, and
//! `tracer-user`'s `core::decode` reads them. The layout of each record is asserted for both targets.
#![no_std]
#![forbid(unsafe_code)]

pub mod limits;
pub mod names;
pub mod offsets;
pub mod wire;
