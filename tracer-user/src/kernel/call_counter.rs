//! The system calls of a look's quiet window, counted by the kernel where it lets us.

use super::window::{self, WindowCounter};
use crate::core::evidence::{CallCount, CallWindow};
use crate::core::syscalls::{self, Architecture};

/// The counter of one collection of evidence. Without privileges, and on a kernel that does not accept the
/// programs, nothing is counted.
pub struct CallCounter {
    wanted: bool,
    counter: Option<WindowCounter>,
}

impl CallCounter {
    /// A counter; where kernel events are not `wanted`, it counts nothing.
    pub fn new(wanted: bool) -> Self {
        Self { wanted, counter: None }
    }
}

impl CallWindow for CallCounter {
    fn begin(&mut self, tgids: &[u32]) {
        self.counter = if self.wanted { WindowCounter::start(tgids).ok() } else { None };
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
