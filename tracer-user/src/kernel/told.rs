//! Which sleeping writers have been looked at, and which stalls have been told begun and not yet ended.
//!
//! Invariant: a stall that was told begun is told ended once. Either the hook's record of its end comes, or two walks
//! find that the thread sleeps no more while no record has come: the hook did not see it come back, or the log was
//! overwritten. Two, since between the thread's coming back and the record there is a moment, which is over by the next
//! walk; a record that comes later still is dropped.

use std::collections::{HashMap, HashSet};

use crate::core::event::Stall;

/// A thread asleep in a write since a moment: one stall. Thread id, nanoseconds of CLOCK_BOOTTIME.
pub type Sleep = (u32, u64);

/// Walks that find it awake before a stall without a record has ended.
const WALKS: u8 = 2;
/// How long a late record of a stall that was told ended is recognised.
const REMEMBER_NS: u64 = 5_000_000_000;

#[derive(Debug)]
enum Known {
    /// Not of the session.
    Strangers,
    /// Told begun; found awake so often in a row.
    Begun(Stall, u8),
    /// Told ended, without a record of the hook's, at that time.
    Ended(u64),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Told {
    sleeps: HashMap<Sleep, Known>,
}

impl Told {
    /// Whether there is something to find out about a sleep: it is new, or was told begun.
    pub fn is_open(&self, sleep: Sleep) -> bool {
        matches!(self.sleeps.get(&sleep), None | Some(Known::Begun(..)))
    }

    /// It is not of the session.
    pub fn strangers(&mut self, sleep: Sleep) {
        self.sleeps.insert(sleep, Known::Strangers);
    }

    /// It was found asleep. True when that is to be told.
    pub fn asleep(&mut self, sleep: Sleep, stall: &Stall) -> bool {
        self.sleeps.insert(sleep, Known::Begun(stall.clone(), 0)).is_none()
    }

    /// A record says that it has ended. False when that was told before.
    pub fn recorded(&mut self, sleep: Sleep) -> bool {
        !matches!(self.sleeps.remove(&sleep), Some(Known::Ended(_)))
    }

    /// A walk is over, which found these in their slots and those of them asleep. Gives the stalls that have ended
    /// without a record.
    pub fn walked(
        &mut self,
        there: &HashSet<Sleep>,
        asleep: &HashSet<Sleep>,
        now_boot_ns: u64,
    ) -> Vec<Stall> {
        let mut ended = Vec::new();
        self.sleeps.retain(|sleep, known| match known {
            Known::Strangers => there.contains(sleep),
            Known::Begun(_, awake) if asleep.contains(sleep) => {
                *awake = 0;
                true
            }
            Known::Begun(stall, awake) => {
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

    const SLEEP: Sleep = (7, 1_000);

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

    fn walk(told: &mut Told, there: bool, asleep: bool, now: u64) -> usize {
        let set = |is: bool| if is { HashSet::from([SLEEP]) } else { HashSet::new() };
        told.walked(&set(there), &set(asleep), now).len()
    }

    #[test]
    fn a_record_ends_it_and_nothing_else_does() {
        let mut told = Told::default();
        assert!(told.asleep(SLEEP, &stall()));
        assert!(!told.asleep(SLEEP, &stall()), "begun once");
        assert_eq!(walk(&mut told, true, true, 1), 0);
        assert_eq!(walk(&mut told, false, false, 2), 0, "the record may be on its way");
        assert!(told.recorded(SLEEP));
        assert_eq!(walk(&mut told, false, false, 3) + walk(&mut told, false, false, 4), 0);
    }

    #[test]
    fn without_a_record_it_ends_once_when_it_sleeps_no_more() {
        for stale_slot in [false, true] {
            let mut told = Told::default();
            told.asleep(SLEEP, &stall());
            assert_eq!(walk(&mut told, stale_slot, false, 1), 0);
            assert_eq!(walk(&mut told, true, true, 2), 0, "it was asleep after all");
            assert_eq!(walk(&mut told, stale_slot, false, 3), 0);
            assert_eq!(walk(&mut told, stale_slot, false, 4), 1);
            assert!(!told.is_open(SLEEP));
            assert_eq!(walk(&mut told, stale_slot, false, 5), 0);
            assert!(!told.recorded(SLEEP), "told already");
        }
    }

    #[test]
    fn strangers_and_old_ends_are_forgotten_with_their_slots() {
        let mut told = Told::default();
        told.strangers(SLEEP);
        walk(&mut told, true, false, 1);
        assert!(!told.is_open(SLEEP));
        walk(&mut told, false, false, 2);
        assert!(told.is_open(SLEEP));
        told.asleep(SLEEP, &stall());
        walk(&mut told, false, false, 3);
        walk(&mut told, false, false, 4);
        assert!(!told.is_open(SLEEP));
        walk(&mut told, false, false, 4 + REMEMBER_NS);
        assert!(told.is_open(SLEEP));
    }
}
