//! Which sleeping writers have been looked at, and which stalls have been told begun and not yet ended.
//!
//! Invariant: a stall that was told begun is told ended once. Either the hook's record of its end comes, or two walks
//! find that the thread sleeps no more while no record has come: the hook did not see it come back, or the log was
//! overwritten. Two, since between the thread's coming back and the record there is a moment, which is over by the next
//! walk; a record that comes later still is dropped.

use std::collections::{HashMap, HashSet};

use crate::core::event::Stall;

/// A thread asleep in a write since a moment: one stall. Thread id, nanoseconds of CLOCK_BOOTTIME.
pub type SleepKey = (u32, u64);

/// Walks that find it awake before a stall without a record has ended.
const WALKS: u8 = 2;
/// How long a late record of a stall that was told ended is recognised.
const REMEMBER_NS: u64 = 5_000_000_000;

#[derive(Debug)]
enum Known {
    /// Not of the session.
    Strangers,
    /// Told begun; found awake so often in a row.
    Open(Stall, u8),
    /// Told ended, without a record of the hook's, at that time.
    Ended(u64),
}

/// See the module.
#[derive(Debug, Default)]
pub struct StallReports {
    sleeps: HashMap<SleepKey, Known>,
}

impl StallReports {
    /// Whether there is something to find out about a sleep: it is new, or was told begun.
    pub fn is_open(&self, sleep: SleepKey) -> bool {
        matches!(self.sleeps.get(&sleep), None | Some(Known::Open(..)))
    }

    /// It is not of the session.
    pub fn strangers(&mut self, sleep: SleepKey) {
        self.sleeps.insert(sleep, Known::Strangers);
    }

    /// It was found asleep. True when that is to be told.
    pub fn asleep(&mut self, sleep: SleepKey, stall: &Stall) -> bool {
        self.sleeps.insert(sleep, Known::Open(stall.clone(), 0)).is_none()
    }

    /// A record says that it has ended. False when that was told before.
    pub fn recorded(&mut self, sleep: SleepKey) -> bool {
        !matches!(self.sleeps.remove(&sleep), Some(Known::Ended(_)))
    }

    /// A walk is over, which found these in their slots and those of them asleep. Gives the stalls that have ended
    /// without a record.
    pub fn walked(
        &mut self,
        there: &HashSet<SleepKey>,
        asleep: &HashSet<SleepKey>,
        now_boot_ns: u64,
    ) -> Vec<Stall> {
        let mut ended = Vec::new();
        self.sleeps.retain(|sleep, known| match known {
            Known::Strangers => there.contains(sleep),
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
            Known::Ended(at) => there.contains(sleep) || now_boot_ns.saturating_sub(*at) < REMEMBER_NS,
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::ResourceKind;
    use crate::core::identity::ProcessId;

    const SLEEP: SleepKey = (7, 1_000);

    fn stall() -> Stall {
        Stall {
            process: ProcessId { tgid: 7, start_ticks: 1 },
            tid: SLEEP.0,
            comm: b"writer".to_vec(),
            since_boot_ns: SLEEP.1,
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

    fn walk(reports: &mut StallReports, there: bool, asleep: bool, now: u64) -> usize {
        let set = |is: bool| if is { HashSet::from([SLEEP]) } else { HashSet::new() };
        reports.walked(&set(there), &set(asleep), now).len()
    }

    #[test]
    fn a_record_ends_it_and_nothing_else_does() {
        let mut reports = StallReports::default();
        assert!(reports.asleep(SLEEP, &stall()));
        assert!(!reports.asleep(SLEEP, &stall()), "begun once");
        assert_eq!(walk(&mut reports, true, true, 1), 0);
        assert_eq!(walk(&mut reports, false, false, 2), 0, "the record may be on its way");
        assert!(reports.recorded(SLEEP));
        assert_eq!(walk(&mut reports, false, false, 3) + walk(&mut reports, false, false, 4), 0);
    }

    #[test]
    fn without_a_record_it_ends_once_when_it_sleeps_no_more() {
        for stale_slot in [false, true] {
            let mut reports = StallReports::default();
            reports.asleep(SLEEP, &stall());
            assert_eq!(walk(&mut reports, stale_slot, false, 1), 0);
            assert_eq!(walk(&mut reports, true, true, 2), 0, "it was asleep after all");
            assert_eq!(walk(&mut reports, stale_slot, false, 3), 0);
            assert_eq!(walk(&mut reports, stale_slot, false, 4), 1);
            assert!(!reports.is_open(SLEEP));
            assert_eq!(walk(&mut reports, stale_slot, false, 5), 0);
            assert!(!reports.recorded(SLEEP), "told already");
        }
    }

    #[test]
    fn strangers_and_old_ends_are_forgotten_with_their_slots() {
        let mut reports = StallReports::default();
        reports.strangers(SLEEP);
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
