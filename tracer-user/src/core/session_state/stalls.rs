//! The blocked writes of a session: open ones, and the anomalies and totals they make.

use super::totals::resource_id;
use super::tracker::{OpenStall, StallKey, Tracker};
use crate::core::anomaly::{Anomaly, AnomalyKind, Detail, Phase, detail};
use crate::core::identity::ProcessId;
use crate::core::record::{StallLine, StallPhase};
use serde_json::json;

impl OpenStall {
    fn anomaly(&self, key: StallKey, phase: Phase, length_ns: Option<u64>) -> Anomaly {
        Anomaly {
            kind: AnomalyKind::WriteStall,
            phase,
            process: Some(key.0),
            comm: Some(self.comm.clone()),
            length_ns,
            detail: self.detail(key.1),
        }
    }

    fn detail(&self, tid: u32) -> Detail {
        detail([
            ("tid", json!(tid)),
            ("fd", json!(self.line.fd)),
            ("resource", json!(self.resource)),
            ("since_boot_ns", json!(self.line.since_boot_ns)),
            ("used_bytes", json!(self.line.used_bytes)),
            ("capacity_bytes", json!(self.line.capacity_bytes)),
        ])
    }
}

impl Tracker {
    pub(super) fn stalled(&mut self, boot_ns: u64, stall: &StallLine, raised: &mut Vec<Anomaly>) {
        let process = ProcessId::from(stall.process);
        let key = (process, stall.tid, stall.since_boot_ns);
        if self.has_ended(process) {
            return;
        }
        self.stalls.entry(key).or_insert_with(|| OpenStall {
            resource: resource_id(stall),
            comm: stall.comm.clone(),
            raised: false,
            line: stall.clone(),
        });
        match stall.phase {
            StallPhase::Open => self.raise_stalls(boot_ns, raised),
            StallPhase::Close => {
                self.close_stall(key, boot_ns, raised);
                self.progressed(boot_ns, raised);
            }
        }
    }

    /// Raises the anomaly of each blocked write that has now lasted for the threshold.
    pub(super) fn raise_stalls(&mut self, boot_ns: u64, raised: &mut Vec<Anomaly>) {
        let threshold_ns = self.stall_threshold_ns();
        for (key, stall) in &mut self.stalls {
            if !stall.raised && boot_ns.saturating_sub(key.2) >= threshold_ns {
                stall.raised = true;
                raised.push(stall.anomaly(*key, Phase::Begin, None));
            }
        }
    }

    /// Closes every blocked write that `which` selects.
    pub(super) fn close_stalls(
        &mut self,
        boot_ns: u64,
        which: impl Fn(&StallKey) -> bool,
        raised: &mut Vec<Anomaly>,
    ) {
        let keys: Vec<_> = self.stalls.keys().filter(|key| which(key)).copied().collect();
        for key in keys {
            self.close_stall(key, boot_ns, raised);
        }
    }

    fn close_stall(&mut self, key: StallKey, boot_ns: u64, raised: &mut Vec<Anomaly>) {
        let Some(stall) = self.stalls.remove(&key) else { return };
        let length_ns = boot_ns.saturating_sub(key.2);
        self.totals.stalls.add(&stall.resource, length_ns);
        if stall.raised || length_ns >= self.stall_threshold_ns() {
            let phase = if stall.raised { Phase::End } else { Phase::Once };
            raised.push(stall.anomaly(key, phase, Some(length_ns)));
        }
    }

    fn stall_threshold_ns(&self) -> u64 {
        self.thresholds().stall_ms.saturating_mul(1_000_000)
    }

    /// The writes that are blocked now.
    pub fn open_stalls(&self) -> impl Iterator<Item = &StallLine> + '_ {
        self.stalls.values().map(|stall| &stall.line)
    }
}
