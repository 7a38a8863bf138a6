//! What a process reports about itself in its title: evidence of grade "likely".
//!
//! PostgreSQL's backends write what they do into their command line (`ps_status.c`): `postgres: user db
//! [local] DROP TABLE waiting`, `… idle in transaction`. A backend that waits for a lock sleeps on a
//! semaphore that does not show the holder. The titles of its siblings do.

use crate::core::evidence::{ObjectFacts, ObjectId, Process};
use crate::core::waitgraph::index::{Index, ThreadKey};
use crate::core::waitgraph::model::{
    Alternative, Liveness, Op, SeedReason, WaitNode, alternative, by_process,
};

/// What a database backend does, according to its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// It waits for a lock.
    WaitsForLock,
    /// Its client has an open transaction and asks for nothing.
    IdleInTransaction,
    /// It executes a statement.
    Busy,
    /// It waits for its client.
    Idle,
}

/// The state of a PostgreSQL backend that serves a client; `None` for any other process.
pub fn backend_state(process: &Process) -> Option<BackendState> {
    let title = process.cmdline.as_deref()?.first()?.printable();
    let title = title.trim_end();
    let words = title.strip_prefix("postgres: ")?;
    // `name: user database host state`; background workers have no host.
    if words.split_whitespace().count() < 4 || !(words.contains('[') || words.contains('(')) {
        return None;
    }
    Some(if words.ends_with(" waiting") {
        BackendState::WaitsForLock
    } else if words.ends_with("idle in transaction") || words.ends_with("idle in transaction (aborted)") {
        BackendState::IdleInTransaction
    } else if words.ends_with(" idle") {
        BackendState::Idle
    } else {
        BackendState::Busy
    })
}

/// The wait of a backend that reports what it waits for: a lock, so the end of a transaction of one of its
/// siblings, or its client's next statement.
pub(super) fn waits(index: &Index<'_>, key: ThreadKey, read: impl FnOnce() -> WaitNode) -> Option<WaitNode> {
    let process = index.process(key.process);
    match backend_state(process)? {
        BackendState::WaitsForLock => lock_of_sibling(index, key),
        BackendState::IdleInTransaction | BackendState::Idle => {
            let mut node = read();
            let client = |id: &ObjectId| match index.facts(id) {
                ObjectFacts::Inet(facts) => facts.remote.is_some(),
                ObjectFacts::Unix(facts) => facts.path.is_some(),
                _ => false,
            };
            // Its latch and the pipe that ends with the postmaster are in its set, too.
            node.alternatives.retain(|alternative| alternative.object.as_ref().is_some_and(client));
            node.seed = None;
            (!node.alternatives.is_empty()).then_some(node)
        }
        BackendState::Busy => {
            let mut node = read();
            let over_a_connection = |alternative: &Alternative| {
                matches!(alternative.object, Some(ObjectId::Inet { .. } | ObjectId::Unix { .. }))
            };
            // It waits for what its statement asked for, such as a time (`WaitLatch` in latch.c). A wait on a
            // connection (of its client, or of its own to another server) is seen as what it is.
            if !node.alternatives.iter().any(over_a_connection) {
                node.raise(Liveness::External, SeedReason::Says("executes a statement"));
            }
            Some(node)
        }
    }
}

fn lock_of_sibling(index: &Index<'_>, key: ThreadKey) -> Option<WaitNode> {
    let postmaster = index.by_tgid(index.process(key.process).ppid)?;
    let siblings = |wanted: &[BackendState]| -> Vec<usize> {
        let is = |at: &usize| backend_state(index.process(*at)).is_some_and(|state| wanted.contains(&state));
        index.children(postmaster).iter().copied().filter(|at| *at != key.process).filter(is).collect()
    };
    let mut holders = siblings(&[BackendState::IdleInTransaction, BackendState::Busy]);
    if holders.is_empty() {
        // Locks of a session outlast its transactions (`pg_advisory_lock`).
        holders = siblings(&[BackendState::Idle]);
    }
    if holders.is_empty() {
        return None;
    }
    Some(WaitNode::one(alternative(Op::Lock, None, None, holders.into_iter().map(by_process).collect())))
}

/// The process reports that it is about to end and waits for its last work: an nginx worker that drains its
/// connections (`ngx_worker_process_cycle`).
pub(super) fn is_shutting_down(process: &Process) -> bool {
    let title = process.cmdline.as_deref().and_then(|argv| argv.first());
    title.is_some_and(|title| title.printable().trim_end().ends_with("is shutting down"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::ByteString;
    use crate::core::identity::ProcessId;

    fn state(title: &str) -> Option<BackendState> {
        let mut process = Process::new(ProcessId { tgid: 1, start_ticks: 1 });
        process.cmdline = Some(vec![ByteString::from(title)]);
        backend_state(&process)
    }

    #[test]
    fn titles_of_backends() {
        use BackendState as S;
        assert_eq!(state("postgres: u db 127.0.0.1(40962) DROP TABLE waiting"), Some(S::WaitsForLock));
        assert_eq!(state("postgres: u db [local] idle in transaction"), Some(S::IdleInTransaction));
        assert_eq!(state("postgres: 15/main: u db [local] idle"), Some(S::Idle));
        assert_eq!(state("postgres: u db [local] SELECT"), Some(S::Busy));
        assert_eq!(state("postgres: walwriter "), None);
        assert_eq!(state("/usr/bin/postgres -D data"), None);
    }
}
