//! The anomalies of one process, from its snapshots in order.

use super::{AnomalyKind as Kind, Change, Detail, Lasting, Phase, detail, line};
use crate::core::identity::ProcessId;
use crate::core::record::AnomalyLine;
use crate::core::signal::SignalSet;
use crate::core::snapshot::{ProcSnapshot, ProcState};
use crate::core::text::ByteString;
use serde_json::json;

/// Wait channels in which an uninterruptible sleep is harmless.
pub const BENIGN_WAITS: [&str; 4] = ["do_nanosleep", "do_epoll_wait", "schedule_hrtimeout_range", "0"];

/// A rise of the out-of-memory score above this is a spike.
const OOM_SPIKE: i32 = 200;
/// From here on the score is critical.
const OOM_CRITICAL: i32 = 800;
/// Per cent of one CPU.
const HIGH_CPU: f64 = 90.0;
/// Open files over the limit.
const FD_HIGH: f64 = 0.80;
/// Snapshots before growth is looked at.
const RSS_SNAPSHOTS: u32 = 5;
/// Samples in a row for the kinds that need two.
const SUSTAINED: u32 = 2;
/// Samples in a row for a zombie that stays.
const ZOMBIE_PERSISTENT: u32 = 3;

/// What is remembered of one process.
#[derive(Clone, Debug)]
pub struct ProcessWatch {
    process: ProcessId,
    comm: Option<ByteString>,
    drifted: bool,
    last_oom: Option<i32>,
    oom_critical: Lasting,
    zombie: Lasting,
    zombie_persistent: Lasting,
    d_state: Lasting,
    high_cpu: Lasting,
    pending: Lasting,
    fd_high: Lasting,
    stopped: Lasting,
    rss: Growth,
}

/// Growth of resident memory.
#[derive(Clone, Debug, Default)]
struct Growth {
    first_kb: Option<u64>,
    snapshots: u32,
    raised: bool,
}

impl ProcessWatch {
    /// Nothing seen yet.
    pub fn new(process: ProcessId, comm: Option<ByteString>) -> Self {
        Self {
            process,
            comm,
            drifted: false,
            last_oom: None,
            oom_critical: Lasting::default(),
            zombie: Lasting::default(),
            zombie_persistent: Lasting::default(),
            d_state: Lasting::default(),
            high_cpu: Lasting::default(),
            pending: Lasting::default(),
            fd_high: Lasting::default(),
            stopped: Lasting::default(),
            rss: Growth::default(),
        }
    }

    /// Its last known name.
    pub fn comm(&self) -> Option<&ByteString> {
        self.comm.as_ref()
    }

    /// It executed a program: a new name is expected, and memory begins anew.
    pub fn execed(&mut self, comm: ByteString) {
        self.comm = Some(comm);
        self.drifted = false;
        self.rss = Growth::default();
    }

