//! `hidden-holder`: the end that matters is in no process's fd table: parked in an unread message, in io_uring, in another namespace.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::ObjectId;
use crate::core::waitgraph::{Actor, Op};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let way = case.way(view);
    let held = matches!(
        way.object,
        Some(ObjectId::Pipe { .. } | ObjectId::Fifo { .. } | ObjectId::Unix { .. } | ObjectId::File { .. })
    );
    if case.shape != Shape::Outside || !held || !matches!(way.op, Op::Read | Op::Write | Op::Lock) {
        return None;
    }
    let unseen: Vec<&String> = way
        .all
        .iter()
        .flat_map(|r| &r.any)
        .filter_map(|a| match a {
            Actor::Unseen(why) => Some(why),
            _ => None,
        })
        .collect();
    let why = unseen.first()?;
    let mut judgement = Judgement::of(view, case, Class::HiddenHolder);
    judgement.because = Some(format!("whoever could let it go on cannot be seen ({why})"));
    if view.graph.index.saw_every_fd() {
        judgement.note("Every process's fd table was read: the end is in flight (an SCM_RIGHTS message that nobody has received), in an io_uring, or in use by a call.");
    }
    Some(
        judgement
            .advise(&[
                "Receive and close fds that come over UNIX sockets (also those that nobody wants), or close the socket: an unread message keeps the fds in it open.",
                "Run as root to see every process; a holder in another pid namespace is seen from the initial one alone.",
            ])
            .or_now(&["Ending the receiver of the message closes the fds in it."]),
    )
}
