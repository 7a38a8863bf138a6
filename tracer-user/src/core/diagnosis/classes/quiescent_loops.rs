//! `quiescent-loops`: event loops whose interest sets lead only to each other.

use std::collections::BTreeSet;

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Confidence;
use crate::core::diagnosis::view::View;
use crate::core::evidence::Wait;
use crate::core::waitgraph::{Op, ThreadKey};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let loops = case.members.iter().all(|key| rests_in_loop(view, *key));
    let processes: BTreeSet<usize> = case.members.iter().map(|key| key.process).collect();
    if case.shape != Shape::Cycle || alternative.op != Op::Read || !loops || processes.len() < 2 {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::QuiescentLoops);
    judgement.confidence = Confidence::Likely;
    judgement.because =
        Some("every party of its event loop waits in an event loop for it in turn".to_owned());
    judgement.note(
        "None of their sets holds a timer, a listener or a connection to any other process: only a signal could wake them.",
    );
    Some(
        judgement
            .advise(&[
                "Look for the request that was never sent or the connection that was never made: one of the parties takes it to be the other's turn.",
                "Give every wait for a peer a time-out of its own.",
            ])
            .or_now(&["End one of the parties: the others then see a closed connection."]),
    )
}

fn rests_in_loop(view: &View<'_>, key: ThreadKey) -> bool {
    view.is_loop(key) || matches!(view.thread(key).wait, Wait::Futex { .. })
}
