//! The wait tree as a report shows it: processes, their threads, and what each of them waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Parent's number, 0 when it is not known.
    pub ppid: u32,
    /// How far below the top of the tree.
    pub depth: usize,
    /// comm.
    pub comm: String,
    /// The name that people call it by: the script of an interpreter, else the program.
    pub title: String,
    /// argv with secrets redacted, an element an argument.
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
    /// The last child that ended, where that is known.
    pub last_death: Option<ChildDeath>,
}

/// A child that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildDeath {
    /// Process number.
    pub pid: u32,
    /// Last comm.
    pub comm: String,
    /// How: `status 1`, `SIGKILL`; null when that is not known.
    pub how: Option<String>,
    /// How long ago, milliseconds; null when that is not known.
    pub ago_ms: Option<u64>,
    /// Its parent has collected it.
    pub collected: bool,
}

/// A thread of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadWaits {
    /// Thread id.
    pub tid: u32,
    /// Its own name, where it differs from its process's.
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
    /// Since when it is known to be in this wait, CLOCK_BOOTTIME nanoseconds.
    pub since_boot_ns: Option<u64>,
    /// For how long, milliseconds.
    pub waited_ms: Option<u64>,
    /// When its wait ends by itself, RFC 3339 UTC.
    pub ends_at: Option<String>,
    /// How often it wakes and goes back to the same wait, milliseconds between.
    pub wakes_every_ms: Option<u64>,
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
