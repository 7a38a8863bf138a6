//! One look at the machine: two readings of every thread, and between them, once, everything else.
//!
//! Why nothing has to be atomic: a thread that did not move between the two readings has done nothing between them, so
//! what was read of it in that time (its call, the memory its call points to, the fds that it alone could change) was
//! true throughout. Whatever belongs to a thread that did move may be torn, and is never part of a hang.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::calls::Now;
use super::cgroups::Cgroups;
use super::fds::Scanner;
use super::memory::Memory;
use super::proc_dir::{Decimal, ProcDir};
use super::process::Gather;
use super::thread_sample::{self, Pulse};
use super::{ProcRoot, last_failed, locks, objects, waits};
use crate::core::evidence::{ByteString, Clock, Evidence, Host, ObjectFacts, Problem, Scope, Wait};
use crate::core::identity::ProcessId;
use crate::core::syscalls::Architecture;

/// What to look at.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Every process of the machine.
    All,
    /// The process that has this pid now, and its descendants.
    Tree(u32),
    /// The processes of a session of ours.
    Session {
        /// Its id.
        id: String,
        /// Its processes.
        members: Vec<ProcessId>,
    },
}

/// How to look.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to look at.
    pub ask: Ask,
    /// Time between the two readings.
    pub quiet_window: Duration,
}

/// No look was possible.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// `/proc` cannot be read.
    #[error("cannot read {path}: {why}")]
    NoProc {
        /// Where it was looked for.
        path: String,
        /// The system's answer.
        why: io::Error,
    },
    /// Nothing has this pid.
    #[error("there is no process {0}")]
    NoProcess(u32),
}

