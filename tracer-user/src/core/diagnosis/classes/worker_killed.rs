//! `worker-killed`: a worker was killed, and what it was to deliver is still waited for.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Verdict;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{Name, ObjectId};
use crate::core::identity::WaitStatus;
use crate::core::waitgraph::Op;

/// A child that a signal ended.
struct Killed {
    tgid: u32,
    comm: Name,
    signal: u8,
    oom: bool,
}

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let way = case.way(view);
    let results = match way.op {
        Op::Read => matches!(way.object, Some(ObjectId::Pipe { .. } | ObjectId::Unix { .. })),
        Op::Futex | Op::Lock => way.object.is_none(),
        _ => false,
    };
    // It waits for results on something that it holds itself, or that its other workers hold at rest.
    if !results || !matches!(case.shape, Shape::Cycle | Shape::DeadEnd) {
        return None;
    }
    let family: Vec<usize> = case.members.iter().chain(&case.waiters).map(|key| key.process).collect();
    let killed = family.iter().find_map(|at| killed_child(view, *at).map(|k| (*at, k)))?;
    let (parent, worker) = killed;
    let mut judgement = Judgement::of(view, case, Class::WorkerKilled);
    judgement.verdict = Verdict::OrphanedWait;
    let how =
        if worker.oom { "for lack of memory".to_owned() } else { format!("by signal {}", worker.signal) };
    judgement.because = Some(format!(
        "{} (pid {}), a child of {}, was killed {how} and can deliver nothing any more",
        worker.comm.printable(),
        worker.tgid,
        view.label(parent)
    ));
    Some(
        judgement
            .advise(&[
                "Use a pool that notices the death of a worker (`concurrent.futures.ProcessPoolExecutor` raises BrokenProcessPool; `multiprocessing.Pool` does not).",
                "Close the parent's copy of the workers' ends: the death of the last writer then is an end of file. Wait for results and deaths together (`multiprocessing.connection.wait` with sentinels).",
            ])
            .or_now(&["Nothing brings the result: end the waiter. Find out who killed the worker (memory limits, a time-out, a person)."]),
    )
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
