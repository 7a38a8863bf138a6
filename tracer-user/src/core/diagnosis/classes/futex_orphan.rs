//! `futex-orphan`: a lock in memory whose owner is gone, or that only a thread could release which fork did
//! not copy.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::model::{Confidence, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::{Process, Wait};
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    let Wait::Futex { private, word, owner_tid, shared, .. } = &view.thread(case.waiter).wait else {
        return None;
    };
    if !matches!(alternative.op, Op::Futex | Op::Lock) {
        return None;
    }
    let at = case.waiter.process;
    let mut judgement = Judgement::of(view, case, Class::FutexOrphan);
    judgement.verdict = Verdict::OrphanedWait;
    let advice: &[&str] = if case.shape == Shape::DeadEnd {
        judgement.because = Some(match owner_tid {
            Some(tid) => format!("its owner, thread {tid}, is gone"),
            None => "no process is left that maps the memory it lies in".to_owned(),
        });
        judgement.subtype = Some("dead-owner");
        &[
            "Use a robust mutex (PTHREAD_MUTEX_ROBUST) for memory that processes share: its owner's death wakes the next one.",
        ]
    } else if *private && owner_tid.is_none() && alone(view, at) && is_bare_fork(view, at) {
        judgement.because = Some(
            "the process is a fork of its parent with this one thread: whichever thread held the lock was not copied".to_owned(),
        );
        judgement.subtype = Some("after-fork");
        judgement.confidence = if *word == Some(2) { Confidence::Proven } else { Confidence::Likely };
        &[
            "Fork no process that has threads, or exec at once: in Python `multiprocessing.set_start_method(\"spawn\")` or \"forkserver\" instead of \"fork\".",
            "Hold no lock across fork (`pthread_atfork` in libraries); start threads only after the forks.",
        ]
    } else if shared.is_some() && case.shape == Shape::Cycle {
        let own = case.holders.iter().all(|p| *p == at);
        let bereaved = (owner_tid.is_none())
            .then(|| case.holders.iter().find(|at| view.process(**at).has_collected == Some(true)))
            .flatten();
        if own {
            judgement.because = Some("no other process maps the memory it lies in any more".to_owned());
            judgement.subtype = Some("dead-owner");
        } else if let Some(parent) = bereaved {
            judgement.because =
                Some("every process that maps the memory it lies in waits for it in turn".to_owned());
            judgement.subtype = Some("dead-owner");
            judgement.likely(&format!(
                "A semaphore does not say who took it. {} has collected a child that ended: if that one took it, nobody is left to give it back.",
                view.label(*parent)
            ));
        } else {
            // Whether the process that took it is dead or one of these, no process that maps it can continue
            // to release it.
            judgement.verdict = Verdict::Deadlock;
            judgement.subtype = Some("shared");
            judgement.because =
                Some("every process that maps the memory it lies in waits for it in turn".to_owned());
        }
        &[
            "The thread that was to release it has ended, or waits for the waiter: use a robust mutex, or a wait that notices the death (a pipe's end of file, a pidfd).",
            "Do not join a process while holding a lock that it needs.",
        ]
    } else {
        return None;
    };
    Some(judgement.advise(advice).or_now(&["Nothing can release it any more: end the waiter."]))
}

/// It has one live thread.
fn alone(view: &View<'_>, at: usize) -> bool {
    use crate::core::evidence::ThreadState as S;
    view.process(at).threads.iter().filter(|t| !matches!(t.state, S::Zombie | S::Dead)).count() == 1
}

/// It runs its parent's program with its parent's arguments: it was forked and did not call exec.
fn is_bare_fork(view: &View<'_>, at: usize) -> bool {
    let child = view.process(at);
    let same = |parent: &Process| {
        child.exe.is_some()
            && child.exe == parent.exe
            && child.cmdline.is_some()
            && child.cmdline == parent.cmdline
    };
    view.graph.index.by_tgid(child.ppid).is_some_and(|parent| same(view.process(parent)))
}
