//! Judges a [`Scene`].

use super::files;
use super::ownership::{Judge, LeftProof};
use super::scene::{PreflightRequest, Proc, Scene};
use super::{
    LeftoverFinding, LeftoverKind, LeftoverProcess, LeftoverStatus, Ownership, PreflightReport, SCHEMA,
};
use crate::core::identity::NS_PER_TICK;
use crate::core::redact;
use crate::core::text::ByteString;

/// A process without a known owner that is older than this is noted, seconds.
const OLD: u64 = 3600;

/// Judges what is left.
pub fn judge(scene: &Scene, asked: &PreflightRequest) -> PreflightReport {
    let judge = Judge::of(scene, &asked.pids);
    let mut findings = judge.processes();
    findings.extend(scene.listeners.iter().filter_map(|listener| judge.listener(listener, asked)));
    findings.extend(judge.zombies());
    findings.extend(asked.pids.iter().filter_map(|pid| judge.requested_process(*pid)));
    findings.extend(judge.nobodys(&asked.pids));
    findings.extend(scene.files.iter().map(|file| files::finding(scene, file)));
    findings.extend(scene.unfinished.iter().map(|unfinished| LeftoverFinding {
        command: Some("tracer-user recover".to_owned()),
        session: Some(unfinished.session.clone()),
        ..LeftoverFinding::new(
            LeftoverKind::UnfinishedSession,
            LeftoverStatus::Left,
            format!("session {}", unfinished.session),
            format!("session {} was not finished: its tracer died", unfinished.session),
        )
    }));
    findings.extend(scene.pins.iter().map(|pins| LeftoverFinding {
        command: Some("tracer-user recover".to_owned()),
        ..LeftoverFinding::new(
            LeftoverKind::Pins,
            LeftoverStatus::Note,
            format!("pins {pins}"),
            format!("the kernel still records events for the pins {pins}, whose tracer is gone"),
        )
    }));
    findings.retain(|finding| !asked.baseline.contains(&finding.key));
    findings.sort_by_key(|finding| finding.status);
    for command in findings.iter_mut().filter_map(|finding| finding.command.as_mut()) {
        if !command.ends_with("tracer-user recover") {
            command.push_str(&asked.repo_option);
        }
        command.push_str(&asked.place_options);
    }
    PreflightReport {
        schema: SCHEMA.to_owned(),
        clean: scene.incomplete.is_empty() && !findings.iter().any(|finding| finding.status.breaks()),
        uid: scene.uid,
        checkout: scene.checkout.as_ref().map(|checkout| checkout.dir.clone()),
        findings,
        checks: Vec::new(),
        problems: scene.incomplete.iter().chain(&scene.problems).cloned().collect(),
    }
}

