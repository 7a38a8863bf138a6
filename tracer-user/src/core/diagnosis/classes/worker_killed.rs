//! `worker-killed`, `worker-died`: a worker was killed or failed, and a process still waits for its result.

use std::collections::BTreeSet;

use crate::core::diagnosis::case::{Case, Shape, rests_as_worker};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::deaths::{Death, deaths};
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Verdict;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ObjectId, Wait};
use crate::core::waitgraph::{Op, ThreadKey};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let results = match alternative.op {
        Op::Read => matches!(alternative.object, Some(ObjectId::Pipe { .. } | ObjectId::Unix { .. })),
        Op::Futex | Op::Lock => alternative.object.is_none(),
        _ => false,
    };
    // It waits for results on something that it holds itself, or that its other workers hold at rest.
    if !results || !matches!(case.shape, Shape::Cycle | Shape::DeadEnd) {
        return None;
    }
    let family: BTreeSet<usize> = case.members.iter().chain(&case.waiters).map(|key| key.process).collect();
    let mut judgement = Judgement::of(view, case, Class::WorkerKilled);
    judgement.verdict = Verdict::OrphanedWait;
    let lost = family.iter().find_map(|at| Some((*at, lost_worker(view, *at)?)));
    if let Some((parent, worker)) = lost {
        if worker.status.is_some_and(|status| status.signal().is_none()) {
            judgement.class = Class::WorkerDied;
        }
        judgement.because = Some(format!(
            "{} (pid {}), a worker of {}, {} and can deliver nothing any more",
            worker.comm.printable(),
            worker.process.tgid,
            view.label(parent),
            worker.words(view.evidence().clock.boot_ns)
        ));
        judgement.likely(
            "That the result was that worker's to deliver is inferred: no other party is left that could.",
        );
    } else {
        let (parent, workers) = family.iter().find_map(|at| Some((*at, idle_pool(view, case, *at)?)))?;
        judgement.subtype = Some("replaced");
        judgement.because = Some(format!(
            "{} waits for a result, all of its {workers} workers wait for work, and a child of it has ended: what that one had begun is lost",
            view.label(parent)
        ));
        judgement.likely(
            "How the worker ended was not seen: it has been collected, and a new one may have taken its place.",
        );
    }
    Some(
        judgement
            .advise(&[
                "Use a pool that notices the death of a worker (`concurrent.futures.ProcessPoolExecutor` raises BrokenProcessPool; `multiprocessing.Pool` does not).",
                "Close the parent's copy of the workers' ends: the death of the last writer then is an end of file. Wait for results and deaths together (`multiprocessing.connection.wait` with sentinels).",
            ])
            .or_now(&["Nothing brings the result: end the waiter. Find out why the worker ended (its own output, memory limits, a time-out, a person)."]),
    )
}

/// The last child of a process that failed, if it ran the same program: a worker, not a command.
fn lost_worker(view: &View<'_>, parent: usize) -> Option<Death> {
    let own = &view.process(parent).comm;
    deaths(view, parent).into_iter().rev().find(|death| death.is_failure() && death.comm == *own)
}

/// The number of workers of a pool that wait for work: one thread of `parent` reads a pipe that they write
/// their results to, another thread of it waits in memory (for a result), and the parent has collected a
/// child.
fn idle_pool(view: &View<'_>, case: &Case, parent: usize) -> Option<usize> {
    let process = view.process(parent);
    let stuck = |at: usize| case.members.iter().filter(move |key| key.process == at);
    let in_memory = |key: &&ThreadKey| matches!(view.thread(**key).wait, Wait::Futex { private: true, .. });
    if process.has_collected != Some(true) || !stuck(parent).any(|key| in_memory(&key)) {
        return None;
    }
    let results = stuck(parent).filter_map(|key| match view.thread(*key).wait {
        Wait::Read { fd, .. } => process.fd(fd).map(|fd| fd.object),
        _ => None,
    });
    results.filter(|id| matches!(id, ObjectId::Pipe { .. } | ObjectId::Unix { .. })).find_map(|id| {
        let mut workers = view.graph.index.holding(&id, |access| access.writes());
        workers.retain(|at| *at != parent);
        let idle = |at: &usize| view.process(*at).ppid == process.id.tgid && rests_as_worker(view, *at);
        (!workers.is_empty() && workers.iter().all(idle)).then_some(workers.len())
    })
}
