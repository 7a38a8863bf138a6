//! What the lines of a session say, line by line: who lives, what is blocked, what is worth a look.

use super::totals::{Totals, resource_id};
use crate::core::anomaly::{AnomalyKind, Phase, ProcessWatch, detail, line};
use crate::core::identity::ProcessId;
use crate::core::record::{
    AnomalyLine, Body, EndReason, ExitLine, ForkLine, HeaderLine, LostLine, LostWhere, Origin, SampleLine,
    SnapshotLine, StallLine, StallPhase, Thresholds, Who,
};
use crate::core::snapshot::ProcSnapshot;
use crate::core::text::ByteString;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ended processes that are remembered, so that a late look or a second report does not bring them back.
const REMEMBERED_ENDED: usize = 16_384;

/// Forebears of a process that are remembered: after so many forks the first ones explain nothing.
const FOREBEARS: usize = 8;

/// A process that forked another one, whether or not it still lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forebear {
    /// Which.
    pub process: ProcessId,
    /// Its name when it forked.
    pub comm: Option<ByteString>,
}

/// A process of the session that lives.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its parent when it joined.
    pub parent: Option<ProcessId>,
    /// How it joined.
    pub origin: Origin,
    /// When it joined, CLOCK_BOOTTIME nanoseconds.
    pub joined_boot_ns: u64,
    /// Who forked it, who forked that one, and so on: the nearest of them.
    pub forebears: Vec<Forebear>,
    watch: ProcessWatch,
    last: Option<ProcSnapshot>,
    /// When `last` was taken.
    last_boot_ns: u64,
}

impl Member {
    /// Its last known name.
    pub fn comm(&self) -> Option<&ByteString> {
        self.watch.comm()
    }

    /// Its last snapshot.
    pub fn last_snapshot(&self) -> Option<&ProcSnapshot> {
        self.last.as_ref()
    }
}

#[derive(Clone, Debug)]
struct OpenStall {
    resource: String,
    comm: ByteString,
    raised: bool,
    line: StallLine,
}

/// One stalled write: process, thread, since when.
type StallKey = (ProcessId, u32, u64);

/// Everything that is known of a session.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    header: Option<HeaderLine>,
    root_exit: Option<(u64, ExitLine)>,
    root_comm: Option<ByteString>,
    root_drifted: bool,
    first_boot_ns: Option<u64>,
    end: Option<(u64, EndReason)>,
    members: BTreeMap<ProcessId, Member>,
    unreaped: BTreeMap<ProcessId, ProcessWatch>,
    ended: BTreeSet<ProcessId>,
    ended_order: VecDeque<ProcessId>,
    in_sample: BTreeSet<ProcessId>,
    stalls: BTreeMap<StallKey, OpenStall>,
    progress_boot_ns: u64,
    /// When something last did more than wake up and look.
    work_boot_ns: u64,
    no_progress: bool,
    totals: Totals,
}

impl Tracker {
    /// Takes one line; gives the anomalies it raises. Lines that are anomalies themselves change nothing.
    pub fn apply(&mut self, boot_ns: u64, body: &Body) -> Vec<AnomalyLine> {
        self.first_boot_ns.get_or_insert(boot_ns);
        let mut found = Vec::new();
        match body {
            Body::Header(header) => {
                if self.header.is_none() {
                    self.progress_boot_ns = boot_ns;
                    self.work_boot_ns = boot_ns;
                }
                self.header = Some((**header).clone());
            }
            Body::Fork(fork) => self.joined(boot_ns, fork, &mut found),
            Body::Exec(exec) => {
                let process = exec.who.into();
                if Some(process) == self.root() {
                    self.root_comm = Some(exec.comm.clone());
                }
                if let Some(member) = self.members.get_mut(&process) {
                    member.watch.execed(exec.comm.clone());
                }
                self.totals.execs += 1;
                self.progressed(boot_ns, &mut found);
            }
            Body::Exit(exit) => self.exited(boot_ns, exit, &mut found),
            Body::Stall(stall) => self.stalled(boot_ns, stall, &mut found),
            Body::Snapshot(snapshot) => self.looked_at(boot_ns, snapshot, &mut found),
            Body::Sample(sample) => self.sampled(boot_ns, sample, &mut found),
            Body::Lost(LostLine { count, place }) => {
                let total = match place {
                    LostWhere::Ring | LostWhere::StallLog | LostWhere::Decode => &mut self.totals.events_lost,
                    LostWhere::OldSnapshots => &mut self.totals.snapshots_dropped,
                    LostWhere::Trace => &mut self.totals.lines_lost,
                };
                *total = total.saturating_add(*count);
            }
            Body::Footer(footer) => self.finished(boot_ns, footer.reason, &footer.leaked, &mut found),
            Body::Signal(_) | Body::Diagnosis(_) | Body::Note(_) | Body::Anomaly(_) => {}
        }
        for anomaly in found.iter().filter(|anomaly| anomaly.phase != Phase::End) {
            *self.totals.anomalies.entry(anomaly.anomaly).or_default() += 1;
            if anomaly.anomaly == AnomalyKind::IdentityDrift
                && anomaly.process.map(ProcessId::from) == self.root()
            {
                self.root_drifted = true;
            }
        }
        found
    }

