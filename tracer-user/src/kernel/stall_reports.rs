//! Which sleeping writers have been inspected, and which stalls have been reported open and not yet ended.
//!
//! Invariant: a stall that was reported open is reported ended once. Either the hook's record of its end
//! comes, or two walks in a row find the thread no longer asleep while no record has come: the hook did not
//! see it come back, or the log was overwritten. Two walks, since there is a moment between the thread's
//! coming back and the record, which is over by the next walk. A record that comes later still is dropped.

use std::collections::{HashMap, HashSet};

use crate::core::event::Stall;

/// One stall: a thread that has been asleep in a write since a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SleepKey {
    /// Thread id.
    pub tid: u32,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub since_boot_ns: u64,
}

impl SleepKey {
    /// The key of a stall.
    pub fn of(stall: &Stall) -> Self {
        Self { tid: stall.tid, since_boot_ns: stall.since_boot_ns }
    }
}

/// Walks that find the thread awake before a stall without a record counts as ended.
const WALKS: u8 = 2;
/// How long a late record of a stall that was reported ended is recognized.
const REMEMBER_NS: u64 = 5_000_000_000;

#[derive(Debug)]
enum Known {
    /// Of a process that is not a member.
    OtherProcess,
    /// Reported open. The number of walks in a row that found the thread awake.
    Open(Stall, u8),
    /// Reported ended without a record of the hook, at this time.
    Ended(u64),
}

/// The reports of a session's stalls.
#[derive(Debug, Default)]
pub struct StallReports {
    sleeps: HashMap<SleepKey, Known>,
}

impl StallReports {
    /// Whether the sleep has to be inspected: it is new, or was reported open.
    pub fn is_open(&self, sleep: SleepKey) -> bool {
        matches!(self.sleeps.get(&sleep), None | Some(Known::Open(..)))
    }

    /// Records that the sleep is not a member's.
    pub fn of_other_process(&mut self, sleep: SleepKey) {
        self.sleeps.insert(sleep, Known::OtherProcess);
    }

    /// Records that the thread was found asleep. True when the stall is new, and has to be reported open.
    pub fn asleep(&mut self, sleep: SleepKey, stall: &Stall) -> bool {
        self.sleeps.insert(sleep, Known::Open(stall.clone(), 0)).is_none()
    }

    /// Takes in the hook's record of the end. False when the end was reported before.
    pub fn recorded(&mut self, sleep: SleepKey) -> bool {
        !matches!(self.sleeps.remove(&sleep), Some(Known::Ended(_)))
    }

    /// Takes in the result of a walk: the sleeps it found in their slots, and those of them that were asleep.
    /// Returns the stalls that have ended without a record.
    pub fn walked(
        &mut self,
        in_slots: &HashSet<SleepKey>,
        asleep: &HashSet<SleepKey>,
        now_boot_ns: u64,
    ) -> Vec<Stall> {
        let mut ended = Vec::new();
        self.sleeps.retain(|sleep, known| match known {
            Known::OtherProcess => in_slots.contains(sleep),
            Known::Open(_, awake) if asleep.contains(sleep) => {
                *awake = 0;
                true
            }
            Known::Open(stall, awake) => {
                *awake += 1;
                if *awake == WALKS {
                    ended.push(Stall { end_seen: Some(false), ..stall.clone() });
                    *known = Known::Ended(now_boot_ns);
                }
                true
            }
            Known::Ended(at) => in_slots.contains(sleep) || now_boot_ns.saturating_sub(*at) < REMEMBER_NS,
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::ResourceKind;
    use crate::core::identity::ProcessId;

    const SLEEP: SleepKey = SleepKey { tid: 7, since_boot_ns: 1_000 };

    fn stall() -> Stall {
        Stall {
            process: ProcessId { tgid: 7, start_ticks: 1 },
            tid: SLEEP.tid,
            comm: b"writer".to_vec(),
            since_boot_ns: SLEEP.since_boot_ns,
            fd: Some(1),
            syscall: Some(1),
            kind: ResourceKind::Pipe,
            inode: Some(3),
            device: None,
            socket: None,
            slots: None,
            used_bytes: None,
            capacity_bytes: None,
            ends: None,
            end_seen: None,
        }
    }

    fn walk(reports: &mut StallReports, in_slots: bool, asleep: bool, now: u64) -> usize {
        let set = |is: bool| if is { HashSet::from([SLEEP]) } else { HashSet::new() };
        reports.walked(&set(in_slots), &set(asleep), now).len()
    }

    #[test]
    fn a_record_ends_a_stall_once() {
        let mut reports = StallReports::default();
        assert!(reports.asleep(SLEEP, &stall()));
        assert!(!reports.asleep(SLEEP, &stall()), "reported open once");
        assert_eq!(walk(&mut reports, true, true, 1), 0);
        assert_eq!(walk(&mut reports, false, false, 2), 0, "the record may be on its way");
        assert!(reports.recorded(SLEEP));
        assert_eq!(walk(&mut reports, false, false, 3) + walk(&mut reports, false, false, 4), 0);
    }

    #[test]
    fn without_a_record_two_walks_that_find_it_awake_end_it_once() {
        for stale_slot in [false, true] {
            let mut reports = StallReports::default();
            reports.asleep(SLEEP, &stall());
            assert_eq!(walk(&mut reports, stale_slot, false, 1), 0);
            assert_eq!(walk(&mut reports, true, true, 2), 0, "it was asleep after all");
            assert_eq!(walk(&mut reports, stale_slot, false, 3), 0);
            assert_eq!(walk(&mut reports, stale_slot, false, 4), 1);
            assert!(!reports.is_open(SLEEP));
            assert_eq!(walk(&mut reports, stale_slot, false, 5), 0);
            assert!(!reports.recorded(SLEEP), "reported already");
        }
    }

    #[test]
    fn sleeps_of_other_processes_and_old_ends_are_forgotten_with_their_slots() {
        let mut reports = StallReports::default();
        reports.of_other_process(SLEEP);
        walk(&mut reports, true, false, 1);
        assert!(!reports.is_open(SLEEP));
        walk(&mut reports, false, false, 2);
        assert!(reports.is_open(SLEEP));
        reports.asleep(SLEEP, &stall());
        walk(&mut reports, false, false, 3);
        walk(&mut reports, false, false, 4);
        assert!(!reports.is_open(SLEEP));
        walk(&mut reports, false, false, 4 + REMEMBER_NS);
        assert!(reports.is_open(SLEEP));
    }
}
