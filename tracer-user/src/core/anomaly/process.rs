//! The anomalies of one process, from its snapshots in order.

use super::{Anomaly, AnomalyKind as Kind, Detail, Phase, Streak, Transition, detail};
use crate::core::identity::ProcessId;
use crate::core::signal::SignalSet;
use crate::core::snapshot::{ProcSnapshot, ProcState};
use crate::core::text::ByteString;
use serde_json::json;

/// Wait channels in which an uninterruptible sleep is harmless.
pub const BENIGN_WAITS: [&str; 4] = ["do_nanosleep", "do_epoll_wait", "schedule_hrtimeout_range", "0"];

/// A rise of the out-of-memory score by more than this is a spike.
const OOM_SPIKE: i32 = 200;
/// Scores from here on are critical.
const OOM_CRITICAL: i32 = 800;
/// Percent of one CPU.
const HIGH_CPU: f64 = 90.0;
/// Ratio of open files to the limit.
const FD_HIGH: f64 = 0.80;
/// Snapshots that are needed before growth is judged.
const RSS_SNAPSHOTS: u32 = 5;
/// Samples in a row for most lasting kinds.
const SUSTAINED: u32 = 2;
/// Samples in a row for a persistent zombie.
const ZOMBIE_PERSISTENT: u32 = 3;

/// The state of the anomaly rules for one process.
#[derive(Clone, Debug)]
pub struct ProcessWatch {
    process: ProcessId,
    comm: Option<ByteString>,
    drifted: bool,
    last_oom: Option<i32>,
    oom_critical: Streak,
    zombie: Streak,
    zombie_persistent: Streak,
    d_state: Streak,
    high_cpu: Streak,
    pending: Streak,
    fd_high: Streak,
    stopped: Streak,
    rss: Growth,
}

/// Growth of resident memory since the first snapshot, or since the last exec.
#[derive(Clone, Debug, Default)]
struct Growth {
    first_kb: Option<u64>,
    snapshots: u32,
    raised: bool,
}

impl ProcessWatch {
    /// Rules that have seen no snapshot yet.
    pub fn new(process: ProcessId, comm: Option<ByteString>) -> Self {
        Self {
            process,
            comm,
            drifted: false,
            last_oom: None,
            oom_critical: Streak::default(),
            zombie: Streak::default(),
            zombie_persistent: Streak::default(),
            d_state: Streak::default(),
            high_cpu: Streak::default(),
            pending: Streak::default(),
            fd_high: Streak::default(),
            stopped: Streak::default(),
            rss: Growth::default(),
        }
    }

    /// The last known name of the process.
    pub fn comm(&self) -> Option<&ByteString> {
        self.comm.as_ref()
    }

    /// The process executed a program: a new name is expected, and its memory starts over.
    pub fn execed(&mut self, comm: ByteString) {
        self.comm = Some(comm);
        self.drifted = false;
        self.rss = Growth::default();
    }

