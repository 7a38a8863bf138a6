//! Stalled writes: those that have ended, from the hook's log, and those that last, from its slots.
//!
//! The hook serves the whole machine, so both hold strangers' writes: what is not of a member is left out here.
//! A slot may be stale, see the hook: only a thread that the kernel finds asleep in its write is told.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::ptr::NonNull;

use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use tracer_ebpf::limits;
use tracer_ebpf::names;
use tracer_ebpf::wire::{StallRecord, WriterSlot, ask};

use super::bpffs::Directory;
use super::error::KernelError;
use super::inspect::Inspector;
use super::map_value::MapValue;
use super::stall_reports::{SleepKey, StallReports};
use super::{hook, load, pins};
use crate::core::decode;
use crate::core::event::{Event, EventBody};
use crate::core::identity::ProcessId;

/// See the module.
pub struct Stalls {
    threshold_ns: u64,
    slots: Slots,
    collisions: BpfHashMap<MapData, u32, MapValue<WriterSlot>>,
    log: Array<MapData, MapValue<StallRecord>>,
    cursors: Array<MapData, u64>,
    /// How far each CPU's run of the log has been read.
    read: Vec<u64>,
    /// Records a CPU has in the log.
    run: u64,
    missed: u64,
    inspector: Inspector,
    reports: StallReports,
}

impl Stalls {
    /// From the pins of the hook and of the session. Stalls that ended before are not reported.
    pub fn open(directory: &Directory, session: &Path, threshold_ns: u64) -> Result<Self, KernelError> {
        let hook = hook::of_session(directory, session)?;
        let what = |name: &str| format!("opening the map {name}");
        let array =
            |path: &Path, name: &str| -> Result<Map, KernelError> { pins::typed_map(&path.join(name)) };
        let cursors: Array<MapData, u64> = array(&hook, names::STALL_CURSORS)?
            .try_into()
            .map_err(|error| KernelError::of(what(names::STALL_CURSORS), error))?;
        let cpus = aya::util::nr_cpus().map_or(1, |count| count.max(1)) as u32;
        let read = (0..cpus.min(limits::CPUS)).map(|cpu| cursors.get(&cpu, 0).unwrap_or(0)).collect();
        Ok(Self {
            threshold_ns,
            slots: Slots::map(&hook.join(names::SLOTS))?,
            collisions: array(&hook, names::COLLISIONS)?
                .try_into()
                .map_err(|error| KernelError::of(what(names::COLLISIONS), error))?,
            log: array(&hook, names::STALL_LOG)?
                .try_into()
                .map_err(|error| KernelError::of(what(names::STALL_LOG), error))?,
            cursors,
            read,
            run: u64::from(load::log_run(cpus)),
            missed: 0,
            inspector: Inspector::of_session(session)?,
            reports: StallReports::default(),
        })
    }

    /// Ended stalls that were overwritten before they were read.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The members' stalls that have ended since the last call.
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
                // The CPU may have come round while the record was read.
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
                    && self.reports.recorded((stall.tid, stall.since_boot_ns))
                {
                    events.push(event);
                }
            }
        }
    }

    /// The members' stalls that last and have not been told, and the ends of those told before that left no record:
    /// their time is now.
    pub fn walk_open(
        &mut self,
        now_boot_ns: u64,
        members: &HashMap<ProcessId, Option<u64>>,
        events: &mut Vec<Event>,
    ) {
        let (mut there, mut asleep) = (HashSet::new(), HashSet::new());
        for (what, which, sleep) in self.sleeping_since(now_boot_ns.saturating_sub(self.threshold_ns)) {
            there.insert(sleep);
            if !self.reports.is_open(sleep) {
                continue;
            }
            let Some(found) =
                self.inspector.ask(what, which).filter(|found| found.stall.since_boot_ns == sleep.1)
            else {
                continue;
            };
            if !members.contains_key(&found.stall.process) {
                self.reports.strangers(sleep);
                continue;
            }
            asleep.insert(sleep);
            if self.reports.asleep(sleep, &found.stall) {
                let boot_ns = sleep.1 + self.threshold_ns;
                events.push(Event { boot_ns, body: EventBody::StallOpen(found.stall) });
            }
        }
        for stall in self.reports.walked(&there, &asleep, now_boot_ns) {
            events.push(Event { boot_ns: now_boot_ns, body: EventBody::StallClosed(stall) });
        }
    }

    /// What to ask the inspection program for each thread that is said to be asleep since before then.
    fn sleeping_since(&self, deadline_boot_ns: u64) -> Vec<(u64, u64, SleepKey)> {
        let slots = self.slots.sleeping_since(deadline_boot_ns).into_iter();
        let mut all: Vec<(u64, u64, SleepKey)> = slots
            .map(|(index, slot)| (ask::SLOT, u64::from(index), (slot.tid, slot.since_boot_ns)))
            .collect();
        for tid in self.collisions.keys().flatten() {
            let Ok(entry) = self.collisions.get(&tid, 0) else { continue };
            let since = entry.0.since_boot_ns;
            if since <= deadline_boot_ns {
                all.push((ask::COLLISION, u64::from(tid), (tid, since)));
            }
        }
        all
    }
}

/// The hook's slots, mapped: a walk costs no system call an entry.
struct Slots {
    at: NonNull<WriterSlot>,
}

// SAFETY: the mapping is read-only here and belongs to this value alone.
unsafe impl Send for Slots {}

impl Slots {
    const BYTES: usize = limits::WRITER_SLOTS as usize * size_of::<WriterSlot>();

    fn map(path: &Path) -> Result<Self, KernelError> {
        let data = pins::map(path)?;
        // SAFETY: a new shared mapping of a map that has exactly this many bytes; nothing else lies there.
        let at = unsafe {
            mmap(std::ptr::null_mut(), Self::BYTES, ProtFlags::READ, MapFlags::SHARED, data.fd().as_fd(), 0)
        };
        let at =
            at.map_err(|error| KernelError::of("mapping the writer slots", std::io::Error::from(error)))?;
        let at = NonNull::new(at.cast()).ok_or_else(|| KernelError::Refused {
            what: "mapping the writer slots".to_owned(),
            why: "mapped at address 0".to_owned(),
        })?;
        Ok(Self { at })
    }

    /// Slots in use since before `deadline_boot_ns`, with their index.
    fn sleeping_since(&self, deadline_boot_ns: u64) -> Vec<(u32, WriterSlot)> {
        (0..limits::WRITER_SLOTS)
            .filter_map(|index| {
                // SAFETY: inside the mapping. The kernel writes there at any time, hence volatile reads of one
                // field each; a torn slot is told apart later, when the program that looks at it compares.
                let slot = unsafe {
                    let slot = self.at.as_ptr().add(index as usize);
                    let tid = (&raw const (*slot).tid).read_volatile();
                    let since_boot_ns = (&raw const (*slot).since_boot_ns).read_volatile();
                    WriterSlot { tid, since_boot_ns, ..WriterSlot::default() }
                };
                (slot.tid != 0 && slot.since_boot_ns <= deadline_boot_ns).then_some((index, slot))
            })
            .collect()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, not used after this.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), Self::BYTES) };
    }
}
