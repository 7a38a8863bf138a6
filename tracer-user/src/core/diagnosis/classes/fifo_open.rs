//! `fifo-open`: an open of a FIFO waits for the other end, which no process opens.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::{Confidence, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::Wait;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    if case.alternative(view).op != Op::OpenFifo {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::FifoOpen);
    if case.shape != Shape::Outside {
        judgement.verdict = Verdict::OrphanedWait;
    }
    let writes = matches!(view.thread(case.waiter).wait, Wait::Open { flags, .. } if flags & 3 == 1);
    let (mine, other) = if writes { ("writing", "reading") } else { ("reading", "writing") };
    judgement.because = Some(if case.shape == Shape::DeadEnd {
        format!("no process has it open for {other}, and no other process of the job can go on to open it")
    } else {
        judgement.confidence = Confidence::Likely;
        format!("no process has it open for {other}, nor does any process of the job move to open it")
    });
    judgement.note(format!("It opens the FIFO for {mine}: that waits until somebody opens it for {other}."));
    Some(
        judgement
            .advise(&[
                "Make sure that both ends are opened, whatever fails in between: start the other party first, or open with O_NONBLOCK (reading) or O_RDWR.",
                "Where one process feeds one other, an anonymous pipe needs no meeting.",
            ])
            .or_now(&["Open the other end once (`: > FIFO` or `cat FIFO`): the waiter goes on, and sees an end of file or an error."]),
    )
}