    fn joined(&mut self, boot_ns: u64, fork: &ForkLine, found: &mut Vec<AnomalyLine>) {
        let process = ProcessId::from(fork.who);
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
        let watch = ProcessWatch::new(process, fork.comm.clone());
        let parent = fork.parent.map(ProcessId::from);
        let forebears = parent.filter(|_| fork.origin != Origin::Root).map(|parent| self.line_of(parent));
        let member = Member {
            parent,
            origin: fork.origin,
            joined_boot_ns: boot_ns,
            forebears: forebears.unwrap_or_default(),
            watch,
            last: None,
            last_boot_ns: boot_ns,
        };
        self.members.insert(process, member);
        self.totals.peak_processes = self.totals.peak_processes.max(self.members.len() as u64);
        self.progressed(boot_ns, found);
    }

    /// A process that forks, and its forebears.
    fn line_of(&self, parent: ProcessId) -> Vec<Forebear> {
        let member = self.members.get(&parent);
        let nearest = Forebear { process: parent, comm: member.and_then(|member| member.comm().cloned()) };
        let further = member.map(|member| member.forebears.as_slice()).unwrap_or_default();
        std::iter::once(nearest).chain(further.iter().take(FOREBEARS - 1).cloned()).collect()
    }

    fn exited(&mut self, boot_ns: u64, exit: &ExitLine, found: &mut Vec<AnomalyLine>) {
        let process = ProcessId::from(exit.who);
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
            found.extend(member.watch.gone(boot_ns));
        }
        let stalls: Vec<_> = self.stalls.keys().filter(|key| key.0 == process).copied().collect();
        for key in stalls {
            self.close_stall(key, boot_ns, found);
        }
        if exit.oom_victim == Some(true) {
            let what = detail([("signal", json!(exit.signal))]);
            found.push(line(AnomalyKind::KilledByOom, Phase::Once, Some(process), comm, None, what));
        }
        self.ended.insert(process);
        self.ended_order.push_back(process);
        if self.ended_order.len() > REMEMBERED_ENDED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        if Some(process) == self.root() {
            self.root_exit = Some((boot_ns, exit.clone()));
        }
        self.progressed(boot_ns, found);
    }

    fn stalled(&mut self, boot_ns: u64, stall: &StallLine, found: &mut Vec<AnomalyLine>) {
        let process = ProcessId::from(stall.who);
        let key = (process, stall.tid, stall.since_boot_ns);
        if self.ended.contains(&process) {
            return;
        }
        self.stalls.entry(key).or_insert_with(|| OpenStall {
            resource: resource_id(stall),
            comm: stall.comm.clone(),
            raised: false,
            line: stall.clone(),
        });
        match stall.phase {
            StallPhase::Open => self.raise_stalls(boot_ns, found),
            StallPhase::Close => {
                self.close_stall(key, boot_ns, found);
                self.progressed(boot_ns, found);
            }
        }
    }

    fn raise_stalls(&mut self, boot_ns: u64, found: &mut Vec<AnomalyLine>) {
        let threshold_ns = self.thresholds().stall_ms.saturating_mul(1_000_000);
        for ((process, tid, since), stall) in &mut self.stalls {
            if !stall.raised && boot_ns.saturating_sub(*since) >= threshold_ns {
                stall.raised = true;
                let what = stall_detail(*tid, stall);
                let comm = Some(stall.comm.clone());
                found.push(line(AnomalyKind::WriteStall, Phase::Begin, Some(*process), comm, None, what));
            }
        }
    }

    fn close_stall(&mut self, key: StallKey, boot_ns: u64, found: &mut Vec<AnomalyLine>) {
        let Some(stall) = self.stalls.remove(&key) else { return };
        let length_ns = boot_ns.saturating_sub(key.2);
        self.totals.stalls.add(&stall.resource, length_ns);
        let long = length_ns >= self.thresholds().stall_ms.saturating_mul(1_000_000);
        if stall.raised || long {
            let phase = if stall.raised { Phase::End } else { Phase::Once };
            let what = stall_detail(key.1, &stall);
            found.push(line(
                AnomalyKind::WriteStall,
                phase,
                Some(key.0),
                Some(stall.comm),
                Some(length_ns),
                what,
            ));
        }
    }

    fn looked_at(&mut self, boot_ns: u64, seen: &SnapshotLine, found: &mut Vec<AnomalyLine>) {
        let snapshot = &seen.snapshot;
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
            member.last_boot_ns = boot_ns;
            found.extend(member.watch.look(snapshot, boot_ns));
            member.last = Some(snapshot.clone());
            let work_boot_ns = self.work_boot_ns;
            if moved && activity.is_some() {
                self.progressed(boot_ns, found);
            }
            if !worked {
                self.work_boot_ns = work_boot_ns;
            }
        } else if snapshot.state.is_some_and(|state| state.has_ended()) {
            let watch = self
                .unreaped
                .entry(process)
                .or_insert_with(|| ProcessWatch::new(process, snapshot.comm.clone()));
            found.extend(watch.look(snapshot, boot_ns));
        }
    }

    fn sampled(&mut self, boot_ns: u64, sample: &SampleLine, found: &mut Vec<AnomalyLine>) {
        let unread: BTreeSet<ProcessId> = sample.unread.iter().copied().map(ProcessId::from).collect();
        let in_sample = std::mem::take(&mut self.in_sample);
        for (process, member) in &mut self.members {
            if in_sample.contains(process) || unread.contains(process) {
                continue;
            }
            // Left out because nothing changed, so it used no CPU.
            if let Some(last) = &mut member.last {
                last.cpu_percent = last.cpu_percent.map(|_| 0.0);
                found.extend(member.watch.look(last, boot_ns));
            }
        }
        let reaped: Vec<_> = self.unreaped.keys().filter(|id| !in_sample.contains(id)).copied().collect();
        for process in reaped {
            if let Some(mut watch) = self.unreaped.remove(&process) {
                found.extend(watch.gone(boot_ns));
            }
        }
        self.totals.samples += 1;
        self.raise_stalls(boot_ns, found);

        let seen_all = !self.members.is_empty()
            && self.members.values().all(|m| m.last.as_ref().is_some_and(|last| last.activity().is_some()));
        let idle_ns = boot_ns.saturating_sub(self.progress_boot_ns);
        let idle = idle_ns >= self.thresholds().no_progress_ms.saturating_mul(1_000_000);
        if seen_all && unread.is_empty() && idle && !self.no_progress {
            self.no_progress = true;
            let what = detail([
                ("since_boot_ns", json!(self.progress_boot_ns)),
                ("processes", json!(self.members.len())),
                ("open_stalls", json!(self.stalls.len())),
            ]);
            found.push(line(AnomalyKind::NoProgress, Phase::Begin, None, None, None, what));
        }
    }

    fn progressed(&mut self, boot_ns: u64, found: &mut Vec<AnomalyLine>) {
        if std::mem::take(&mut self.no_progress) {
            let length = boot_ns.saturating_sub(self.progress_boot_ns);
            found.push(line(AnomalyKind::NoProgress, Phase::End, None, None, Some(length), detail([])));
        }
        self.progress_boot_ns = self.progress_boot_ns.max(boot_ns);
        self.work_boot_ns = self.work_boot_ns.max(boot_ns);
    }

    fn finished(&mut self, boot_ns: u64, reason: EndReason, leaked: &[Who], found: &mut Vec<AnomalyLine>) {
        self.end = Some((boot_ns, reason));
        for key in self.stalls.keys().copied().collect::<Vec<_>>() {
            self.close_stall(key, boot_ns, found);
        }
        for member in self.members.values_mut() {
            found.extend(member.watch.gone(boot_ns));
        }
        if reason != EndReason::Detached {
            for process in leaked.iter().copied().map(ProcessId::from) {
                let member = self.members.get(&process);
                let comm = member.and_then(|member| member.comm().cloned());
                let what = detail([("parent", json!(member.and_then(|m| m.parent).map(Who::from)))]);
                found.push(line(AnomalyKind::LeakedProcess, Phase::Once, Some(process), comm, None, what));
            }
        }
        if std::mem::take(&mut self.no_progress) {
            let length = boot_ns.saturating_sub(self.progress_boot_ns);
            found.push(line(AnomalyKind::NoProgress, Phase::End, None, None, Some(length), detail([])));
        }
    }

    fn thresholds(&self) -> Thresholds {
        self.header.as_ref().map(|header| header.thresholds).unwrap_or_default()
    }

    /// Whether samples leave out what did not change.
    pub(super) fn leaves_unchanged_out(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.unchanged_left_out)
    }

    /// The last snapshot of a process that lives.
    pub(super) fn last_snapshot(&self, process: ProcessId) -> Option<&ProcSnapshot> {
        self.members.get(&process)?.last.as_ref()
    }

    /// Processes that live and were looked at before.
    pub(super) fn members_with_snapshot(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.members.iter().filter(|(_, member)| member.last.is_some()).map(|(process, _)| *process)
    }

    /// The header; `None` when the trace has none.
    pub fn header(&self) -> Option<&HeaderLine> {
        self.header.as_ref()
    }

    /// The root.
    pub fn root(&self) -> Option<ProcessId> {
        self.header.as_ref().map(|header| header.root.into())
    }

    /// The root's end and when it was, once it has ended.
    pub fn root_exit(&self) -> Option<(u64, &ExitLine)> {
        self.root_exit.as_ref().map(|(boot_ns, exit)| (*boot_ns, exit))
    }

    /// The root's last known name, and whether it changed without a program being executed.
    pub fn root_name(&self) -> (Option<&ByteString>, bool) {
        (self.root_comm.as_ref(), self.root_drifted)
    }

    /// When the first line was, CLOCK_BOOTTIME nanoseconds.
    pub fn first_boot_ns(&self) -> Option<u64> {
        self.first_boot_ns
    }

    /// When and why the session was over.
    pub fn end(&self) -> Option<(u64, EndReason)> {
        self.end
    }

    /// Processes that live, in order of their ids.
    pub fn alive(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.members.keys().copied()
    }

    /// How many live.
    pub fn alive_count(&self) -> usize {
        self.members.len()
    }

    /// A process that lives.
    pub fn member(&self, process: ProcessId) -> Option<&Member> {
        self.members.get(&process)
    }

    /// Whether the end of a process was seen lately.
    pub fn has_ended(&self, process: ProcessId) -> bool {
        self.ended.contains(&process)
    }

    /// Writes that are blocked, with what is known of each.
    pub fn open_stalls(&self) -> impl Iterator<Item = &StallLine> + '_ {
        self.stalls.values().map(|stall| &stall.line)
    }

    /// When something in the session last moved, CLOCK_BOOTTIME nanoseconds.
    pub fn last_progress_boot_ns(&self) -> u64 {
        self.progress_boot_ns
    }

    /// When something of the session last did more than wake up for a moment and look: a runner that looks at its workers every
    /// second keeps nobody from asking what they wait for.
    pub fn last_work_boot_ns(&self) -> u64 {
        self.work_boot_ns
    }

    /// CPU time of everything that ran in the session, nanoseconds: of those that live, as last seen.
    pub fn cpu_ns(&self) -> u64 {
        let alive = self.members.values().filter_map(|member| member.last.as_ref()?.cpu_ns);
        alive.fold(self.totals.cpu_ns_of_ended, u64::saturating_add)
    }

    /// The running totals.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

fn stall_detail(tid: u32, stall: &OpenStall) -> crate::core::anomaly::Detail {
    detail([
        ("tid", json!(tid)),
        ("fd", json!(stall.line.fd)),
        ("resource", json!(stall.resource)),
        ("since_boot_ns", json!(stall.line.since_boot_ns)),
        ("used_bytes", json!(stall.line.used_bytes)),
        ("capacity_bytes", json!(stall.line.capacity_bytes)),
    ])
}
