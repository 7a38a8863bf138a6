//! The store and the recovery of sessions: owners that die at any step, races, reused pids, many at a time.
//!
//! Tests here take the locks of sessions in this process. So children are started by `TestChild` alone, under
//! its lock.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail the test that calls them, and report why one is skipped"
)]

mod autoskillit;
mod autoskillit_itself;
mod faults;
mod fuzz;
mod kernel;
mod kills;
mod many;
mod races;
mod reuse;
mod sessions;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod twice;
