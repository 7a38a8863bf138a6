//! A program that does nothing on context switches. `cargo xtask bench hook` compares the hook with it. No
//! session loads it.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// A context switch.
#[btf_tracepoint(function = "sched_switch")]
pub fn nothing(_ctx: BtfTracePointContext) -> i32 {
    0
}
