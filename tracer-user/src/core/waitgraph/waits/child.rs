//! Waits that the end of a process, or a signal, ends.

use crate::core::signal::{Signal, SignalSet};
use crate::core::waitgraph::index::Index;
use crate::core::waitgraph::model::{Liveness, Op, SeedReason, WaitNode, alternative, by_process};

/// Whether SIGCHLD is the only signal of the set.
pub(super) fn only_children(set: SignalSet) -> bool {
    set == SignalSet::of(&[Signal::CHLD])
}

/// The end of any of these processes, or of what has ended already.
pub(super) fn exit_of(index: &Index<'_>, targets: &[usize]) -> WaitNode {
    if targets.is_empty() || targets.iter().any(|at| index.process(*at).zombie) {
        // There is no child to wait for, or one to collect: the call returns.
        return WaitNode::ready();
    }
    // The tracer, and processes that only wait for it, end soon. Beside other children they are not what is
    // waited for.
    let mut targets: Vec<usize> = targets.to_vec();
    if targets.iter().any(|at| !index.leads_to_observer(*at)) {
        targets.retain(|at| !index.leads_to_observer(*at));
    }
    WaitNode::one(alternative(Op::Exit, None, None, targets.into_iter().map(by_process).collect()))
}

/// Waits for a signal: for the end of a child when nothing else is waited for.
pub(super) fn signal_wait(index: &Index<'_>, at: usize, set: Option<SignalSet>) -> WaitNode {
    match set {
        Some(set) if only_children(set) && !index.children(at).is_empty() => {
            exit_of(index, index.children(at))
        }
        set => WaitNode::seeded(Liveness::Idle, SeedReason::Signal(set)),
    }
}
