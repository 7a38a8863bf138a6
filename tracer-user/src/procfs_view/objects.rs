//! Joins over all processes: which objects there are, who holds them, and which of them somebody waits for.

use std::collections::{HashMap, HashSet};

use super::facts::Facts;
use super::proc_dir::Decimal;
use super::process::Gather;
use super::sample::KernelReader;
use super::sockets::{self, Sockets};
use super::unix_peers;
use super::waits;
use crate::core::evidence::{
    Access, AnonKind, ChildTarget, EpollItem, Evidence, Object, ObjectFacts, ObjectId, Problem, Process,
    Thread, ThreadState, Wait,
};

/// A holder: tgid, fd, access.
pub(crate) type Holder = (u32, u32, Access);
/// By tgid, for processes whose leader is dead: a thread that still has the fds.
pub(crate) type Survivors = HashMap<u32, u32>;
/// Who holds each object.
pub(crate) type Holders = HashMap<ObjectId, Vec<Holder>>;

/// Fills `evidence.objects`, and what in fds and waits depends on other processes.
pub(crate) fn objects(evidence: &mut Evidence, gather: &mut Gather<'_>, kernel: KernelReader<'_>) {
    let mut sockets = socket_tables(evidence, gather);
    name_families(evidence, gather, &sockets);
    let survivors = survivors(&evidence.processes);
    unix_peers::ask(evidence, gather, &survivors, &mut sockets, kernel);
    evidence.reach.unix_peers = knows_peers(evidence, &sockets);
    waits::destinations(evidence, gather, &mut sockets);
    let holders = holders(&evidence.processes);
    let watched = watched(evidence, gather, &holders);
    let wanted = wanted(evidence, &watched, &sockets, &holders);

    let mut facts = Facts::new(&sockets, &holders, &watched, &survivors, kernel);
    for (tgid, table) in &gather.opened {
        for opened in table.iter().filter(|o| wanted.contains(&o.fd.object)) {
            facts.add(opened, *tgid);
        }
    }
    facts.sysv(evidence, gather);
    let timeouts = std::mem::take(&mut facts.timeouts);
    for (id, named) in waits::named_by_waits(evidence) {
        facts.known.entry(id).or_insert(named);
    }
    evidence.objects = facts.known.into_iter().map(|(id, facts)| Object { id, facts }).collect();
    waits::socket_timeouts(evidence, &timeouts);
    waits::shared_futexes(evidence, gather);
}

/// What has to wait for the second reading: whether the processes behind pidfds have ended.
pub(crate) fn late(evidence: &mut Evidence) {
    let alive: HashMap<u32, bool> = evidence.processes.iter().map(|p| (p.id.tgid, !p.zombie)).collect();
    for object in &mut evidence.objects {
        if let ObjectFacts::PidFd { target, exited } = &mut object.facts {
            *exited = match target {
                Some(tgid) => Some(!alive.get(tgid).copied().unwrap_or(false)),
                None => *exited,
            };
        }
    }
}

/// The sockets of our network namespace, and of those of the processes in scope.
fn socket_tables(evidence: &mut Evidence, gather: &Gather<'_>) -> Sockets {
    let mut all = sockets::here();
    let own = gather.root.stat("self/ns/net").map(|s| s.st_ino).ok();
    let mut seen: HashSet<u64> = own.into_iter().collect();
    for process in evidence.processes.iter().filter(|p| p.in_scope) {
        let Some(namespace) = process.netns else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        let path = format!("{}/ns/net", Decimal::new(process.id.tgid).as_str());
        match gather.root.file(&path) {
            Ok(file) => all.join(sockets::of(file)),
            Err(error) => all.problems.push(("network namespace".into(), error.to_string())),
        }
    }
    for (what, why) in all.problems.drain(..) {
        evidence.problems.push(Problem { process: None, what, why });
    }
    evidence.reach.inet_sockets = all.inet.is_some();
    all
}

/// Whether the other end of every UNIX socket that a process in scope holds is known, as far as it has one.
fn knows_peers(evidence: &Evidence, sockets: &Sockets) -> bool {
    let Some(unix) = &sockets.unix else { return false };
    let held = evidence.processes.iter().filter(|p| p.in_scope).flat_map(|p| p.fds.iter().flatten());
    let mut facts = held.filter_map(|fd| match fd.object {
        ObjectId::Unix { ino } => unix.get(&ino),
        _ => None,
    });
    !facts.any(unix_peers::is_unknown)
}

