//! `eof-never`: a reader waits for an end of file, and the only write ends left are held by processes
//! that never used them.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Confidence;
use crate::core::diagnosis::view::View;
use crate::core::evidence::ObjectId;
use crate::core::text::list;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let id = alternative.object?;
    if alternative.op != Op::Read || matches!(id, ObjectId::Inet { .. } | ObjectId::Anon { .. }) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::EofNever);
    judgement.subtype = Some(if matches!(id, ObjectId::Unix { .. }) { "socket" } else { "pipe" });
    if case.shape == Shape::Idle {
        let holders: Vec<String> =
            case.holders.iter().map(|at| format!("{} (it is {})", view.label(*at), view.rest(*at))).collect();
        judgement.because = Some(format!(
            "the only write end left was inherited by {}, which has no reason to use it",
            list(&holders)
        ));
        let peer = match view.facts(&id) {
            crate::core::evidence::ObjectFacts::Unix(f) => f.peer.map_or(id, |ino| ObjectId::Unix { ino }),
            _ => id,
        };
        let adrift = |at: &usize| view.graph.index.is_adrift(*at, case.waiter.process, &peer);
        if case.holders.iter().all(adrift) {
            judgement.note("The process that started the holder has ended, so the expected writer is gone; the holder keeps what it inherited at fork.");
            if view.graph.index.saw_every_fd() {
                judgement.confidence = Confidence::Proven;
            }
        } else {
            judgement.note("The holder keeps the end on a descriptor that no program uses by custom, and has never written a byte to anything.");
        }
        let silent = |at: &usize| view.process(*at).io.is_some_and(|io| io.written_bytes == 0);
        if case.holders.iter().all(silent) {
            judgement.note("The holder has never written a byte to anything since it was started.");
        }
    }
    Some(
        judgement
            .advise(&[
                "Start what is to stay in the background with its own output: `stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True`, or `daemon >log 2>&1 </dev/null &`.",
                "Mark fds that children are not to get close-on-exec (Python does so by itself; keep `close_fds=True` and short `pass_fds`).",
                "Or bound the drain: after the step's exit read only for as long as its output should take.",
            ])
            .or_now(&["End the holder, or restart it with its output redirected: the reader then sees the end of file and goes on."]),
    )
}
