//! From a [`Scene`] to findings.

use std::collections::{BTreeMap, BTreeSet};

use super::scene::{Asked, Checkout, FileKind, FileState, Listener, Proc, Scene, Tie};
use super::{Culprit, Finding, Kind, Ownership, Preflight, SCHEMA, Status};
use crate::core::evidence::ByteString;
use crate::core::identity::{NS_PER_TICK, ProcessId};
use crate::core::redact;

/// Judges.
pub fn judge(scene: &Scene, asked: &Asked) -> Preflight {
    let view = View::of(scene);
    let mut findings = view.processes();
    findings.extend(scene.listeners.iter().filter_map(|listener| view.listener(listener, asked)));
    findings.extend(view.zombies());
    findings.extend(asked.pids.iter().filter_map(|pid| view.asked_process(*pid)));
    findings.extend(files(scene));
    findings.extend(scene.unfinished.iter().map(|unfinished| Finding {
        kind: Kind::UnfinishedSession,
        status: Status::Left,
        key: format!("session {}", unfinished.session),
        sentence: format!("session {} was not finished: its tracer died", unfinished.session),
        command: Some("tracer-user recover".to_owned()),
        processes: Vec::new(),
        path: None,
        port: None,
        namespace: None,
        session: Some(unfinished.session.clone()),
    }));
    findings.extend(scene.pins.iter().map(|pins| Finding {
        kind: Kind::Pins,
        status: Status::Note,
        key: format!("pins {pins}"),
        sentence: format!(
            "the kernel still records for pins {pins}, whose tracer and trace directory are gone"
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
    Preflight {
        schema: SCHEMA.to_owned(),
        clean: !findings.iter().any(|finding| finding.status.breaks()),
        checkout: scene.checkout.as_ref().map(|checkout| checkout.dir.clone()),
        findings,
        problems: scene.problems.clone(),
    }
}

/// Why a process counts as left.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
    /// Its session is over.
    Session(Tie),
    /// It is the checkout's, and its starter is gone.
    Orphan(String),
}

struct View<'s> {
    scene: &'s Scene,
    by_pid: BTreeMap<u32, &'s Proc>,
    left: BTreeMap<ProcessId, Left>,
    /// Ourselves, our ancestors, and all that we and running sessions have started.
    spared: BTreeSet<ProcessId>,
}

impl<'s> View<'s> {
    fn of(scene: &'s Scene) -> Self {
        let by_pid: BTreeMap<u32, &Proc> = scene.processes.iter().map(|it| (it.id.tgid, it)).collect();
        let mut view = Self { scene, by_pid, left: BTreeMap::new(), spared: BTreeSet::new() };
        let running = |id: &ProcessId| scene.ties.get(id).is_some_and(|tie| tie.running);
        view.spared = scene
            .processes
            .iter()
            .filter(|it| running(&it.id) || scene.us.contains(&it.id.tgid))
            .map(|it| it.id)
            .collect();
        // What a running session's processes start is its, whether or not it is in a record.
        view.spread_spared();
        for it in scene.processes.iter().filter(|it| !it.zombie && !view.spared.contains(&it.id)) {
            if let Some(tie) = scene.ties.get(&it.id) {
                view.left.insert(it.id, Left::Session(tie.clone()));
            } else if let Some(proof) = view.checkout_proof(it)
                && view.is_orphan(it)
            {
                view.left.insert(it.id, Left::Orphan(proof));
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

    /// Children of what is left are left with it.
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
                        Left::Session(tie) => Left::Session(Tie { proof: descends, ..tie.clone() }),
                        Left::Orphan(_) => Left::Orphan(descends),
                    },
                ));
            }
        }
        self.left.extend(more);
    }

    fn ancestors<'a>(&'a self, it: &'a Proc) -> impl Iterator<Item = &'a Proc> {
        // A parent is older than its child: that ends the walk even if numbers were given anew meanwhile.
        std::iter::successors(Some(it), |child| {
            let parent = self.by_pid.get(&child.ppid).copied()?;
            (parent.id.tgid > 1 && parent.id != child.id && parent.id.start_ticks <= child.id.start_ticks)
                .then_some(parent)
        })
        .skip(1)
        .take(self.by_pid.len())
    }

    /// Who started it is gone: it was given to init or to a subreaper that is not of the checkout itself. A parent
    /// that cannot be seen proves nothing.
    fn is_orphan(&self, it: &Proc) -> bool {
        match self.by_pid.get(&it.ppid) {
            None => false,
            Some(parent) => parent.reaper && self.checkout_proof(parent).is_none(),
        }
    }

    /// How it is known to be the checkout's.
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

    fn ownership(&self, it: &Proc) -> Ownership {
        match (self.left.get(&it.id), self.scene.ties.get(&it.id)) {
            (_, Some(tie)) | (Some(Left::Session(tie)), None) => Ownership::Session {
                session: tie.session.clone(),
                running: tie.running,
                proof: tie.proof.clone(),
            },
            (Some(Left::Orphan(proof)), None) => Ownership::Checkout { proof: proof.clone() },
            (None, None) if self.spared.contains(&it.id) => Ownership::Stranger,
            (None, None) => match self.checkout_proof(it) {
                Some(proof) => Ownership::Checkout { proof },
                None => Ownership::Stranger,
            },
        }
    }

    fn culprit(&self, it: &Proc) -> Culprit {
        let words: Vec<_> = it.cmdline.iter().map(|word| ByteString::from(word.as_bytes())).collect();
        Culprit {
            pid: it.id.tgid,
            start_ticks: it.id.start_ticks,
            comm: it.comm.clone(),
            cmdline: redact::argv(&words),
            age_seconds: self.scene.boot_ns.saturating_sub(it.id.start_ticks * NS_PER_TICK) / 1_000_000_000,
            ownership: self.ownership(it),
        }
    }

    fn processes(&self) -> Vec<Finding> {
        let living = self.scene.processes.iter().filter(|it| !it.zombie);
        living
            .filter_map(|it| {
                let left = self.left.get(&it.id)?;
                let culprit = self.culprit(it);
                let (kind, why, session) = match left {
                    Left::Session(tie) => (
                        Kind::LeakedProcess,
                        format!("is left of session {} ({})", tie.session, tie.proof),
                        Some(tie.session.clone()),
                    ),
                    Left::Orphan(proof) => {
                        (Kind::Orphan, format!("goes on though its starter is gone; {proof}"), None)
                    }
                };
                Some(Finding {
                    kind,
                    status: Status::Left,
                    key: format!("process {}", it.id),
                    sentence: format!("{}, {}, {why}", named(&culprit), age(&culprit)),
                    command: Some(match &session {
                        Some(session) => format!("tracer-user reap --session {session} --yes"),
                        None => format!("tracer-user reap --pid {} --yes", it.id.tgid),
                    }),
                    processes: vec![culprit],
                    path: None,
                    port: None,
                    namespace: None,
                    session,
                })
            })
            .collect()
    }

    fn listener(&self, listener: &Listener, asked: &Asked) -> Option<Finding> {
        // A port of another namespace is in nobody's way here.
        let here = listener.namespace.is_none();
        let wanted = listener.asked || here && listener.port.is_some_and(|port| asked.ports.contains(&port));
        let holders: Vec<&Proc> = listener
            .holders
            .iter()
            .filter_map(|id| self.by_pid.get(&id.tgid).copied())
            .filter(|it| listener.holders.contains(&it.id))
            .collect();
        let left = holders.iter().find(|it| self.left.contains_key(&it.id));
        let culprits: Vec<_> = holders.iter().map(|it| self.culprit(it)).collect();
        let place = listener.namespace.as_ref().map_or_else(String::new, |it| format!(" in {it}"));
        let what = match (listener.port, &listener.path) {
            (Some(port), _) => format!("port {port} ({} {}){place}", listener.protocol, listener.address),
            (None, _) => format!("socket {}{place}", listener.address),
        };
        // What `reap --port` may be told to free.
        let port = listener.port.filter(|_| here);
        let mut command = None;
        let (status, sentence) = if let Some(it) = left {
            let culprit = self.culprit(it);
            command = Some(match (&culprit.ownership, port) {
                (Ownership::Session { session, .. }, _) => {
                    format!("tracer-user reap --session {session} --yes")
                }
                (_, Some(port)) => format!("tracer-user reap --port {port} --yes"),
                (_, None) => format!("tracer-user reap --pid {} --yes", it.id.tgid),
            });
            (
                Status::Left,
                format!("{what} is held by {}, {}, {}", named(&culprit), age(&culprit), whose(&culprit)),
            )
        } else if let Some(culprit) = culprits.first() {
            let held = format!("{}, {}", named(culprit), age(culprit));
            match &culprit.ownership {
                Ownership::Checkout { .. } if wanted => {
                    command = port.map(|port| format!("tracer-user reap --port {port} --yes"));
                    (
                        Status::InUse,
                        format!(
                            "{what} is held by {held}, {}, which its starter still keeps",
                            whose(culprit)
                        ),
                    )
                }
                Ownership::Checkout { .. } => {
                    (Status::Note, format!("{what} is held by {held}, {}", whose(culprit)))
                }
                Ownership::Session { session, .. } if wanted => (
                    Status::InUse,
                    format!("{what} is held by {held}, of session {session}, which still runs"),
                ),
                _ if wanted => (Status::InUse, format!("{held} also uses {what}; it is not yours")),
                _ => return None,
            }
        } else if wanted {
            (Status::InUse, format!("{what} is held by somebody who cannot be seen from here"))
        } else {
            return None;
        };
        let session = culprits.iter().find_map(|culprit| match &culprit.ownership {
            Ownership::Session { session, .. } => Some(session.clone()),
            _ => None,
        });
        Some(Finding {
            kind: Kind::Listener,
            status,
            key: format!("listener {} {}{place} {}", listener.protocol, listener.address, keys(&culprits)),
            sentence,
            command,
            processes: culprits,
            path: listener.path.clone(),
            port: listener.port,
            namespace: listener.namespace.clone(),
            session,
        })
    }

    /// A process that is asked about and that no other finding tells of as left.
    fn asked_process(&self, pid: u32) -> Option<Finding> {
        let it = self.by_pid.get(&pid).copied().filter(|it| !self.left.contains_key(&it.id))?;
        let culprit = self.culprit(it);
        Some(Finding {
            kind: Kind::Process,
            status: Status::Note,
            key: format!("process {}", it.id),
            sentence: format!("{}, {}, is {}", named(&culprit), age(&culprit), whose(&culprit)),
            command: None,
            processes: vec![culprit],
            path: None,
            port: None,
            namespace: None,
            session: None,
        })
    }

    fn zombies(&self) -> Vec<Finding> {
        let zombies = self.scene.processes.iter().filter(|it| it.zombie && !self.spared.contains(&it.id));
        zombies
            .filter_map(|it| {
                let parent = self.by_pid.get(&it.ppid).copied()?;
                if self.spared.contains(&parent.id) || !self.ownership(parent).is_ours() {
                    return None;
                }
                let culprit = self.culprit(parent);
                Some(Finding {
                    kind: Kind::Zombie,
                    status: Status::Note,
                    key: format!("process {}", it.id),
                    sentence: format!(
                        "{} (pid {}) has ended and is not collected by its parent {}: it goes when that one ends",
                        it.comm.escaped(),
                        it.id.tgid,
                        named(&culprit)
                    ),
                    command: None,
                    processes: vec![self.culprit(it), culprit],
                    path: None,
                    port: None,
                    namespace: None,
                    session: None,
                })
            })
            .collect()
    }
}

