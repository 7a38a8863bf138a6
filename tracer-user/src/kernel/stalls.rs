//! Stalled writes: those that have ended, from the hook's log, and those that last, from its slots.
//!
//! The hook serves the whole machine, so both hold the writes of other processes too. Only the members' are
//! reported. A slot may be stale (see the hook), so a stall is reported open only when the kernel finds the
//! thread asleep in its write.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use aya::maps::{Array, HashMap as BpfHashMap, MapData};
use tracer_ebpf::limits;
use tracer_ebpf::names;
use tracer_ebpf::wire::{StallRecord, WriterSlot, ask};

use super::bpffs::Directory;
use super::error::KernelError;
use super::handles::{MapValue, pinned_map};
use super::inspect::Inspector;
use super::slots::Slots;
use super::stall_reports::{SleepKey, StallReports};
use super::{hook, load};
use crate::core::decode;
use crate::core::event::{Event, EventBody};
use crate::core::identity::ProcessId;

/// Reads the hook's log and slots for one session.
pub struct Stalls {
    threshold_ns: u64,
    slots: Slots,
    collisions: BpfHashMap<MapData, u32, MapValue<WriterSlot>>,
    log: Array<MapData, MapValue<StallRecord>>,
    cursors: Array<MapData, u64>,
    /// Records read of each CPU's run of the log.
    read: Vec<u64>,
    /// Records of one CPU in the log.
    run: u64,
    missed: u64,
    inspector: Inspector,
    reports: StallReports,
}

impl Stalls {
    /// From the pins of the hook and of the session. Stalls that ended before are not reported.
    pub fn open(directory: &Directory, session: &Path, threshold_ns: u64) -> Result<Self, KernelError> {
        let hook = hook::of_session(directory, session)?;
        let cursors: Array<MapData, u64> = pinned_map(&hook, names::STALL_CURSORS)?;
        let cpus = aya::util::nr_cpus().map_or(1, |count| count.max(1)) as u32;
        let read = (0..cpus.min(limits::CPUS)).map(|cpu| cursors.get(&cpu, 0).unwrap_or(0)).collect();
        Ok(Self {
            threshold_ns,
            slots: Slots::map(&hook)?,
            collisions: pinned_map(&hook, names::COLLISIONS)?,
            log: pinned_map(&hook, names::STALL_LOG)?,
            cursors,
            read,
            run: u64::from(load::log_run(cpus)),
            missed: 0,
            inspector: Inspector::of_session(session)?,
            reports: StallReports::default(),
        })
    }

    /// Number of ended stalls that were overwritten before they were read.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Appends the members' stalls that have ended since the last call.
    pub fn drain_ended(&mut self, members: &HashMap<ProcessId, Option<u64>>, events: &mut Vec<Event>) {
        for cpu in 0..self.read.len() {
            let Ok(written) = self.cursors.get(&(cpu as u32), 0) else { continue };
            let oldest = written.saturating_sub(self.run);
            if self.read[cpu] < oldest {
                self.missed += oldest - self.read[cpu];
                self.read[cpu] = oldest;
            }
            while self.read[cpu] < written {
                let number = self.read[cpu];
                self.read[cpu] += 1;
                let index = cpu as u64 * self.run + (number & (self.run - 1));
                let Ok(record) = self.log.get(&(index as u32 & (limits::STALL_LOG_RECORDS - 1)), 0) else {
                    continue;
                };
                // The CPU may have overwritten the record while it was read.
                if self.cursors.get(&(cpu as u32), 0).is_ok_and(|now| now.saturating_sub(self.run) > number) {
                    self.missed += 1;
                    continue;
                }
                let Ok(event) = decode::stall_record(&record.0) else {
                    self.missed += 1;
                    continue;
                };
                if let EventBody::StallClosed(stall) = &event.body
                    && members.contains_key(&stall.process)
                    && event.boot_ns.saturating_sub(stall.since_boot_ns) >= self.threshold_ns
                    && self.reports.recorded(SleepKey::of(stall))
                {
                    events.push(event);
                }
            }
        }
    }

    /// Appends the members' stalls that last and were not reported yet, and the ends of those that were
    /// reported open and left no record. The time of such an end is now.
    pub fn walk_open(
        &mut self,
        now_boot_ns: u64,
        members: &HashMap<ProcessId, Option<u64>>,
        events: &mut Vec<Event>,
    ) {
        let (mut in_slots, mut asleep) = (HashSet::new(), HashSet::new());
        for (what, which, sleep) in self.sleeping_since(now_boot_ns.saturating_sub(self.threshold_ns)) {
            in_slots.insert(sleep);
            if !self.reports.is_open(sleep) {
                continue;
            }
            let answer = self.inspector.ask(what, which);
            let Some(found) = answer.filter(|found| found.stall.since_boot_ns == sleep.since_boot_ns) else {
                continue;
            };
            if !members.contains_key(&found.stall.process) {
                self.reports.of_other_process(sleep);
                continue;
            }
            asleep.insert(sleep);
            if self.reports.asleep(sleep, &found.stall) {
                let boot_ns = sleep.since_boot_ns + self.threshold_ns;
                events.push(Event { boot_ns, body: EventBody::StallOpen(found.stall) });
            }
        }
        for stall in self.reports.walked(&in_slots, &asleep, now_boot_ns) {
            events.push(Event { boot_ns: now_boot_ns, body: EventBody::StallClosed(stall) });
        }
    }

    /// The threads that have been asleep since before then, as the slots and collisions have them, and what
    /// to ask the inspection program about each.
    fn sleeping_since(&self, deadline_boot_ns: u64) -> Vec<(u64, u64, SleepKey)> {
        let slots = self.slots.sleeping_since(deadline_boot_ns);
        let mut all: Vec<(u64, u64, SleepKey)> =
            slots.map(|(index, sleep)| (ask::SLOT, u64::from(index), sleep)).collect();
        for tid in self.collisions.keys().flatten() {
            let Ok(MapValue(slot)) = self.collisions.get(&tid, 0) else { continue };
            if slot.since_boot_ns <= deadline_boot_ns {
                let sleep = SleepKey { tid, since_boot_ns: slot.since_boot_ns };
                all.push((ask::COLLISION, u64::from(tid), sleep));
            }
        }
        all
    }
}
