//! What a polling thread looks at each time that it wakes, by the system calls that it made.
//!
//! A program that polls waits as much as one that blocks, but no single call shows for what. The counted
//! calls of the window do: `flock` that fails with EAGAIN each time asks for a lock, `wait4` that
//! returns 0 for the end of a child.

use super::child::exit_of;
use super::lock;
use crate::core::evidence::{CallCount, LockKind, ObjectId};
use crate::core::waitgraph::index::{Index, ThreadKey};
use crate::core::waitgraph::model::Alternative;

const EAGAIN: i32 = 11;
const EACCES: i32 = 13;

/// The events that would end the loop.
pub(super) fn alternatives(index: &Index<'_>, key: ThreadKey) -> Vec<Alternative> {
    let calls = index.thread(key).calls.as_deref().unwrap_or_default();
    calls.iter().flat_map(|call| asked(index, key, call)).collect()
}

fn asked(index: &Index<'_>, key: ThreadKey, call: &CallCount) -> Vec<Alternative> {
    let refused = call.positive == 0 && call.zero == 0 && (call.has_error(EAGAIN) || call.has_error(EACCES));
    match call.name.as_deref() {
        Some("wait4" | "waitid") if call.positive == 0 && call.zero > 0 => {
            exit_of(index, index.children(key.process)).alternatives
        }
        Some("flock") if refused => contended(index, key, LockKind::Flock),
        Some("fcntl") if refused => contended(index, key, LockKind::Posix),
        _ => Vec::new(),
    }
}

/// The locks of this kind that the thread may be refused: those on files that its process has open, unless
/// the process is their only holder.
fn contended(index: &Index<'_>, key: ThreadKey, kind: LockKind) -> Vec<Alternative> {
    let process = index.process(key.process);
    let locks = index.evidence().locks.as_deref().unwrap_or_default();
    let held = |id: &ObjectId| {
        locks.iter().any(|lock| {
            !lock.waiting
                && lock.object == *id
                && (lock.kind == LockKind::Flock) == (kind == LockKind::Flock)
                && (kind == LockKind::Flock || lock.pid != Some(process.id.tgid))
        })
    };
    let mut fds = process.fds.iter().flatten().filter(|fd| held(&fd.object) && fd.locks.is_empty());
    match (fds.next(), fds.next()) {
        // Which of several files it asks about is unknown.
        (Some(fd), None) => lock::lock(index, key, fd.number, kind, Some(true)).alternatives,
        _ => Vec::new(),
    }
}
