//! Usual suspicions that the evidence rules out.

use super::class::Class;
use super::model::{Finding, RuledOut, Verdict};
use super::view::View;
use crate::core::evidence::{ObjectFacts, ObjectId};

/// The most that are listed.
const MOST: usize = 12;

/// The suspicions that the evidence rules out.
pub(super) fn all(view: &View<'_>, findings: &[Finding]) -> Vec<RuledOut> {
    let mut out = Vec::new();
    let hangs = findings.iter().any(|f| f.verdict.is_hang());
    let found = |classes: &[Class]| findings.iter().any(|f| classes.contains(&f.class));
    if !found(&[Class::PipeFull, Class::UnixSocketFull]) {
        out.extend(full_pipes(view));
        out.extend(captured(view));
    }
    if hangs && !found(&[Class::FileLock]) {
        let waits = view.evidence().locks.as_deref().map(|locks| locks.iter().any(|lock| lock.waiting));
        if waits == Some(false) {
            out.push(RuledOut::FileLock);
        }
    }
    if hangs && !found(&[Class::Stopped]) {
        let halted = (0..view.evidence().processes.len())
            .any(|at| view.process(at).in_scope && view.halted(at).is_some());
        if !halted {
            out.push(RuledOut::Stopped);
        }
    }
    let external = findings.iter().any(|f| f.verdict == Verdict::External);
    if hangs && !external && !found(&[Class::NetworkPeer]) && view.evidence().reach.inet_sockets {
        out.push(RuledOut::NetworkPeer);
    }
    out.truncate(MOST);
    out
}

/// The pipes of the scope, when none of them is full.
fn full_pipes(view: &View<'_>) -> Option<RuledOut> {
    let pipes: Vec<bool> = view
        .objects()
        .iter()
        .filter_map(|o| match &o.facts {
            ObjectFacts::Pipe(f) => f.is_full(),
            _ => None,
        })
        .collect();
    (!pipes.is_empty() && pipes.iter().all(|full| !full)).then_some(RuledOut::FullPipe { pipes: pipes.len() })
}

/// Outputs that look like capture pipes and are files.
fn captured(view: &View<'_>) -> Vec<RuledOut> {
    let deleted = |at: usize, number: u32| {
        view.process(at).fd(number).is_some_and(|fd| {
            matches!(fd.object, ObjectId::File { .. })
                && matches!(view.facts(&fd.object), ObjectFacts::File { deleted: true, .. })
        })
    };
    (0..view.evidence().processes.len())
        .filter(|at| view.process(*at).in_scope)
        .filter_map(|at| Some((at, [1, 2].into_iter().find(|number| deleted(at, *number))?)))
        .map(|(at, fd)| RuledOut::CapturePipe { process: view.label(at), fd })
        .take(MOST)
        .collect()
}
