//! Judges a [`Scene`].

use std::collections::{BTreeMap, BTreeSet};

use super::scene::{Checkout, FileKind, FileState, PreflightRequest, Proc, Scene, SessionTie};
use super::{
    LeftoverFinding, LeftoverKind, LeftoverProcess, LeftoverStatus, Ownership, PreflightReport, SCHEMA,
};
use crate::core::identity::{NS_PER_TICK, ProcessId};
use crate::core::redact;
use crate::core::text::ByteString;

/// Judges what is left.
pub fn judge(scene: &Scene, asked: &PreflightRequest) -> PreflightReport {
    let judge = Judge::of(scene);
    let mut findings = judge.processes();
    findings.extend(scene.listeners.iter().filter_map(|listener| judge.listener(listener, asked)));
    findings.extend(judge.zombies());
    findings.extend(asked.pids.iter().filter_map(|pid| judge.requested_process(*pid)));
    findings.extend(files(scene));
    findings.extend(scene.unfinished.iter().map(|unfinished| LeftoverFinding {
        kind: LeftoverKind::UnfinishedSession,
        status: LeftoverStatus::Left,
        key: format!("session {}", unfinished.session),
        sentence: format!("session {} was not finished: its tracer died", unfinished.session),
        command: Some("tracer-user recover".to_owned()),
        processes: Vec::new(),
        path: None,
        port: None,
        namespace: None,
        session: Some(unfinished.session.clone()),
    }));
    findings.extend(scene.pins.iter().map(|pins| LeftoverFinding {
        kind: LeftoverKind::Pins,
        status: LeftoverStatus::Note,
        key: format!("pins {pins}"),
        sentence: format!(
            "the kernel still records events for the pins {pins}, whose tracer and trace directory are gone"
        ),
        command: Some("tracer-user recover".to_owned()),
        processes: Vec::new(),
        path: None,
        port: None,
        namespace: None,
        session: None,
    }));
    findings.retain(|finding| !asked.baseline.contains(&finding.key));
    findings.sort_by_key(|finding| finding.status);
    PreflightReport {
        schema: SCHEMA.to_owned(),
        clean: !findings.iter().any(|finding| finding.status.breaks()),
        checkout: scene.checkout.as_ref().map(|checkout| checkout.dir.clone()),
        findings,
        problems: scene.problems.clone(),
    }
}

/// Why a process counts as left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeftProof {
    /// Its session is over.
    Session(SessionTie),
    /// It belongs to the checkout, and its parent is gone. The proof of the first.
    Orphan(String),
}

/// A scene, with what follows from it for every process.
pub(super) struct Judge<'s> {
    scene: &'s Scene,
    pub(super) by_pid: BTreeMap<u32, &'s Proc>,
    pub(super) left: BTreeMap<ProcessId, LeftProof>,
    /// This process, its ancestors, and everything that running sessions have started: never left.
    spared: BTreeSet<ProcessId>,
}

impl<'s> Judge<'s> {
    fn of(scene: &'s Scene) -> Self {
        let by_pid: BTreeMap<u32, &Proc> = scene.processes.iter().map(|it| (it.id.tgid, it)).collect();
        let mut view = Self { scene, by_pid, left: BTreeMap::new(), spared: BTreeSet::new() };
        let running = |id: &ProcessId| scene.ties.get(id).is_some_and(|tie| tie.running);
        view.spared = scene
            .processes
            .iter()
            .filter(|it| running(&it.id) || scene.own_ancestry.contains(&it.id.tgid))
            .map(|it| it.id)
            .collect();
        // A process that was started in a running session belongs to it, recorded or not.
        view.spread_spared();
        for it in scene.processes.iter().filter(|it| !it.zombie && !view.spared.contains(&it.id)) {
            if let Some(tie) = scene.ties.get(&it.id) {
                view.left.insert(it.id, LeftProof::Session(tie.clone()));
            } else if let Some(proof) = view.checkout_proof(it)
                && view.is_orphan(it)
            {
                view.left.insert(it.id, LeftProof::Orphan(proof));
            }
        }
        view.spread_left();
        view
    }

    fn spread_spared(&mut self) {
        let sessions: BTreeSet<u32> = self
            .spared
            .iter()
            .filter(|id| self.scene.ties.get(id).is_some_and(|tie| tie.running))
            .map(|id| id.tgid)
            .collect();
        for it in &self.scene.processes {
            if self.ancestors(it).any(|ancestor| sessions.contains(&ancestor.id.tgid)) {
                self.spared.insert(it.id);
            }
        }
    }

    /// Children of left processes are left, too.
    fn spread_left(&mut self) {
        let mut more = Vec::new();
        for it in self.scene.processes.iter().filter(|it| !it.zombie) {
            if self.left.contains_key(&it.id) || self.spared.contains(&it.id) {
                continue;
            }
            let from = self.ancestors(it).find_map(|ancestor| Some((ancestor, self.left.get(&ancestor.id)?)));
            if let Some((ancestor, left)) = from {
                let descends = format!("started by pid {}", ancestor.id.tgid);
                more.push((
                    it.id,
                    match left {
                        LeftProof::Session(tie) => {
                            LeftProof::Session(SessionTie { proof: descends, ..tie.clone() })
                        }
                        LeftProof::Orphan(_) => LeftProof::Orphan(descends),
                    },
                ));
            }
        }
        self.left.extend(more);
    }

    fn ancestors<'a>(&'a self, it: &'a Proc) -> impl Iterator<Item = &'a Proc> {
        // A parent is older than its child. That ends the walk even if numbers were reused meanwhile.
        std::iter::successors(Some(it), |child| {
            let parent = self.by_pid.get(&child.ppid).copied()?;
            (parent.id.tgid > 1 && parent.id != child.id && parent.id.start_ticks <= child.id.start_ticks)
                .then_some(parent)
        })
        .skip(1)
        .take(self.by_pid.len())
    }

