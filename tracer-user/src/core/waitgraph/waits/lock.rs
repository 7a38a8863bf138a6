//! Alternatives of waits for file locks and SysV objects.

use crate::core::evidence::{Fd, LockKind, LockMode, ObjectFacts, ObjectId};
use crate::core::waitgraph::index::{Index, ThreadKey};
use crate::core::waitgraph::model::{
    Alternative, Condition, Op, Releaser, WaitNode, alternative, by_process,
};

/// The alternatives of flock and fcntl locks: every conflicting lock has to be released, each by any process
/// that shares it.
pub(super) fn lock(
    index: &Index<'_>,
    key: ThreadKey,
    number: u32,
    kind: LockKind,
    exclusive: Option<bool>,
) -> WaitNode {
    let Some(fd) = index.process(key.process).fd(number) else {
        return WaitNode::unread(format!("what its fd {number} is could not be read"));
    };
    let id = fd.object;
    let Some(locks) = &index.evidence().locks else {
        return WaitNode::unread("/proc/locks could not be read");
    };
    let conflicts = locks.iter().filter(|l| {
        !l.waiting
            && l.object == id
            && (l.kind == LockKind::Flock) == (kind == LockKind::Flock)
            && l.kind != LockKind::Lease
            && (exclusive != Some(false) || l.mode == LockMode::Write)
    });
    let mut all = Vec::new();
    for entry in conflicts {
        let mut any: Vec<Releaser> =
            sharers(index, &id, entry.kind, entry.mode, entry.pid).into_iter().map(by_process).collect();
        if any.is_empty() || kind != LockKind::Posix && index.relevant_unread(key.process).is_some() {
            any.push(Releaser::Unseen("who holds the lock could not be seen".into()));
        }
        all.push(Condition { releasers: any });
    }
    if all.is_empty() {
        return WaitNode::unread("no conflicting lock was found in /proc/locks");
    }
    WaitNode::one(Alternative { op: Op::Lock, object: Some(id), fd: Some(number), conditions: all })
}

/// The processes that can release a lock: for fcntl's, the process that took it; for flock's and open file
/// description locks, all that share the description.
fn sharers(index: &Index<'_>, id: &ObjectId, kind: LockKind, mode: LockMode, pid: Option<u32>) -> Vec<usize> {
    if kind == LockKind::Posix {
        return pid
            .and_then(|tgid| index.by_tgid(tgid))
            .into_iter()
            .filter(|at| !index.process(*at).zombie)
            .collect();
    }
    let shows = |fd: &Fd| fd.locks.iter().any(|l| l.kind == kind && l.mode == mode);
    let mut out: Vec<usize> = index.holders(id).iter().filter(|h| shows(h.fd)).map(|h| h.process).collect();
    if out.is_empty() {
        out.extend(
            pid.and_then(|tgid| index.by_tgid(tgid))
                .filter(|at| index.holders(id).iter().any(|h| h.process == *at)),
        );
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The alternatives of a wait on SysV semaphores or message queues: the process that operated on it last, if
/// it is alive.
pub(super) fn sysv(index: &Index<'_>, at: usize, id: ObjectId) -> WaitNode {
    let ObjectFacts::SysV { last_pids, .. } = index.facts(&id) else {
        let any = vec![Releaser::Unseen("the state of its SysV object could not be read".into())];
        return WaitNode::one(alternative(Op::Semaphore, Some(id), None, any));
    };
    let any: Vec<Releaser> = last_pids
        .iter()
        .filter_map(|tgid| index.by_tgid(*tgid))
        .filter(|other| *other != at && !index.process(*other).zombie)
        .map(by_process)
        .collect();
    if any.is_empty() && last_pids.iter().all(|tgid| *tgid == 0 || *tgid == index.process(at).id.tgid) {
        let any = vec![Releaser::Unseen("who operated on its SysV object cannot be seen".into())];
        return WaitNode::one(alternative(Op::Semaphore, Some(id), None, any));
    }
    if any.is_empty() {
        // The last operator is gone. Nothing shows which other process might act: any one of the job.
        let others = (0..index.evidence().processes.len()).filter(|other| {
            let process = index.process(*other);
            *other != at && process.in_scope && !process.zombie && !process.is_observer
        });
        return WaitNode::one(alternative(Op::Semaphore, Some(id), None, others.map(by_process).collect()));
    }
    WaitNode::one(alternative(Op::Semaphore, Some(id), None, any))
}
