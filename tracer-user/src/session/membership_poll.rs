//! What stands in for kernel events: the process connector where it is served, and looks at `/proc`.
//!
//! The connector tells who forks, executes and ends, but not since when or in which process's name: that is looked up,
//! and for a process that is gone already its start is worked out from the event's time. It tells the end of each
//! thread; a process has ended when no thread is left in `/proc`. Where the connector is not served, and now and then
//! beside it, all of `/proc` is looked at: whoever has a member for a parent is one, and whoever was given to us,
//! because we adopt the orphans of the job.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::core::identity::{INITIAL_PIDNS_INO, NS_PER_TICK, ProcessId, WaitStatus};
use crate::core::proc_event::{ProcEvent, What};
use crate::procfs_view::ProcRoot;
use crate::procfs_view::connector::Connector;
use crate::procfs_view::table::{self, ProcessRow};

/// Between two looks at all of `/proc` without the connector, and with it.
const LOOK_ALONE: Duration = Duration::from_millis(200);
const LOOK_BESIDE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A process joined.
    Joined(ProcessId),
    /// A process executed a program.
    Executed(ProcessId),
    /// A process ended; how, when it was told.
    Ended(ProcessId, Option<WaitStatus>),
    /// Something was missed, at least so often.
    Lost(u64),
}

/// See the module.
pub struct MembershipPoller {
    connector: Option<Connector>,
    looked_at: Option<Instant>,
    told_lost: u64,
    /// Leaders that have ended while other threads of theirs live.
    leaders: HashMap<u32, WaitStatus>,
}

impl MembershipPoller {
    /// With the connector, where it is to be had.
    pub fn new() -> Self {
        let initial =
            table::extras(&ProcRoot::system(), std::process::id()).pidns_ino == Some(INITIAL_PIDNS_INO);
        Self {
            connector: if initial { Connector::open().ok() } else { None },
            looked_at: None,
            told_lost: 0,
            leaders: HashMap::new(),
        }
    }

    /// The next call looks at all of `/proc`, however short ago that was done.
    pub fn make_due(&mut self) {
        self.looked_at = None;
    }

    /// What happened since the last call to the session of these members.
    pub fn look(&mut self, root: &ProcRoot, job: ProcessId, members: &[ProcessId]) -> Vec<Found> {
        let known: HashSet<ProcessId> = members.iter().copied().collect();
        let mut members: HashMap<u32, ProcessId> = members.iter().map(|id| (id.tgid, *id)).collect();
        let mut found = Vec::new();
        let every = if self.connector.is_some() { LOOK_BESIDE } else { LOOK_ALONE };
        // The look first: whatever ended before it has been told by the time the connector is read.
        let all = if self.looked_at.is_none_or(|at| at.elapsed() >= every) {
            self.looked_at = Some(Instant::now());
            table::all(root).ok()
        } else {
            None
        };
        let mut events = Vec::new();
        if let Some(connector) = &mut self.connector {
            connector.drain(&mut events);
            let lost = connector.lost();
            if lost > self.told_lost {
                found.push(Found::Lost(lost - self.told_lost));
                self.told_lost = lost;
            }
        }
        for event in events {
            self.take(event, root, job, &mut members, &mut found);
        }
        if let Some(all) = all {
            look_at_all(&all, job, &known, &mut members, &mut found);
        }
        found
    }

    fn take(
        &mut self,
        event: ProcEvent,
        root: &ProcRoot,
        job: ProcessId,
        members: &mut HashMap<u32, ProcessId>,
        found: &mut Vec<Found>,
    ) {
        match event.what {
            What::Fork { parent, child } if members.contains_key(&parent) => {
                let start_ticks = table::start_ticks(root, child).ok().flatten();
                let start_ticks = start_ticks.unwrap_or_else(|| boot_ticks(event.monotonic_ns));
                let process = ProcessId { tgid: child, start_ticks };
                if members.insert(child, process) != Some(process) {
                    found.push(Found::Joined(process));
                }
            }
            What::Exec { tgid } => found.extend(members.get(&tgid).copied().map(Found::Executed)),
            What::Exit { tgid, tid, status } => {
                let Some(&process) = members.get(&tgid) else { return };
                if tid == tgid {
                    self.leaders.insert(tgid, status);
                }
                // The job's own end is told by its wait status.
                if process == job || !threads_are_gone(root, process, tid) {
                    return;
                }
                let leader = self.leaders.remove(&tgid);
                members.remove(&tgid);
                found.push(Found::Ended(process, leader.or(Some(status))));
            }
            What::Fork { .. } => {}
        }
    }
}

impl Default for MembershipPoller {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether no thread of the process is left but the one that is ending.
fn threads_are_gone(root: &ProcRoot, process: ProcessId, ending: u32) -> bool {
    table::start_ticks(root, process.tgid).ok().flatten() != Some(process.start_ticks)
        || table::threads(root, process.tgid).iter().all(|tid| *tid == ending || *tid == process.tgid)
}

/// Compares with all of `/proc` as it was before the events were read. Only who was `known` then can be missing.
fn look_at_all(
    all: &[ProcessRow],
    job: ProcessId,
    known: &HashSet<ProcessId>,
    members: &mut HashMap<u32, ProcessId>,
    found: &mut Vec<Found>,
) {
    let me = std::process::id();
    let living: HashSet<ProcessId> = all.iter().filter(|kin| !kin.zombie).map(|kin| kin.process).collect();
    members.retain(|_, process| {
        let here = living.contains(process) || *process == job || !known.contains(process);
        if !here {
            found.push(Found::Ended(*process, None));
        }
        here
    });
    // Parents come before children only by chance: until nobody new is found.
    loop {
        let new: Vec<ProcessId> = all
            .iter()
            .filter(|kin| !kin.zombie && kin.process != job && !members.contains_key(&kin.process.tgid))
            .filter(|kin| members.contains_key(&kin.ppid) || kin.ppid == me)
            .map(|kin| kin.process)
            .collect();
        if new.is_empty() {
            return;
        }
        for process in new {
            members.insert(process.tgid, process);
            found.push(Found::Joined(process));
        }
    }
}

/// A CLOCK_MONOTONIC time as ticks since boot, the time the machine was suspended included.
fn boot_ticks(monotonic_ns: u64) -> u64 {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now_ns = monotonic.tv_sec.unsigned_abs() * 1_000_000_000 + monotonic.tv_nsec.unsigned_abs();
    super::clock::boot_ns().saturating_sub(now_ns.saturating_sub(monotonic_ns)) / NS_PER_TICK
}
