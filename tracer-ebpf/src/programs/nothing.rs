//! Does nothing on the hook of context switches: what `cargo xtask bench hook` compares with. No session loads it.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// See the module.
#[btf_tracepoint(function = "sched_switch")]
pub fn nothing(_ctx: BtfTracePointContext) -> i32 {
    0
}