fn files(scene: &Scene) -> impl Iterator<Item = Finding> {
    scene.files.iter().map(|file| {
        let (kind, what) = match file.kind {
            FileKind::Socket => (Kind::SocketFile, "socket"),
            FileKind::SharedMemory => (Kind::SharedMemory, "shared memory"),
            FileKind::PidFile => (Kind::PidFile, "pid file"),
        };
        let path = file.path.escaped();
        let (status, why) = match (&file.state, &file.ours) {
            (FileState::Stale(proof), Some(ours)) => (Status::Left, format!("is stale: {proof}; {ours}")),
            (FileState::Stale(proof), None) => {
                (Status::Note, format!("is used by nobody: {proof}; whose it is cannot be told"))
            }
            (FileState::Unknown(why), _) => (Status::Unknown, format!("may be in use: {why}")),
        };
        Finding {
            kind,
            status,
            key: format!("file {path}"),
            sentence: format!("{what} {path} {why}"),
            command: (status == Status::Left).then(|| "tracer-user reap --all-mine --yes".to_owned()),
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

fn named(culprit: &Culprit) -> String {
    const LONGEST: usize = 80;
    let line = culprit.cmdline.join(" ");
    let shown = if line.is_empty() { culprit.comm.escaped() } else { line };
    let cut: String = shown.chars().take(LONGEST).collect();
    let dots = if cut.len() < shown.len() { "…" } else { "" };
    format!("{cut}{dots} (pid {})", culprit.pid)
}

fn age(culprit: &Culprit) -> String {
    let seconds = culprit.age_seconds;
    let text = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("since {text}")
}

fn whose(culprit: &Culprit) -> String {
    match &culprit.ownership {
        Ownership::Session { session, running: true, .. } => {
            format!("of session {session}, which still runs")
        }
        Ownership::Session { session, .. } => format!("left of session {session}"),
        Ownership::Checkout { proof } => format!("of this checkout ({proof})"),
        Ownership::Stranger => "not yours".to_owned(),
        Ownership::Unknown => "of nobody knows whom".to_owned(),
    }
}

fn keys(culprits: &[Culprit]) -> String {
    let keys: Vec<_> = culprits.iter().map(|it| format!("{}-{}", it.pid, it.start_ticks)).collect();
    keys.join(",")
}
