//! What a wait needs from elsewhere: where a datagram goes, whom a connect waits for, how long a socket lets a read
//! sleep, who else maps a futex, which file an open waits for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::calls::Call;
use super::maps;
use super::memory::Memory;
use super::proc_dir::{Decimal, ProcDir};
use super::process::Gather;
use super::sockets::Sockets;
use super::stat::PF_FORKNOEXEC;
use super::thread_sample::Pulse;
use crate::core::evidence::{
    Evidence, ObjectFacts, ObjectId, Process, Thread, Timeout, UnixKind, UnixState, Wait,
};

/// Completes UNIX sockets with the addresses that blocked calls name: an unconnected sender has no peer that sock_diag knows of, and a
/// connect that waits for room in a backlog has no socket at the other end yet.
pub(crate) fn destinations(evidence: &Evidence, gather: &Gather<'_>, sockets: &mut Sockets) {
    let Some(unix) = &mut sockets.unix else { return };
    // Several may be bound to one relative path in different directories; those that a listener accepted bear its name, too.
    let mut named: HashMap<Vec<u8>, Vec<u64>> = HashMap::new();
    for (ino, facts) in unix.iter() {
        let bound = facts.state != Some(UnixState::Connected) || facts.kind == Some(UnixKind::Datagram);
        if let (Some(path), true) = (&facts.path, bound) {
            named.entry(path.as_bytes().to_vec()).or_default().push(*ino);
        }
    }
    for process in &evidence.processes {
        for thread in &process.threads {
            let (fd, path, connecting) = match &thread.wait {
                Wait::Connect { fd, peer: Some(path) } => (*fd, path.as_bytes().to_vec(), true),
                Wait::Write { fd } => match sent_to(gather, process, thread) {
                    Some(path) => (*fd, path, false),
                    None => continue,
                },
                _ => continue,
            };
            let Some(ObjectId::Unix { ino }) = process.fd(fd).map(|fd| fd.object) else { continue };
            let target = match named.get(&path).map(Vec::as_slice) {
                Some([one]) => Some(*one),
                Some(several) => {
                    let file = socket_file(gather, process, &path);
                    several
                        .iter()
                        .copied()
                        .find(|ino| file.is_some() && sockets.files.get(ino).copied() == file)
                }
                None => None,
            };
            let Some(facts) = unix.get_mut(&ino) else { continue };
            if connecting {
                facts.state = Some(UnixState::Connecting);
                facts.listener = target;
            } else if facts.peer.unwrap_or(0) == 0 {
                facts.peer = target;
            }
        }
    }
}

/// Lower 32 bits of the inode that a path leads a process to.
fn socket_file(gather: &Gather<'_>, process: &Process, path: &[u8]) -> Option<u32> {
    let dir = gather.root.sub(Decimal::new(process.id.tgid).as_str()).ok()?;
    let base = if path.first() == Some(&b'/') { "root" } else { "cwd" };
    followed(&dir, base, path)
        .filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
        .map(|stat| stat.st_ino as u32)
}