impl Judge<'_> {
    pub(super) fn describe(&self, it: &Proc) -> LeftoverProcess {
        let words: Vec<_> = it.cmdline.iter().map(|word| ByteString::from(word.as_bytes())).collect();
        LeftoverProcess {
            pid: it.id.tgid,
            start_ticks: it.id.start_ticks,
            uid: it.uid,
            comm: it.comm.clone(),
            cmdline: redact::argv(&words),
            age_seconds: self.scene.boot_ns.saturating_sub(it.id.start_ticks * NS_PER_TICK) / 1_000_000_000,
            ownership: self.ownership(it),
        }
    }

    fn processes(&self) -> Vec<LeftoverFinding> {
        let living = self.scene.processes.iter().filter(|it| !it.zombie);
        living
            .filter_map(|it| {
                let left = self.left.get(&it.id)?;
                let process = self.describe(it);
                let (kind, why, session) = match left {
                    LeftProof::Session(tie) => (
                        LeftoverKind::LeakedProcess,
                        format!("is left of session {} ({})", tie.session, tie.proof),
                        Some(tie.session.clone()),
                    ),
                    LeftProof::Orphan(proof) => (
                        LeftoverKind::Orphan,
                        format!("still runs although the process that started it is gone; {proof}"),
                        None,
                    ),
                };
                Some(LeftoverFinding {
                    command: Some(match &session {
                        Some(session) => format!("tracer-user reap --session {session} --yes"),
                        None => format!("tracer-user reap --pid {} --yes", it.id.tgid),
                    }),
                    session,
                    ..LeftoverFinding::of_process(kind, LeftoverStatus::Left, process, &why)
                })
            })
            .collect()
    }

    /// A requested process that is not left.
    fn requested_process(&self, pid: u32) -> Option<LeftoverFinding> {
        let it = self.by_pid.get(&pid).copied().filter(|it| !self.left.contains_key(&it.id))?;
        let process = self.describe(it);
        let why = format!("is {}", owner_of(&process));
        Some(LeftoverFinding::of_process(LeftoverKind::Process, LeftoverStatus::Note, process, &why))
    }

    /// Processes of this user that have run for long, whose parent is gone, and that nothing ties to a
    /// session, a service, a terminal or the checkout.
    fn nobodys<'a>(&'a self, requested: &'a [u32]) -> impl Iterator<Item = LeftoverFinding> + 'a {
        let of_nobody = move |it: &&Proc| {
            !it.zombie
                && !it.reaper
                && !it.cmdline.is_empty()
                && it.uid == Some(self.scene.uid)
                && it.service.is_none()
                && self.is_orphan(it)
                && !self.left.contains_key(&it.id)
                && !self.spared.contains(&it.id)
                && !requested.contains(&it.id.tgid)
                && self.manager(it).is_none()
        };
        self.scene.processes.iter().filter(of_nobody).filter_map(|it| {
            let process = self.describe(it);
            let why = "runs although the process that started it is gone; its owner is unknown";
            (process.age_seconds >= OLD).then(|| {
                LeftoverFinding::of_process(LeftoverKind::Orphan, LeftoverStatus::Note, process, why)
            })
        })
    }

    fn zombies(&self) -> Vec<LeftoverFinding> {
        let zombies = self.scene.processes.iter().filter(|it| it.zombie && !self.spared.contains(&it.id));
        zombies
            .filter_map(|it| {
                let parent = self.by_pid.get(&it.ppid).copied()?;
                if self.spared.contains(&parent.id) || !self.ownership(parent).may_be_reaped() {
                    return None;
                }
                let process = self.describe(parent);
                let sentence = format!(
                    "{} (pid {}) has ended and its parent {} has not reaped it: it goes when the parent ends",
                    it.comm.escaped(),
                    it.id.tgid,
                    named(&process)
                );
                let key = format!("process {}", it.id);
                Some(LeftoverFinding {
                    processes: vec![self.describe(it), process],
                    ..LeftoverFinding::new(LeftoverKind::Zombie, LeftoverStatus::Note, key, sentence)
                })
            })
            .collect()
    }
}

impl LeftoverFinding {
    /// A finding about nothing in particular yet.
    pub(super) fn new(kind: LeftoverKind, status: LeftoverStatus, key: String, sentence: String) -> Self {
        Self {
            kind,
            status,
            key,
            sentence,
            command: None,
            processes: Vec::new(),
            path: None,
            port: None,
            namespace: None,
            session: None,
            requested: false,
            protected: None,
        }
    }

    fn of_process(kind: LeftoverKind, status: LeftoverStatus, process: LeftoverProcess, why: &str) -> Self {
        let key = format!("process {}-{}", process.pid, process.start_ticks);
        let sentence = format!("{}, {}, {why}", named(&process), age(&process));
        Self { processes: vec![process], ..Self::new(kind, status, key, sentence) }
    }
}

pub(super) fn named(process: &LeftoverProcess) -> String {
    const LONGEST: usize = 80;
    let line = process.cmdline.join(" ");
    let shown = if line.is_empty() { process.comm.escaped() } else { line };
    let cut: String = shown.chars().take(LONGEST).collect();
    let dots = if cut.len() < shown.len() { "…" } else { "" };
    format!("{cut}{dots} (pid {})", process.pid)
}

pub(super) fn age(process: &LeftoverProcess) -> String {
    let seconds = process.age_seconds;
    let text = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("since {text}")
}

pub(super) fn owner_of(process: &LeftoverProcess) -> String {
    match &process.ownership {
        Ownership::Session { session, running: true, .. } => {
            format!("of session {session}, which still runs")
        }
        Ownership::Session { session, .. } => format!("left of session {session}"),
        Ownership::Checkout { proof } => format!("of this checkout ({proof})"),
        Ownership::Stranger => "not yours".to_owned(),
        Ownership::Unknown => "of an unknown owner".to_owned(),
    }
}

pub(super) fn keys(holders: &[LeftoverProcess]) -> String {
    let keys: Vec<_> = holders.iter().map(|it| format!("{}-{}", it.pid, it.start_ticks)).collect();
    keys.join(",")
}
