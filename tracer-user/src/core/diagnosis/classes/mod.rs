//! One file for each class: its judgement of a case, its sentence and its advice.

mod asks_userspace;
mod busy;
mod database_lock;
mod died_at_boot;
mod eof_never;
mod exit_wait;
mod fifo_open;
mod file_lock;
mod futex_orphan;
mod hidden_holder;
mod in_process_wait;
mod leftover;
mod limits;
mod mutual_read;
mod network_peer;
mod pipe_full;
mod pty_full;
mod quiescent_loops;
mod self_pipe;
mod signal_ineffective;
mod stopped;
mod sysv_ipc;
mod token_loss;
mod uninterruptible;
mod unix_socket_full;
mod unreaped_child;
mod worker_killed;

use super::case::Case;
use super::judge::{Judgement, Rule};
use super::model::Finding;
use super::view::View;

/// The rules for waits, the more specific before the more general.
const RULES: &[Rule] = &[
    stopped::judge,
    hidden_holder::judge,
    database_lock::judge,
    worker_killed::judge,
    token_loss::judge,
    self_pipe::judge,
    pipe_full::judge,
    unix_socket_full::judge,
    pty_full::judge,
    file_lock::judge,
    futex_orphan::judge,
    in_process_wait::judge,
    sysv_ipc::judge,
    fifo_open::judge,
    network_peer::judge,
    quiescent_loops::judge,
    mutual_read::judge,
    eof_never::judge,
    asks_userspace::judge,
    uninterruptible::judge,
    exit_wait::judge,
];

/// The judgement of the first class that applies to the case.
pub fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    RULES.iter().find_map(|rule| rule(view, case))
}

/// Findings that do not start from a blocked wait, or that add to one. `found` are the other findings;
/// `follows` is a position in them.
pub fn others(view: &View<'_>, found: &[Finding]) -> Vec<Finding> {
    let looks = [
        unreaped_child::look,
        signal_ineffective::look,
        died_at_boot::look,
        leftover::look,
        limits::look,
        busy::look,
    ];
    looks.iter().flat_map(|look| look(view, found)).collect()
}
