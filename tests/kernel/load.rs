//! Loading the kernel programs.

use crate::traced::{NO_STALLS, Traced};
use tracer_user::kernel::{Inspector, WindowCounter};
use tracer_user::procfs_view::{ProcRoot, table};

/// Bit of `/proc/sys/kernel/tainted`: the kernel has warned
/// (`Documentation/admin-guide/tainted-kernels.rst`).
const WARNED: u64 = 1 << 9;

/// Before 6.1 a program on a raw tracepoint or a perf event that has a map without preallocated memory makes
/// the kernel warn, once (`check_map_prog_compatibility` of `kernel/bpf/verifier.c`). With `panic_on_warn`
/// the machine is gone.
#[test]
fn the_kernel_warns_of_no_program() {
    let warned = || {
        let tainted = std::fs::read_to_string("/proc/sys/kernel/tainted").unwrap();
        tainted.trim().parse::<u64>().unwrap() & WARNED
    };
    let before = warned();
    let Some(traced) = Traced::start(NO_STALLS) else { return };
    drop(Inspector::load().expect("the inspection programs load"));
    drop(
        WindowCounter::start(&[], table::own_namespaces(&ProcRoot::system()))
            .expect("the counter of system calls loads"),
    );
    traced.finish();
    assert_eq!(warned(), before);
}
