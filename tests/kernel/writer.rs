//! Helpers that block in a write, and the stalls that are recorded of them.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tracer_user::core::event::{Event, EventBody, Stall};
use tracer_user::core::identity::ProcessId;

use crate::support::child::TestChild;
use crate::traced::Traced;

/// Longer than the pauses of two processes that keep each other busy, on a loaded machine.
pub const THRESHOLD: Duration = Duration::from_millis(60);

/// A thread of a helper that writes.
pub struct Writer {
    pub process: ProcessId,
    pub tid: u32,
    /// The descriptor that it writes to.
    pub fd: u32,
}

impl Writer {
    /// The thread that a helper reports as its writer.
    pub fn of(child: &mut TestChild) -> Self {
        let process = child.process();
        let line = child.line();
        let words: Vec<&str> = line.split(' ').collect();
        let ["writer", tid, fd] = words[..] else { panic!("{line}") };
        Self { process, tid: tid.parse().unwrap(), fd: fd.parse().unwrap() }
    }

    /// Whether the stall is this writer's.
    pub fn is_of(&self, stall: &Stall) -> bool {
        stall.process == self.process && stall.tid == self.tid
    }

    /// Waits until its write is reported as blocked.
    pub fn opened(&self, traced: &mut Traced) -> Event {
        traced.until("open stall", |traced| {
            let mut open = traced
                .events
                .iter()
                .filter(|event| matches!(&event.body, EventBody::StallOpen(stall) if self.is_of(stall)));
            open.next_back().cloned()
        })
    }

    /// Waits until the stall that began at this time is reported as ended.
    pub fn closed(&self, traced: &mut Traced, since_boot_ns: u64) -> Event {
        traced.until("closed stall", |traced| {
            let closed = |event: &&Event| {
                matches!(&event.body, EventBody::StallClosed(stall)
                    if self.is_of(stall) && stall.since_boot_ns == since_boot_ns)
            };
            traced.events.iter().find(closed).cloned()
        })
    }

    /// Inode and device of its descriptor, according to `/proc`.
    pub fn descriptor(&self) -> (u64, u64) {
        let found = std::fs::metadata(format!("/proc/{}/fd/{}", self.process.tgid, self.fd)).unwrap();
        (found.ino(), found.rdev())
    }
}

/// The stall of an event.
pub fn stall(event: &Event) -> &Stall {
    match &event.body {
        EventBody::StallOpen(stall) | EventBody::StallClosed(stall) => stall,
        other => panic!("{other:?}"),
    }
}

/// `done FROM TO`: between which times the helper saw itself blocked.
pub fn own_times(child: &mut TestChild) -> (u64, u64) {
    let line = child.line();
    let words: Vec<&str> = line.split(' ').collect();
    let ["done", from, to] = words[..] else { panic!("{line}") };
    (from.parse().unwrap(), to.parse().unwrap())
}
