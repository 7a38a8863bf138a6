//! User-space stacks of threads that wait, read while they wait.
//!
//! Nothing is stopped, signaled or traced: everything comes from `/proc` and from the process's memory,
//! which can be read while it sleeps. A stop would end what it looks at: after one, a `write` that is
//! blocked on a full pipe returns short, and `epoll_wait`, `semop` and `sigwaitinfo` fail with EINTR
//! (signal(7), "Interruption of system calls").
//!
//! A stack counts only if its thread was in the same system call, with the same count of context switches,
//! before and after it was read: a thread that slept throughout did not change its own stack. Otherwise the
//! thread has no stack.
//!
//! Files and memory of a job may be slow (a network file system) or hostile. The reading is done by a
//! thread of its own, and the caller leaves it behind when the time is up.

mod asleep;
mod call_site;
mod elf;
mod native;
mod process;
mod python;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use native::Symbols;
use process::{ProcessStacks, Target, TargetThread};

use super::ProcRoot;
use crate::core::diagnosis::NamedThread;
use crate::core::evidence::{Evidence, Problem, Process};

/// Threads of one process that are read at most.
const MOST_THREADS: usize = 64;
/// Processes that are read at most.
const MOST_PROCESSES: usize = 64;

/// Adds the stacks of these threads to the evidence, as far as they can be read within this time.
///
/// Only this machine's processes can be read, so nothing is added for another `/proc`.
pub fn add_stacks(evidence: &mut Evidence, proc_root: &ProcRoot, threads: &[NamedThread], within: Duration) {
    if !proc_root.is_system() {
        return;
    }
    let targets = targets(evidence, threads);
    if targets.is_empty() {
        return;
    }
    let deadline = Instant::now() + within;
    let mut left = targets.len();
    let (send, receive) = mpsc::channel();
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    let root = proc_root.clone();
    let worker = std::thread::Builder::new().name("stacks".into()).spawn(move || {
        let symbols = Symbols::new();
        for target in targets {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            process::read(&root, &target, &symbols, deadline, &mut |stacks| drop(send.send(Some(stacks))));
            let _ = send.send(None);
        }
    });
    if let Err(why) = worker {
        evidence.problems.push(problem(None, format!("no thread to read them: {why}")));
        return;
    }
    while left > 0 {
        match receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Some(stacks)) => add(evidence, stacks),
            Ok(None) => left -= 1,
            Err(error) => {
                stopped.store(true, Ordering::Relaxed);
                let why = match error {
                    RecvTimeoutError::Timeout => format!("not read within {} ms", within.as_millis()),
                    RecvTimeoutError::Disconnected => "the reader failed".to_owned(),
                };
                let whose = if left == 1 { "a process".to_owned() } else { format!("{left} processes") };
                evidence.problems.push(problem(None, format!("{whose}: {why}")));
                return;
            }
        }
    }
}

/// What is to be read, by process.
fn targets(evidence: &Evidence, threads: &[NamedThread]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for named in threads {
        let Some(process) = readable(evidence, named) else { continue };
        let Some(thread) = process.threads.iter().find(|thread| thread.tid == named.tid) else { continue };
        let Some(call) = &thread.syscall else { continue };
        let thread = TargetThread { tid: thread.tid, call: (call.nr, call.args) };
        match targets.iter().position(|target| target.id == process.id) {
            Some(at) if targets[at].threads.len() < MOST_THREADS => targets[at].threads.push(thread),
            None if targets.len() < MOST_PROCESSES => {
                targets.push(Target { id: process.id, threads: vec![thread] });
            }
            _ => {}
        }
    }
    targets
}

fn readable<'e>(evidence: &'e Evidence, named: &NamedThread) -> Option<&'e Process> {
    let process = evidence.process(named.process.tgid).filter(|process| process.id == named.process)?;
    (!process.kernel_thread && !process.zombie && !process.is_observer).then_some(process)
}

fn add(evidence: &mut Evidence, stacks: ProcessStacks) {
    for why in stacks.problems {
        evidence.problems.push(problem(Some(stacks.id), why));
    }
    let Some(process) = evidence.processes.iter_mut().find(|process| process.id == stacks.id) else { return };
    for (tid, frames) in stacks.threads {
        if let Some(thread) = process.threads.iter_mut().find(|thread| thread.tid == tid) {
            thread.frames = Some(frames);
        }
    }
}

fn problem(process: Option<crate::core::identity::ProcessId>, why: String) -> Problem {
    Problem { process, what: "stacks".into(), why }
}
