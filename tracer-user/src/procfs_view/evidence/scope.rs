//! Which processes a request is about.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::request::{Ask, CollectError};
use super::thread_sample::ProcessSample;
use crate::core::evidence::Scope;
use crate::core::identity::ProcessId;

/// The processes in scope, of those that were sampled.
pub(crate) fn members(
    ask: &Ask,
    samples: &BTreeMap<u32, ProcessSample>,
) -> Result<HashSet<ProcessId>, CollectError> {
    match ask {
        Ask::All => Ok(samples.values().filter(|p| !p.is_kernel_thread()).map(|p| p.id).collect()),
        Ask::Session { members, .. } => Ok(trees(members, samples)),
        Ask::Tree(top) => {
            let top = samples.get(top).ok_or(CollectError::NoProcess(*top))?.id;
            Ok(trees(&[top], samples))
        }
    }
}

/// The scope as the evidence states it.
pub(crate) fn scope(ask: &Ask, members: &HashSet<ProcessId>) -> Scope {
    match ask {
        Ask::All => Scope::All,
        Ask::Session { id, .. } => Scope::Session(id.clone()),
        Ask::Tree(top) => members.iter().find(|m| m.tgid == *top).map_or(Scope::All, |id| Scope::Tree(*id)),
    }
}

/// Processes, their descendants, and the orphans that stayed in a login session that one of them leads.
fn trees(tops: &[ProcessId], samples: &BTreeMap<u32, ProcessSample>) -> HashSet<ProcessId> {
    let mut children: HashMap<u32, Vec<ProcessId>> = HashMap::new();
    for sample in samples.values() {
        children.entry(sample.leader().stat.ppid).or_default().push(sample.id);
    }
    let alive = |id: &ProcessId| samples.get(&id.tgid).is_some_and(|sample| sample.id == *id);
    let mut left: Vec<ProcessId> = tops.iter().copied().filter(alive).collect();
    let orphans = samples.values().filter(|p| {
        let stat = &p.leader().stat;
        stat.ppid == 1
            && left.iter().any(|top| top.tgid == stat.session && top.start_ticks <= p.id.start_ticks)
    });
    left.extend(orphans.map(|p| p.id).collect::<Vec<_>>());
    let mut found = HashSet::new();
    while let Some(id) = left.pop() {
        if found.insert(id) {
            left.extend(children.get(&id.tgid).into_iter().flatten());
        }
    }
    found
}
