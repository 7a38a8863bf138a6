//! Samples of all processes: the lines they make, and what their snapshots say.

use super::input::SampleSet;
use super::tracker::Tracker;
use crate::core::anomaly::{Anomaly, AnomalyKind, Phase, ProcessWatch, detail};
use crate::core::identity::ProcessId;
use crate::core::record::{Body, ProcessKey, SampleLine, SnapshotLine};
use crate::core::snapshot::ProcSnapshot;
use serde_json::json;
use std::collections::BTreeSet;

impl Tracker {
    /// The lines of a sample, without the processes that did not change. The lines still have to be applied.
    pub(super) fn sample_lines(&self, set: SampleSet) -> Vec<Body> {
        let mut read = BTreeSet::new();
        let mut unchanged = 0;
        let mut lines = Vec::with_capacity(set.snapshots.len() + 1);
        for snapshot in set.snapshots {
            let process = snapshot.process();
            read.insert(process);
            // Only living members have a last snapshot. An ended process is written each time: without a line
            // its reaping could not be distinguished from its not having changed.
            let same = self.leaves_unchanged_out()
                && self.last_snapshot(process).is_some_and(|last| snapshot.is_unchanged_since(last));
            if same {
                unchanged += 1;
            } else {
                lines.push(Body::Snapshot(Box::new(SnapshotLine { snapshot })));
            }
        }
        let unread = self
            .members
            .iter()
            .filter(|(process, member)| member.last.is_some() && !read.contains(process))
            .map(|(process, _)| ProcessKey::from(*process))
            .collect();
        let written = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        lines.push(Body::Sample(SampleLine { number: self.totals().samples, written, unchanged, unread }));
        lines
    }

    /// The trace leaves out the snapshots of processes that did not change.
    fn leaves_unchanged_out(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.unchanged_left_out)
    }

    fn last_snapshot(&self, process: ProcessId) -> Option<&ProcSnapshot> {
        self.members.get(&process)?.last.as_ref()
    }

    pub(super) fn snapshot_taken(&mut self, boot_ns: u64, line: &SnapshotLine, raised: &mut Vec<Anomaly>) {
        let snapshot = &line.snapshot;
        let process = snapshot.process();
        self.totals.snapshots += 1;
        self.totals.peak_rss_kb = self.totals.peak_rss_kb.max(snapshot.vm_rss_kb);
        self.totals.peak_oom_score = self.totals.peak_oom_score.max(snapshot.oom_score);
        if let Some(ratio) = snapshot.fd_ratio() {
            self.totals.peak_fd_ratio = Some(self.totals.peak_fd_ratio.map_or(ratio, |peak| peak.max(ratio)));
        }
        self.in_sample.insert(process);
        if let Some(member) = self.members.get_mut(&process) {
            let activity = snapshot.activity();
            let moved = member.last.as_ref().is_none_or(|last| last.activity() != activity);
            let elapsed_ns = boot_ns.saturating_sub(member.last_boot_ns);
            let worked =
                moved && member.last.as_ref().is_none_or(|last| snapshot.worked_since(last, elapsed_ns));
            if member.last.as_ref().is_none_or(|last| !snapshot.is_quiet_since(last, elapsed_ns)) {
                member.quiet_since_boot_ns = boot_ns;
            }
            member.last_boot_ns = boot_ns;
            raised.extend(member.watch.observe(snapshot, boot_ns));
            member.last = Some(snapshot.clone());
            let work_boot_ns = self.work_boot_ns;
            if moved && activity.is_some() {
                self.progressed(boot_ns, raised);
            }
            if !worked {
                self.work_boot_ns = work_boot_ns;
            }
        } else if snapshot.state.is_some_and(|state| state.has_ended()) {
            let watch = self
                .unreaped
                .entry(process)
                .or_insert_with(|| ProcessWatch::new(process, snapshot.comm.clone()));
            raised.extend(watch.observe(snapshot, boot_ns));
        }
    }

    pub(super) fn sample_taken(&mut self, boot_ns: u64, sample: &SampleLine, raised: &mut Vec<Anomaly>) {
        let unread: BTreeSet<ProcessId> = sample.unread.iter().copied().map(ProcessId::from).collect();
        let in_sample = std::mem::take(&mut self.in_sample);
        for (process, member) in &mut self.members {
            if in_sample.contains(process) || unread.contains(process) {
                continue;
            }
            // It was left out because nothing changed, so it used no CPU.
            if let Some(last) = &mut member.last {
                last.cpu_percent = last.cpu_percent.map(|_| 0.0);
                raised.extend(member.watch.observe(last, boot_ns));
            }
        }
        let reaped: Vec<_> = self.unreaped.keys().filter(|id| !in_sample.contains(id)).copied().collect();
        for process in reaped {
            if let Some(mut watch) = self.unreaped.remove(&process) {
                raised.extend(watch.gone(boot_ns));
            }
        }
        self.totals.samples += 1;
        self.raise_stalls(boot_ns, raised);
        if unread.is_empty() {
            self.raise_no_progress(boot_ns, raised);
        }
    }

    /// Raises `no_progress` once every member was read and nothing has moved for the threshold.
    fn raise_no_progress(&mut self, boot_ns: u64, raised: &mut Vec<Anomaly>) {
        let all_read = !self.members.is_empty()
            && self.members.values().all(|m| m.last.as_ref().is_some_and(|last| last.activity().is_some()));
        let idle_ns = boot_ns.saturating_sub(self.progress_boot_ns);
        let idle = idle_ns >= self.thresholds().no_progress_ms.saturating_mul(1_000_000);
        if all_read && idle && !self.no_progress {
            self.no_progress = true;
            raised.push(Anomaly {
                kind: AnomalyKind::NoProgress,
                phase: Phase::Begin,
                process: None,
                comm: None,
                length_ns: None,
                detail: detail([
                    ("since_boot_ns", json!(self.progress_boot_ns)),
                    ("processes", json!(self.members.len())),
                    ("open_stalls", json!(self.stalls.len())),
                ]),
            });
        }
    }
}
