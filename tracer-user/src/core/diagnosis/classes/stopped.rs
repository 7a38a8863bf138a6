//! `stopped`: a wait for a process that is stopped by a signal, held by its tracer, or frozen.

use crate::core::diagnosis::case::Case;
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Halted;
use crate::core::diagnosis::view::View;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let halted = case.holders.iter().find_map(|at| view.halted(*at).map(|how| (*at, how)));
    let (at, how) = match (alternative.op, halted) {
        (Op::Exit | Op::Read | Op::ReadTerminal | Op::Futex | Op::OpenFifo | Op::Connect, Some(halted)) => {
            halted
        }
        (Op::Trace, _) => (case.waiter.process, Halted::Traced),
        _ => return None,
    };
    let mut judgement = Judgement::of(view, case, Class::Stopped);
    judgement.subtype = Some(match how {
        Halted::Frozen => "frozen",
        Halted::Traced => "traced",
        Halted::Stopped => "signal",
    });
    let process = view.process(at);
    let background = process.tty.and_then(|tty| tty.foreground).is_some_and(|group| group != process.pgrp);
    let advice: &[&str] = match how {
        Halted::Frozen => {
            &["Thaw its cgroup (`cgroup.freeze`, a paused container), or find out who froze it."]
        }
        Halted::Traced => {
            &["Let its debugger go on or detach; a tracer that sits at a prompt keeps it stopped."]
        }
        _ if background => &[
            "It is in the background of its terminal and was stopped for reading or setting it (SIGTTIN, SIGTTOU): give it `</dev/null`, or run it in the foreground or in a session of its own.",
        ],
        _ => &[
            "Find out who sent SIGSTOP or SIGTSTP; a supervisor that stops a process has to continue it before it waits for it.",
        ],
    };
    let now = match how {
        Halted::Frozen => "Thaw its cgroup: it goes on where it was.",
        Halted::Traced => "Detach or end the tracer: it goes on where it was.",
        Halted::Stopped => "`kill -CONT` lets the stopped process go on where it was.",
    };
    Some(judgement.advise(advice).or_now(&[now]))
}
