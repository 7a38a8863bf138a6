//! `token-loss`: readers on one shared pipe all of whose write ends they hold themselves: a job server's
//! tokens were taken and not given back.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Verdict;
use crate::core::diagnosis::view::View;
use crate::core::evidence::ObjectId;
use crate::core::waitgraph::{Op, ThreadKey};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let id = alternative.object.filter(|id| matches!(id, ObjectId::Pipe { .. } | ObjectId::Fifo { .. }))?;
    let index = &view.graph.index;
    let readers = index.holding(&id, |a| a.reads());
    let pool = case.holders.contains(&case.waiter.process)
        && case.holders.len() > 1
        && case.holders.iter().all(|at| readers.contains(at));
    // Forked processes share both ends of a queue too. A process that got both ends through exec, or that
    // waits together with others, is a client of a job server.
    let waits = |at: &usize| {
        (0..view.process(*at).threads.len()).any(|thread| {
            let alternatives = &view.graph.node(ThreadKey { process: *at, thread }).alternatives;
            alternatives.iter().any(|w| w.op == Op::Read && w.object == Some(id))
        })
    };
    let company = case.holders.iter().filter(|at| waits(at)).count() > 1;
    let cmdline = |at: usize| &view.process(at).cmdline;
    let executed = case
        .holders
        .iter()
        .any(|at| *at != case.waiter.process && cmdline(*at) != cmdline(case.waiter.process));
    let pool = pool && (company || executed);
    if alternative.op != Op::Read || !pool || !matches!(case.shape, Shape::Cycle | Shape::Idle) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::TokenLoss);
    judgement.verdict = Verdict::OrphanedWait;
    judgement.because = Some(format!(
        "all {} processes that could write to it read from it, too: what was in it has been taken and not given back",
        case.holders.len()
    ));
    Some(
        judgement
            .advise(&[
                "Return every token, also when a step fails or is killed: a process that starts a step with a token returns it when the step ends.",
                "Keep a job server's fds from daemons and from steps that are no part of it; give independent builds a job server of their own (`make -j` without the inherited MAKEFLAGS).",
            ])
            .or_now(&["Write the missing tokens into the pipe (`printf + > /proc/PID/fd/N`): the readers go on."]),
    )
}
