//! `mutual-read`: readers that wait for each other, or a program that asks at a prompt.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::{View, fd_name};
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let prompt = alternative.op == Op::ReadTerminal;
    if !prompt && (alternative.op != Op::Read || case.shape != Shape::Cycle || alternative.object.is_none()) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::MutualRead);
    judgement.subtype = Some(if prompt { "prompt" } else { "cycle" });
    let fd = alternative.fd.map_or_else(|| "its input".to_owned(), fd_name);
    if prompt && case.shape == Shape::Outside {
        judgement.because = Some("it waits for somebody to type".to_owned());
        judgement.note("A prompt is no hang where somebody sits; in a job nobody does.");
    } else if !prompt {
        judgement
            .note(format!("Neither data nor the end of {fd} can come before the waiter itself goes on."));
    }
    Some(
        judgement
            .advise(&[
                "Give a program that is not to ask anything no input: `stdin=DEVNULL`, `</dev/null`, and its no-prompt switch (`GIT_TERMINAL_PROMPT=0`, `DEBIAN_FRONTEND=noninteractive`, `--yes`).",
                "Close the child's stdin as soon as everything is written (`communicate()` does), before reading its output or waiting for its exit.",
            ])
            .or_now(&["Write to, or close, the waiter's input from its holder; else end one of the two."]),
    )
}
