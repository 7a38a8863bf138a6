//! Waits that the end of a process, or a signal, ends.

use crate::core::waitgraph::index::Index;
use crate::core::waitgraph::model::{Liveness, Op, SeedReason, WaitNode, alternative, by_process};

pub(super) const SIGCHLD: u32 = 17;

pub(super) fn has(mask: u64, signal: u32) -> bool {
    mask >> (signal - 1) & 1 == 1
}

/// Only SIGCHLD of the signals in `mask`.
pub(super) fn only_children(mask: u64) -> bool {
    mask == 1 << (SIGCHLD - 1)
}

/// The end of any of these processes, or of what has ended already.
pub(super) fn exit_of(index: &Index<'_>, targets: &[usize]) -> WaitNode {
    if targets.is_empty() || targets.iter().any(|at| index.process(*at).zombie) {
        // Nobody to wait for, or somebody to collect: the call returns.
        return WaitNode::ready();
    }
    WaitNode::one(alternative(Op::Exit, None, None, targets.iter().map(|at| by_process(*at)).collect()))
}

/// Waits for a signal: for the end of a child when nothing else is waited for.
pub(super) fn signal_wait(index: &Index<'_>, at: usize, set: Option<u64>) -> WaitNode {
    match set {
        Some(set) if only_children(set) && !index.children(at).is_empty() => {
            exit_of(index, index.children(at))
        }
        _ => WaitNode::seeded(Liveness::Idle, SeedReason::Signal),
    }
}