/// What the kernel itself knows of a file: a pipe's buffers and how many hold its ends, a UNIX socket's other end. Given one
/// of our own fds for as long as the call takes; `None` when it does not say.
pub type KernelReader<'a> = &'a mut dyn FnMut(BorrowedFd<'_>) -> Option<ObjectFacts>;

/// Looks at the machine. Takes the quiet window, and as much longer as reading takes; the reading overlaps the window.
pub fn look(
    proc_root: &ProcRoot,
    request: &Request,
    kernel: KernelReader<'_>,
) -> Result<Evidence, LookError> {
    let root = ProcDir::open(proc_root.path())
        .map_err(|why| LookError::NoProc { path: proc_root.path().display().to_string(), why })?;
    let mut buffer = Vec::with_capacity(64 << 10);
    let before = pulses(&root, &mut buffer);
    let began = Instant::now();
    let now = Now::read();

    let members = members(&request.ask, &before)?;
    let own_mounts = root.read("self/mountinfo", &mut buffer).map(<[u8]>::to_vec).unwrap_or_default();
    let mut gather = Gather {
        root: &root,
        scanner: Scanner::default(),
        cgroups: Cgroups::new(&own_mounts),
        cgroup_texts: HashMap::new(),
        opened: HashMap::new(),
        now,
        architecture: Architecture::native(),
        buffer,
    };
    let mut evidence = Evidence {
        host: host(&root, &mut gather.buffer),
        scope: scope(&request.ask, &members),
        ..Evidence::default()
    };
    evidence.processes =
        before.values().filter_map(|pulse| gather.process(pulse, members.contains(&pulse.id))).collect();
    evidence.locks = root.read("locks", &mut gather.buffer).ok().map(locks::parse);
    evidence.reach.whole_machine = sees_all(&root, &own_mounts);
    waits::vfork_children(&mut evidence, before.values());
    objects::objects(&mut evidence, &mut gather, kernel);
    last_failed::gather(&mut evidence, &root);

    if let Some(left) = request.quiet_window.checked_sub(began.elapsed()) {
        std::thread::sleep(left);
    }
    let after = pulses(&root, &mut gather.buffer);
    let ended = Now::read();
    gather.now = ended;
    evidence.clock = Clock {
        taken_at_unix_ns: i64::try_from(ended.realtime).unwrap_or(i64::MAX),
        boot_ns: ended.boottime,
        quiet_window_ns: ended.monotonic.saturating_sub(now.monotonic),
    };
    second(&mut evidence, &mut gather, &before, &after);
    note_unread(&mut evidence);
    Ok(evidence)
}

fn pulses(root: &ProcDir, buffer: &mut Vec<u8>) -> BTreeMap<u32, Pulse> {
    let tgids = root.numbers().unwrap_or_default();
    tgids.into_iter().filter_map(|tgid| Some((tgid, thread_sample::process(root, tgid, buffer)?))).collect()
}

/// Which processes the question is about.
fn members(ask: &Ask, pulses: &BTreeMap<u32, Pulse>) -> Result<HashSet<ProcessId>, LookError> {
    match ask {
        Ask::All => Ok(pulses.values().filter(|p| !p.is_kernel_thread()).map(|p| p.id).collect()),
        Ask::Session { members, .. } => Ok(family(members, pulses)),
        Ask::Tree(top) => {
            let top = pulses.get(top).ok_or(LookError::NoProcess(*top))?.id;
            Ok(family(&[top], pulses))
        }
    }
}

/// Processes, their descendants, and the orphans that stayed in a login session one of them leads.
fn family(tops: &[ProcessId], pulses: &BTreeMap<u32, Pulse>) -> HashSet<ProcessId> {
    let mut children: HashMap<u32, Vec<ProcessId>> = HashMap::new();
    for pulse in pulses.values() {
        children.entry(pulse.leader().stat.ppid).or_default().push(pulse.id);
    }
    let mut found = HashSet::new();
    let alive = |id: &ProcessId| pulses.get(&id.tgid).is_some_and(|pulse| pulse.id == *id);
    let mut left: Vec<ProcessId> = tops.iter().copied().filter(alive).collect();
    let orphans = pulses.values().filter(|p| {
        let stat = &p.leader().stat;
        stat.ppid == 1
            && left.iter().any(|top| top.tgid == stat.session && top.start_ticks <= p.id.start_ticks)
    });
    left.extend(orphans.map(|p| p.id).collect::<Vec<_>>());
    while let Some(id) = left.pop() {
        if found.insert(id) {
            left.extend(children.get(&id.tgid).into_iter().flatten());
        }
    }
    found
}

fn scope(ask: &Ask, members: &HashSet<ProcessId>) -> Scope {
    match ask {
        Ask::All => Scope::All,
        Ask::Session { id, .. } => Scope::Session(id.clone()),
        Ask::Tree(top) => members.iter().find(|m| m.tgid == *top).map_or(Scope::All, |id| Scope::Tree(*id)),
    }
}

fn host(root: &ProcDir, buffer: &mut Vec<u8>) -> Host {
    let mut text =
        |name: &str| root.read(name, buffer).ok().map(|text| String::from_utf8_lossy(text).trim().to_owned());
    let boot_id = text("sys/kernel/random/boot_id");
    let mut number = |name: &str| text(name).and_then(|text| text.parse().ok());
    let (pipe_max_size, pipe_user_pages_soft) =
        (number("sys/fs/pipe-max-size"), number("sys/fs/pipe-user-pages-soft"));
    let names = rustix::system::uname();
    Host {
        boot_id,
        kernel: Some(ByteString(names.release().to_bytes().to_vec())),
        hostname: Some(ByteString(names.nodename().to_bytes().to_vec())),
        pipe_max_size,
        pipe_user_pages_soft,
    }
}

/// Whether `/proc` shows every process of the machine: no `hidepid`, and the initial pid namespace.
fn sees_all(root: &ProcDir, own_mounts: &[u8]) -> bool {
    /// Inode of the initial pid namespace, fixed in the kernel (`PROC_PID_INIT_INO`).
    const INITIAL: &[u8] = b"pid:[4026531836]";
    let initial = root.link("self/ns/pid", &mut [0; 64]).is_ok_and(|link| link == INITIAL);
    let hides = |options: &[u8]| {
        options
            .split(|b| *b == b',')
            .any(|word| word.starts_with(b"hidepid=") && word != b"hidepid=0" && word != b"hidepid=off")
    };
    let hidden = super::mounts::parse(own_mounts).any(|(_, m)| m.kind == b"proc" && hides(&m.options));
    initial && !hidden
}

/// The end of the quiet window: who moved, who came, who is gone.
fn second(
    evidence: &mut Evidence,
    gather: &mut Gather<'_>,
    before: &BTreeMap<u32, Pulse>,
    after: &BTreeMap<u32, Pulse>,
) {
    evidence.processes.retain(|p| after.get(&p.id.tgid).is_some_and(|pulse| pulse.id == p.id));
    let window_ns = evidence.clock.quiet_window_ns;
    let in_scope: HashSet<u32> =
        evidence.processes.iter().filter(|p| p.in_scope).map(|p| p.id.tgid).collect();
    for process in &mut evidence.processes {
        let (Some(then), Some(pulse)) = (before.get(&process.id.tgid), after.get(&process.id.tgid)) else {
            continue;
        };
        if process.kernel_thread {
            continue;
        }
        let dir = gather.root.sub(Decimal::new(process.id.tgid).as_str()).ok();
        process.threads.retain(|t| pulse.threads.iter().any(|beat| beat.tid == t.tid));
        for beat in &pulse.threads {
            let old = then
                .threads
                .iter()
                .find(|t| t.tid == beat.tid && t.stat.start_ticks == beat.stat.start_ticks);
            let progress = old.map(|old| thread_sample::progress(old, beat));
            let moved = progress.as_ref().is_none_or(|progress| thread_sample::moved(progress, beat));
            if moved && let Some(dir) = &dir {
                // It does something else now than when it was read.
                let fresh = gather.thread(dir, beat, &Memory::of(dir));
                match process.threads.iter_mut().find(|t| t.tid == beat.tid) {
                    Some(thread) => *thread = fresh,
                    None => process.threads.push(fresh),
                }
            }
            if let Some(thread) = process.threads.iter_mut().find(|t| t.tid == beat.tid) {
                thread.moved = Some(moved);
                thread.progress = progress;
            }
        }
        process.threads.sort_by_key(|t| t.tid);
        if process.threads.iter().any(|t| t.progress.is_some_and(|p| p.is_busy(window_ns)))
            && let (Some(dir), Some(before)) = (&dir, process.io)
        {
            process.io_in_window = gather.io(dir).map(|after| after.since(&before));
        }
        process.zombie = pulse.threads.iter().all(|t| matches!(t.stat.state, b'Z' | b'X'));
        process.shared_pending = pulse.leader().status.shared_pending;
        if process.in_scope
            && let Some(text) = gather.cgroup_texts.get(&process.id.tgid)
            && let Some(now) = gather.cgroups.throttled_now(text)
            && let Some(then) = gather.cgroups.of(text).throttled_us
        {
            process.limits.get_or_insert_default().throttled_us = Some(now.saturating_sub(then));
        }
    }
    // Born in the window: whatever it holds, it can act.
    for pulse in after.values().filter(|p| before.get(&p.id.tgid).is_none_or(|old| old.id != p.id)) {
        let child_of_scope = in_scope.contains(&pulse.leader().stat.ppid) || evidence.scope == Scope::All;
        if let Some(mut process) = gather.process(pulse, child_of_scope && !pulse.is_kernel_thread()) {
            for thread in &mut process.threads {
                thread.moved = Some(true);
            }
            evidence.processes.push(process);
        }
    }
    evidence.processes.sort_by_key(|p| p.id);
    objects::late(evidence);
}

/// One line for each thing that could not be read in scope, and one for all the others together.
fn note_unread(evidence: &mut Evidence) {
    let mut others = 0usize;
    for process in &evidence.processes {
        let fds = process.unread.iter().find(|u| u.what == "fds");
        if !process.in_scope {
            others += usize::from(fds.is_some());
            continue;
        }
        let call = process.threads.iter().any(|t| t.wait == Wait::Unreadable && !process.zombie);
        if let Some(unread) = fds {
            evidence.problems.push(Problem {
                process: Some(process.id),
                what: "fds".into(),
                why: unread.why.clone(),
            });
        }
        if call {
            let why = "the system call of a thread cannot be read: it needs the right to ptrace the process";
            evidence.problems.push(Problem {
                process: Some(process.id),
                what: "syscall".into(),
                why: why.into(),
            });
        }
    }
    if others > 0 {
        let whose = if others == 1 { "a process".to_owned() } else { format!("{others} processes") };
        let why = format!(
            "the fds of {whose} outside the question cannot be read, which may hold what is waited for"
        );
        evidence.problems.push(Problem { process: None, what: "fds".into(), why });
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::core::evidence::{Access, Object, ObjectId, PipeFacts, Process, Timeout};

    /// A child that is ended and collected whatever the test does.
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn spawn(program: &str, words: &[&str], stdin: Stdio, stdout: Stdio) -> Killed {
        Killed(Command::new(program).args(words).stdin(stdin).stdout(stdout).spawn().unwrap())
    }

    /// Looks until the child's first thread did nothing for a whole window.
    fn when_quiet(child: &Killed) -> (Evidence, Process) {
        let request = Request { ask: Ask::Tree(child.0.id()), quiet_window: Duration::from_millis(50) };
        loop {
            let evidence = look(&ProcRoot::system(), &request, &mut |_| None).unwrap();
            let process = evidence.process(child.0.id()).unwrap().clone();
            if process.threads[0].moved == Some(false) && process.exe.is_some() {
                return (evidence, process);
            }
        }
    }

    #[test]
    fn a_writer_at_a_full_pipe() {
        let child = spawn("yes", &["role=writer"], Stdio::null(), Stdio::piped());
        let (evidence, process) = when_quiet(&child);
        assert_eq!(process.threads[0].wait, Wait::Write { fd: 1 });
        assert_eq!(process.cmdline.as_ref().unwrap()[1], ByteString::from("role=writer"));
        assert!(process.in_scope && !process.zombie);
        let out = process.fd(1).unwrap();
        assert_eq!(out.access, Access::Write);
        let Some(Object { facts: ObjectFacts::Pipe(pipe), .. }) = evidence.object(&out.object) else {
            panic!()
        };
        assert_eq!((pipe.writable, pipe.is_full()), (Some(false), Some(true)));
        let own = evidence.process(std::process::id()).unwrap();
        assert!(!own.in_scope);
        let reader = own.fds.as_ref().unwrap().iter().find(|fd| fd.object == out.object).unwrap();
        assert_eq!(reader.access, Access::Read);
    }

    #[test]
    fn a_reader_at_an_empty_pipe_and_a_sleeper() {
        let reader = spawn("cat", &[], Stdio::piped(), Stdio::null());
        let (evidence, process) = when_quiet(&reader);
        assert_eq!(process.threads[0].wait, Wait::Read { fd: 0, timeout: Timeout::Never });
        let Some(ObjectFacts::Pipe(pipe)) = evidence.object(&process.fd(0).unwrap().object).map(|o| &o.facts)
        else {
            panic!()
        };
        assert_eq!(pipe.is_empty(), Some(true));
        let sleeper = spawn("sleep", &["600"], Stdio::null(), Stdio::null());
        let (_, process) = when_quiet(&sleeper);
        assert_eq!(process.threads[0].wait, Wait::Sleep { timeout: Timeout::After(Some(600_000_000_000)) });
    }

    #[test]
    fn a_zombie_tells_its_status_and_its_parent_is_known() {
        let parent = spawn("sh", &["-c", "(exit 7) & exec sleep 600"], Stdio::null(), Stdio::null());
        let request = Request { ask: Ask::Tree(parent.0.id()), quiet_window: Duration::ZERO };
        let zombie = loop {
            let evidence = look(&ProcRoot::system(), &request, &mut |_| None).unwrap();
            if let Some(zombie) = evidence.processes.into_iter().find(|p| p.ppid == parent.0.id() && p.zombie)
            {
                break zombie;
            }
        };
        assert_eq!(zombie.exit_status.and_then(|s| s.exit_code()), Some(7));
        assert!(zombie.in_scope);
        assert_eq!(zombie.fds, Some(Vec::new()));
    }

    #[test]
    fn the_kernels_counts_reach_the_facts() {
        let child = spawn("cat", &[], Stdio::piped(), Stdio::null());
        let request = Request { ask: Ask::Tree(child.0.id()), quiet_window: Duration::ZERO };
        let told = PipeFacts { writers: Some(5), slots: Some(16), ..PipeFacts::default() };
        let mut reader = |_: BorrowedFd<'_>| Some(ObjectFacts::Pipe(told.clone()));
        let evidence = look(&ProcRoot::system(), &request, &mut reader).unwrap();
        let stdin = evidence.process(child.0.id()).unwrap().fd(0).unwrap().object;
        assert!(matches!(stdin, ObjectId::Pipe { .. }));
        let Some(ObjectFacts::Pipe(pipe)) = evidence.object(&stdin).map(|o| &o.facts) else { panic!() };
        assert_eq!((pipe.writers, pipe.slots, pipe.capacity_bytes), (Some(5), Some(16), Some(65536)));
    }

    #[test]
    fn a_pid_that_is_nobodys_is_an_error() {
        let request = Request { ask: Ask::Tree(u32::MAX), quiet_window: Duration::ZERO };
        let answer = look(&ProcRoot::system(), &request, &mut |_| None);
        assert!(matches!(answer, Err(LookError::NoProcess(u32::MAX))));
    }
}
