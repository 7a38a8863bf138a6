//! The wait tree as a report shows it: processes, their threads, and what each of them waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::code::{CodePlace, Frame};
use super::finding::Halted;
use super::graph::ResourceRef;

/// The processes of the scope, each after its parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WaitTree {
    /// The processes, depth first.
    pub processes: Vec<ProcessWaits>,
    /// Processes of the scope that are left out because there are too many.
    pub omitted: usize,
}

/// A process of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessWaits {
    /// Process number.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_ticks: u64,
    /// Process number of the parent; 0 when it is unknown.
    pub ppid: u32,
    /// Distance from the top of the tree; 0 at the top.
    pub depth: usize,
    /// comm.
    pub comm: String,
    /// Its name for people: the script of an interpreter, else the program.
    pub title: String,
    /// argv, one element for each argument, with secrets redacted.
    pub cmdline: Vec<String>,
    /// The test that it belongs to.
    pub test: Option<String>,
    /// It has ended and was not collected.
    pub zombie: bool,
    /// How it ended, for a zombie whose status is known: `status 1`, `SIGKILL`.
    pub exit: Option<String>,
    /// Stopped by a signal, traced or frozen.
    pub halted: Option<Halted>,
    /// The threads that matter.
    pub threads: Vec<ThreadWaits>,
    /// Threads that only wait for work of their own runtime, or like another thread that is listed.
    pub idle_threads: usize,
    /// The last child that ended; null when none is known.
    pub last_death: Option<ChildDeath>,
}

/// A child that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildDeath {
    /// Process number.
    pub pid: u32,
    /// Last comm.
    pub comm: String,
    /// Exit status in words: `status 1`, `SIGKILL`; null when it is unknown.
    pub how: Option<String>,
    /// Time since its end, milliseconds; null when it is unknown.
    pub ago_ms: Option<u64>,
    /// Its parent has collected it.
    pub collected: bool,
}

/// A thread of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadWaits {
    /// Thread id.
    pub tid: u32,
    /// Its own name; null when it is that of its process.
    pub name: Option<String>,
    /// What it did in the quiet window.
    pub activity: ThreadActivity,
    /// The call with what matters of its arguments: `write(fd 1)`; null when it runs.
    pub call: Option<String>,
    /// What it waits for, in words: `reads its stdin`.
    pub doing: String,
    /// The object that it waits on.
    pub object: Option<ResourceRef>,
    /// The processes that could end the wait, at most eight.
    pub held_by: Vec<Holder>,
    /// The earliest time at which it is known to be in this wait, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: Option<u64>,
    /// Duration of the wait, milliseconds.
    pub waited_ms: Option<u64>,
    /// When its wait ends by itself, RFC 3339 UTC.
    pub ends_at: Option<String>,
    /// Time from one wake-up to the next, after which it is back in the same wait, milliseconds.
    pub wakes_every_ms: Option<u64>,
    /// Where in the user's own code it waits; null when its stack was not read, or shows none.
    #[serde(default)]
    pub at: Option<CodePlace>,
    /// Its user-space stack, innermost first; null when it was not read.
    #[serde(default)]
    pub stack: Option<Vec<Frame>>,
}

/// What a thread did in the quiet window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ThreadActivity {
    /// It was not measured.
    Unknown,
    /// It did not wake.
    Rest,
    /// It woke by its time-out and went back to the same wait.
    Tick,
    /// It did something.
    Progress,
}

/// A process that could end a wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Process number.
    pub pid: u32,
    /// Its title.
    pub title: String,
}
