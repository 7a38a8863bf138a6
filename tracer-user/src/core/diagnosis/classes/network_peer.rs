//! `network-peer`: a wait for the other end of an IP connection, on this machine or beyond it.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ObjectFacts, ObjectId, TcpState};
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let id = alternative.object.filter(|id| matches!(id, ObjectId::Inet { .. }))?;
    if !matches!(alternative.op, Op::Read | Op::Write | Op::Connect) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::NetworkPeer);
    if let ObjectFacts::Inet(facts) = view.facts(&id) {
        judgement.subtype = Some(match (facts.state, alternative.op) {
            (Some(TcpState::SynSent), _) | (_, Op::Connect) => "connect",
            (_, Op::Write) => "send",
            _ => "receive",
        });
        if facts.state == Some(TcpState::CloseWait) {
            judgement.note("The peer has closed the connection already (CLOSE_WAIT).");
        }
        if alternative.op == Op::Write && facts.send_queue.is_some_and(|n| n > 0) {
            judgement
                .note("The peer does not take what was sent: its window is closed, or the way to it is cut.");
        }
    }
    let advice: &[&str] = if case.shape == Shape::Outside {
        &[
            "Give every network call a time-out (connect and read), and tests no network at all.",
            "`ss -tnpo` shows the connection and its timers; the peer's own machine shows the rest.",
        ]
    } else {
        &[
            "Both ends are on this machine: let the other end's owner read, answer or close.",
            "Give every network call a time-out (connect and read).",
        ]
    };
    Some(judgement.advise(advice).or_now(&[
        "`ss -K` (root, where the kernel has it) breaks the connection: the waiter gets an error.",
    ]))
}