    /// One more snapshot.
    pub fn look(&mut self, now: &ProcSnapshot, boot_ns: u64) -> Vec<AnomalyLine> {
        let mut found = Vec::new();
        self.look_at_name(now, &mut found);
        self.look_at_memory(now, boot_ns, &mut found);
        self.look_at_state(now, boot_ns, &mut found);

        let cpu = now.cpu_percent.map(|percent| percent >= HIGH_CPU);
        let change = self.high_cpu.look(cpu, SUSTAINED, boot_ns);
        let cpu_detail = detail([
            ("cpu_percent", json!(now.cpu_percent.map(|p| (p * 10.0).round() / 10.0))),
            ("consecutive_count", json!(self.high_cpu.looks())),
        ]);
        self.report(Kind::HighCpuSustained, change, cpu_detail, &mut found);

        let pending = match (now.sig_pnd, now.shd_pnd) {
            (None, None) => None,
            (thread, process) => {
                Some(thread.unwrap_or_default().0 != 0 || process.unwrap_or_default().0 != 0)
            }
        };
        let change = self.pending.look(pending, 1, boot_ns);
        let hex = |set: Option<SignalSet>| json!(set);
        let signals = detail([("sig_pnd", hex(now.sig_pnd)), ("shd_pnd", hex(now.shd_pnd))]);
        self.report(Kind::SignalsPending, change, signals, &mut found);

        let change = self.fd_high.look(now.fd_ratio().map(|ratio| ratio > FD_HIGH), 1, boot_ns);
        let fds = detail([
            ("fd_count", json!(now.fd_count)),
            ("fd_soft_limit", json!(now.fd_soft_limit)),
            ("ratio", json!(now.fd_ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0))),
        ]);
        self.report(Kind::FdHigh, change, fds, &mut found);
        found
    }

    /// It is gone: what lasted is over.
    pub fn gone(&mut self, boot_ns: u64) -> Vec<AnomalyLine> {
        let mut found = Vec::new();
        let lasting = [
            (Kind::OomCritical, &mut self.oom_critical),
            (Kind::ZombiePersistent, &mut self.zombie_persistent),
            (Kind::DStateSustained, &mut self.d_state),
            (Kind::HighCpuSustained, &mut self.high_cpu),
            (Kind::SignalsPending, &mut self.pending),
            (Kind::FdHigh, &mut self.fd_high),
            (Kind::StoppedSustained, &mut self.stopped),
        ];
        let ended: Vec<_> =
            lasting.into_iter().map(|(kind, what)| (kind, what.look(Some(false), 1, boot_ns))).collect();
        for (kind, change) in ended {
            self.report(kind, change, Detail::new(), &mut found);
        }
        found
    }

    fn look_at_name(&mut self, now: &ProcSnapshot, found: &mut Vec<AnomalyLine>) {
        let Some(comm) = &now.comm else { return };
        match &self.comm {
            Some(expected) if expected != comm && !self.drifted => {
                self.drifted = true;
                let what = detail([("expected_comm", json!(expected)), ("actual_comm", json!(comm))]);
                found.push(self.line(Kind::IdentityDrift, Phase::Once, None, what));
            }
            Some(_) => {}
            None => self.comm = Some(comm.clone()),
        }
    }

    fn look_at_memory(&mut self, now: &ProcSnapshot, boot_ns: u64, found: &mut Vec<AnomalyLine>) {
        if let (Some(before), Some(score)) = (self.last_oom, now.oom_score)
            && i64::from(score) - i64::from(before) > i64::from(OOM_SPIKE)
        {
            let delta = i64::from(score) - i64::from(before);
            let what = detail([("from", json!(before)), ("to", json!(score)), ("delta", json!(delta))]);
            found.push(self.line(Kind::OomSpike, Phase::Once, None, what));
        }
        self.last_oom = now.oom_score.or(self.last_oom);
        let change = self.oom_critical.look(now.oom_score.map(|score| score >= OOM_CRITICAL), 1, boot_ns);
        self.report(Kind::OomCritical, change, detail([("oom_score", json!(now.oom_score))]), found);

        let Some(rss) = now.vm_rss_kb else { return };
        self.rss.snapshots = self.rss.snapshots.saturating_add(1);
        if self.rss.first_kb.is_none() && rss > 0 {
            self.rss.first_kb = Some(rss);
        }
        if let Some(first) = self.rss.first_kb
            && !self.rss.raised
            && self.rss.snapshots >= RSS_SNAPSHOTS
            && rss > first.saturating_mul(2)
        {
            self.rss.raised = true;
            let factor = (rss as f64 / first as f64 * 100.0).round() / 100.0;
            let what = detail([
                ("initial_rss_kb", json!(first)),
                ("final_rss_kb", json!(rss)),
                ("growth_factor", json!(factor)),
                ("snapshot_count", json!(self.rss.snapshots)),
            ]);
            found.push(self.line(Kind::RssGrowth, Phase::Once, None, what));
        }
    }

    fn look_at_state(&mut self, now: &ProcSnapshot, boot_ns: u64, found: &mut Vec<AnomalyLine>) {
        let zombie = now.state.map(ProcState::has_ended);
        if self.zombie.look(zombie, 1, boot_ns) == Some(Change::Begins) {
            let what = detail([("state", json!(now.state)), ("ppid", json!(now.ppid))]);
            found.push(self.line(Kind::ZombieDetected, Phase::Once, None, what));
        }
        let change = self.zombie_persistent.look(zombie, ZOMBIE_PERSISTENT, boot_ns);
        let what =
            detail([("consecutive_count", json!(self.zombie_persistent.looks())), ("ppid", json!(now.ppid))]);
        self.report(Kind::ZombiePersistent, change, what, found);

        let in_d = match (now.state, &now.wchan) {
            (Some(ProcState::DiskSleep), Some(wchan)) => Some(!is_benign(wchan)),
            // A sleep of which nobody can say where it is raises nothing.
            (Some(ProcState::DiskSleep), None) | (None, _) => None,
            (Some(_), _) => Some(false),
        };
        let change = self.d_state.look(in_d, SUSTAINED, boot_ns);
        let what = detail([
            ("state", json!(now.state)),
            ("wchan", json!(now.wchan)),
            ("consecutive_count", json!(self.d_state.looks())),
        ]);
        self.report(Kind::DStateSustained, change, what, found);

        let stopped = now.state.map(|state| matches!(state, ProcState::Stopped | ProcState::TracingStop));
        let change = self.stopped.look(stopped, SUSTAINED, boot_ns);
        self.report(Kind::StoppedSustained, change, detail([("state", json!(now.state))]), found);
    }

    fn line(&self, kind: Kind, phase: Phase, length_ns: Option<u64>, detail: Detail) -> AnomalyLine {
        line(kind, phase, Some(self.process), self.comm.clone(), length_ns, detail)
    }

    fn report(&self, kind: Kind, change: Option<Change>, detail: Detail, found: &mut Vec<AnomalyLine>) {
        match change {
            Some(Change::Begins) => found.push(self.line(kind, Phase::Begin, None, detail)),
            Some(Change::Ends(ns)) => found.push(self.line(kind, Phase::End, Some(ns), Detail::new())),
            None => {}
        }
    }
}

fn is_benign(wchan: &ByteString) -> bool {
    wchan.0.is_empty() || BENIGN_WAITS.iter().any(|benign| benign.as_bytes() == wchan.as_bytes())
}
