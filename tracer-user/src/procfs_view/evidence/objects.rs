//! The objects behind fds: which exist, who holds them, and which of them matter to the processes in scope.

use std::collections::{HashMap, HashSet};

use super::facts::{FactsCollector, InterestSets};
use super::fds::OpenFd;
use super::holders::{BorrowTasks, Holders, holders};
use super::process::Collector;
use super::request::KernelReader;
use super::{unix_peers, wait_targets};
use crate::core::evidence::{
    AnonKind, ChildTarget, EpollItem, Evidence, Object, ObjectId, Process, PtySide, Wait,
};
use crate::procfs_view::net::sockets::{self, Sockets};

/// Fills `evidence.objects`, and what in fds and waits depends on other processes.
pub(crate) fn objects(evidence: &mut Evidence, collector: &mut Collector<'_>, kernel: KernelReader<'_>) {
    let mut sockets = socket_tables(evidence, collector);
    name_families(evidence, collector, &sockets);
    let borrow_tasks = BorrowTasks::of(&evidence.processes, collector.root);
    unix_peers::fill_in(evidence, collector, &borrow_tasks, &mut sockets, kernel);
    evidence.reach.unix_peers = knows_peers(evidence, &sockets);
    wait_targets::destinations(evidence, collector, &mut sockets);
    let holders = holders(&evidence.processes);
    let interest = interest_sets(evidence, collector, &holders);
    let wanted = wanted(evidence, &interest, &sockets, &holders);

    let mut facts = FactsCollector {
        sockets: &sockets,
        holders: &holders,
        interest: &interest,
        borrow_tasks: &borrow_tasks,
        kernel,
        known: Default::default(),
        timeouts: Default::default(),
    };
    for (tgid, table) in &collector.opened {
        for opened in table.iter().filter(|opened| wanted.contains(&opened.fd.object)) {
            facts.add(opened, *tgid);
        }
    }
    facts.add_sysv(evidence, collector);
    for (id, named) in wait_targets::named_by_waits(evidence) {
        facts.known.entry(id).or_insert(named);
    }
    let FactsCollector { known, timeouts, .. } = facts;
    evidence.objects = known.into_iter().map(|(id, facts)| Object { id, facts }).collect();
    wait_targets::socket_timeouts(evidence, &timeouts);
    wait_targets::shared_futexes(evidence, collector);
}

/// The sockets of our network namespace, and of those of the processes in scope.
fn socket_tables(evidence: &mut Evidence, collector: &Collector<'_>) -> Sockets {
    let mut all = sockets::here(collector.root);
    let own = collector.root.dir.sub("self").ok().and_then(|own| own.namespace("net"));
    let mut seen: HashSet<u64> = own.into_iter().collect();
    for process in evidence.processes.iter().filter(|process| process.in_scope) {
        let Some(namespace) = process.netns else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        let opened = collector.root.process(process.id.tgid).and_then(|dir| dir.file("ns/net"));
        all.extend(match opened {
            Ok(namespace) => sockets::of(collector.root, namespace),
            Err(error) => Sockets::failed(&error),
        });
    }
    evidence.problems.append(&mut all.problems);
    evidence.reach.inet_sockets = all.inet.is_some();
    all
}

/// Whether the peer of every UNIX socket that a process in scope holds is known, as far as it has one.
fn knows_peers(evidence: &Evidence, sockets: &Sockets) -> bool {
    let Some(unix) = &sockets.unix else { return false };
    let held = evidence.processes.iter().filter(|p| p.in_scope).flat_map(|p| p.fds.iter().flatten());
    let mut facts = held.filter_map(|fd| match fd.object {
        ObjectId::Unix { ino } => unix.get(&ino),
        _ => None,
    });
    !facts.any(unix_peers::is_unknown)
}

/// Names the family of each socket fd.
fn name_families(evidence: &mut Evidence, collector: &mut Collector<'_>, sockets: &Sockets) {
    let name = |object: &mut ObjectId| {
        let ObjectId::Socket { ino } = *object else { return };
        if sockets.unix.as_ref().is_some_and(|unix| unix.contains_key(&ino)) {
            *object = ObjectId::Unix { ino };
        } else if sockets.inet.as_ref().is_some_and(|inet| inet.contains_key(&ino)) {
            *object = ObjectId::Inet { ino };
        }
    };
    for fd in evidence.processes.iter_mut().filter_map(|p| p.fds.as_mut()).flatten() {
        name(&mut fd.object);
    }
    for opened in collector.opened.values_mut().flatten() {
        name(&mut opened.fd.object);
    }
}

/// The inode that an epoll's line shows for a pipe or a socket.
fn inode_of(object: &ObjectId) -> Option<u64> {
    match *object {
        ObjectId::Pipe { ino }
        | ObjectId::Fifo { ino, .. }
        | ObjectId::Unix { ino }
        | ObjectId::Inet { ino }
        | ObjectId::Socket { ino } => Some(ino),
        _ => None,
    }
}

