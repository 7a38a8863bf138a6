//! `database-lock`: a database backend waits for a lock of another one, whose client sends no further
//! statement.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::waitgraph::{BackendState, Op, backend_state};

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    if case.shape == Shape::Outside {
        return None;
    }
    // In a cycle, the wait that explains it may be that of the client.
    let waits = |at: &usize| backend_state(view.process(*at)) == Some(BackendState::WaitsForLock);
    let idle = |at: &usize| {
        matches!(backend_state(view.process(*at)), Some(BackendState::IdleInTransaction | BackendState::Idle))
    };
    let mut parties =
        case.members.iter().chain(&case.waiters).map(|key| key.process).chain(case.holders.iter().copied());
    let waiter = parties.clone().find(waits)?;
    if !matches!(case.alternative(view).op, Op::Lock | Op::Read) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::DatabaseLock);
    if let Some(holder) = parties.find(idle) {
        judgement.because = Some(format!(
            "{} waits for a lock, while {} holds its locks until its client goes on",
            view.label(waiter),
            view.label(holder)
        ));
    }
    judgement.likely("Which backend holds the lock is taken from what the backends say in their titles.");
    Some(
        judgement
            .advise(&[
                "Commit, roll back or close the session that is idle in its transaction before another one needs an exclusive lock on the same table.",
                "Bound such waits: `SET lock_timeout`, `SET idle_in_transaction_session_timeout`.",
                "`SELECT pid, wait_event, query FROM pg_stat_activity` and `pg_blocking_pids(PID)` name the lock.",
            ])
            .or_now(&["`SELECT pg_terminate_backend(PID)` of the backend that is idle in its transaction lets the waiter continue."]),
    )
}
