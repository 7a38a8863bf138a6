//! The system calls of a look's quiet window, counted by the kernel where that is allowed.

use super::window::{self, WindowCounter};
use crate::core::evidence::{CallCount, CallWindow};
use crate::core::identity::OwnNamespaces;
use crate::core::syscalls::{self, Architecture};

/// The counter of one collection of evidence. Without privileges, and on a kernel that does not accept the
/// programs, nothing is counted.
pub struct CallCounter {
    own: Option<OwnNamespaces>,
    counter: Option<WindowCounter>,
}

impl CallCounter {
    /// A counter for a process in these namespaces. `None`: it counts nothing.
    pub fn new(own: Option<OwnNamespaces>) -> Self {
        Self { own, counter: None }
    }
}

impl CallWindow for CallCounter {
    fn begin(&mut self, tgids: &[u32]) {
        self.counter = self.own.and_then(|own| WindowCounter::start(tgids, own).ok());
    }

    fn end(&mut self) -> Option<Vec<(u32, CallCount)>> {
        let mut counter = self.counter.take()?;
        counter.stop();
        // A full table did not count everything, and what a thread did not do is then unknown.
        let counts = counter.read().ok().filter(|counts| counts.overflow == 0)?;
        Some(counts.calls.into_iter().map(|count| (count.tid, with_name(count))).collect())
    }
}

fn with_name(count: window::CallCount) -> CallCount {
    let name = Architecture::native().and_then(|machine| syscalls::name(machine, count.nr));
    CallCount {
        nr: count.nr,
        name: name.map(str::to_owned),
        calls: count.calls,
        zero: count.zero,
        positive: count.positive,
        sum: count.sum_positive,
        errors: count.errors,
    }
}
