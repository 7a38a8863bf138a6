//! The stacks of one process, each with the proof that its thread slept throughout.

use std::collections::BTreeMap;
use std::time::Instant;

use super::asleep::{Asleep, MOST_FRAMES, asleep};
use super::native::{Native, RawFrame, Symbols};
use super::python;
use crate::core::evidence::StackFrame;
use crate::core::identity::ProcessId;
use crate::procfs_view::ProcRoot;
use crate::procfs_view::evidence::Memory;
use crate::procfs_view::proc_dir::ProcDir;
use crate::procfs_view::stat;

/// Attempts at a thread that woke while it was read.
const ATTEMPTS: usize = 3;

/// The threads of a process that are to be read.
pub(super) struct Target {
    pub id: ProcessId,
    pub threads: Vec<TargetThread>,
}

/// A thread, and the system call that the evidence found it in: number and arguments.
pub(super) struct TargetThread {
    pub tid: u32,
    pub call: (u64, [u64; 6]),
}

/// What was read of a process.
pub(super) struct ProcessStacks {
    pub id: ProcessId,
    pub threads: Vec<(u32, Vec<StackFrame>)>,
    pub problems: Vec<String>,
}

/// The stack of a thread, before its symbols are looked up.
#[derive(Clone)]
enum Stack {
    Named(Vec<StackFrame>),
    Raw(Vec<RawFrame>),
}

/// Reads a process, and hands on what is known of it: first with addresses, then with the symbols that may
/// take long to look up. Fails by handing on fewer stacks.
pub(super) fn read(
    root: &ProcRoot,
    target: &Target,
    symbols: &Symbols,
    deadline: Instant,
    hand_on: &mut dyn FnMut(ProcessStacks),
) {
    let mut found = ProcessStacks { id: target.id, threads: Vec::new(), problems: Vec::new() };
    let Some(dir) = root.open().ok().and_then(|root| root.process(target.id.tgid).ok()) else { return };
    let mut buffer = Vec::new();
    // From here on the directory is of this process: a later one with its pid has another directory.
    if !is(&dir, target.id, &mut buffer) {
        return;
    }
    let native = Native::of(&dir, target.id.tgid);
    let stacks = consistent(&dir, target, native.as_ref(), deadline, &mut found.problems);
    if !is(&dir, target.id, &mut buffer) {
        return;
    }
    found.problems.sort();
    found.problems.dedup();
    let has_raw = stacks.iter().any(|(_, stack)| matches!(stack, Stack::Raw(_)));
    let frames = |stack: &Stack, name: bool| match (stack, &native) {
        (Stack::Named(frames), _) => frames.clone(),
        (Stack::Raw(frames), Some(native)) if name => symbols.named(native, frames),
        (Stack::Raw(frames), Some(native)) => native.unnamed(frames),
        (Stack::Raw(_), None) => Vec::new(),
    };
    let all = |name: bool| stacks.iter().map(|(tid, stack)| (*tid, frames(stack, name))).collect();
    found.threads = all(false);
    hand_on(found);
    if has_raw {
        hand_on(ProcessStacks { id: target.id, threads: all(true), problems: Vec::new() });
    }
}

/// The stacks of the threads that slept while they were read.
fn consistent(
    dir: &ProcDir,
    target: &Target,
    native: Option<&Native>,
    deadline: Instant,
    problems: &mut Vec<String>,
) -> Vec<(u32, Stack)> {
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    let mut left: Vec<&TargetThread> = target.threads.iter().collect();
    for _ in 0..ATTEMPTS {
        if left.is_empty() || Instant::now() >= deadline {
            break;
        }
        let before: BTreeMap<u32, Asleep> = left
            .iter()
            .filter_map(|thread| {
                let asleep = asleep(dir, thread.tid, &mut buffer)?;
                ((asleep.number, asleep.args) == thread.call).then_some((thread.tid, asleep))
            })
            .collect();
        if before.is_empty() {
            break;
        }
        let stacks = stacks(dir, target, native, &before, problems);
        left.retain(|thread| {
            let slept = before
                .get(&thread.tid)
                .is_some_and(|before| asleep(dir, thread.tid, &mut buffer).as_ref() == Some(before));
            match stacks.get(&thread.tid).filter(|_| slept) {
                Some(stack) => {
                    found.push((thread.tid, stack.clone()));
                    false
                }
                // A thread that slept and has no stack will have none at the next attempt.
                None => !slept && before.contains_key(&thread.tid),
            }
        });
    }
    found
}

/// The stacks of the threads that sleep, by thread: of the interpreter where it has one, else of machine
/// code.
fn stacks(
    dir: &ProcDir,
    target: &Target,
    native: Option<&Native>,
    asleep: &BTreeMap<u32, Asleep>,
    problems: &mut Vec<String>,
) -> BTreeMap<u32, Stack> {
    let mut stacks = BTreeMap::new();
    if python::is_interpreter(dir) {
        match python::stacks(dir, target.id.tgid, asleep) {
            Ok(found) => stacks.extend(found.into_iter().filter(|(_, frames)| !frames.is_empty()).map(
                |(tid, mut frames)| {
                    frames.truncate(MOST_FRAMES);
                    (tid, Stack::Named(frames))
                },
            )),
            Err(why) => problems.push(format!("Python frames: {why}")),
        }
    }
    let memory = Memory::of(dir);
    for (tid, asleep) in asleep {
        if let Some(native) = native.filter(|_| !stacks.contains_key(tid)) {
            let frames = native.unwind(&memory, asleep);
            if !frames.is_empty() {
                stacks.insert(*tid, Stack::Raw(frames));
            }
        }
    }
    stacks
}

/// Whether the directory is of this process, and the process still exists.
fn is(dir: &ProcDir, id: ProcessId, buffer: &mut Vec<u8>) -> bool {
    let stat = dir.read("stat", buffer).ok().and_then(stat::stat);
    stat.is_some_and(|stat| stat.start_ticks == id.start_ticks)
}