/// Says of each socket fd which family it is.
fn name_families(evidence: &mut Evidence, gather: &mut Gather<'_>, sockets: &Sockets) {
    let family = |object: &mut ObjectId| {
        let ObjectId::Socket { ino } = *object else { return };
        if sockets.unix.as_ref().is_some_and(|unix| unix.contains_key(&ino)) {
            *object = ObjectId::Unix { ino };
        } else if sockets.inet.as_ref().is_some_and(|inet| inet.contains_key(&ino)) {
            *object = ObjectId::Inet { ino };
        }
    };
    for fd in evidence.processes.iter_mut().filter_map(|p| p.fds.as_mut()).flatten() {
        family(&mut fd.object);
    }
    for opened in gather.opened.values_mut().flatten() {
        family(&mut opened.fd.object);
    }
}

/// Of processes whose leader is dead, a thread that still has the fds.
fn survivors(processes: &[Process]) -> Survivors {
    let dead = |thread: &Thread| thread.state == ThreadState::Zombie;
    let leaderless = processes.iter().filter(|p| p.threads.iter().any(|t| t.tid == p.id.tgid && dead(t)));
    leaderless.filter_map(|p| Some((p.id.tgid, p.threads.iter().find(|t| !dead(t))?.tid))).collect()
}

fn holders(processes: &[Process]) -> Holders {
    let mut holders = Holders::new();
    for process in processes {
        for fd in process.fds.iter().flatten().filter(|fd| fd.object != ObjectId::Unknown) {
            holders.entry(fd.object).or_default().push((process.id.tgid, fd.number, fd.access));
        }
    }
    holders
}

/// The interest set of each epoll. An item's object is the fd's, when its inode agrees; else the one object with that inode.
fn watched(evidence: &Evidence, gather: &Gather<'_>, holders: &Holders) -> HashMap<ObjectId, Vec<EpollItem>> {
    let mut by_inode: HashMap<u64, Option<ObjectId>> = HashMap::new();
    for id in holders.keys() {
        if let ObjectId::Pipe { ino }
        | ObjectId::Fifo { ino, .. }
        | ObjectId::Unix { ino }
        | ObjectId::Inet { ino }
        | ObjectId::Socket { ino } = *id
        {
            // Two file systems may use one inode number: then it names neither.
            by_inode.entry(ino).and_modify(|known| *known = None).or_insert(Some(*id));
        }
    }
    let inode = |opened: &super::fds::Opened| match opened.fd.object {
        ObjectId::Pipe { ino }
        | ObjectId::Fifo { ino, .. }
        | ObjectId::Unix { ino }
        | ObjectId::Inet { ino }
        | ObjectId::Socket { ino } => Some(ino),
        _ => opened.info.ino,
    };
    let mut sets = HashMap::new();
    for process in &evidence.processes {
        let Some(table) = gather.opened.get(&process.id.tgid) else { continue };
        for opened in table {
            let ObjectId::Anon { kind: AnonKind::Epoll, .. } = opened.fd.object else { continue };
            let items = opened.info.watched.iter().map(|item| {
                let same = table.iter().find(|o| {
                    o.fd.number == item.fd && (item.ino == 0 || inode(o).is_none_or(|ino| ino == item.ino))
                });
                let object = same.map(|o| o.fd.object).or_else(|| by_inode.get(&item.ino).copied().flatten());
                EpollItem { fd: item.fd, events: item.events, object }
            });
            sets.insert(opened.fd.object, items.collect());
        }
    }
    sets
}

