//! What the lines of a session say, applied line by line: living processes, blocked writes, anomalies,
//! totals.

use super::totals::Totals;
use crate::core::anomaly::{Anomaly, AnomalyKind, Detail, Phase, ProcessWatch, detail};
use crate::core::hang_watch::Branch;
use crate::core::identity::ProcessId;
use crate::core::record::{
    Body, EndReason, ExecLine, ExitLine, FooterLine, ForkLine, HeaderLine, Origin, ProcessKey, StallLine,
    Thresholds,
};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ended processes that are remembered, so that a late snapshot or a second report does not revive them.
const REMEMBERED_ENDED: usize = 16_384;

/// Ancestors of a process that are remembered. Beyond this many forks the first ones explain nothing.
const ANCESTORS: usize = 8;

/// A process that forked a member, or one of its ancestors. It need not be alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAncestor {
    /// The process.
    pub process: ProcessId,
    /// Its name when it forked; `None` when unknown.
    pub comm: Option<ByteString>,
}

/// A living process of the session.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its parent when it joined; `None` when unknown.
    pub parent: Option<ProcessId>,
    /// How it joined.
    pub origin: Origin,
    /// When it joined, CLOCK_BOOTTIME nanoseconds.
    pub joined_boot_ns: u64,
    /// Its parent, the parent of that, and so on: the nearest of them, at most eight.
    pub ancestors: Vec<MemberAncestor>,
    pub(super) watch: ProcessWatch,
    pub(super) last: Option<ProcSnapshot>,
    /// When `last` was taken.
    pub(super) last_boot_ns: u64,
    /// Since when it has moved next to nothing and has had no event, CLOCK_BOOTTIME nanoseconds.
    pub(super) quiet_since_boot_ns: u64,
}

impl Member {
    /// Its last known name.
    pub fn comm(&self) -> Option<&ByteString> {
        self.watch.comm()
    }
}

/// One blocked write: process, thread, and since when, CLOCK_BOOTTIME nanoseconds.
pub(super) type StallKey = (ProcessId, u32, u64);

/// A write that is blocked now.
#[derive(Clone, Debug)]
pub(super) struct OpenStall {
    pub(super) resource: String,
    pub(super) comm: ByteString,
    /// The anomaly was raised.
    pub(super) raised: bool,
    pub(super) line: StallLine,
}

/// Everything that is known of a session.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    pub(super) header: Option<HeaderLine>,
    root_exit: Option<(u64, ExitLine)>,
    root_comm: Option<ByteString>,
    root_drifted: bool,
    first_boot_ns: Option<u64>,
    end: Option<(u64, EndReason)>,
    pub(super) members: BTreeMap<ProcessId, Member>,
    /// Ended processes that a snapshot showed as zombies.
    pub(super) unreaped: BTreeMap<ProcessId, ProcessWatch>,
    ended: BTreeSet<ProcessId>,
    ended_order: VecDeque<ProcessId>,
    /// Processes with a snapshot in the sample that is being applied.
    pub(super) in_sample: BTreeSet<ProcessId>,
    pub(super) stalls: BTreeMap<StallKey, OpenStall>,
    pub(super) progress_boot_ns: u64,
    /// When something last did more than wake up and look around.
    pub(super) work_boot_ns: u64,
    pub(super) no_progress: bool,
    pub(super) totals: Totals,
    /// The fingerprint in the last diagnosis that found a hang.
    hang: Option<serde_json::Value>,
}

impl Tracker {
    /// Applies one line and returns the anomalies it raises. Lines that are anomalies themselves change
    /// nothing.
    pub fn apply(&mut self, boot_ns: u64, body: &Body) -> Vec<Anomaly> {
        self.first_boot_ns.get_or_insert(boot_ns);
        let mut raised = Vec::new();
        match body {
            Body::Header(header) => self.begun(boot_ns, header),
            Body::Fork(fork) => self.joined(boot_ns, fork, &mut raised),
            Body::Exec(exec) => self.executed(boot_ns, exec, &mut raised),
            Body::Exit(exit) => self.exited(boot_ns, exit, &mut raised),
            Body::Stall(stall) => self.stalled(boot_ns, stall, &mut raised),
            Body::Snapshot(snapshot) => self.snapshot_taken(boot_ns, snapshot, &mut raised),
            Body::Sample(sample) => self.sample_taken(boot_ns, sample, &mut raised),
            Body::Lost(lost) => self.totals.add_lost(lost),
            Body::Footer(footer) => self.finished(boot_ns, footer, &mut raised),
            Body::Diagnosis(line) => {
                let found = line.diagnosis.get("fingerprint").filter(|fingerprint| !fingerprint.is_null());
                self.hang = found.cloned().or(self.hang.take());
            }
            Body::Signal(_) | Body::Note(_) | Body::Anomaly(_) => {}
        }
        for anomaly in raised.iter().filter(|anomaly| anomaly.phase != Phase::End) {
            *self.totals.anomalies.entry(anomaly.kind).or_default() += 1;
            if anomaly.kind == AnomalyKind::IdentityDrift && anomaly.process == self.root() {
                self.root_drifted = true;
            }
        }
        raised
    }

