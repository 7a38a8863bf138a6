//! What a wait needs from elsewhere: where a datagram goes, which listener a connect waits for, how long a
//! socket lets a read sleep, which processes map a futex, which child a vfork waits for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rustix::fs::FileType;

use super::memory::Memory;
use super::process::Collector;
use super::syscall::BlockedCall;
use super::thread_sample::ProcessSample;
use crate::core::evidence::{
    Evidence, ObjectFacts, ObjectId, PipeFacts, Process, Thread, ThreadState, Timeout, UnixFacts, UnixKind,
    UnixState, Wait,
};
use crate::procfs_view::FileId;
use crate::procfs_view::maps;
use crate::procfs_view::net::sockets::Sockets;
use crate::procfs_view::proc_dir::PathBase;
use crate::procfs_view::stat::PF_FORKNOEXEC;

/// Completes UNIX sockets with the addresses that blocked calls name: an unconnected sender has no peer that
/// sock_diag shows, and a connect that waits for room in a backlog has no socket at the other end yet.
pub(crate) fn destinations(evidence: &Evidence, collector: &Collector<'_>, sockets: &mut Sockets) {
    let Some(unix) = &mut sockets.unix else { return };
    let bound = bound_sockets(unix);
    for process in &evidence.processes {
        for thread in &process.threads {
            let Some(destination) = destination(collector, process, thread) else { continue };
            let Some(ObjectId::Unix { ino }) = process.fd(destination.fd).map(|fd| fd.object) else {
                continue;
            };
            let target = match bound.get(&destination.path).map(Vec::as_slice) {
                Some([one]) => Some(*one),
                Some(several) => {
                    let file = socket_file(collector, process, &destination.path);
                    let is_bound = |ino: &&u64| file.is_some() && sockets.files.get(ino).copied() == file;
                    several.iter().find(is_bound).copied()
                }
                None => None,
            };
            let Some(facts) = unix.get_mut(&ino) else { continue };
            if destination.connecting {
                facts.state = Some(UnixState::Connecting);
                facts.listener = target;
            } else if facts.peer.unwrap_or(0) == 0 {
                facts.peer = target;
            }
        }
    }
}

/// Sockets by the path they are bound to. Several may be bound to one relative path, in different
/// directories. The sockets that a listener accepted bear its path too, and are not bound.
fn bound_sockets(unix: &HashMap<u64, UnixFacts>) -> HashMap<Vec<u8>, Vec<u64>> {
    let mut bound: HashMap<Vec<u8>, Vec<u64>> = HashMap::new();
    for (ino, facts) in unix {
        let accepted = facts.state == Some(UnixState::Connected) && facts.kind != Some(UnixKind::Datagram);
        if let Some(path) = facts.path.as_ref().filter(|_| !accepted) {
            bound.entry(path.as_bytes().to_vec()).or_default().push(*ino);
        }
    }
    bound
}

/// The address that a blocked call names.
struct Destination {
    /// The socket that calls.
    fd: u32,
    path: Vec<u8>,
    /// It waits for a connection, and not for room for a message.
    connecting: bool,
}

fn destination(collector: &Collector<'_>, process: &Process, thread: &Thread) -> Option<Destination> {
    match &thread.wait {
        Wait::Connect { fd, peer: Some(path) } => {
            Some(Destination { fd: *fd, path: path.as_bytes().to_vec(), connecting: true })
        }
        Wait::Write { fd } => {
            let path = sent_to(collector, process, thread)?;
            Some(Destination { fd: *fd, path, connecting: false })
        }
        _ => None,
    }
}

/// Lower 32 bits of the inode of the socket file that a path leads a process to.
fn socket_file(collector: &Collector<'_>, process: &Process, path: &[u8]) -> Option<u32> {
    let dir = collector.root.process(process.id.tgid).ok()?;
    let base = if path.first() == Some(&b'/') { PathBase::Root } else { PathBase::WorkingDirectory };
    let stat = dir.follow(base, path)?;
    (FileType::from_raw_mode(stat.mode) == FileType::Socket).then_some(stat.ino as u32)
}

/// The address that a blocked sendto or sendmsg names.
fn sent_to(collector: &Collector<'_>, process: &Process, thread: &Thread) -> Option<Vec<u8>> {
    let call = thread.syscall.as_ref()?;
    let name = call.name.as_deref()?;
    if !matches!(name, "sendto" | "sendmsg" | "sendmmsg") {
        return None;
    }
    let dir = collector.root.process(process.id.tgid).ok()?;
    let memory = Memory::of(&dir);
    let (at, length) = match name {
        "sendto" => (call.args[4], call.args[5]),
        // struct msghdr { void *name; socklen_t namelen; … }, which struct mmsghdr begins with, too.
        _ => (memory.u64(call.args[1])?, u64::from(memory.u32(call.args[1].checked_add(8)?)?)),
    };
    let clocks = collector.clocks;
    let call =
        BlockedCall { name, number: call.nr, args: call.args, memory: &memory, wchan: None, pgrp: 0, clocks };
    call.address(at, length)
}

