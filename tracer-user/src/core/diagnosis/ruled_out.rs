//! What somebody may suspect and is not so: it saves a day to read it.

use super::class::Class;
use super::model::{Finding, Verdict};
use super::view::{View, fd_name};
use crate::core::evidence::{ObjectFacts, ObjectId};
use crate::core::waitgraph::{Liveness, SeedReason, ThreadKey};

/// As many lines as anybody reads.
const MOST: usize = 12;

/// A line each.
pub fn lines(view: &View<'_>, findings: &[Finding]) -> Vec<String> {
    let mut out = Vec::new();
    let hangs = findings.iter().any(|f| f.verdict.is_hang());
    if !findings.iter().any(|f| matches!(f.class, Class::PipeFull | Class::UnixSocketFull)) {
        full_pipes(view, &mut out);
        captured(view, &mut out);
    }
    if !hangs {
        progress(view, &mut out);
    }
    if hangs && !findings.iter().any(|f| f.class == Class::FileLock) {
        let waits = view.evidence().locks.as_deref().is_some_and(|l| l.iter().any(|l| l.waiting));
        if view.evidence().locks.is_some() && !waits {
            out.push("No process waits for a file lock.".to_owned());
        }
    }
    if hangs && !findings.iter().any(|f| f.class == Class::Stopped) {
        let halted = (0..view.evidence().processes.len())
            .any(|at| view.process(at).in_scope && view.halted(at).is_some());
        if !halted {
            out.push("No process of the job is stopped, traced or frozen.".to_owned());
        }
    }
    let external = findings.iter().any(|f| f.verdict == Verdict::External);
    if hangs
        && !external
        && !findings.iter().any(|f| f.class == Class::NetworkPeer)
        && view.evidence().reach.inet_sockets
    {
        out.push("Nothing waits for a peer on the network.".to_owned());
    }
    out.truncate(MOST);
    out
}

/// The pipes of the scope, when none of them is full.
fn full_pipes(view: &View<'_>, out: &mut Vec<String>) {
    let pipes: Vec<bool> = view
        .objects()
        .iter()
        .filter_map(|o| match &o.facts {
            ObjectFacts::Pipe(f) => f.is_full(),
            _ => None,
        })
        .collect();
    if !pipes.is_empty() && pipes.iter().all(|full| !full) {
        out.push(format!("No pipe is full: all {} that were looked at have room.", pipes.len()));
    }
}

/// Outputs that look like capture pipes and are files.
fn captured(view: &View<'_>, out: &mut Vec<String>) {
    for at in 0..view.evidence().processes.len() {
        let process = view.process(at);
        if !process.in_scope {
            continue;
        }
        for number in [1, 2] {
            let Some(fd) = process.fd(number) else { continue };
            if let (ObjectId::File { .. }, ObjectFacts::File { deleted: true, .. }) =
                (fd.object, view.facts(&fd.object))
            {
                out.push(format!(
                    "{}: {} is a deleted regular file, not a pipe: no write to it can block on a reader (pytest's capture looks like this).",
                    view.label(at),
                    fd_name(number)
                ));
                break;
            }
        }
        if out.len() >= MOST {
            return;
        }
    }
}

/// Why nothing hangs: what moved.
fn progress(view: &View<'_>, out: &mut Vec<String>) {
    let in_scope: Vec<usize> =
        (0..view.evidence().processes.len()).filter(|at| view.process(*at).in_scope).collect();
    let moving: Vec<String> = in_scope
        .iter()
        .filter(|at| view.graph.process(**at) == Liveness::Active)
        .map(|at| view.label(*at))
        .collect();
    let window = view.evidence().clock.quiet_window_ns / 1_000_000;
    if let Some(first) = moving.first() {
        let more = if moving.len() > 1 { format!(" and {} more", moving.len() - 1) } else { String::new() };
        out.push(format!("Progress was seen within {window} ms: {first}{more} moved."));
        return;
    }
    let unread = |key: &ThreadKey| {
        let seed = view.graph.node(*key).seed.as_ref();
        view.process(key.process).in_scope
            && seed.is_some_and(|seed| matches!(seed.reason, SeedReason::Unread(_)))
    };
    let unread = view.graph.index.threads().filter(unread).count();
    if unread > 0 {
        out.push(format!(
            "Nothing moved within {window} ms; what {unread} of the job's threads wait for could not be read."
        ));
    } else if !in_scope.is_empty() {
        out.push(format!(
            "Nothing moved within {window} ms, but nothing waits for what cannot come: the job is at rest."
        ));
    }
}
