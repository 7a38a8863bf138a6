//! The results of a thread's system calls during the quiet window, counted at their return.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The calls of one kind that returned during the quiet window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CallCount {
    /// Number on this machine's architecture.
    pub nr: u64,
    /// Name, when the number is known: `flock`.
    pub name: Option<String>,
    /// The number that returned.
    pub calls: u64,
    /// The number that returned 0.
    pub zero: u64,
    /// The number that returned more than 0.
    pub positive: u64,
    /// Sum of the positive results: bytes, for calls that move bytes.
    pub sum: u64,
    /// Errors by number, most frequent first: `(errno, count)`.
    pub errors: Vec<(i32, u64)>,
}

impl CallCount {
    /// The number that returned an error.
    pub fn failed(&self) -> u64 {
        self.calls.saturating_sub(self.zero).saturating_sub(self.positive)
    }

    /// Whether an error with this number was among the results.
    pub fn has_error(&self, errno: i32) -> bool {
        self.errors.iter().any(|(number, count)| *number == errno && *count > 0)
    }
}

/// Counts the system calls of some processes during the quiet window. The caller provides the kernel side.
pub trait CallWindow {
    /// Begins to count the calls of all threads of these processes.
    fn begin(&mut self, tgids: &[u32]);

    /// Ends the window: what each thread's calls returned, by thread id. `None` when nothing was counted, or
    /// not everything.
    fn end(&mut self) -> Option<Vec<(u32, CallCount)>>;
}

/// Nothing is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCallWindow;

impl CallWindow for NoCallWindow {
    fn begin(&mut self, _: &[u32]) {}

    fn end(&mut self) -> Option<Vec<(u32, CallCount)>> {
        None
    }
}
