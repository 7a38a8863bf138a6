//! The wait tree as text: one line for each process, indented below its parent.

use crate::core::diagnosis::{Frame, ProcessWaits, ThreadActivity, ThreadWaits, WaitTree};
use crate::core::text::duration;

/// The most lines of a tree in a brief report.
pub const MOST: usize = 25;

/// The tree, at most `most` lines: the processes that wait for something before those that are simply
/// asleep.
pub fn lines(tree: &WaitTree, most: usize) -> Vec<String> {
    let line = |process: &ProcessWaits| format!("{}{}", "  ".repeat(process.depth.min(12)), words(process));
    let mut out: Vec<String> = tree.processes.iter().take(most).map(line).collect();
    let left = tree.processes.len().saturating_sub(most) + tree.omitted;
    if left > 0 {
        out.push(format!("… and {left} more"));
    }
    out
}

/// The stacks of the tree: the heading of each thread and its frames, innermost first.
pub fn stacks(tree: &WaitTree) -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    for process in &tree.processes {
        for thread in &process.threads {
            let Some(stack) = thread.stack.as_deref().filter(|stack| !stack.is_empty()) else { continue };
            let title = format!("{} (pid {}, thread {})", process.title, process.pid, thread.tid);
            out.push((title, stack.iter().map(frame).collect()));
        }
    }
    out
}

/// `read at /usr/lib/libc.so.6+0x11478c`, `test_chatty at /job/tests/test_io.py:41`
fn frame(frame: &Frame) -> String {
    let function = frame.function.as_deref().unwrap_or("?");
    match (&frame.file, &frame.module) {
        (Some(file), _) => {
            format!("{function} at {file}{}", frame.line.map_or_else(String::new, |line| format!(":{line}")))
        }
        (None, Some(module)) => {
            let address = frame.address.as_ref().map_or_else(String::new, |address| format!("+{address}"));
            format!("{function} at {module}{address}")
        }
        (None, None) => function.to_owned(),
    }
}

/// A process and what it waits for, in a line.
pub fn words(process: &ProcessWaits) -> String {
    let mut out = format!("{} (pid {})", process.title, process.pid);
    if process.zombie {
        let how = process.exit.as_ref().map_or_else(String::new, |how| format!(" with {how}"));
        out.push_str(&format!(": ended{how}, not collected by its parent"));
        return out;
    }
    if let Some(halted) = process.halted {
        out.push_str(&format!(": {}", halted.id()));
    } else if let Some((first, rest)) = process.threads.split_first() {
        out.push_str(&format!(": {}", thread(first)));
        for other in rest.iter().filter(|other| !is_like(other, first)).take(3) {
            let name = other
                .name
                .as_ref()
                .map_or_else(|| other.tid.to_string(), |name| format!("{name} {}", other.tid));
            out.push_str(&format!("; thread {name}: {}", thread(other)));
        }
        let others = rest.iter().filter(|other| is_like(other, first)).count() + process.idle_threads;
        if others > 0 {
            out.push_str(&format!("; {others} idle thread{}", if others == 1 { "" } else { "s" }));
        }
    }
    if let Some(death) = &process.last_death {
        let how = death.how.as_deref().unwrap_or("an unknown status");
        let ago = death.ago_ms.map_or_else(String::new, |ms| format!(", {} ago", duration(ms * 1_000_000)));
        out.push_str(&format!("; last child that ended: {} (pid {}), {how}{ago}", death.comm, death.pid));
    }
    if let Some(test) = &process.test {
        out.push_str(&format!("; test {test}"));
    }
    out
}

/// Both wait in the same way, at the same place in the code.
fn is_like(one: &ThreadWaits, other: &ThreadWaits) -> bool {
    one.doing == other.doing && one.at == other.at
}

fn thread(thread: &ThreadWaits) -> String {
    let mut out = thread.doing.clone();
    if let Some(object) = &thread.object
        && !out.contains(&object.id)
    {
        out.push_str(&format!(", {}", object.id));
    }
    if let [one] = thread.held_by.as_slice() {
        let holder = format!("{} (pid {})", one.title, one.pid);
        // A process that waits for an exit has already named the process.
        if !out.contains(&holder) {
            out.push_str(&format!(", held by {holder}"));
        }
    } else if thread.held_by.len() > 1 {
        out.push_str(&format!(", held by {} processes", thread.held_by.len()));
    }
    match (thread.activity, thread.wakes_every_ms) {
        (ThreadActivity::Tick, Some(ms)) => {
            out.push_str(&format!(", wakes every {}", duration(ms * 1_000_000)));
        }
        (ThreadActivity::Progress, _) => out.push_str(", in progress"),
        _ => {}
    }
    if let Some(place) = &thread.at {
        out.push_str(&format!(", at {}", place.text));
        if place.depth > 0
            && let Some(stack) = &thread.stack
        {
            out.push_str(&format!(" (frame {} of {})", place.depth + 1, stack.len()));
        }
    }
    if let Some(ms) = thread.waited_ms {
        out.push_str(&format!(", for {}", duration(ms * 1_000_000)));
    }
    if let Some(at) = &thread.ends_at {
        out.push_str(&format!(", until {at}"));
    }
    out
}
