//! Whose a process is, and which processes are left.

use std::collections::{BTreeMap, BTreeSet};

use super::Ownership;
use super::scene::{Checkout, Proc, Scene, SessionTie};
use crate::core::identity::ProcessId;
use crate::core::text::ByteString;

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
    pub(super) scene: &'s Scene,
    pub(super) by_pid: BTreeMap<u32, &'s Proc>,
    pub(super) left: BTreeMap<ProcessId, LeftProof>,
    /// This process, its ancestors, and everything that running sessions have started: never left.
    pub(super) spared: BTreeSet<ProcessId>,
    /// Processes that were requested by their pid.
    requested: BTreeSet<u32>,
}

impl<'s> Judge<'s> {
    pub(super) fn of(scene: &'s Scene, requested: &[u32]) -> Self {
        let by_pid: BTreeMap<u32, &Proc> = scene.processes.iter().map(|it| (it.id.tgid, it)).collect();
        let requested = requested.iter().copied().collect();
        let mut view = Self { scene, by_pid, left: BTreeMap::new(), spared: BTreeSet::new(), requested };
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
        // Each round goes one generation down.
        while view.spread_left() {}
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

    /// Children of left processes are left, too: all those of a session's process, and of an orphan's those
    /// that belong to the checkout themselves. A daemon that was started in the checkout may have started
    /// anything since.
    fn spread_left(&mut self) -> bool {
        let mut more = Vec::new();
        for it in self.scene.processes.iter().filter(|it| !it.zombie) {
            if self.left.contains_key(&it.id) || self.spared.contains(&it.id) {
                continue;
            }
            let Some(parent) = self.parent(it) else { continue };
            let descends = || format!("started by pid {}", parent.id.tgid);
            match self.left.get(&parent.id) {
                Some(LeftProof::Session(tie)) => {
                    more.push((it.id, LeftProof::Session(SessionTie { proof: descends(), ..tie.clone() })));
                }
                Some(LeftProof::Orphan(_)) => {
                    if let Some(proof) = self.checkout_proof(it) {
                        more.push((it.id, LeftProof::Orphan(format!("{proof}, {}", descends()))));
                    }
                }
                None => {}
            }
        }
        let found = !more.is_empty();
        self.left.extend(more);
        found
    }

    fn parent<'a>(&'a self, it: &Proc) -> Option<&'a Proc> {
        // A parent is older than its child, unless numbers were reused meanwhile.
        let parent = self.by_pid.get(&it.ppid).copied()?;
        (parent.id.tgid > 1 && parent.id != it.id && parent.id.start_ticks <= it.id.start_ticks)
            .then_some(parent)
    }

    fn ancestors<'a>(&'a self, it: &'a Proc) -> impl Iterator<Item = &'a Proc> {
        std::iter::successors(Some(it), |child| self.parent(child)).skip(1).take(self.by_pid.len())
    }

    /// The process that started it is gone: it was reparented to init, or to a subreaper that is not of the
    /// checkout itself. A parent that cannot be seen proves nothing.
    pub(super) fn is_orphan(&self, it: &Proc) -> bool {
        match self.by_pid.get(&it.ppid) {
            None => false,
            Some(parent) => parent.reaper && self.checkout_proof(parent).is_none(),
        }
    }

    /// What manages it, when that is neither this process's service nor its login session: a service manager,
    /// or a person on a terminal.
    pub(super) fn manager(&self, it: &Proc) -> Option<String> {
        let own = self.by_pid.get(&self.scene.own_pid).copied();
        if let Some(service) = &it.service
            && own.is_none_or(|own| own.service.as_ref() != Some(service))
        {
            let name = service.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            return Some(format!("it runs as {}", ByteString::from(name).escaped()));
        }
        let other_terminal = it.terminal && own.is_none_or(|own| own.session != it.session);
        let leader = self.by_pid.get(&it.session).copied().filter(|leader| {
            // A leader that was left itself is no login session.
            other_terminal
                && !leader.zombie
                && leader.id.start_ticks <= it.id.start_ticks
                && self.by_pid.get(&leader.ppid).is_some_and(|parent| !parent.reaper)
        });
        leader.map(|leader| format!("it runs on the terminal of pid {}", leader.id.tgid))
    }

    /// The proof that it belongs to the checkout; `None` when there is none.
    pub(super) fn checkout_proof(&self, it: &Proc) -> Option<String> {
        let checkout = self.scene.checkout.as_ref()?;
        if self.requested.contains(&it.id.tgid) {
            return named_in(checkout, it).or_else(|| self.indirect_proof(checkout, it));
        }
        (it.uid == Some(checkout.uid) && self.manager(it).is_none()).then(|| named_in(checkout, it))?
    }

    /// A proof that is enough for a process that was requested.
    fn indirect_proof(&self, checkout: &Checkout, it: &Proc) -> Option<String> {
        let named = it.environment.iter().find_map(|variable| {
            let (name, value) = split(variable.as_bytes())?;
            under(checkout, value).then(|| String::from_utf8_lossy(name).into_owned())
        });
        match named.as_deref() {
            Some("PWD") => Some("it was started in the checkout (PWD)".to_owned()),
            Some(name) => Some(format!("its interpreter is in the checkout ({name})")),
            None => {
                let parent = self.parent(it).filter(|parent| parent.uid == it.uid)?;
                let proof = named_in(checkout, parent)?;
                Some(format!("its parent, pid {}, is of the checkout: {proof}", parent.id.tgid))
            }
        }
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
}

/// What of a process names a place in the checkout.
fn named_in(checkout: &Checkout, it: &Proc) -> Option<String> {
    if it.cwd.as_ref().is_some_and(|cwd| under(checkout, cwd.as_bytes())) {
        return Some("its working directory is in the checkout".to_owned());
    }
    if it.exe.as_ref().is_some_and(|exe| under(checkout, exe.as_bytes())) {
        return Some("its program is in the checkout".to_owned());
    }
    let named = it.cmdline.iter().any(|word| {
        let word = word.as_bytes();
        under(checkout, word) || split(word).is_some_and(|(_, value)| under(checkout, value))
    });
    named.then(|| "its command line names a file in the checkout".to_owned())
}

fn split(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = word.iter().position(|byte| *byte == b'=')?;
    Some((&word[..at], &word[at + 1..]))
}

fn under(checkout: &Checkout, path: &[u8]) -> bool {
    path.strip_prefix(checkout.dir.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
