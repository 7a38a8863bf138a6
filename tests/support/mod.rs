//! What the test programs share: children that end with their test, the helper program, readers of `/proc`.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod child;
pub mod helper;
pub mod mute_fs;
pub mod namespace;
pub mod proc;

use std::fmt::Display;
use std::time::Duration;

/// The tool.
pub const TRACER: &str = env!("CARGO_BIN_EXE_tracer-user");

/// Longer than any single step takes on a loaded or an emulated machine: a test that waits this long has
/// failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether a test that this machine cannot run fails instead of being skipped.
pub fn is_required() -> bool {
    std::env::var_os("TRACER_REQUIRE_BPF").is_some_and(|value| value == "1")
}

/// Reports that a test is skipped. Fails where tests may not be skipped.
#[track_caller]
pub fn skip(why: impl Display) {
    assert!(!is_required(), "TRACER_REQUIRE_BPF=1 forbids to skip this test: {why}");
    eprintln!("skipped: {why}");
}

/// Whether the test runs as root. Reports that it is skipped where it does not.
#[track_caller]
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}