/// Where a path leads a process, from its root, its working directory or one of its fds.
fn followed(process: &ProcDir, base: &str, path: &[u8]) -> Option<rustix::fs::Stat> {
    let resolve = if base == "root" { ResolveFlags::IN_ROOT } else { ResolveFlags::NO_MAGICLINKS };
    let base = process.sub(base).ok()?;
    let file =
        rustix::fs::openat2(&base, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()?;
    rustix::fs::fstat(&file).ok()
}

/// The address that a blocked sendto or sendmsg names.
fn sent_to(gather: &Gather<'_>, process: &Process, thread: &Thread) -> Option<Vec<u8>> {
    let call = thread.syscall.as_ref()?;
    let name = call.name.as_deref()?;
    if !matches!(name, "sendto" | "sendmsg" | "sendmmsg") {
        return None;
    }
    let dir = gather.root.sub(Decimal::new(process.id.tgid).as_str()).ok()?;
    let memory = Memory::of(&dir);
    let (at, length) = match name {
        "sendto" => (call.args[4], call.args[5]),
        // struct msghdr { void *name; socklen_t namelen; … }, which is what struct mmsghdr begins with, too.
        _ => (memory.u64(call.args[1])?, u64::from(memory.u32(call.args[1].checked_add(8)?)?)),
    };
    let now = gather.now;
    Call { name, number: call.nr, args: call.args, memory: &memory, wchan: None, pgrp: 0, now }
        .address(at, length)
}

/// A read of a socket with SO_RCVTIMEO ends by itself.
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

/// Says of each futex that is not private which memory it lies in, and who else maps that.
pub(crate) fn shared_futexes(evidence: &mut Evidence, gather: &mut Gather<'_>) {
    let mut files = HashSet::new();
    let mut login_sessions = HashSet::new();
    for process in &mut evidence.processes {
        let shared = |thread: &Thread| matches!(thread.wait, Wait::Futex { private: false, .. });
        if !process.threads.iter().any(shared) {
            continue;
        }
        let Some(text) = maps_text(gather, process) else { continue };
        for thread in &mut process.threads {
            if let Wait::Futex { addr, private: private @ false, shared, .. } = &mut thread.wait {
                *shared = maps::shared_at(&text, *addr);
                // The word of a thread's end (pthread_join) is waited for as if it were shared, in memory that is not.
                *private = maps::is_private(&text, *addr);
                files.extend(shared.as_ref().map(|s| (s.dev, s.ino)));
                login_sessions.extend(process.sid);
            }
        }
    }
    if files.is_empty() {
        return;
    }
    let mut mapped: HashMap<(u64, u64), Vec<u32>> = files.iter().map(|file| (*file, Vec::new())).collect();
    let mut complete = true;
    for process in evidence.processes.iter().filter(|p| !p.kernel_thread && !p.zombie) {
        let Some(text) = maps_text(gather, process) else {
            // Memory of a job is mapped by those who were born into it: a stranger has no part in it, nor has init outside of the
            // question, which inherits orphans and not their memory. One that has ended meanwhile maps nothing any more.
            let gone = || gather.root.sub(Decimal::new(process.id.tgid).as_str()).is_err();
            let of_theirs = process.sid.is_some_and(|sid| login_sessions.contains(&sid));
            let related = process.in_scope || process.id.tgid != 1 && of_theirs;
            complete &= !related || gone();
            continue;
        };
        for (file, who) in &mut mapped {
            if maps::maps_file(&text, file.0, file.1) {
                who.push(process.id.tgid);
            }
        }
    }
    for thread in evidence.processes.iter_mut().flat_map(|p| &mut p.threads) {
        if let Wait::Futex { shared: Some(shared), .. } = &mut thread.wait {
            shared.mapped_by = mapped.get(&(shared.dev, shared.ino)).filter(|_| complete).cloned();
        }
    }
}

/// `maps` of a process, through a thread that still has memory.
fn maps_text(gather: &mut Gather<'_>, process: &Process) -> Option<Vec<u8>> {
    use crate::core::evidence::ThreadState;
    let task = process.threads.iter().find(|t| t.state != ThreadState::Zombie)?.tid;
    let path = format!("{}/task/{task}/maps", process.id.tgid);
    gather.root.read(&path, &mut gather.buffer).ok().map(<[u8]>::to_vec)
}

/// Which child a vfork waits for: the youngest one that has executed nothing yet.
pub(crate) fn vfork_children<'p>(evidence: &mut Evidence, pulses: impl Iterator<Item = &'p Pulse> + Clone) {
    for process in &mut evidence.processes {
        for thread in &mut process.threads {
            if let Wait::Vfork { child } = &mut thread.wait {
                let young = pulses.clone().filter(|p| {
                    let stat = &p.leader().stat;
                    stat.ppid == process.id.tgid && stat.flags & PF_FORKNOEXEC != 0
                });
                *child = young.map(|p| p.id).max_by_key(|id| (id.start_ticks, id.tgid)).map(|id| id.tgid);
            }
        }
    }
}

/// Finds the FIFO that a blocked open waits at.
///
/// A path is followed only where the thread surely sleeps at a FIFO: following it to a file server that does not
/// answer would hang the tracer as well.
pub(crate) fn opened_fifo(process: &ProcDir, thread: &mut Thread) {
    let at_fifo = thread
        .wchan
        .as_deref()
        .is_some_and(|name| name.contains("partner") || name.contains("fifo"))
        || thread.stack.as_ref().is_some_and(|frames| frames.iter().any(|name| name.contains("fifo_open")));
    let Wait::Open { path: Some(path), object, .. } = &mut thread.wait else { return };
    if !at_fifo {
        return;
    }
    let dirfd =
        thread.syscall.as_ref().filter(|s| s.name.as_deref() != Some("open")).map(|s| s.args[0] as i32);
    // A relative path starts at the process's working directory or at the directory fd it named.
    let base = match (path.as_bytes().first(), dirfd) {
        (Some(b'/'), _) => "root".to_owned(),
        (_, Some(fd)) if fd >= 0 => format!("fd/{fd}"),
        _ => "cwd".to_owned(),
    };
    if let Some(stat) = followed(process, &base, path.as_bytes())
        && FileType::from_raw_mode(stat.st_mode) == FileType::Fifo
    {
        *object = Some(ObjectId::Fifo { dev: stat.st_dev, ino: stat.st_ino });
    }
}

/// Objects that only a wait names, and no fd.
pub(crate) fn named_by_waits(evidence: &Evidence) -> Vec<(ObjectId, ObjectFacts)> {
    let mut found = Vec::new();
    for thread in evidence.processes.iter().flat_map(|p| &p.threads) {
        if let Wait::Open { object: Some(object), path, .. } = &thread.wait {
            let facts = crate::core::evidence::PipeFacts { path: path.clone(), ..Default::default() };
            found.push((*object, ObjectFacts::Pipe(facts)));
        }
    }
    found
}