/// The interest set of each epoll.
///
/// The object of an item is that of the fd it names, when their inodes agree: the fd may be another file by
/// now. Else it is the one pipe or socket with that inode.
fn interest_sets(evidence: &Evidence, collector: &Collector<'_>, holders: &Holders) -> InterestSets {
    let mut by_inode: HashMap<u64, Option<ObjectId>> = HashMap::new();
    for id in holders.keys() {
        if let Some(ino) = inode_of(id) {
            // Two file systems may use one inode number: then it names neither.
            by_inode.entry(ino).and_modify(|known| *known = None).or_insert(Some(*id));
        }
    }
    let inode = |opened: &OpenFd| inode_of(&opened.fd.object).or(opened.info.ino);
    let mut sets = InterestSets::new();
    for process in &evidence.processes {
        let Some(table) = collector.opened.get(&process.id.tgid) else { continue };
        for opened in table {
            let ObjectId::Anon { kind: AnonKind::Epoll, .. } = opened.fd.object else { continue };
            let items = opened.info.interest.iter().map(|entry| {
                let same = table.iter().find(|other| {
                    other.fd.number == entry.fd
                        && (entry.ino == 0 || inode(other).is_none_or(|ino| ino == entry.ino))
                });
                let object = same.map(|other| other.fd.object).or_else(|| *by_inode.get(&entry.ino)?);
                EpollItem { fd: entry.fd, events: entry.events, object }
            });
            sets.insert(opened.fd.object, items.collect());
        }
    }
    sets
}

/// The objects worth knowing about: all that processes in scope hold, and what their waits lead to: the other
/// ends, the holders of those, what these wait for, and so on. The pipes of unrelated processes are not
/// looked into.
fn wanted(
    evidence: &Evidence,
    interest: &InterestSets,
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
        let mut objects = objects_of(process);
        while let Some(id) = objects.pop() {
            if id == ObjectId::Unknown || !wanted.insert(id) {
                continue;
            }
            objects.extend(interest.get(&id).into_iter().flatten().filter_map(|item| item.object));
            objects.extend(other_ends(&id, sockets));
            // Half the machine holds /dev/null: only what connects processes leads on.
            if !matches!(id, ObjectId::Device { .. } | ObjectId::File { .. }) {
                let holding = holders.get(&id).into_iter().flatten();
                left.extend(holding.filter_map(|holder| by_tgid.get(&holder.tgid)));
            }
        }
        left.extend(lock_sharers(process, holders).filter_map(|tgid| by_tgid.get(&tgid)));
        let waits_for_child = |wait: &Wait| matches!(wait, Wait::WaitChild { .. } | Wait::Vfork { .. });
        if process.threads.iter().any(|thread| waits_for_child(&thread.wait)) {
            left.extend(evidence.processes.iter().filter(|p| p.ppid == process.id.tgid));
        }
    }
    wanted
}

/// The objects that a process's threads wait for; of a process in scope, all that it holds.
fn objects_of(process: &Process) -> Vec<ObjectId> {
    let mut objects = Vec::new();
    for thread in &process.threads {
        let fds = waited_fds(&thread.wait).into_iter().filter_map(|fd| process.fd(fd));
        objects.extend(fds.map(|fd| fd.object));
        if let Wait::Open { object: Some(object), .. } = thread.wait {
            objects.push(object);
        }
    }
    if process.in_scope {
        objects.extend(process.fds.iter().flatten().map(|fd| fd.object));
    }
    objects
}

/// The processes that have the files open which a process waits to lock.
fn lock_sharers<'h>(process: &'h Process, holders: &'h Holders) -> impl Iterator<Item = u32> + 'h {
    let files = process.threads.iter().filter_map(|thread| match thread.wait {
        Wait::Lock { fd, .. } => process.fd(fd).map(|fd| fd.object),
        _ => None,
    });
    files.filter_map(|file| holders.get(&file)).flatten().map(|holder| holder.tgid)
}

/// Peer and listener of a socket, other side of a pty.
fn other_ends(id: &ObjectId, sockets: &Sockets) -> Vec<ObjectId> {
    // 0 states that there is none.
    let known = |inodes: [Option<u64>; 2]| inodes.into_iter().flatten().filter(|ino| *ino != 0);
    match *id {
        ObjectId::Unix { ino } => {
            let facts = sockets.unix.as_ref().and_then(|unix| unix.get(&ino));
            let ends = facts.map(|facts| known([facts.peer, facts.listener]));
            ends.into_iter().flatten().map(|ino| ObjectId::Unix { ino }).collect()
        }
        ObjectId::Inet { ino } => {
            let facts = sockets.inet.as_ref().and_then(|inet| inet.get(&ino));
            let ends = facts.map(|facts| known([facts.peer, facts.listener]));
            ends.into_iter().flatten().map(|ino| ObjectId::Inet { ino }).collect()
        }
        ObjectId::Pty { index, side: PtySide::Master } => {
            vec![ObjectId::Pty { index, side: PtySide::Slave }]
        }
        ObjectId::Pty { index, side: PtySide::Slave } => {
            vec![ObjectId::Pty { index, side: PtySide::Master }]
        }
        _ => Vec::new(),
    }
}

/// The fds that a wait names.
fn waited_fds(wait: &Wait) -> Vec<u32> {
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
