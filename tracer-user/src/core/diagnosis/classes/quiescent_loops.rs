//! `quiescent-loops`: event loops without time-outs whose interest sets lead to nobody but each other.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::judge::REQUESTS;
use crate::core::diagnosis::model::Confidence;
use crate::core::diagnosis::view::View;
use crate::core::evidence::Wait;
use crate::core::waitgraph::{Op, ThreadKey};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    if case.shape != Shape::Cycle
        || alternative.op != Op::Read
        || !case.members.iter().all(|key| at_rest(view, *key))
    {
        return None;
    }
    let mut processes: Vec<usize> = case.members.iter().map(|key| key.process).collect();
    processes.sort_unstable();
    processes.dedup();
    let mut judgement = Judgement::of(view, case, Class::QuiescentLoops);
    if processes.len() < 2
        || processes.iter().any(|at| view.process(*at).caught.is_none_or(|set| !set.and(REQUESTS).is_empty()))
    {
        // A signal may well be what they wait for: at rest, not hung. Say so by making no finding of it.
        judgement.verdict = crate::core::diagnosis::model::Verdict::NotHung;
        return Some(judgement);
    }
    judgement.confidence = Confidence::Likely;
    judgement.because =
        Some("every party of its event loop waits in an event loop for it in turn".to_owned());
    judgement.note("No time-out, timer, listener or connection to anybody else is in any of their sets: only a signal could wake them.");
    Some(
        judgement
            .advise(&[
                "Look for the request that was never sent or the connection that was never made: one of the parties believes that it is the other's turn.",
                "Give every wait for a peer a time-out of its own.",
            ])
            .or_now(&["End one of the parties: the others then see a closed connection."]),
    )
}

fn at_rest(view: &View<'_>, key: ThreadKey) -> bool {
    view.is_loop(key) || matches!(view.thread(key).wait, Wait::Futex { .. })
}
