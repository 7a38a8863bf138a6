//! `sysv-ipc`: a SysV semaphore or message queue, or a POSIX message queue, whose last user is gone or at
//! rest.

use crate::core::diagnosis::Verdict;
use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ObjectFacts, ObjectId};
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let id = alternative.object?;
    let posix = matches!(id, ObjectId::MessageQueue { .. }) && matches!(alternative.op, Op::Read | Op::Write);
    if alternative.op != Op::Semaphore && !posix {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::SysvIpc);
    if let ObjectFacts::SysV { last_pids, .. } = view.facts(&id) {
        let gone: Vec<String> = last_pids
            .iter()
            .filter(|pid| **pid != 0 && view.graph.index.by_tgid(**pid).is_none())
            .map(u32::to_string)
            .collect();
        let none_left = last_pids.iter().all(|pid| view.graph.index.by_tgid(*pid).is_none());
        if !gone.is_empty() && none_left && matches!(case.shape, Shape::DeadEnd | Shape::Cycle) {
            // A cycle goes through processes of the job that never used the object, as far as is known.
            judgement.verdict = Verdict::OrphanedWait;
            if case.shape == Shape::Cycle {
                judgement
                    .likely("No other process of the job is known to use the object, and none can go on.");
            }
            judgement.because =
                Some(format!("the process that operated on it last (pid {}) has ended", gone.join(", ")));
            judgement.subtype = Some("dead-operator");
        }
    }
    Some(
        judgement
            .advise(&[
                "Operate on semaphores with SEM_UNDO: the kernel then takes back what a dead process has taken.",
                "Better, use what dies with its owner: flock, a pipe, a robust mutex.",
            ])
            .or_now(&["`ipcs -s -q -p` shows the object; `ipcrm` removes it, and the waiter gets an error instead of a wait."]),
    )
}
