//! What the kernel programs record, compared with what the kernel itself shows of the same processes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail the test that calls them, and report why one is skipped"
)]

mod absent;
mod exit;
mod layout;
mod load;
mod offsets;
mod pins;
mod runs;
mod sandbox;
mod slots;
mod stall;
#[path = "../support/mod.rs"]
mod support;
mod traced;
mod window;
mod wire;
mod writer;
