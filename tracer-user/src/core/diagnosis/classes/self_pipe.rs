//! `self-pipe`: the waiter itself holds the only opposite end, so that neither data nor an end of file can
//! come.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::ObjectId;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let own = !case.holders.is_empty() && case.holders.iter().all(|at| *at == case.waiter.process);
    let pipe = matches!(
        alternative.object,
        Some(ObjectId::Pipe { .. } | ObjectId::Fifo { .. } | ObjectId::Unix { .. })
    );
    if case.shape != Shape::Cycle || !own || !pipe || !matches!(alternative.op, Op::Read | Op::Write) {
        return None;
    }
    // An event loop whose set has only its own wake-up pipe is a program at rest: it waits for a signal, or
    // for nothing at all.
    if view.is_loop(case.waiter) && alternative.op == Op::Read {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::SelfPipe);
    let what = if alternative.op == Op::Read { "write" } else { "read" };
    judgement.because =
        Some(format!("the only {what} end left is held by {} itself", view.label(case.waiter.process)));
    Some(
        judgement
            .advise(&[
                "Close the end that a process does not use, right after fork or as soon as the child has it: a reader that keeps a write end never sees the end of file.",
                "A FIFO opened for reading and writing at once (O_RDWR) never ends either: open it for reading alone.",
            ])
            .or_now(&["Nothing lets it go on but a write to its pipe from outside (`/proc/PID/fd/N`), or a signal."]),
    )
}