    /// Takes the next snapshot.
    pub fn observe(&mut self, now: &ProcSnapshot, boot_ns: u64) -> Vec<Anomaly> {
        let mut found = Vec::new();
        self.check_name(now, &mut found);
        self.check_memory(now, boot_ns, &mut found);
        self.check_state(now, boot_ns, &mut found);

        let cpu = now.cpu_percent.map(|percent| percent >= HIGH_CPU);
        let change = self.high_cpu.observe(cpu, SUSTAINED, boot_ns);
        let cpu_detail = detail([
            ("cpu_percent", json!(now.cpu_percent.map(|p| (p * 10.0).round() / 10.0))),
            ("consecutive_count", json!(self.high_cpu.samples())),
        ]);
        self.report(Kind::HighCpuSustained, change, cpu_detail, &mut found);

        let pending = match (now.sig_pnd, now.shd_pnd) {
            (None, None) => None,
            (thread, process) => {
                Some(thread.unwrap_or_default().0 != 0 || process.unwrap_or_default().0 != 0)
            }
        };
        let change = self.pending.observe(pending, 1, boot_ns);
        let hex = |set: Option<SignalSet>| json!(set);
        let signals = detail([("sig_pnd", hex(now.sig_pnd)), ("shd_pnd", hex(now.shd_pnd))]);
        self.report(Kind::SignalsPending, change, signals, &mut found);

        let change = self.fd_high.observe(now.fd_ratio().map(|ratio| ratio > FD_HIGH), 1, boot_ns);
        let fds = detail([
            ("fd_count", json!(now.fd_count)),
            ("fd_soft_limit", json!(now.fd_soft_limit)),
            ("ratio", json!(now.fd_ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0))),
        ]);
        self.report(Kind::FdHigh, change, fds, &mut found);
        found
    }

    /// The process is gone: every lasting anomaly is over.
    pub fn gone(&mut self, boot_ns: u64) -> Vec<Anomaly> {
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
        let ended: Vec<_> = lasting
            .into_iter()
            .map(|(kind, streak)| (kind, streak.observe(Some(false), 1, boot_ns)))
            .collect();
        for (kind, change) in ended {
            self.report(kind, change, Detail::new(), &mut found);
        }
        found
    }

    fn check_name(&mut self, now: &ProcSnapshot, found: &mut Vec<Anomaly>) {
        let Some(comm) = &now.comm else { return };
        match &self.comm {
            Some(expected) if expected != comm && !self.drifted => {
                self.drifted = true;
                let values = detail([("expected_comm", json!(expected)), ("actual_comm", json!(comm))]);
                found.push(self.raise(Kind::IdentityDrift, Phase::Once, None, values));
            }
            Some(_) => {}
            None => self.comm = Some(comm.clone()),
        }
    }

    fn check_memory(&mut self, now: &ProcSnapshot, boot_ns: u64, found: &mut Vec<Anomaly>) {
        if let (Some(before), Some(score)) = (self.last_oom, now.oom_score)
            && i64::from(score) - i64::from(before) > i64::from(OOM_SPIKE)
        {
            let delta = i64::from(score) - i64::from(before);
            let values = detail([("from", json!(before)), ("to", json!(score)), ("delta", json!(delta))]);
            found.push(self.raise(Kind::OomSpike, Phase::Once, None, values));
        }
        self.last_oom = now.oom_score.or(self.last_oom);
        let change = self.oom_critical.observe(now.oom_score.map(|score| score >= OOM_CRITICAL), 1, boot_ns);
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
            let values = detail([
                ("initial_rss_kb", json!(first)),
                ("final_rss_kb", json!(rss)),
                ("growth_factor", json!(factor)),
                ("snapshot_count", json!(self.rss.snapshots)),
            ]);
            found.push(self.raise(Kind::RssGrowth, Phase::Once, None, values));
        }
    }

    fn check_state(&mut self, now: &ProcSnapshot, boot_ns: u64, found: &mut Vec<Anomaly>) {
        // A process whose main thread has ended while others live looks like a zombie, with its threads.
        let zombie = now.state.map(|state| state.has_ended() && now.threads.is_none_or(|count| count <= 1));
        if self.zombie.observe(zombie, 1, boot_ns) == Some(Transition::Begin) {
            let values = detail([("state", json!(now.state)), ("ppid", json!(now.ppid))]);
            found.push(self.raise(Kind::ZombieDetected, Phase::Once, None, values));
        }
        let change = self.zombie_persistent.observe(zombie, ZOMBIE_PERSISTENT, boot_ns);
        let values = detail([
            ("consecutive_count", json!(self.zombie_persistent.samples())),
            ("ppid", json!(now.ppid)),
        ]);
        self.report(Kind::ZombiePersistent, change, values, found);

        let in_d = match (now.state, &now.wchan) {
            (Some(ProcState::DiskSleep), Some(wchan)) => Some(!is_benign(wchan)),
            // A sleep without a known wait channel raises nothing.
            (Some(ProcState::DiskSleep), None) | (None, _) => None,
            (Some(_), _) => Some(false),
        };
        let change = self.d_state.observe(in_d, SUSTAINED, boot_ns);
        let values = detail([
            ("state", json!(now.state)),
            ("wchan", json!(now.wchan)),
            ("consecutive_count", json!(self.d_state.samples())),
        ]);
        self.report(Kind::DStateSustained, change, values, found);

        let stopped = now.state.map(|state| matches!(state, ProcState::Stopped | ProcState::TracingStop));
        let change = self.stopped.observe(stopped, SUSTAINED, boot_ns);
        self.report(Kind::StoppedSustained, change, detail([("state", json!(now.state))]), found);
    }

    fn raise(&self, kind: Kind, phase: Phase, length_ns: Option<u64>, detail: Detail) -> Anomaly {
        Anomaly { kind, phase, process: Some(self.process), comm: self.comm.clone(), length_ns, detail }
    }

    fn report(&self, kind: Kind, change: Option<Transition>, detail: Detail, found: &mut Vec<Anomaly>) {
        match change {
            Some(Transition::Begin) => found.push(self.raise(kind, Phase::Begin, None, detail)),
            Some(Transition::End(ns)) => found.push(self.raise(kind, Phase::End, Some(ns), Detail::new())),
            None => {}
        }
    }
}

fn is_benign(wchan: &ByteString) -> bool {
    wchan.0.is_empty() || BENIGN_WAITS.iter().any(|benign| benign.as_bytes() == wchan.as_bytes())
}
