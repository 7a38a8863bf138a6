//! Membership without kernel events: the process connector where it is available, and scans of `/proc`.
//!
//! The connector reports forks, execs and exits, but no start times and no names. Those are read from
//! `/proc`. For a process that is gone already, the start time is derived from the time of the event. The
//! connector reports the end of each thread; a process has ended when no thread of it is left in `/proc`.
//!
//! Where the connector is not available, and from time to time beside it, all of `/proc` is scanned: a
//! process whose parent is a member is a member, and so is a process that was reparented to the tracer, which
//! adopts the orphans of the job.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::core::identity::{INITIAL_PIDNS_INO, NS_PER_TICK, ProcessId, WaitStatus};
use crate::core::proc_event::{ProcEvent, ProcEventBody};
use crate::procfs_view::ProcRoot;
use crate::procfs_view::connector::Connector;
use crate::procfs_view::table::{self, ProcessRow};
use crate::session::clock;

/// Between two scans of all of `/proc` without the connector.
const SCAN_EVERY: Duration = Duration::from_millis(200);
/// The same beside the connector.
const SCAN_BESIDE_CONNECTOR_EVERY: Duration = Duration::from_secs(2);

/// One change of a session's membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A process joined.
    Joined(ProcessId),
    /// A process executed a program.
    Executed(ProcessId),
    /// A process ended. Its wait status; `None` when unknown.
    Ended(ProcessId, Option<WaitStatus>),
    /// Events were lost, at least this many.
    Lost(u64),
}

/// See the module.
pub struct MembershipPoller {
    connector: Option<Connector>,
    scanned_at: Option<Instant>,
    /// Losses that were reported already.
    reported_lost: u64,
    /// Main threads that have ended while other threads of their process live, with their wait status.
    leaders: HashMap<u32, WaitStatus>,
}

impl MembershipPoller {
    /// A poller that uses the connector where it is available. Its numbers are those of the initial pid
    /// namespace.
    pub fn new() -> Self {
        let initial =
            table::extras(&ProcRoot::system(), std::process::id()).pidns_ino == Some(INITIAL_PIDNS_INO);
        Self {
            connector: if initial { Connector::open().ok() } else { None },
            scanned_at: None,
            reported_lost: 0,
            leaders: HashMap::new(),
        }
    }

    /// Execs are among the changes.
    pub fn sees_execs(&self) -> bool {
        self.connector.is_some()
    }

    /// The next poll scans all of `/proc`, however recent the last scan is.
    pub fn make_due(&mut self) {
        self.scanned_at = None;
    }

    /// The changes since the last poll of the session that has these members. `job` is its root.
    pub fn poll(&mut self, root: &ProcRoot, job: ProcessId, members: &[ProcessId]) -> Vec<MembershipChange> {
        let known: HashSet<ProcessId> = members.iter().copied().collect();
        let mut members: HashMap<u32, ProcessId> = members.iter().map(|id| (id.tgid, *id)).collect();
        let mut changes = Vec::new();
        let every = if self.connector.is_some() { SCAN_BESIDE_CONNECTOR_EVERY } else { SCAN_EVERY };
        // The scan comes first: an end before it is in the connector by the time that is read.
        let all = if self.scanned_at.is_none_or(|at| at.elapsed() >= every) {
            self.scanned_at = Some(Instant::now());
            table::all(root).ok()
        } else {
            None
        };
        let mut events = Vec::new();
        if let Some(connector) = &mut self.connector {
            connector.drain(&mut events);
            let lost = connector.lost();
            if lost > self.reported_lost {
                changes.push(MembershipChange::Lost(lost - self.reported_lost));
                self.reported_lost = lost;
            }
        }
        for event in events {
            self.take(event, root, job, &mut members, &mut changes);
        }
        if let Some(all) = all {
            compare_with_scan(&all, job, &known, &mut members, &mut changes);
        }
        changes
    }

    fn take(
        &mut self,
        event: ProcEvent,
        root: &ProcRoot,
        job: ProcessId,
        members: &mut HashMap<u32, ProcessId>,
        changes: &mut Vec<MembershipChange>,
    ) {
        match event.body {
            ProcEventBody::Fork { parent, child } if members.contains_key(&parent) => {
                let start_ticks = table::start_ticks(root, child).ok().flatten();
                let start_ticks = start_ticks.unwrap_or_else(|| boot_ticks(event.monotonic_ns));
                let process = ProcessId { tgid: child, start_ticks };
                if members.insert(child, process) != Some(process) {
                    changes.push(MembershipChange::Joined(process));
                }
            }
            ProcEventBody::Exec { tgid } => {
                changes.extend(members.get(&tgid).copied().map(MembershipChange::Executed))
            }
            ProcEventBody::Exit { tgid, tid, status } => {
                let Some(&process) = members.get(&tgid) else { return };
                if tid == tgid {
                    self.leaders.insert(tgid, status);
                }
                // The end of the job itself is learned from its wait status.
                if process == job || !threads_are_gone(root, process, tid) {
                    return;
                }
                let leader = self.leaders.remove(&tgid);
                members.remove(&tgid);
                changes.push(MembershipChange::Ended(process, leader.or(Some(status))));
            }
            ProcEventBody::Fork { .. } => {}
        }
    }
}

impl Default for MembershipPoller {
    fn default() -> Self {
        Self::new()
    }
}

/// No thread of the process is left but the one that is ending.
fn threads_are_gone(root: &ProcRoot, process: ProcessId, ending: u32) -> bool {
    table::start_ticks(root, process.tgid).ok().flatten() != Some(process.start_ticks)
        || table::threads(root, process.tgid).iter().all(|tid| *tid == ending || *tid == process.tgid)
}

/// Compares the members with a scan of `/proc` from before the events were read. Only a process that was
/// `known` then can be missing from it.
fn compare_with_scan(
    all: &[ProcessRow],
    job: ProcessId,
    known: &HashSet<ProcessId>,
    members: &mut HashMap<u32, ProcessId>,
    changes: &mut Vec<MembershipChange>,
) {
    let me = std::process::id();
    let living: HashSet<ProcessId> = all.iter().filter(|row| !row.zombie).map(|row| row.process).collect();
    members.retain(|_, process| {
        let here = living.contains(process) || *process == job || !known.contains(process);
        if !here {
            changes.push(MembershipChange::Ended(*process, None));
        }
        here
    });
    // Parents precede their children only by chance: repeat until nothing new is found.
    loop {
        let new: Vec<ProcessId> = all
            .iter()
            .filter(|row| !row.zombie && row.process != job && !members.contains_key(&row.process.tgid))
            .filter(|row| members.contains_key(&row.ppid) || row.ppid == me)
            .map(|row| row.process)
            .collect();
        if new.is_empty() {
            return;
        }
        for process in new {
            members.insert(process.tgid, process);
            changes.push(MembershipChange::Joined(process));
        }
    }
}

/// A CLOCK_MONOTONIC time as ticks since boot, time in suspend included.
fn boot_ticks(monotonic_ns: u64) -> u64 {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now_ns = monotonic.tv_sec.unsigned_abs() * 1_000_000_000 + monotonic.tv_nsec.unsigned_abs();
    clock::boot_ns().saturating_sub(now_ns.saturating_sub(monotonic_ns)) / NS_PER_TICK
}