/// Gives reads of a socket with SO_RCVTIMEO their time-out.
pub(crate) fn socket_timeouts(evidence: &mut Evidence, timeouts: &HashMap<ObjectId, Duration>) {
    if timeouts.is_empty() {
        return;
    }
    for process in &mut evidence.processes {
        let fds: HashMap<u32, ObjectId> =
            process.fds.iter().flatten().map(|fd| (fd.number, fd.object)).collect();
        for thread in &mut process.threads {
            if let Wait::Read { fd, timeout } = &mut thread.wait
                && *timeout == Timeout::Never
                && let Some(limit) = fds.get(fd).and_then(|object| timeouts.get(object))
            {
                *timeout = Timeout::After(u64::try_from(limit.as_nanos()).ok());
            }
        }
    }
}

/// Adds to each futex that is not private which memory it is in, and which other processes map that.
pub(crate) fn shared_futexes(evidence: &mut Evidence, collector: &mut Collector<'_>) {
    let mut mapped: HashMap<FileId, Vec<u32>> = HashMap::new();
    let mut login_sessions = HashSet::new();
    for process in &mut evidence.processes {
        let is_shared = |thread: &Thread| matches!(thread.wait, Wait::Futex { private: false, .. });
        if !process.threads.iter().any(is_shared) {
            continue;
        }
        let Some(text) = maps_text(collector, process) else { continue };
        for thread in &mut process.threads {
            if let Wait::Futex { addr, private: private @ false, shared, .. } = &mut thread.wait {
                *shared = maps::shared_at(&text, *addr);
                // The word that pthread_join waits at is passed as shared (the kernel clears it on a thread's
                // exit), and is in private memory.
                *private = maps::is_private(&text, *addr);
                for file in shared.iter() {
                    mapped.entry(FileId { dev: file.dev, ino: file.ino }).or_default();
                }
                login_sessions.extend(process.sid);
            }
        }
    }
    if mapped.is_empty() {
        return;
    }
    let complete = find_mappers(evidence, collector, &mut mapped, &login_sessions);
    for thread in evidence.processes.iter_mut().flat_map(|process| &mut process.threads) {
        if let Wait::Futex { shared: Some(shared), .. } = &mut thread.wait {
            let file = FileId { dev: shared.dev, ino: shared.ino };
            shared.mapped_by = mapped.get(&file).filter(|_| complete).cloned();
        }
    }
}

/// Adds the processes that map each file. Whether those are all that matter.
fn find_mappers(
    evidence: &Evidence,
    collector: &mut Collector<'_>,
    mapped: &mut HashMap<FileId, Vec<u32>>,
    login_sessions: &HashSet<u32>,
) -> bool {
    let mut complete = true;
    for process in evidence.processes.iter().filter(|p| !p.kernel_thread && !p.zombie) {
        let tgid = process.id.tgid;
        match maps_text(collector, process) {
            Some(text) => {
                for (file, mappers) in mapped.iter_mut() {
                    if maps::maps_file(&text, *file) {
                        mappers.push(tgid);
                    }
                }
            }
            None => {
                // A job's memory is mapped by processes born into the job: an unrelated process has no part
                // in it, nor has an init outside the scope, which inherits orphans and not their memory. A
                // process that has ended meanwhile maps nothing any more.
                let of_session = process.sid.is_some_and(|sid| login_sessions.contains(&sid));
                let related = process.in_scope || tgid != 1 && of_session;
                complete &= !related || collector.root.process(tgid).is_err();
            }
        }
    }
    complete
}

/// `maps` of a process, through a thread that still has memory.
fn maps_text(collector: &mut Collector<'_>, process: &Process) -> Option<Vec<u8>> {
    let task = process.threads.iter().find(|thread| thread.state != ThreadState::Zombie)?.tid;
    let path = format!("{}/task/{task}/maps", process.id.tgid);
    collector.root.dir.read(&path, &mut collector.buffer).ok().map(<[u8]>::to_vec)
}

/// Finds the child that each vfork waits for: the youngest one that has executed nothing yet.
pub(crate) fn vfork_children<'s>(
    evidence: &mut Evidence,
    samples: impl Iterator<Item = &'s ProcessSample> + Clone,
) {
    for process in &mut evidence.processes {
        for thread in &mut process.threads {
            if let Wait::Vfork { child } = &mut thread.wait {
                let young = samples.clone().filter(|sample| {
                    let stat = &sample.leader().stat;
                    stat.ppid == process.id.tgid && stat.flags & PF_FORKNOEXEC != 0
                });
                let youngest = young.map(|sample| sample.id).max_by_key(|id| (id.start_ticks, id.tgid));
                *child = youngest.map(|id| id.tgid);
            }
        }
    }
}

/// Objects that a wait names, whether an fd refers to them or not.
pub(crate) fn named_by_waits(evidence: &Evidence) -> Vec<(ObjectId, ObjectFacts)> {
    let mut found = Vec::new();
    for thread in evidence.processes.iter().flat_map(|process| &process.threads) {
        if let Wait::Open { object: Some(object), path, .. } = &thread.wait {
            let facts = PipeFacts { path: path.clone(), ..PipeFacts::default() };
            found.push((*object, ObjectFacts::Pipe(facts)));
        }
    }
    found
}
