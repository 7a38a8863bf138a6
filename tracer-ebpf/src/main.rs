//! The kernel programs. On the host this is a stub: the programs are built by `cargo xtask build-ebpf`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "these are kernel programs; `cargo xtask build-ebpf` builds them for the kernel's virtual machine"
    );
    std::process::ExitCode::FAILURE
}