    /// The process that started it is gone: it was reparented to init, or to a subreaper that is not of the
    /// checkout itself. A parent that cannot be seen proves nothing.
    fn is_orphan(&self, it: &Proc) -> bool {
        match self.by_pid.get(&it.ppid) {
            None => false,
            Some(parent) => parent.reaper && self.checkout_proof(parent).is_none(),
        }
    }

    /// The proof that it belongs to the checkout; `None` when there is none.
    fn checkout_proof(&self, it: &Proc) -> Option<String> {
        let checkout = self.scene.checkout.as_ref()?;
        if it.uid != Some(checkout.uid) {
            return None;
        }
        if it.cwd.as_ref().is_some_and(|cwd| under(checkout, cwd.as_bytes())) {
            return Some("its working directory is in the checkout".to_owned());
        }
        if it.exe.as_ref().is_some_and(|exe| under(checkout, exe.as_bytes())) {
            return Some("its program is in the checkout".to_owned());
        }
        let named = it.cmdline.iter().any(|word| {
            let word = word.as_bytes();
            let value = word.iter().position(|byte| *byte == b'=').map(|at| &word[at + 1..]);
            under(checkout, word) || value.is_some_and(|value| under(checkout, value))
        });
        named.then(|| "its command line names a file in the checkout".to_owned())
    }

    pub(super) fn ownership(&self, it: &Proc) -> Ownership {
        match (self.left.get(&it.id), self.scene.ties.get(&it.id)) {
            (_, Some(tie)) | (Some(LeftProof::Session(tie)), None) => Ownership::Session {
                session: tie.session.clone(),
                running: tie.running,
                proof: tie.proof.clone(),
            },
            (Some(LeftProof::Orphan(proof)), None) => Ownership::Checkout { proof: proof.clone() },
            (None, None) if self.spared.contains(&it.id) => Ownership::Stranger,
            (None, None) => match self.checkout_proof(it) {
                Some(proof) => Ownership::Checkout { proof },
                None => Ownership::Stranger,
            },
        }
    }

    pub(super) fn describe(&self, it: &Proc) -> LeftoverProcess {
        let words: Vec<_> = it.cmdline.iter().map(|word| ByteString::from(word.as_bytes())).collect();
        LeftoverProcess {
            pid: it.id.tgid,
            start_ticks: it.id.start_ticks,
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
                    kind,
                    status: LeftoverStatus::Left,
                    key: format!("process {}", it.id),
                    sentence: format!("{}, {}, {why}", named(&process), age(&process)),
                    command: Some(match &session {
                        Some(session) => format!("tracer-user reap --session {session} --yes"),
                        None => format!("tracer-user reap --pid {} --yes", it.id.tgid),
                    }),
                    processes: vec![process],
                    path: None,
                    port: None,
                    namespace: None,
                    session,
                })
            })
            .collect()
    }

    /// A requested process that is not left.
    fn requested_process(&self, pid: u32) -> Option<LeftoverFinding> {
        let it = self.by_pid.get(&pid).copied().filter(|it| !self.left.contains_key(&it.id))?;
        let process = self.describe(it);
        Some(LeftoverFinding {
            kind: LeftoverKind::Process,
            status: LeftoverStatus::Note,
            key: format!("process {}", it.id),
            sentence: format!("{}, {}, is {}", named(&process), age(&process), owner_of(&process)),
            command: None,
            processes: vec![process],
            path: None,
            port: None,
            namespace: None,
            session: None,
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
                Some(LeftoverFinding {
                    kind: LeftoverKind::Zombie,
                    status: LeftoverStatus::Note,
                    key: format!("process {}", it.id),
                    sentence: format!(
                        "{} (pid {}) has ended and its parent {} has not reaped it: it goes when the parent ends",
                        it.comm.escaped(),
                        it.id.tgid,
                        named(&process)
                    ),
                    command: None,
                    processes: vec![self.describe(it), process],
                    path: None,
                    port: None,
                    namespace: None,
                    session: None,
                })
            })
            .collect()
    }
}

fn files(scene: &Scene) -> impl Iterator<Item = LeftoverFinding> {
    scene.files.iter().map(|file| {
        let (kind, what) = match file.kind {
            FileKind::Socket => (LeftoverKind::SocketFile, "socket"),
            FileKind::SharedMemory => (LeftoverKind::SharedMemory, "shared memory"),
            FileKind::PidFile => (LeftoverKind::PidFile, "pid file"),
        };
        let path = file.path.escaped();
        let (status, why) = match (&file.state, &file.owned) {
            (FileState::Stale(proof), Some(owned)) => {
                (LeftoverStatus::Left, format!("is stale: {proof}; {owned}"))
            }
            (FileState::Stale(proof), None) => {
                (LeftoverStatus::Note, format!("is unused: {proof}; its owner is unknown"))
            }
            (FileState::Unknown(why), _) => (LeftoverStatus::Unknown, format!("may be in use: {why}")),
        };
        LeftoverFinding {
            kind,
            status,
            key: format!("file {path}"),
            sentence: format!("{what} {path} {why}"),
            command: (status == LeftoverStatus::Left).then(|| "tracer-user reap --all-mine --yes".to_owned()),
            processes: Vec::new(),
            path: Some(file.path.clone()),
            port: None,
            namespace: None,
            session: file.session.clone(),
        }
    })
}

fn under(checkout: &Checkout, path: &[u8]) -> bool {
    path.strip_prefix(checkout.dir.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
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