/// The objects worth knowing about: all that processes in scope hold, and from there on what waiting leads to: the other ends, their
/// holders, what those wait for, and so on. Nobody else's pipes are looked into.
fn wanted(
    evidence: &Evidence,
    watched: &HashMap<ObjectId, Vec<EpollItem>>,
    sockets: &Sockets,
    holders: &Holders,
) -> HashSet<ObjectId> {
    let by_tgid: HashMap<u32, &Process> = evidence.processes.iter().map(|p| (p.id.tgid, p)).collect();
    let mut wanted = HashSet::new();
    let mut reached: HashSet<u32> = HashSet::new();
    let mut left: Vec<&Process> = evidence.processes.iter().filter(|p| p.in_scope).collect();
    while let Some(process) = left.pop() {
        if !reached.insert(process.id.tgid) {
            continue;
        }
        let waits = || process.threads.iter().map(|thread| &thread.wait);
        let mut objects: Vec<ObjectId> = waits()
            .flat_map(waited_fds)
            .filter_map(|fd| process.fd(fd))
            .map(|fd| fd.object)
            .chain(waits().filter_map(|wait| match wait {
                Wait::Open { object, .. } => *object,
                _ => None,
            }))
            .collect();
        if process.in_scope {
            objects.extend(process.fds.iter().flatten().map(|fd| fd.object));
        }
        while let Some(id) = objects.pop() {
            if id == ObjectId::Unknown || !wanted.insert(id) {
                continue;
            }
            objects.extend(watched.get(&id).into_iter().flatten().filter_map(|item| item.object));
            objects.extend(other_ends(&id, sockets));
            // Half the machine holds /dev/null: only what connects processes leads on.
            if !matches!(id, ObjectId::Device { .. } | ObjectId::File { .. }) {
                let holding = holders.get(&id).into_iter().flatten();
                left.extend(holding.filter_map(|(tgid, ..)| by_tgid.get(tgid)));
            }
        }
        let locked = waits().any(|wait| matches!(wait, Wait::Lock { .. }));
        left.extend(lock_sharers(process, holders).filter(|_| locked).filter_map(|tgid| by_tgid.get(&tgid)));
        for child in waits().filter_map(|wait| match wait {
            Wait::WaitChild { .. } | Wait::Vfork { .. } => Some(process.id.tgid),
            _ => None,
        }) {
            left.extend(evidence.processes.iter().filter(|p| p.ppid == child));
        }
    }
    wanted
}

/// Who else has the files open that a process waits to lock.
fn lock_sharers<'h>(process: &'h Process, holders: &'h Holders) -> impl Iterator<Item = u32> + 'h {
    let files = process.threads.iter().filter_map(|thread| match thread.wait {
        Wait::Lock { fd, .. } => process.fd(fd).map(|fd| fd.object),
        _ => None,
    });
    files.filter_map(|file| holders.get(&file)).flatten().map(|(tgid, ..)| *tgid)
}

/// Peer and listener of a socket, other side of a pty.
fn other_ends(id: &ObjectId, sockets: &Sockets) -> Vec<ObjectId> {
    use crate::core::evidence::PtySide;
    let socket = |ino: Option<u64>, make: fn(u64) -> ObjectId| ino.filter(|ino| *ino != 0).map(make);
    let (a, b) = match *id {
        ObjectId::Unix { ino } => {
            let Some(facts) = sockets.unix.as_ref().and_then(|unix| unix.get(&ino)) else {
                return Vec::new();
            };
            let make = |ino| ObjectId::Unix { ino };
            (socket(facts.peer, make), socket(facts.listener, make))
        }
        ObjectId::Inet { ino } => {
            let Some(facts) = sockets.inet.as_ref().and_then(|inet| inet.get(&ino)) else {
                return Vec::new();
            };
            let make = |ino| ObjectId::Inet { ino };
            (socket(facts.peer, make), socket(facts.listener, make))
        }
        ObjectId::Pty { index, side: PtySide::Master } => {
            (Some(ObjectId::Pty { index, side: PtySide::Slave }), None)
        }
        ObjectId::Pty { index, side: PtySide::Slave } => {
            (Some(ObjectId::Pty { index, side: PtySide::Master }), None)
        }
        _ => (None, None),
    };
    a.into_iter().chain(b).collect()
}

/// The fds that a wait names.
pub(crate) fn waited_fds(wait: &Wait) -> Vec<u32> {
    match wait {
        Wait::Write { fd }
        | Wait::Read { fd, .. }
        | Wait::Lock { fd, .. }
        | Wait::Connect { fd, .. }
        | Wait::Accept { fd }
        | Wait::MqSend { fd, .. }
        | Wait::MqReceive { fd, .. }
        | Wait::Control { fd, .. }
        | Wait::Sync { fd: Some(fd) }
        | Wait::AsyncIo { fd: Some(fd), .. }
        | Wait::Epoll { epfd: fd, .. }
        | Wait::WaitChild { target: ChildTarget::PidFd(fd), .. } => vec![*fd],
        Wait::Splice { input, output } => vec![*input, *output],
        Wait::Poll { set: Some(set), .. } => set.iter().map(|item| item.fd).collect(),
        _ => Vec::new(),
    }
}
