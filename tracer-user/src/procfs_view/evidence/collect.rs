//! Collects the evidence of one moment: two readings of every thread, and between them everything else, once.
//!
//! Nothing has to be atomic. A thread that did not move between the two readings has done nothing in that time, so
//! what was read of it meanwhile (its system call, the memory that the call points to, the fds that only it could
//! change) was true throughout. What belongs to a thread that did move may be torn, and is never part of a hang.

use std::time::Instant;

use super::clocks::Clocks;
use super::process::Collector;
use super::request::{CollectError, KernelReader, Request};
use super::{last_failed, locks, objects, scope, second_reading, thread_sample, wait_targets};
use crate::core::evidence::{ByteString, Clock, Evidence, Host, Problem, Wait};
use crate::core::identity::ProcessId;
use crate::procfs_view::machine::MachineView;
use crate::procfs_view::{ProcRoot, table};

/// Collects evidence. Takes the quiet window, or the time of reading where that is longer: the two overlap.
///
/// # Errors
/// When `/proc` cannot be opened, or the process that was asked for does not exist.
pub fn collect(
    proc_root: &ProcRoot,
    request: &Request,
    kernel: KernelReader<'_>,
) -> Result<Evidence, CollectError> {
    let root = proc_root
        .open()
        .map_err(|why| CollectError::NoProc { path: proc_root.path().display().to_string(), why })?;
    let mut buffer = Vec::with_capacity(64 << 10);
    let before = thread_sample::machine(&root, &mut buffer);
    let began = Instant::now();
    let first = Clocks::read();

    let members = scope::members(&request.ask, &before)?;
    let machine = MachineView::of(proc_root.clone());
    let mut collector = Collector::new(&root, first, buffer);
    let mut evidence = Evidence {
        host: host(proc_root, &machine),
        scope: scope::scope(&request.ask, &members),
        ..Evidence::default()
    };
    evidence.processes = before
        .values()
        .filter_map(|sample| collector.process(sample, members.contains(&sample.id)))
        .collect();
    evidence.locks = root.dir.read("locks", &mut collector.buffer).ok().map(locks::parse);
    evidence.reach.whole_machine = machine.shows_every_process();
    wait_targets::vfork_children(&mut evidence, before.values());
    objects::objects(&mut evidence, &mut collector, kernel);
    last_failed::add(&mut evidence, &root);

    if let Some(left) = request.quiet_window.checked_sub(began.elapsed()) {
        std::thread::sleep(left);
    }
    let after = thread_sample::machine(&root, &mut collector.buffer);
    let second = Clocks::read();
    collector.clocks = second;
    evidence.clock = Clock {
        taken_at_unix_ns: i64::try_from(second.realtime).unwrap_or(i64::MAX),
        boot_ns: second.boottime,
        quiet_window_ns: second.monotonic.saturating_sub(first.monotonic),
    };
    second_reading::complete(&mut evidence, &mut collector, &before, &after);
    note_unread(&mut evidence);
    Ok(evidence)
}

fn host(proc_root: &ProcRoot, machine: &MachineView) -> Host {
    let names = rustix::system::uname();
    Host {
        boot_id: table::boot_id(proc_root),
        kernel: Some(ByteString(names.release().to_bytes().to_vec())),
        hostname: Some(ByteString(names.nodename().to_bytes().to_vec())),
        pipe_max_size: machine.sysctl("fs/pipe-max-size"),
        pipe_user_pages_soft: machine.sysctl("fs/pipe-user-pages-soft"),
    }
}

/// Adds a problem for each thing that could not be read of a process in scope, and one for all others together.
fn note_unread(evidence: &mut Evidence) {
    let mut problems = Vec::new();
    let mut others = 0usize;
    for process in &evidence.processes {
        let fds = process.unread.iter().find(|unread| unread.what == "fds");
        if !process.in_scope {
            others += usize::from(fds.is_some());
            continue;
        }
        if let Some(unread) = fds {
            problems.push(problem(Some(process.id), "fds", unread.why.clone()));
        }
        if !process.zombie && process.threads.iter().any(|thread| thread.wait == Wait::Unreadable) {
            let why = "the system call of a thread cannot be read: it needs the right to ptrace the process";
            problems.push(problem(Some(process.id), "syscall", why.into()));
        }
    }
    if others > 0 {
        let whose = if others == 1 { "a process".to_owned() } else { format!("{others} processes") };
        let why = format!(
            "the fds of {whose} outside the scope cannot be read; one of them may hold what is waited for"
        );
        problems.push(problem(None, "fds", why));
    }
    evidence.problems.extend(problems);
}

fn problem(process: Option<ProcessId>, what: &str, why: String) -> Problem {
    Problem { process, what: what.into(), why }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::core::evidence::{Access, Object, ObjectFacts, ObjectId, PipeFacts, Process, Timeout};
    use crate::procfs_view::Ask;

    /// A child that is killed and reaped when the test ends.
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

    /// Collects until the child's first thread did nothing for a whole window.
    fn when_quiet(child: &Killed) -> (Evidence, Process) {
        let request = Request { ask: Ask::Tree(child.0.id()), quiet_window: Duration::from_millis(50) };
        loop {
            let evidence = collect(&ProcRoot::system(), &request, &mut |_| None).unwrap();
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
    fn a_zombie_shows_its_status_and_its_parent_is_known() {
        let parent = spawn("sh", &["-c", "(exit 7) & exec sleep 600"], Stdio::null(), Stdio::null());
        let request = Request { ask: Ask::Tree(parent.0.id()), quiet_window: Duration::ZERO };
        let zombie = loop {
            let evidence = collect(&ProcRoot::system(), &request, &mut |_| None).unwrap();
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
        let counted = PipeFacts { writers: Some(5), slots: Some(16), ..PipeFacts::default() };
        let mut reader = |_: BorrowedFd<'_>| Some(ObjectFacts::Pipe(counted.clone()));
        let evidence = collect(&ProcRoot::system(), &request, &mut reader).unwrap();
        let stdin = evidence.process(child.0.id()).unwrap().fd(0).unwrap().object;
        assert!(matches!(stdin, ObjectId::Pipe { .. }));
        let Some(ObjectFacts::Pipe(pipe)) = evidence.object(&stdin).map(|o| &o.facts) else { panic!() };
        assert_eq!((pipe.writers, pipe.slots, pipe.capacity_bytes), (Some(5), Some(16), Some(65536)));
    }

    #[test]
    fn a_pid_that_no_process_has_is_an_error() {
        let request = Request { ask: Ask::Tree(u32::MAX), quiet_window: Duration::ZERO };
        let answer = collect(&ProcRoot::system(), &request, &mut |_| None);
        assert!(matches!(answer, Err(CollectError::NoProcess(u32::MAX))));
    }
}
