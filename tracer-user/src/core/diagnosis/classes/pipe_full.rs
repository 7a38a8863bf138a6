//! `pipe-full`: a writer blocked on a full pipe or FIFO whose readers do not read.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::ObjectId;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let id = alternative.object.filter(|id| matches!(id, ObjectId::Pipe { .. } | ObjectId::Fifo { .. }))?;
    if alternative.op != Op::Write {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::PipeFull);
    let (subtype, advice): (_, &[&str]) = match holder_waits(view, case) {
        _ if case.shape == Shape::Outside => (
            "idle-reader",
            &[
                "Find out why the reader does not read: its own wait is outside of what can be seen from here.",
            ],
        ),
        Some(Op::Exit) => (
            "parent-waits",
            &[
                "Drain the pipe while waiting for the exit: in Python `communicate()` or `subprocess.run(capture_output=True)` instead of `wait()` before `read()`; elsewhere read to the end first, then wait.",
                "Or send the output to a file instead of a pipe: a file is never full in this way.",
            ],
        ),
        Some(Op::Read | Op::ReadTerminal) => (
            "reads-other-stream",
            &[
                "Read both streams at the same time (`communicate()`, poll or epoll over both, a thread each), or merge them (`stderr=STDOUT`).",
                "Or send one of the two streams to a file.",
            ],
        ),
        Some(Op::Write) => (
            "writes-input",
            &[
                "Write the input and read the output at the same time (`communicate(input)`, a thread for one of them, poll over both).",
                "Or give the input as a file.",
            ],
        ),
        Some(_) => (
            "reader-blocked",
            &["Cure what the reader itself is blocked in; the full pipe follows from that."],
        ),
        None if case.holders.iter().any(|at| view.halted(*at).is_some()) => (
            "reader-blocked",
            &[
                "Let the stopped reader go on (`kill -CONT`), or find out who stopped it: a background job that reads its terminal is stopped by SIGTTIN.",
            ],
        ),
        None => (
            "idle-reader",
            &[
                "The holder of the read end has to drain it, or must not have it: close ends that a process does not use, and redirect output that is not read to a file or `/dev/null`.",
            ],
        ),
    };
    judgement.subtype = Some(subtype);
    judgement = judgement.advise(advice);
    if view.is_loop(case.waiter) {
        judgement.note("The writer does not block in write: it got EAGAIN and sleeps in its event loop until the pipe has room.");
    }
    if let Some(facts) = view.graph.index.pipe(&id) {
        if let (Some(used), Some(slots), Some(bytes), Some(capacity)) =
            (facts.slots_used, facts.slots, facts.used_bytes, facts.capacity_bytes)
            && used >= slots
            && bytes < capacity
        {
            judgement.note(format!(
                "The pipe is full by its slots, not by its bytes: {bytes} of {capacity} bytes fill all {slots} slots, because each write takes slots of its own."
            ));
        }
        if facts.slots.is_some_and(|n| n <= 2) {
            judgement.note("The pipe has two pages only: its user has reached the soft limit for pipe memory (fs.pipe-user-pages-soft).");
        }
    }
    Some(judgement.or_now(&[
        "`tracer-user diagnose --relieve` (or `run --on-hang relieve`) enlarges the pipe in place: the writer goes on and no byte is lost. It cures nothing: more output fills it again.",
    ]))
}

/// What a holder of the read end is itself blocked in, when that closes the circle.
fn holder_waits(view: &View<'_>, case: &Case) -> Option<Op> {
    let of = |key: &crate::core::waitgraph::ThreadKey| {
        let alternatives = &view.graph.node(*key).alternatives;
        alternatives
            .iter()
            .map(|w| w.op)
            .find(|op| *op == Op::Exit)
            .or_else(|| alternatives.first().map(|w| w.op))
    };
    let stuck = case.members.iter().filter(|key| case.holders.contains(&key.process));
    let mut ops: Vec<Op> = stuck.filter(|key| **key != case.waiter).filter_map(of).collect();
    ops.retain(|op| *op != Op::Futex);
    ops.first().copied()
}
