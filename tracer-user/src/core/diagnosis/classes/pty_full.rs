//! `pty-full`: a writer blocked on a terminal whose other side does not read.

use crate::core::diagnosis::case::Case;
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ObjectId, PtySide};
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let id = alternative.object?;
    if alternative.op != Op::Write {
        return None;
    }
    let advice: &[&str] = match id {
        ObjectId::Pty { side: PtySide::Slave, .. } => &[
            "The holder of the master side has to read it until its end, also while it waits for the program's exit.",
            "A program that needs no terminal is better off with a pipe that is drained, or a file.",
        ],
        ObjectId::Pty { side: PtySide::Master, .. } => &[
            "Send input no faster than the program reads it, and read its output (the echo, too) at the same time.",
        ],
        ObjectId::Tty { .. } => &["The terminal's output may be stopped (Ctrl-S): Ctrl-Q lets it go on."],
        _ => return None,
    };
    Some(Judgement::of(view, case, Class::PtyFull).advise(advice).or_now(&[
        "Read from the other side, or end its holder: the writer then gets an error instead of a wait.",
    ]))
}
