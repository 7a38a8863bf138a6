//! `worker-killed`: a worker was killed, and what it was to deliver is still waited for.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Verdict;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ByteString, ObjectId, Wait};
use crate::core::identity::WaitStatus;
use crate::core::waitgraph::Op;

/// A child that a signal ended.
struct Killed {
    tgid: u32,
    comm: ByteString,
    signal: u8,
    oom: bool,
}

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
    let family: Vec<usize> = case.members.iter().chain(&case.waiters).map(|key| key.process).collect();
    let mut judgement = Judgement::of(view, case, Class::WorkerKilled);
    judgement.verdict = Verdict::OrphanedWait;
    if let Some((parent, worker)) = family.iter().find_map(|at| Some((*at, killed_child(view, *at)?))) {
        let how =
            if worker.oom { "for lack of memory".to_owned() } else { format!("by signal {}", worker.signal) };
        judgement.because = Some(format!(
            "{} (pid {}), a child of {}, was killed {how} and can deliver nothing any more",
            worker.comm.printable(),
            worker.tgid,
            view.label(parent)
        ));
    } else {
        let (parent, workers) = family.iter().find_map(|at| Some((*at, idle_pool(view, case, *at)?)))?;
        judgement.subtype = Some("replaced");
        judgement.because = Some(format!(
            "{} waits for a result, all of its {workers} workers wait for work, and a child of it has ended: what that one had begun is lost",
            view.label(parent)
        ));
        judgement.likely(
            "Nobody saw how the worker ended: it has been collected, and a new one may have taken its place.",
        );
    }
    Some(
        judgement
            .advise(&[
                "Use a pool that notices the death of a worker (`concurrent.futures.ProcessPoolExecutor` raises BrokenProcessPool; `multiprocessing.Pool` does not).",
                "Close the parent's copy of the workers' ends: the death of the last writer then is an end of file. Wait for results and deaths together (`multiprocessing.connection.wait` with sentinels).",
            ])
            .or_now(&["Nothing brings the result: end the waiter. Find out who killed the worker (memory limits, a time-out, a person)."]),
    )
}

/// How many workers a pool has that wait for work: one thread of `parent` reads a pipe that they write their results to, another one of it waits in
/// memory (for a result), and the parent has collected a child.
fn idle_pool(view: &View<'_>, case: &Case, parent: usize) -> Option<usize> {
    let process = view.process(parent);
    let stuck = |at: usize| case.members.iter().filter(move |key| key.process == at);
    let waits_in_memory =
        stuck(parent).any(|key| matches!(view.thread(*key).wait, Wait::Futex { private: true, .. }));
    if process.has_collected != Some(true) || !waits_in_memory {
        return None;
    }
    let results = stuck(parent).filter_map(|key| match view.thread(*key).wait {
        Wait::Read { fd, .. } => process.fd(fd).map(|fd| fd.object),
        _ => None,
    });
    results.filter(|id| matches!(id, ObjectId::Pipe { .. } | ObjectId::Unix { .. })).find_map(|id| {
        let mut workers = view.graph.index.holding(&id, |access| access.writes());
        workers.retain(|at| *at != parent);
        let idle = |at: &usize| {
            view.process(*at).ppid == process.id.tgid
                && stuck(*at).any(|key| {
                    matches!(view.thread(*key).wait, Wait::Read { .. } | Wait::Futex { private: false, .. })
                })
        };
        (!workers.is_empty() && workers.iter().all(idle)).then_some(workers.len())
    })
}

fn killed_child(view: &View<'_>, parent: usize) -> Option<Killed> {
    let by = |status: Option<WaitStatus>| status.and_then(WaitStatus::signal);
    let zombie = view.graph.index.children(parent).iter().map(|at| view.process(*at)).find_map(|child| {
        let signal = by(child.exit_status).filter(|_| child.zombie)?;
        Some(Killed { tgid: child.id.tgid, comm: child.comm.clone(), signal, oom: false })
    });
    zombie.or_else(|| {
        let id = view.process(parent).id;
        let since = view.evidence().history.as_ref()?.exits.iter().rev();
        since.filter(|e| e.parent == Some(id)).find_map(|e| {
            let signal = by(e.status)?;
            Some(Killed { tgid: e.process.tgid, comm: e.comm.clone(), signal, oom: e.oom == Some(true) })
        })
    })
}