    fn begun(&mut self, boot_ns: u64, header: &HeaderLine) {
        if self.header.is_none() {
            self.progress_boot_ns = boot_ns;
            self.work_boot_ns = boot_ns;
        }
        self.header = Some(header.clone());
    }

    fn joined(&mut self, boot_ns: u64, fork: &ForkLine, raised: &mut Vec<Anomaly>) {
        let process = ProcessId::from(fork.process);
        if self.members.contains_key(&process) || self.ended.contains(&process) {
            return;
        }
        match fork.origin {
            Origin::Fork | Origin::Root => self.totals.forked += 1,
            Origin::Found => self.totals.found += 1,
        }
        if Some(process) == self.root() {
            self.root_comm = self.root_comm.take().or_else(|| fork.comm.clone());
        }
        let parent = fork.parent.map(ProcessId::from);
        if let Some(parent) = parent.and_then(|parent| self.members.get_mut(&parent)) {
            parent.quiet_since_boot_ns = boot_ns;
        }
        let ancestors = parent.filter(|_| fork.origin != Origin::Root).map(|parent| self.lineage_of(parent));
        let member = Member {
            parent,
            origin: fork.origin,
            joined_boot_ns: boot_ns,
            ancestors: ancestors.unwrap_or_default(),
            watch: ProcessWatch::new(process, fork.comm.clone()),
            last: None,
            last_boot_ns: boot_ns,
            quiet_since_boot_ns: boot_ns,
        };
        self.members.insert(process, member);
        self.totals.peak_processes = self.totals.peak_processes.max(self.members.len() as u64);
        self.progressed(boot_ns, raised);
    }

    /// A forking process, followed by its ancestors.
    fn lineage_of(&self, parent: ProcessId) -> Vec<MemberAncestor> {
        let member = self.members.get(&parent);
        let nearest =
            MemberAncestor { process: parent, comm: member.and_then(|member| member.comm().cloned()) };
        let further = member.map(|member| member.ancestors.as_slice()).unwrap_or_default();
        std::iter::once(nearest).chain(further.iter().take(ANCESTORS - 1).cloned()).collect()
    }

    fn executed(&mut self, boot_ns: u64, exec: &ExecLine, raised: &mut Vec<Anomaly>) {
        let process = exec.process.into();
        if Some(process) == self.root() {
            self.root_comm = Some(exec.comm.clone());
        }
        if let Some(member) = self.members.get_mut(&process) {
            member.watch.execed(exec.comm.clone());
            member.quiet_since_boot_ns = boot_ns;
        }
        self.totals.execs += 1;
        self.progressed(boot_ns, raised);
    }

    fn exited(&mut self, boot_ns: u64, exit: &ExitLine, raised: &mut Vec<Anomaly>) {
        let process = ProcessId::from(exit.process);
        if self.ended.contains(&process) {
            return;
        }
        let member = self.members.remove(&process);
        let last_cpu = member.as_ref().and_then(|member| member.last.as_ref()?.cpu_ns);
        let cpu_ns = exit.cpu_ns.or(last_cpu).unwrap_or(0);
        self.totals.cpu_ns_of_ended = self.totals.cpu_ns_of_ended.saturating_add(cpu_ns);
        self.totals.exited += 1;
        let comm = exit.comm.clone().or_else(|| member.as_ref().and_then(|m| m.comm().cloned()));
        if let Some(mut member) = member {
            raised.extend(member.watch.gone(boot_ns));
        }
        self.close_stalls(boot_ns, |key| key.0 == process, raised);
        if exit.oom_victim == Some(true) {
            let values = detail([("signal", json!(exit.signal))]);
            raised.push(once(AnomalyKind::KilledByOom, process, comm, values));
        }
        self.remember_ended(process);
        if Some(process) == self.root() {
            self.root_exit = Some((boot_ns, exit.clone()));
        }
        self.progressed(boot_ns, raised);
    }

