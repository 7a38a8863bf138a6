//! Decides when a session without progress is diagnosed.
//!
//! Progress is CPU time, context switches, bytes or lifecycle events of any of its processes, as its samples
//! and the kernel report them. A diagnosis that finds no hang (a job may sleep for ten minutes) doubles the
//! wait for the next one, so that a long sleep costs a few diagnoses and not one per minute.

/// The schedule of diagnoses. See the module.
#[derive(Clone, Copy, Debug)]
pub struct HangWatch {
    after_ns: u64,
    /// The time of the last progress at the last diagnosis, and how long after it the next one is due,
    /// nanoseconds.
    diagnosed: Option<(u64, u64)>,
}

impl HangWatch {
    /// Suspects a hang after this many nanoseconds without progress.
    pub fn new(after_ns: u64) -> Self {
        Self { after_ns, diagnosed: None }
    }

    /// A diagnosis is due now. `progress_boot_ns` is when something last moved.
    pub fn is_due(&mut self, now_boot_ns: u64, progress_boot_ns: u64) -> bool {
        let still = now_boot_ns.saturating_sub(progress_boot_ns);
        let due_after = match self.diagnosed {
            Some((progress, due_after)) if progress == progress_boot_ns => due_after,
            _ => self.after_ns,
        };
        if still < due_after {
            return false;
        }
        self.diagnosed = Some((progress_boot_ns, still.saturating_mul(2).max(self.after_ns)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_is_due_after_the_time_and_then_ever_later_until_something_moves() {
        let mut watch = HangWatch::new(10);
        assert!(!watch.is_due(109, 100));
        assert!(watch.is_due(110, 100));
        assert!(!watch.is_due(119, 100));
        assert!(watch.is_due(120, 100));
        assert!(!watch.is_due(139, 100));
        assert!(watch.is_due(140, 100));
        assert!(!watch.is_due(149, 140));
        assert!(watch.is_due(150, 140));
    }

    #[test]
    fn clocks_out_of_order_do_not_panic() {
        assert!(!HangWatch::new(1).is_due(5, 10));
        assert!(HangWatch::new(0).is_due(u64::MAX, 0));
    }
}
