//! Decides when a session is diagnosed because something in it has waited for long.
//!
//! Each branch of the session is watched for itself: a process that does next to nothing, a blocked write,
//! and the session as a whole. One of them that has waited for the limit is enough, whatever else moves: a
//! test that hangs must not be hidden by a server that ticks beside it.
//!
//! Most waits are no hangs. So a branch that goes on waiting is looked at again after twice the time, at
//! most five minutes later, and a long sleep costs a few diagnoses. A branch that has moved since begins
//! anew. Diagnoses keep a distance from each other, so that many branches that begin to wait one after the
//! other share them.

use std::collections::HashMap;

use super::identity::ProcessId;

/// A branch that waits is looked at again at most this much later.
const AGAIN_WITHIN_NS: u64 = 300_000_000_000;
/// Between two diagnoses, at least.
const DISTANCE_NS: u64 = 1_000_000_000;

/// What may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Branch {
    /// The session as a whole: nothing in it works.
    Session,
    /// A process.
    Process(ProcessId),
    /// A blocked write of a thread.
    Write(ProcessId, u32),
}

/// The schedule of diagnoses. See the module.
#[derive(Clone, Debug)]
pub struct HangWatch {
    after_ns: u64,
    /// For each branch that was looked at: since when it had waited, and how long a wait makes it due again.
    looked_at: HashMap<Branch, (u64, u64)>,
    last_look_boot_ns: Option<u64>,
}

impl HangWatch {
    /// Suspects a hang when something has waited for this many nanoseconds.
    pub fn new(after_ns: u64) -> Self {
        Self { after_ns, looked_at: HashMap::new(), last_look_boot_ns: None }
    }

    /// A diagnosis is due now. `waiting` has each branch that waits, and since when.
    pub fn is_due(&mut self, now_boot_ns: u64, waiting: impl IntoIterator<Item = (Branch, u64)>) -> bool {
        let waiting: HashMap<Branch, u64> = waiting.into_iter().collect();
        self.looked_at.retain(|branch, (since, _)| waiting.get(branch) == Some(since));
        let waited = |since: u64| now_boot_ns.saturating_sub(since);
        let due = waiting.iter().any(|(branch, since)| {
            let due_after = self.looked_at.get(branch).map_or(self.after_ns, |(_, due_after)| *due_after);
            waited(*since) >= due_after
        });
        let apart = self.last_look_boot_ns.is_none_or(|last| waited(last) >= DISTANCE_NS);
        if !due || !apart {
            return false;
        }
        self.last_look_boot_ns = Some(now_boot_ns);
        for (branch, since) in waiting {
            let waited = waited(since);
            if waited >= self.after_ns {
                let again = waited.clamp(self.after_ns, AGAIN_WITHIN_NS.max(self.after_ns));
                self.looked_at.insert(branch, (since, waited.saturating_add(again)));
            }
        }
        true
    }

    /// How long until a branch becomes due that has not been looked at in this wait, nanoseconds. `None`:
    /// there is none.
    pub fn next_due_in_ns(
        &self,
        now_boot_ns: u64,
        waiting: impl IntoIterator<Item = (Branch, u64)>,
    ) -> Option<u64> {
        waiting
            .into_iter()
            .filter(|(branch, since)| self.looked_at.get(branch).is_none_or(|(looked, _)| looked != since))
            .map(|(_, since)| since.saturating_add(self.after_ns).saturating_sub(now_boot_ns))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const A: Branch = Branch::Process(ProcessId { tgid: 7, start_ticks: 1 });
    const B: Branch = Branch::Process(ProcessId { tgid: 8, start_ticks: 1 });

    #[test]
    fn a_diagnosis_is_due_after_the_time_and_then_ever_later_until_the_branch_moves() {
        let mut watch = HangWatch::new(10 * SECOND);
        let mut due = |now: u64, since: u64| watch.is_due(now * SECOND, [(A, since * SECOND)]);
        assert!(!due(109, 100));
        assert!(due(110, 100));
        assert!(!due(119, 100));
        assert!(due(120, 100));
        assert!(!due(139, 100));
        assert!(due(140, 100));
        assert!(!due(149, 140));
        assert!(due(150, 140));
    }

    #[test]
    fn a_wait_of_hours_is_looked_at_every_five_minutes() {
        let mut watch = HangWatch::new(10 * SECOND);
        let looks: Vec<u64> = (0..7200).filter(|now| watch.is_due(now * SECOND, [(A, 0)])).collect();
        assert_eq!(looks[..6], [10, 20, 40, 80, 160, 320]);
        assert!(looks.windows(2).skip(5).all(|pair| pair[1] - pair[0] == 300), "{looks:?}");
    }

    #[test]
    fn a_branch_is_looked_at_in_time_whatever_the_others_do() {
        let mut watch = HangWatch::new(2 * SECOND);
        // One waits from the beginning; the other moves all the time, then waits, too.
        assert!(watch.is_due(2 * SECOND, [(A, 0), (B, 2 * SECOND)]));
        assert!(watch.is_due(4 * SECOND, [(A, 0), (B, 4 * SECOND)]));
        assert!(!watch.is_due(6 * SECOND, [(A, 0), (B, 5 * SECOND)]));
        assert_eq!(watch.next_due_in_ns(6 * SECOND, [(A, 0), (B, 5 * SECOND)]), Some(SECOND));
        assert!(watch.is_due(7 * SECOND, [(A, 0), (B, 5 * SECOND)]));
        assert_eq!(watch.next_due_in_ns(7 * SECOND, [(A, 0), (B, 5 * SECOND)]), None);
    }

    #[test]
    fn branches_that_become_due_together_share_a_diagnosis() {
        let mut watch = HangWatch::new(2 * SECOND);
        let branch = |tgid: u32| Branch::Process(ProcessId { tgid, start_ticks: 1 });
        let since = |tgid: u32| u64::from(tgid) * SECOND / 100;
        let mut looks = 0;
        for tenth in 0..60 {
            let now = tenth * SECOND / 10;
            let waiting = (0..200).map(|tgid| (branch(tgid), since(tgid))).filter(|(_, since)| *since <= now);
            looks += usize::from(watch.is_due(now, waiting));
        }
        assert!(looks <= 5, "{looks} diagnoses");
    }

    #[test]
    fn clocks_out_of_order_do_not_panic() {
        assert!(!HangWatch::new(1).is_due(5, [(Branch::Session, 10)]));
        assert!(HangWatch::new(0).is_due(u64::MAX, [(Branch::Session, 0)]));
    }
}
