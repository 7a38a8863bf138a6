//! `hidden-holder`: the end that matters is in no process's fd table: parked in an unread message, in
//! io_uring, in another namespace.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ObjectFacts, ObjectId};
use crate::core::text::list;
use crate::core::waitgraph::{Op, Releaser};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let held = matches!(
        alternative.object,
        Some(ObjectId::Pipe { .. } | ObjectId::Fifo { .. } | ObjectId::Unix { .. } | ObjectId::File { .. })
    );
    if !held || !matches!(alternative.op, Op::Read | Op::Write | Op::Lock) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::HiddenHolder);
    if case.shape == Shape::Outside {
        let unseen = alternative.conditions.iter().flat_map(|r| &r.releasers).find_map(|a| match a {
            Releaser::Unseen(why) => Some(why),
            _ => None,
        });
        judgement.because =
            Some(format!("the process that could let it continue is not visible ({})", unseen?));
        let index = &view.graph.index;
        if index.saw_every_fd() && index.relevant_unread(case.waiter.process).is_none() {
            judgement.note("Every process's fd table was read: the end is in flight (an SCM_RIGHTS message that nobody has received), in an io_uring, or in use by a call.");
        }
    } else if alternative.op != Op::Lock && in_flight(view, case) {
        let receivers: Vec<String> = case.holders.iter().map(|at| view.label(*at)).collect();
        judgement.because = Some(format!(
            "the other end is in no process's table: it lies in a message that {} has not received",
            list(&receivers)
        ));
        judgement.subtype = Some("in-flight");
        judgement.likely("That this end is among the fds of unread messages is inferred: no process has it, and a socket of the job keeps fds in flight.");
    } else {
        return None;
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

/// None of the processes that could act has the object, or its peer, in its fd table.
fn in_flight(view: &View<'_>, case: &Case) -> bool {
    let Some(id) = case.alternative(view).object else { return false };
    let peer = match view.facts(&id) {
        ObjectFacts::Unix(facts) => facts.peer.map(|ino| ObjectId::Unix { ino }),
        _ => None,
    };
    let object = peer.unwrap_or(id);
    let has = |at: &usize| view.graph.index.holders(&object).iter().any(|h| h.process == *at);
    !case.holders.is_empty() && !case.holders.iter().any(has)
}
