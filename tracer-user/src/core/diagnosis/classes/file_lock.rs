//! `file-lock`: a lock on a file that its holder does not release.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::Confidence;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{LockKind, Wait};
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let id = alternative.object?;
    if alternative.op != Op::Lock {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::FileLock);
    let locks = view.evidence().locks.as_deref().unwrap_or_default();
    let listed: Vec<u32> =
        locks.iter().filter(|l| !l.waiting && l.object == id).filter_map(|l| l.pid).collect();
    let dead = listed.iter().find(|pid| view.graph.index.by_tgid(**pid).is_none());
    if let Some(pid) = dead {
        judgement.note(format!(
            "/proc/locks names process {pid}, which has ended; the lock belongs to the open file description, and lives as long as any process has it."
        ));
        judgement.subtype = Some("inherited");
        if case.shape == Shape::Idle && view.graph.index.saw_every_fd() {
            judgement.confidence = Confidence::Proven;
        }
    }
    let kind = match view.thread(case.waiter).wait {
        Wait::Lock { kind, .. } => kind,
        _ => LockKind::Flock,
    };
    let advice: &[&str] = match (dead.is_some(), case.shape) {
        (true, _) => &[
            "Open the lock file close-on-exec, or release the lock (LOCK_UN) before starting anything that outlives you: a child that inherits the fd holds the lock.",
        ],
        (_, Shape::Cycle) => {
            &["Take locks in one order everywhere, and none while waiting for somebody who needs it."]
        }
        _ => &[
            "Hold the lock for the critical section alone, not while sleeping or serving.",
            "Take it with a bound (LOCK_NB and retries, `flock --timeout`), and say in the error who holds it.",
        ],
    };
    judgement = judgement.advise(advice);
    if kind == LockKind::Posix {
        judgement.note("An fcntl lock belongs to a process: it goes when that process closes any fd of the file, or ends.");
    }
    Some(judgement.or_now(&["End the holder, or let it release the lock: the waiter then gets it at once."]))
}
