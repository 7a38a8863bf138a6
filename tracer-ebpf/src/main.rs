//! The kernel programs. On the host this is a stub: the programs are built by `cargo xtask build-ebpf`.
//!
//! Theory of operation. A session's processes are the keys of its map `LIVE`: the user side puts the root in
//! before it may exec, a fork of a member makes a member before the child runs, and the exit of the last
//! thread takes it out. Deleting the key is what decides between two last threads that race: one of them
//! succeeds, and only that one writes the fate. Membership and fates live in maps, so a full ring loses
//! events but never what became of a process.
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
