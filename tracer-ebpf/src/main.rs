//! The kernel programs. On the host this is a stub: the programs are built by `cargo xtask build-ebpf`.
//!
//! Theory of operation. A session's processes are the keys of its map `LIVE`. The user side inserts the root
//! before it may exec, a fork of a member inserts the child before it runs, and the exit of the last thread
//! deletes the key. Deleting decides between two last threads that race: one of them succeeds, and only that
//! one writes the fate. Membership and fates are in maps, so a full ring loses events, but never the fate of
//! a process.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs;

#[cfg(not(target_arch = "bpf"))]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "these are kernel programs; `cargo xtask build-ebpf` builds them for the kernel's virtual machine"
    );
    std::process::ExitCode::FAILURE
}
