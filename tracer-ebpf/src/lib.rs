//! What the kernel programs and the user side share: records, limits, and the kernel fields that are needed.
//!
//! Nothing here depends on anything, so that the same definitions compile for the BPF target and for the
//! host. The kernel side writes these records, `tracer-user`'s `core::decode` reads them back from bytes:
//! the layout asserts beside each record are evaluated for both targets.
#![no_std]
#![forbid(unsafe_code)]

pub mod limits;
pub mod names;
pub mod offsets;
pub mod wire;
