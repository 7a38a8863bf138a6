//! A look at all processes, as lines: what did not change is left out.

use super::{SampleSet, tracker::Tracker};
use crate::core::record::{Body, SampleLine, SnapshotLine, Who};
use std::collections::BTreeSet;

impl Tracker {
    /// The lines of a look at all processes. They still have to be applied.
    pub(super) fn sample_lines(&self, set: SampleSet) -> Vec<Body> {
        let mut looked_at = BTreeSet::new();
        let mut unchanged = 0;
        let mut lines = Vec::with_capacity(set.snapshots.len() + 1);
        for snapshot in set.snapshots {
            let process = snapshot.process();
            looked_at.insert(process);
            // Only members that live are remembered; a process that has ended is written each time, since nothing
            // would tell its last line from its having been reaped.
            let same = self.leaves_unchanged_out()
                && self.last_snapshot(process).is_some_and(|last| snapshot.is_unchanged_since(last));
            if same {
                unchanged += 1;
            } else {
                lines.push(Body::Snapshot(Box::new(SnapshotLine { snapshot, at_exit: false })));
            }
        }
        let unread = self
            .members_with_snapshot()
            .filter(|process| !looked_at.contains(process))
            .map(Who::from)
            .collect();
        let written = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        lines.push(Body::Sample(SampleLine { number: self.totals().samples, written, unchanged, unread }));
        lines
    }
}
