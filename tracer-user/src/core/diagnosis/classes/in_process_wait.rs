//! `in-process-wait`: all threads of a process wait for each other; no other process has a part in it.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::judge::REQUESTS;
use crate::core::diagnosis::model::{Confidence, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ObjectId, Thread, ThreadState, Wait};
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let alone =
        case.shape == Shape::Cycle && case.members.iter().all(|key| key.process == case.waiter.process);
    if alone && alternative.op == Op::Read && matches!(alternative.object, Some(ObjectId::Anon { .. })) {
        return Some(wakes_nobody(view, case));
    }
    let Wait::Futex { private, owner_tid, .. } = &view.thread(case.waiter).wait else { return None };
    if !matches!(alternative.op, Op::Futex | Op::Lock) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::InProcessWait);
    let at = case.waiter.process;
    let process = view.process(at);
    if case.shape == Shape::Outside {
        return None;
    }
    if case.shape == Shape::Cycle && *private {
        let owned = owner_tid.is_some();
        let alive = |t: &&Thread| !matches!(t.state, ThreadState::Zombie | ThreadState::Dead);
        let lone = process.threads.iter().filter(alive).count() == 1;
        if !owned && (lone || process.caught.is_none_or(|set| !set.and(REQUESTS).is_empty())) {
            // A handler may be what it waits for, and one thread alone may be there to be ended: at rest.
            judgement.verdict = Verdict::NotHung;
            return Some(judgement);
        }
        if owned {
            judgement.note("The locks' owners are written beside them in memory: each waits for a lock that another one of them owns.");
        } else {
            judgement.confidence = Confidence::Likely;
            judgement.note("Every thread of the process sleeps without a time-out on locks or conditions that only its own threads can release; only a signal could wake one.");
        }
        judgement.because = Some(if lone {
            "it owns that lock itself".to_owned()
        } else {
            "every other thread of the process waits in the same way".to_owned()
        });
    }
    Some(
        judgement
            .advise(&[
                "The program's own stacks show which locks: `py-spy dump --pid`, `gdb -p PID -batch -ex 'thread apply all bt'`, `jstack`, or a faulthandler time-out.",
                "Take locks in one order everywhere; bound cleanup waits (`join(timeout)`, `queue.get(timeout)`).",
            ])
            .or_now(&["Nothing outside the process can release its locks: end it (SIGABRT leaves a core with the stacks)."]),
    )
}

/// A thread sleeps in a read of an eventfd or timer that its own process alone holds, and no thread of it can go on.
fn wakes_nobody(view: &View<'_>, case: &Case) -> Judgement {
    let mut judgement = Judgement::of(view, case, Class::InProcessWait);
    judgement.because = Some(
        "no other process holds it, while every other thread of its own waits in turn or is idle for ever"
            .to_owned(),
    );
    if view.is_loop(case.waiter) {
        judgement.verdict = Verdict::NotHung;
    }
    judgement
        .advise(&[
            "Whoever is to write to it has to do so on every way out, errors too; bound the wait (poll with a time-out) where that cannot be promised.",
        ])
        .or_now(&["Only a signal can end the wait."])
}