    fn remember_ended(&mut self, process: ProcessId) {
        self.ended.insert(process);
        self.ended_order.push_back(process);
        if self.ended_order.len() > REMEMBERED_ENDED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    /// Something in the session moved.
    pub(super) fn progressed(&mut self, boot_ns: u64, raised: &mut Vec<Anomaly>) {
        self.end_no_progress(boot_ns, raised);
        self.progress_boot_ns = self.progress_boot_ns.max(boot_ns);
        self.work_boot_ns = self.work_boot_ns.max(boot_ns);
    }

    fn end_no_progress(&mut self, boot_ns: u64, raised: &mut Vec<Anomaly>) {
        if std::mem::take(&mut self.no_progress) {
            raised.push(Anomaly {
                kind: AnomalyKind::NoProgress,
                phase: Phase::End,
                process: None,
                comm: None,
                length_ns: Some(boot_ns.saturating_sub(self.progress_boot_ns)),
                detail: Detail::new(),
            });
        }
    }

    fn finished(&mut self, boot_ns: u64, footer: &FooterLine, raised: &mut Vec<Anomaly>) {
        self.end = Some((boot_ns, footer.reason));
        self.close_stalls(boot_ns, |_| true, raised);
        for member in self.members.values_mut() {
            raised.extend(member.watch.gone(boot_ns));
        }
        if footer.reason != EndReason::Detached {
            for process in footer.leaked.iter().copied().map(ProcessId::from) {
                let member = self.members.get(&process);
                let comm = member.and_then(|member| member.comm().cloned());
                let parent = member.and_then(|member| member.parent).map(ProcessKey::from);
                let values = detail([("parent", json!(parent))]);
                raised.push(once(AnomalyKind::LeakedProcess, process, comm, values));
            }
        }
        self.end_no_progress(boot_ns, raised);
    }

    pub(super) fn thresholds(&self) -> Thresholds {
        self.header.as_ref().map(|header| header.thresholds).unwrap_or_default()
    }

    /// The fingerprint of the last hang that was found, as its diagnosis has it.
    pub fn hang(&self) -> Option<&serde_json::Value> {
        self.hang.as_ref()
    }

    /// The header; `None` when the trace has none.
    pub fn header(&self) -> Option<&HeaderLine> {
        self.header.as_ref()
    }

    /// The root; `None` without a header.
    pub fn root(&self) -> Option<ProcessId> {
        self.header.as_ref().map(|header| header.root.into())
    }

    /// The root's end, and when it was, CLOCK_BOOTTIME nanoseconds; `None` while it runs.
    pub fn root_exit(&self) -> Option<(u64, &ExitLine)> {
        self.root_exit.as_ref().map(|(boot_ns, exit)| (*boot_ns, exit))
    }

    /// The root's last known name, and whether it changed without a program being executed.
    pub fn root_name(&self) -> (Option<&ByteString>, bool) {
        (self.root_comm.as_ref(), self.root_drifted)
    }

    /// The time of the first line, CLOCK_BOOTTIME nanoseconds.
    pub fn first_boot_ns(&self) -> Option<u64> {
        self.first_boot_ns
    }

    /// When the session was over, CLOCK_BOOTTIME nanoseconds, and why; `None` while it lasts.
    pub fn end(&self) -> Option<(u64, EndReason)> {
        self.end
    }

    /// The living processes, in order of their ids.
    pub fn alive(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.members.keys().copied()
    }

    /// The number of living processes.
    pub fn alive_count(&self) -> usize {
        self.members.len()
    }

    /// A living process of the session.
    pub fn member(&self, process: ProcessId) -> Option<&Member> {
        self.members.get(&process)
    }

    /// The end of this process was seen. Only the last 16384 ends are remembered.
    pub fn has_ended(&self, process: ProcessId) -> bool {
        self.ended.contains(&process)
    }

    /// The process was recorded, as a living member or by its end.
    pub fn knows(&self, process: ProcessId) -> bool {
        self.members.contains_key(&process) || self.ended.contains(&process)
    }

    /// When something in the session last moved, CLOCK_BOOTTIME nanoseconds.
    pub fn last_progress_boot_ns(&self) -> u64 {
        self.progress_boot_ns
    }

    /// When something in the session last did more than wake up for a moment and look around, CLOCK_BOOTTIME
    /// nanoseconds. A runner that polls its workers every second must not hide that they hang.
    pub fn last_work_boot_ns(&self) -> u64 {
        self.work_boot_ns
    }

    /// What waits in the session, and since when, CLOCK_BOOTTIME nanoseconds. A process that waits for the
    /// exit of a living child of the session does not count: the child does.
    pub fn waiting(&self) -> Vec<(Branch, u64)> {
        let parents: BTreeSet<u32> = self
            .members
            .values()
            .filter_map(|member| {
                let last = member.last.as_ref().and_then(|last| last.ppid);
                last.or(member.parent.map(|parent| parent.tgid))
            })
            .collect();
        let passive = |process: &ProcessId, member: &Member| {
            let waits = member.last.as_ref().is_some_and(ProcSnapshot::waits_for_child);
            waits && parents.contains(&process.tgid)
        };
        let processes = self
            .members
            .iter()
            .filter(|(process, member)| !passive(process, member))
            .map(|(process, member)| (Branch::Process(*process), member.quiet_since_boot_ns));
        let writes = self.stalls.keys().map(|(process, tid, since)| (Branch::Write(*process, *tid), *since));
        std::iter::once((Branch::Session, self.work_boot_ns)).chain(processes).chain(writes).collect()
    }

    /// CPU time of everything that ran in the session, nanoseconds. Living processes count as of their last
    /// snapshot.
    pub fn cpu_ns(&self) -> u64 {
        let alive = self.members.values().filter_map(|member| member.last.as_ref()?.cpu_ns);
        alive.fold(self.totals.cpu_ns_of_ended, u64::saturating_add)
    }

    /// The running totals.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

fn once(kind: AnomalyKind, process: ProcessId, comm: Option<ByteString>, detail: Detail) -> Anomaly {
    Anomaly { kind, phase: Phase::Once, process: Some(process), comm, length_ns: None, detail }
}
