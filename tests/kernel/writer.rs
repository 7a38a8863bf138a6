//! Players that block in a write, and what is told of them.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tracer_user::core::event::{Event, EventBody, Stall};
use tracer_user::core::identity::ProcessId;

use crate::play::Player;
use crate::traced::Traced;

/// Longer than a sleep between two processes that keep each other busy, on a loaded machine.
pub const THRESHOLD: Duration = Duration::from_millis(60);

/// A thread of a player that writes.
pub struct Writer {
    /// The process.
    pub process: ProcessId,
    /// The thread.
    pub tid: u32,
    /// What it writes to.
    pub fd: u32,
}

impl Writer {
    /// The thread that a player says writes.
    pub fn of(player: &mut Player) -> Self {
        let process = player.process();
        let line = player.line();
        let words: Vec<&str> = line.split(' ').collect();
        let ["writer", tid, fd] = words[..] else { panic!("{line}") };
        Self { process, tid: tid.parse().unwrap(), fd: fd.parse().unwrap() }
    }

    /// Whether the stall is its.
    pub fn is_of(&self, stall: &Stall) -> bool {
        stall.process == self.process && stall.tid == self.tid
    }

    /// Waits until its write is told to be blocked.
    pub fn opened(&self, traced: &mut Traced) -> Event {
        traced.until("open stall", |traced| {
            let mut open = traced
                .events
                .iter()
                .filter(|event| matches!(&event.body, EventBody::StallOpen(stall) if self.is_of(stall)));
            open.next_back().cloned()
        })
    }

    /// Waits until the stall that began then is told to have ended.
    pub fn closed(&self, traced: &mut Traced, since_boot_ns: u64) -> Event {
        traced.until("closed stall", |traced| {
            let closed = |event: &&Event| {
                matches!(&event.body, EventBody::StallClosed(stall)
                    if self.is_of(stall) && stall.since_boot_ns == since_boot_ns)
            };
            traced.events.iter().find(closed).cloned()
        })
    }

    /// What `/proc` says of its descriptor: inode, and the device it stands for.
    pub fn descriptor(&self) -> (u64, u64) {
        let found = std::fs::metadata(format!("/proc/{}/fd/{}", self.process.tgid, self.fd)).unwrap();
        (found.ino(), found.rdev())
    }
}

/// What an event says of a stall.
pub fn stall(event: &Event) -> &Stall {
    match &event.body {
        EventBody::StallOpen(stall) | EventBody::StallClosed(stall) => stall,
        other => panic!("{other:?}"),
    }
}

/// `done FROM TO`: between which times the program saw itself blocked.
pub fn own_times(player: &mut Player) -> (u64, u64) {
    let line = player.line();
    let words: Vec<&str> = line.split(' ').collect();
    let ["done", from, to] = words[..] else { panic!("{line}") };
    (from.parse().unwrap(), to.parse().unwrap())
}
