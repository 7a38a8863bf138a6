//! `in-process-wait`: the threads of a process wait for each other in memory, or one waits there for an
//! act that no thread is left to do. No other process is involved, except workers that wait for work.

use std::collections::BTreeSet;

use crate::core::diagnosis::case::{Case, Shape, rests_as_worker};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::{Confidence, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ObjectId, ThreadState, Wait};
use crate::core::runtime::{self, Runtime};
use crate::core::waitgraph::{Op, is_own_wake_up};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let at = case.waiter.process;
    let others: BTreeSet<usize> =
        case.members.iter().map(|key| key.process).filter(|process| *process != at).collect();
    // Beside the process itself, only its workers at rest may be involved.
    let alone =
        others.iter().all(|other| view.graph.index.is_ancestor(at, *other) && rests_as_worker(view, *other));
    if case.shape != Shape::Cycle || !alone {
        return None;
    }
    let in_memory = matches!(alternative.op, Op::Futex | Op::Lock) && alternative.object.is_none();
    let own = alternative.op == Op::Read
        && (view.is_loop(case.waiter) || matches!(alternative.object, Some(ObjectId::Anon { .. })))
        && alternative.object.is_some_and(|id| is_own_wake_up(&view.graph.index, at, &id));
    let shared = matches!(view.thread(case.waiter).wait, Wait::Futex { private: false, .. });
    if !(in_memory && !shared || own) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::InProcessWait);
    let process = view.process(at);
    let alive =
        process.threads.iter().filter(|t| !matches!(t.state, ThreadState::Zombie | ThreadState::Dead));
    let lone = alive.count() == 1;
    let owned = matches!(view.thread(case.waiter).wait, Wait::Futex { owner_tid: Some(_), .. });
    if owned {
        judgement.note(
            "The owners of the locks stand beside them in memory: each waits for a lock that another one owns.",
        );
    } else {
        judgement.confidence = Confidence::Likely;
    }
    if lone {
        judgement.verdict = Verdict::OrphanedWait;
    }
    judgement.because = Some(match (lone, owned, own, others.len()) {
        (true, true, ..) => "it owns that lock itself".to_owned(),
        (true, _, true, _) => {
            "nothing but itself could send it anything: its loop has no other connection, timer or child"
                .to_owned()
        }
        (true, ..) => "it is the only thread of its process: no other is left to wake it".to_owned(),
        (_, _, _, 0) => "every other thread of the process that could release it waits in turn".to_owned(),
        (_, _, _, workers) => format!(
            "every other thread of the process waits in turn, and its {workers} worker{} for work",
            if workers == 1 { " waits" } else { "s wait" }
        ),
    });
    if !owned {
        judgement.note(
            "Only a signal could end these waits. Which thread holds which lock cannot be seen from outside.",
        );
    }
    Some(judgement.advise(advice(runtime::of(process))).or_now(&[
        "Nothing outside the process can release its locks: end it (SIGABRT leaves a core with the stacks).",
    ]))
}

fn advice(runtime: Runtime) -> &'static [&'static str] {
    match runtime {
        Runtime::Python => &[
            "The stacks show which lock or queue: `py-spy dump --pid PID`, or `faulthandler.dump_traceback_later` in the program.",
            "Take locks in one order everywhere. Bound waits that another thread has to end (`join(timeout)`, `queue.get(timeout)`), and let a worker's exception reach the thread that waits for its result.",
        ],
        Runtime::Jvm => &[
            "The stacks show which monitor: `jstack PID` (it names a Java-level deadlock if there is one).",
            "Do not wait for a task of the same bounded pool from inside it; use a second pool, or compose futures instead of calling `get()`.",
        ],
        Runtime::Node => &[
            "The main thread must not wait synchronously (`Atomics.wait`, a synchronous worker call) for what its own event loop would have to do.",
            "`node --report-on-signal` writes the JavaScript stack; `--cpu-prof` and an inspector show the rest.",
        ],
        Runtime::Go => &[
            "SIGQUIT prints the stacks of all goroutines (and ends the program); `net/http/pprof` shows them without ending it.",
        ],
        Runtime::Ruby => &["The stacks show which lock: `rbspy dump --pid PID`."],
        _ => &[
            "The stacks show which locks: `gdb -p PID -batch -ex 'thread apply all bt'`.",
            "Take locks in one order everywhere; bound waits that another thread has to end.",
        ],
    }
}
