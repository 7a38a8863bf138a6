//! `leftover`: the party that could act is older than this job and not an ancestor of it: an earlier run left
//! it behind.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::view::View;
use crate::core::evidence::Scope;

pub(super) fn look(view: &View<'_>, found: &[Finding]) -> Vec<Finding> {
    let Scope::Tree(root) = view.evidence().scope else { return Vec::new() };
    let Some(root_at) = view.graph.index.by_tgid(root.tgid) else { return Vec::new() };
    let mut out = Vec::new();
    for (at, finding) in found.iter().enumerate() {
        let held = matches!(
            finding.class,
            Class::FileLock | Class::UnixSocketFull | Class::NetworkPeer | Class::SysvIpc | Class::FifoOpen
        );
        if !held || finding.verdict != Verdict::OrphanedWait || finding.follows.is_some() {
            continue;
        }
        let holder = finding.processes.iter().filter(|p| p.role == Role::Holder).find(|p| {
            let Some(other) = view.graph.index.by_tgid(p.pid) else { return false };
            let process = view.process(other);
            let older = process.id.start_ticks < root.start_ticks;
            older && !process.in_scope && process.ppid == 1 && !view.graph.index.is_ancestor(other, root_at)
        });
        if let Some(holder) = holder {
            let mut left = finding.clone();
            left.class = Class::Leftover;
            left.subtype = None;
            left.confidence = Confidence::Likely;
            left.follows = Some(at);
            left.summary = format!(
                "{} (pid {}), which holds what this job waits for, was started before this job, its parent has ended, and it is no part of the job: an earlier run left it behind.",
                holder.comm, holder.pid
            );
            left.notes.clear();
            left.advice = vec![
                "End what a run has started at its end, failed runs too; `tracer-user preflight` finds what is left, `tracer-user reap` ends it with proof of ownership.".to_owned(),
                "Give each run files, sockets and ports of its own (a fresh directory, port 0).".to_owned(),
            ];
            left.go_on = vec![format!("End process {}: what it holds is free then.", holder.pid)];
            out.push(left);
        }
    }
    out
}
