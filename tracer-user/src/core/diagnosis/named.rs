//! The threads that a diagnosis names.

use std::collections::HashSet;

use super::model::Diagnosis;
use crate::core::evidence::Evidence;
use crate::core::identity::ProcessId;

/// A thread that a diagnosis names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamedThread {
    /// Its process.
    pub process: ProcessId,
    /// Thread id.
    pub tid: u32,
}

/// The threads whose stacks are worth reading, each once: those that the findings name, those of the wait
/// tree, and the other threads of the findings' processes, which the tree counts as one with those that it
/// lists.
pub fn named_threads(evidence: &Evidence, diagnosis: &Diagnosis) -> Vec<NamedThread> {
    let parties = || {
        diagnosis.findings.iter().flat_map(|finding| &finding.processes).map(|party| NamedThread {
            process: ProcessId { tgid: party.pid, start_ticks: party.start_ticks },
            tid: party.tid,
        })
    };
    let tree = diagnosis.waits.processes.iter().flat_map(|process| {
        let id = ProcessId { tgid: process.pid, start_ticks: process.start_ticks };
        process.threads.iter().map(move |thread| NamedThread { process: id, tid: thread.tid })
    });
    let siblings = parties().flat_map(|party| {
        let process = evidence.process(party.process.tgid).filter(|process| process.id == party.process);
        let threads = process.map_or(&[][..], |process| &process.threads);
        threads.iter().map(move |thread| NamedThread { process: party.process, tid: thread.tid })
    });
    let mut seen = HashSet::new();
    parties().chain(tree).chain(siblings).filter(|thread| seen.insert(*thread)).collect()
}
