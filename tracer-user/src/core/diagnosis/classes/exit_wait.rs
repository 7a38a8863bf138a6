//! `exit-wait`: waits for ends of processes that lead back to each other. It explains nothing alone; the
//! child's own wait does.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    if case.alternative(view).op != Op::Exit || case.shape == Shape::Outside {
        return None;
    }
    Some(
        Judgement::of(view, case, Class::ExitWait)
            .advise(&["Wait for the end of a process with a bound, and end it when the bound is reached."])
            .or_now(&["End the process that is waited for."]),
    )
}
