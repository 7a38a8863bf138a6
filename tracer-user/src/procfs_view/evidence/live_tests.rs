//! Evidence of living processes.

use std::os::fd::BorrowedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Ask, CollectError, Request, collect};
use crate::core::evidence::NoCallWindow;
use crate::core::evidence::{
    Access, ByteString, Evidence, Object, ObjectFacts, ObjectId, PipeFacts, Process, Timeout, Wait,
};
use crate::procfs_view::ProcRoot;

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
        let evidence = collect(&ProcRoot::system(), &request, &mut |_| None, &mut NoCallWindow).unwrap();
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
    let Some(Object { facts: ObjectFacts::Pipe(pipe), .. }) = evidence.object(&out.object) else { panic!() };
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
        let evidence = collect(&ProcRoot::system(), &request, &mut |_| None, &mut NoCallWindow).unwrap();
        if let Some(zombie) = evidence.processes.into_iter().find(|p| p.ppid == parent.0.id() && p.zombie) {
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
    let evidence = collect(&ProcRoot::system(), &request, &mut reader, &mut NoCallWindow).unwrap();
    let stdin = evidence.process(child.0.id()).unwrap().fd(0).unwrap().object;
    assert!(matches!(stdin, ObjectId::Pipe { .. }));
    let Some(ObjectFacts::Pipe(pipe)) = evidence.object(&stdin).map(|o| &o.facts) else { panic!() };
    assert_eq!((pipe.writers, pipe.slots, pipe.capacity_bytes), (Some(5), Some(16), Some(65536)));
}

#[test]
fn a_pid_that_no_process_has_is_an_error() {
    let request = Request { ask: Ask::Tree(u32::MAX), quiet_window: Duration::ZERO };
    let answer = collect(&ProcRoot::system(), &request, &mut |_| None, &mut NoCallWindow);
    assert!(matches!(answer, Err(CollectError::NoProcess(u32::MAX))));
}
